"""One user in this process: `run_user`, the trace of --once, and the curl command that repeats a request."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sites import HttpsServer, Server

import gaggle
from gaggle import LoadTestError, User, on_start, on_stop, task
from gaggle.curl import curl, policy_words
from gaggle.errors import InvalidOption
from gaggle.trace import Trace
from gaggle.visit import Step, Visit


class Shopper(User):
    headers = {"X-Class": "shopper"}

    @on_start(name="log in")
    async def log_in(self) -> None:
        await self.get("/cookies/set?session=abc", follow_redirects=False)

    @task(10)
    async def look(self) -> None:
        response = await self.get("/text")
        assert "goose" not in response.headers

    @task
    async def buy(self) -> None:
        await self.post("/post", json={"item": 1})

    @on_stop
    async def log_out(self) -> None:
        await self.delete("/json")


class Careless(User):
    @task
    async def break_off(self) -> None:
        await self.get("/status/500")
        raise KeyError("token")

    @task
    async def go_on(self) -> None:
        await self.get("/text")
        self.stop()

    @task
    async def and_on(self) -> None:
        await self.get("/text")


class Locked(User):
    @on_start
    async def log_in(self) -> None:
        (await self.get("/status/401")).raise_for_status()

    @task
    async def never(self) -> None:
        await self.get("/")

    @on_stop
    async def leave(self) -> None:
        await self.get("/text")


def test_each_task_runs_once_and_in_order(server: Server) -> None:
    visit = gaggle.run_user(Shopper, host=server.url)

    assert visit.ok
    assert visit.failed == visit.errors == visit.failures == []
    assert [(step.kind, step.name) for step in visit.steps] == [
        ("on_start", "log in"),
        ("task", "look"),
        ("task", "buy"),
        ("on_stop", "log_out"),
    ]
    assert [(each.method, each.status) for each in visit.responses][1:] == [
        ("GET", 200),
        ("POST", 200),
        ("DELETE", 200),
    ]
    assert visit.responses[2].json() is not None
    seen = server.seen()
    assert (seen["GET /text"], seen["POST /post"], seen["DELETE /json"]) == (1, 1, 1)


def test_what_fails_is_told_and_the_rest_still_runs(server: Server) -> None:
    visit = gaggle.run_user(Careless, host=server.url)

    assert not visit.ok
    assert [response.status for response in visit.failed] == [500]
    assert [type(error) for error in visit.errors] == [KeyError]
    assert visit.failures == [
        f"task break_off: GET {server.url}/status/500: 500 Internal Server Error",
        visit.failures[1],
    ]
    assert visit.failures[1].startswith("task break_off: KeyError: 'token' (test_visit.py:")
    assert server.seen("GET /text") == 2


def test_a_failure_is_raised_where_that_is_asked_for(server: Server) -> None:
    with pytest.raises(LoadTestError, match="500 Internal Server Error") as raised:
        gaggle.run_user(Careless, host=server.url, raises=True)

    assert isinstance(raised.value.__cause__, KeyError)
    assert gaggle.run_user(Shopper, host=server.url, raises=True).ok


def test_without_its_start_a_user_has_no_tasks(server: Server) -> None:
    visit = gaggle.run_user(Locked, host=server.url)

    assert [(step.kind, bool(step.failures)) for step in visit.steps] == [("on_start", True), ("on_stop", False)]
    assert server.seen("GET /") == 0


def test_a_loop_that_runs_already_is_no_hindrance(server: Server) -> None:
    async def notebook() -> Visit:
        return gaggle.run_user(Shopper, host=server.url)

    assert asyncio.run(notebook()).ok


def test_a_class_may_stand_in_a_function(server: Server) -> None:
    class Local(User):
        host = server.url

        @task
        async def look(self) -> None:
            await self.get("/text")

    assert gaggle.run_user(Local).ok


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (Shopper, {}, InvalidOption, "A host must be defined"),
    (Shopper, {"host": "goose"}, InvalidOption, "must be a URL"),
    (Shopper, {"host": "http://127.0.0.1", "timeuot": 1}, InvalidOption, "Did you mean timeout?"),
    (Shopper.look, {}, LoadTestError, "a class that derives from gaggle.User"),
    (User, {"host": "http://127.0.0.1"}, LoadTestError, "has no task"),
]


@pytest.mark.parametrize(("target", "options", "error", "words"), REFUSED)
def test_what_cannot_be_run_is_refused(
    target: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as raised:
        gaggle.run_user(target, **options)

    assert words in str(raised.value)


# The trace.


def test_the_trace_shows_each_hop_with_its_times_and_its_command(server: Server) -> None:
    class Curious(User):
        host = server.url

        @task
        async def look(self) -> None:
            await self.get("/redirect/1")
            await self.post("/status/503", data="\x1b[31mred")

    said: list[str] = []
    trace = Trace(said.append, {"verify": True})
    for response in gaggle.run_user(Curious).responses:
        trace.answered(response)

    text = "".join(said)
    lines = [line.strip() for line in text.splitlines()]
    assert f"GET {server.url}/redirect/1" in lines
    assert f"GET {server.url}/redirect/0" in lines
    assert "< HTTP/1.1 302 Found" in lines
    assert "< HTTP/1.1 503 Service Unavailable" in lines
    assert "FAILED 503 Service Unavailable" in lines
    assert "| status 503" in lines
    assert "> \\x1b[31mred" in lines
    assert any(line.startswith("curl ") and line.endswith(f"{server.url}/redirect/1") for line in lines)
    assert any("first byte" in line for line in lines)
    assert "\x1b" not in text


def test_a_task_that_raises_is_shown_with_its_traceback() -> None:
    said: list[str] = []
    step = Step("task", "look")
    try:
        raise ValueError("no goose")
    except ValueError as error:
        step.error = error

    Trace(said.append, {}).ended(step)

    assert "FAILED ValueError: no goose (test_visit.py:" in said[0]
    assert "Traceback (most recent call last):" in said[0]


def test_phases_are_those_of_the_connection_and_then_none(server: Server, https_server: HttpsServer) -> None:
    for host, has_tls in ((server.url, False), (https_server.url, True)):
        for lane in ("fast", "libcurl"):
            visit = gaggle.run_user(Careless, host=host, lane=lane, cacert=str(https_server.ca_file))

            first, second = visit.responses[0].phases, visit.responses[1].phases
            assert first is not None
            assert second is not None
            assert first["connect"] > 0
            assert (first["tls"] > 0) == has_tls
            assert (second["dns"], second["connect"], second["tls"]) == (0, 0, 0)
            assert all(phases["first_byte"] > 0 for phases in (first, second))
            assert sum(first.values()) <= visit.responses[0].elapsed * 1.5 + 0.05


# curl.

BODIES: list[dict[str, Any]] = [
    {},
    {"data": ""},
    {"data": 'it\'s a "quoted" body\nwith $HOME, `ls` and a tab\t'},
    {"data": "@file"},
    {"data": "grüße 🪿"},
    {"data": bytes(range(256))},
    {"data": b"x" * 200_000},
    {"json": {"a": [1, None, "'"]}},
    {"data": {"a": "b c", "ü": "&="}},
    {"files": {"file": ("a.txt", b"\0\xff")}},
    {"headers": {"X-Quote": 'it\'s $HOME "here"', "X-Empty": "", "User-Agent": "goose", "Accept": "a/b"}},
    {"headers": {"Accept": None, "User-Agent": None, "Accept-Encoding": None}},
    {"headers": {"Host": "goose.example", "Cookie": "x=y; z"}},
    {"auth": ("user", "pass'word")},
    {"params": {"a": "b c", "[x]": "{y}"}},
]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed: apt-get install curl")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_curl_sends_what_the_user_has_sent(server: Server, method: str) -> None:
    class Curious(User):
        host = server.url

        @task
        async def ask(self) -> None:
            self.cookies.set("session", "it's $5", "127.0.0.1")
            for more in BODIES:
                await self.request(method, "/echo/../echo", **more)

    responses = gaggle.run_user(Curious, raises=True).responses

    for response, more in zip(responses, BODIES, strict=True):
        again = repeated(curl(response, {}))
        assert told(json.loads(again)) == told(response.json()), more


def repeated(command: str) -> bytes:
    """Return what a command prints. It goes by stdin: a body may be too long for an argument."""
    # Not ci/debug-test's LD_PRELOAD, which is for our core: curl hangs with it.
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(["sh"], input=command.encode(), capture_output=True, check=True, env=env).stdout


def told(echo: dict[str, Any]) -> dict[str, Any]:
    """Return what the server was told, without the order of the headers."""
    return {**echo, "headers": sorted((name.lower(), value) for name, value in echo["headers"])}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed: apt-get install curl")
def test_curl_repeats_a_head_and_trusts_what_the_run_trusts(https_server: HttpsServer) -> None:
    class Curious(User):
        host = https_server.url

        @task
        async def ask(self) -> None:
            await self.head("/text")

    trusting = {"cacert": str(https_server.ca_file)}
    (response,) = gaggle.run_user(Curious, raises=True, **trusting).responses
    said = repeated(curl(response, trusting))

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert https_server.seen("HEAD /text") == 2


def test_policy_is_part_of_the_command(server: Server) -> None:
    (response, *_) = gaggle.run_user(Careless, host=server.url).responses

    command = curl(response, {"verify": False, "proxy": "socks5://127.0.0.1:9"})

    assert " --proxy socks5://127.0.0.1:9 " in command
    assert "--insecure" not in command, "there are no certificates"
    assert policy_words({"verify": False}, "https://goose.example/") == ["--insecure"]


# The example of the docs.

DOCS = Path(__file__).parents[2] / "docs" / "writing.md"


def test_the_example_of_the_docs_works(server: Server, tmp_path: Path) -> None:
    text = DOCS.read_text()
    example = text.partition("```python\n# test_loadtest.py\n")[2].partition("```")[0]
    assert example, "docs/writing.md has a pytest example that begins with `# test_loadtest.py`"
    (tmp_path / "loadtest.py").write_text(
        "from gaggle import User, task\n\n\nclass Shopper(User):\n"
        "    @task\n    async def look(self):\n        await self.get('/text')\n"
    )
    (tmp_path / "test_loadtest.py").write_text(example.replace("http://127.0.0.1:8080", server.url))

    import sys

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr
    assert server.seen("GET /text") >= 1
