"""What tasks ask for, and say of the answers, is what the report shows and what the server has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runs import Result, assert_accounts
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")  # all is counted, from the first request on


def errors(result: Result) -> dict[tuple[str, str], int]:
    """Return how often each (name, text) stands among the errors of requests."""
    return {(row["name"], row["text"]): row["count"] for row in result.report["errors"] if row["kind"] == "request"}


EVERYTHING = """
    @sequence
    class Visitor(User):
        headers = {"X-Class": "visitor"}

        @task
        async def unnamed(self):
            await self.get("/text?a=1")
            await self.get("/text", params={"b": 2})
            await self.get("/node/{id}", id=self.number)
            await self.get("/echo", name="own name")
            await self.put("/echo", json=[1])
            await self.get(self.host.replace("127.0.0.1", "localhost") + "text")

        @task(name="named")
        async def task_with_a_name(self):
            await self.get("/status/204")
            await self.post("/post", data={"a": 1})
            await self.get("/echo", name="own name")

        @task
        async def judged(self):
            (await self.get("/status/404", expect=404)).raise_for_status()
            await self.get("/status/500")
            (await self.get("/status/503")).succeed()
            (await self.get("/json")).fail("no goose in it")
            await self.get("/redirect/2")
            await self.get("/close-silently")
            self.record("SQL", "select", 0.01)
            self.record("SQL", "select", 0.02, "deadlock")
            self.stop()
"""


def test_every_request_is_in_the_report_under_its_name(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(EVERYTHING, "-u", 3, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    elsewhere = f"GET {server.url.replace('127.0.0.1', 'localhost')}/text"
    rows = {f"{row.method} {row.name}": (row.answered, row.failures, row.hops) for row in result.requests}
    assert rows == {
        "GET /text": (6, 0, 0),
        "GET /node/{id}": (3, 3, 0),
        "GET own name": (6, 0, 0),
        "PUT /echo": (3, 0, 0),
        elsewhere: (3, 0, 0),
        "GET named": (3, 0, 0),
        "POST named": (3, 0, 0),
        "GET /status/404": (3, 0, 0),
        "GET /status/500": (3, 3, 0),
        "GET /status/503": (3, 0, 0),
        "GET /json": (3, 3, 0),
        "GET /redirect/2": (3, 0, 6),
        "GET /close-silently": (0, 3, 0),
        "SQL select": (6, 3, 0),
    }
    assert errors(result) == {
        ("/node/{id}", "404 Not Found"): 3,
        ("/status/500", "500 Internal Server Error"): 3,
        ("/json", "no goose in it"): 3,
        ("/close-silently", "closed without an answer"): 3,
        ("select", "deadlock"): 3,
    }
    assert all(row.failures == 0 for row in result.tasks), result.stderr
    seen = server.seen()
    assert seen.total == 3 * (6 + 3 + 8) + result.total("resent")
    for name in ("PUT /echo", "GET /status/404", "GET /status/500", "GET /status/503", "GET /json"):
        assert_accounts(result.request(name), seen[name])
    assert seen["GET /text"] == 9
    assert {seen[f"GET /node/{number}"] for number in (1, 2, 3)} == {1}


def test_statuses_and_times_of_the_report_are_those_of_the_answers(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                for status in (200, 200, 404, 500):
                    await self.get(f"/status/{status}", name="page")
                await self.get("/slow?ms=100")
                self.stop()
        """,
        *("-u", 2, *ALL_AT_ONCE),
    )

    row = result.request("GET page")
    assert row.statuses == {"200": 4, "404": 2, "500": 2}
    assert (row.answered, row.failures) == (8, 4)
    slow = result.request("GET /slow").response_time
    assert slow["count"] == 2
    assert 100_000 <= slow["min_us"] <= slow["p50_us"] <= slow["max_us"] < 5_000_000
    assert result.request("GET page").first_byte["count"] == 8
    assert server.seen("GET /slow") == 2


HOOKS = """
    import json, pathlib

    seen = []

    @on_request
    def note(response):
        seen.append([response.method, response.name, response.status, response.error, len(response.history)])
        if response.name == "/json":
            response.fail("the hook said so")

    @on_request
    def stumble(response):
        raise KeyError("in the hook")

    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/json")
            await self.get("/redirect/2")
            await self.get("/status/404")
            await self.get("/close-silently")
            await asyncio.gather(*(self.post("/post", name="posted") for _ in range(3)))
            await (await self.get("/text?n=100000", stream=True)).read()
            pathlib.Path("seen.json").write_text(json.dumps(seen))
            self.stop()
"""


def test_a_hook_sees_every_response_and_its_errors_break_nothing(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    result = run_gaggle(HOOKS, "-u", 1, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    [file] = tmp_path.rglob("seen.json")
    assert eval(file.read_text(), {"null": None}) == [
        ["GET", "/json", 200, None, 0],
        ["GET", "/redirect/2", 200, None, 2],
        ["GET", "/status/404", 404, None, 0],
        ["GET", "/close-silently", 0, "closed without an answer", 0],
        *[["POST", "posted", 200, None, 0]] * 3,
        ["GET", "/text", 200, None, 0],
    ]
    assert result.request("GET /json").failures == 1
    assert errors(result)["/json", "the hook said so"] == 1
    assert result.task("Visitor", "visit").failures == 0
    assert result.stderr.count("KeyError: 'in the hook'") == 1, "its traceback is shown once"
    assert server.seen("POST /post") == 3


def test_a_hook_that_nobody_would_wait_for_is_refused(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        @on_request
        async def note(response):
            pass

        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
        """,
        *("-u", 1),
    )

    assert result.returncode == 1
    assert "loadtest.py:2: note must be a plain `def`" in result.stderr
    assert server.seen().total == 0


MISTAKES = """
    @sequence
    class Careless(User):
        @task
        async def misspell(self):
            await self.get("/", timeuot=5)

        @task
        async def mistake(self):
            await self.get("/", expect="200")

        @task
        async def malform(self):
            await self.get("http://")

        @task
        async def inject(self):
            await self.get("/", headers={"X": "a\\r\\nEvil: 1"})

        @task
        async def refuse(self):
            (await self.get("/status/500")).raise_for_status()

        @task
        async def go_on(self):
            await self.get("/")
            self.stop()
"""


def test_a_request_that_cannot_be_made_fails_its_task_and_says_where(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(MISTAKES, "-u", 1, *ALL_AT_ONCE)

    texts: dict[str, Any] = {row["name"]: row["text"] for row in result.report["errors"] if row["kind"] == "task"}
    assert texts == {
        "misspell": "TypeError: get() has no option 'timeuot', and '/' no field of that name (loadtest.py:6)",
        "mistake": "TypeError: expect must be a status or several, got '200' (loadtest.py:10)",
        "malform": "ValueError: 'http://' is not a URL to request: it has no host (loadtest.py:14)",
        "inject": "ValueError: a header must be one line of text, got 'X': 'a\\r\\nEvil: 1' (loadtest.py:18)",
        "refuse": f"RequestError: GET {server.url}/status/500: 500 Internal Server Error (loadtest.py:22)",
    }
    assert result.task("Careless", "go_on").failures == 0
    assert server.seen().total == 2
    assert result.returncode == 0
