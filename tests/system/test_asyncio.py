"""A task is asyncio's own: whatever works there works in a load test, beside its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from processes import lasting
from runs import Result, assert_accounts
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")


@pytest.fixture
def echo_websocket() -> Iterator[str]:
    """The URL of a WebSocket server that says back what it hears, in a thread of its own."""
    server = pytest.importorskip("websockets.sync.server")

    def echo(connection: object) -> None:
        for message in connection:  # type: ignore[attr-defined]
            connection.send(f"echo {message}")  # type: ignore[attr-defined]

    with server.serve(echo, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        running.shutdown()
    thread.join(10)


LIBRARIES = """
    import contextvars, pathlib, sys
    import aiohttp, websockets

    who = contextvars.ContextVar("who")

    @sequence
    class Everything(User):
        @task
        async def standard_library(self):
            who.set(self.number)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.get(f"/slow?ms={ms}", name="in a group")) for ms in (5, 1, 3)]
            assert all(task.result().ok for task in tasks)
            found = await asyncio.gather(self.get("/text"), asyncio.sleep(0.01, "slept"), asyncio.to_thread(who.get))
            assert found[0].ok and found[1:] == ["slept", self.number]
            pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(input()[::-1])", **pipes)
            out, _ = await process.communicate(b"goose\\n")
            assert (out, process.returncode) == (b"esoog\\n", 0)
            host, _, port = self.host.removeprefix("http://").rstrip("/").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /text HTTP/1.0\\r\\n\\r\\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            lock, queue = asyncio.Lock(), asyncio.Queue()
            async with lock:
                queue.put_nowait((await self.get("/text")).status)
            assert await queue.get() == 200
            assert who.get() == self.number

        @task
        async def aiohttp_client(self):
            began = time.monotonic()
            async with aiohttp.ClientSession() as session, session.get(self.host + "json?a=1") as response:
                assert (await response.json()) == {"a": "1"}
            self.record("aiohttp", "/json", time.monotonic() - began)

        @task
        async def websockets_client(self):
            async with websockets.connect("WEBSOCKET", proxy=None) as socket:
                for number in range(3):
                    began = time.monotonic()
                    await socket.send(f"{self.number}.{number}")
                    assert await socket.recv() == f"echo {self.number}.{number}"
                    self.record("WS", "echo", time.monotonic() - began)
                    await self.get("/text")

        @task
        async def leave(self):
            self.stop()
"""


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_whatever_runs_on_asyncio_runs_in_a_task(
    run_gaggle: RunGaggle, server: Server, echo_websocket: str, lane: str
) -> None:
    pytest.importorskip("aiohttp")
    source = LIBRARIES.replace("class Everything", "@sequence\n    class Everything").replace(
        "WEBSOCKET", echo_websocket
    )

    result = run_gaggle(source, "-u", 6, "--engines", 2, "--lane", lane, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert not result.report["errors"], f"{result.report['errors']}\n{result.stderr}"
    assert [row.answered for row in result.tasks] == [6] * 4
    assert result.request("GET in a group").answered == 18 == server.seen("/slow")
    assert result.request("GET /text").answered == 6 * 5
    assert server.seen("/text") == 6 * 6, "one of each user's was not gaggle's"
    assert result.request("aiohttp /json").answered == 6 == server.seen("/json")
    assert result.request("WS echo").answered == 18
    assert "never" not in result.stderr, "no coroutine was never awaited, no exception never retrieved"


CANCELLED = """
    @sequence
    class Impatient(User):
        @task
        async def by_timeout(self):
            for path in ("/stall", "/stall-body", "/slow?ms=5000"):
                try:
                    async with asyncio.timeout(0.05):
                        await self.get(path, name="given up")
                except TimeoutError:
                    await self.get("/text")

        @task
        async def by_wait_for(self):
            try:
                await asyncio.wait_for(self.get("/stall", name="given up"), 0.05)
            except TimeoutError:
                await self.get("/text")

        @task
        async def by_hand(self):
            task = asyncio.create_task(self.get("/stall", name="given up"))
            await asyncio.sleep(0.02)
            task.cancel()
            task.cancel()
            assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
            await self.get("/text")

        @task
        async def by_a_failing_neighbour(self):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.get("/stall", name="given up"))
                    await asyncio.sleep(0.02)
                    raise KeyError("goose")
            except* KeyError:
                await self.get("/text")

        @task
        async def leave(self):
            self.stop()
"""


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_requests_that_a_task_gives_up_are_unfinished(run_gaggle: RunGaggle, server: Server, lane: str) -> None:
    result = run_gaggle(CANCELLED, "-u", 4, "--lane", lane, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert not result.report["errors"], result.stderr
    given_up = result.request("GET given up")
    assert (given_up.started, given_up.answered, given_up.broken, given_up.unfinished) == (24, 0, 0, 24)
    assert result.request("GET /text").answered == 24 == server.seen("/text")
    assert server.seen().aborted == 24
    assert server.seen().opened == 4 * 7, "no connection was used again whose answer was still to come"
    assert_accounts(result.report["totals"]["requests"], server.seen().total)


BACKGROUND = """
    class Visitor(User):
        async def on_start(self):
            self.beat = asyncio.create_task(self.ping())

        async def ping(self):
            while True:
                await self.get("/json", name="ping")
                await asyncio.sleep(0.02)

        @task
        async def visit(self):
            asyncio.create_task(self.get("/text", name="beacon"))
            self.get("/echo", name="never awaited")
            await self.get("/slow?ms=20")

        async def on_stop(self):
            self.beat.cancel()
"""


def test_tasks_of_its_own_go_on_beside_those_of_the_user(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(BACKGROUND, "-u", 3, "-t", lasting(0.6), *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert not result.report["errors"], result.stderr
    for name, path in (("ping", "/json"), ("beacon", "/text"), ("never awaited", "/echo"), ("/slow", "/slow")):
        row = result.request(f"GET {name}")
        assert row.answered >= 9
        assert_accounts(row, server.seen(path))


def test_a_task_that_raises_or_cancels_itself_fails_and_the_user_goes_on(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        @sequence
        class Clumsy(User):
            @task
            async def stumble(self):
                await self.get("/text")
                raise KeyError("token")

            @task
            async def exit(self):
                await self.get("/text")
                raise SystemExit(3)

            @task
            async def cancel_itself(self):
                call = self.get("/stall")
                await asyncio.sleep(0.01)
                call.cancel()
                await call

            @task
            async def group(self):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.get("/text"))
                    group.create_task(asyncio.sleep(0, None)).add_done_callback(lambda task: 1 / 0)

            @task
            async def leave(self):
                self.stop()
        """,
        *("-u", 2, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    texts = {row["name"]: (row["text"], row["count"]) for row in result.report["errors"]}
    assert texts == {
        "stumble": ("KeyError: 'token' (loadtest.py:7)", 2),
        "exit": ("SystemExit: 3 (loadtest.py:12)", 2),
        "cancel_itself": ("CancelledError (loadtest.py:19)", 2),
    }
    assert result.task("Clumsy", "group").answered == 2
    assert server.seen("/text") == 6
    assert result.request("GET /stall").unfinished == 2
