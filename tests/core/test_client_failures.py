"""What becomes of requests that get no whole answer: counted as broken, named, never raised, and never hammered."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from bare import Listener, Scripted, read_head
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from reference import seeded
from sites import Server, free_port

from gaggle import Response, User

# Time-outs.


@pytest.mark.parametrize("path", ["/stall", "/slow?ms=20000", "/stall-body", "/chunked?n=1000&piece=1&ms=500"])
def test_a_request_is_given_up_after_its_timeout(engine: EngineLoop, user: User, server: Server, path: str) -> None:
    response = engine.run(user.get(path, timeout=0.2, name="slow"))

    assert (response.status, response.error, response.fault) == (0, "timeout", "timeout")
    assert 0.2 <= response.elapsed < 3
    row = engine.row("GET slow")
    assert (row.started, row.answered, row.broken, row.failures, row.unfinished) == (1, 0, 1, 1, 0)
    assert row.times.total == 1
    assert eventually(lambda: server.seen().aborted) == 1, "the connection is closed, not left to the answer"


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
def test_a_server_may_stop_anywhere_in_its_answer(engine_loop: MakeEngineLoop, beginning: bytes) -> None:
    def stop(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(beginning)
        connection.recv(1)  # until the client has gone

    with Listener(stop) as listener:
        engine = engine_loop(listener.url)
        response = engine.run(engine.user().get("/", timeout=0.15))

    assert (response.status, response.error) == (0, "timeout")
    assert engine.row("GET /").broken == 1


def test_the_timeout_of_the_run_is_that_of_every_request(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(timeout=0.2)
    user = engine.user()

    default, longer = engine.run(user.get("/stall")), engine.run(user.get("/slow?ms=300", timeout=5))

    assert (default.error, longer.status) == ("timeout", 200)


def test_each_request_is_given_up_after_its_own_timeout(engine: EngineLoop) -> None:
    """Also where there are more time-outs than the pump has lines for, some end before, and pauses lie between."""
    drawn = seeded()
    timeouts = [0.1 + 0.03 * (number % 12) for number in range(60)]
    drawn.shuffle(timeouts)
    ended: list[float] = []

    async def ask(timeout: float) -> None:
        user = engine.user()
        response = await user.get("/stall", timeout=timeout)
        assert response.error == "timeout"
        assert response.elapsed >= timeout
        ended.append(timeout)

    async def ask_all() -> None:
        tasks = [asyncio.create_task(ask(timeout)) for timeout in timeouts]
        pauses = [asyncio.create_task(engine.user().pause(drawn.uniform(0, 0.4))) for _ in range(20)]
        await asyncio.sleep(0.02)
        for task in drawn.sample(tasks, 20):
            task.cancel()
        await asyncio.gather(*tasks, *pauses, return_exceptions=True)
        assert sum(task.cancelled() for task in tasks) == 20
        assert all(task.cancelled() or task.exception() is None for task in tasks)

    engine.run(ask_all())

    assert len(ended) == 40
    assert ended == sorted(ended)


def test_a_late_answer_is_never_taken_for_that_of_another_request(
    engine: EngineLoop, user: User, server: Server
) -> None:
    async def hurry() -> list[str]:
        late = await user.get("/slow?ms=300", timeout=0.1)
        answers = [await user.get("/echo") for _ in range(3)]
        await asyncio.sleep(0.3)
        answers += [await user.get("/echo") for _ in range(3)]
        assert late.error == "timeout"
        return [answer.json()["path"] for answer in answers]

    assert engine.run(hurry()) == ["/echo"] * 6
    assert len(server.seen().connections) == 2


def test_a_timeout_is_over_when_the_answer_is_whole(engine: EngineLoop, user: User) -> None:
    async def think() -> Response:
        response: Response = await user.get("/", timeout=0.1)
        await asyncio.sleep(0.2)
        return response

    assert engine.run(think()).ok
    assert engine.row("GET /").broken == 0


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port at which connections are neither accepted nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filling = [socket.socket() for _ in range(4)]
        for each in filling:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for each in filling:
            each.close()


def test_a_connection_that_does_not_open_is_given_up(engine_loop: MakeEngineLoop, deaf_port: int) -> None:
    engine = engine_loop(f"http://127.0.0.1:{deaf_port}", connect_timeout=0.3)

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.error) == (0, "connect timeout")
    assert 0.3 <= response.elapsed < 3


def test_the_timeout_of_a_request_holds_while_it_connects(engine_loop: MakeEngineLoop, deaf_port: int) -> None:
    engine = engine_loop(f"http://127.0.0.1:{deaf_port}", connect_timeout=10)

    response = engine.run(engine.user().get("/", timeout=0.2))

    assert response.error == "timeout"
    assert 0.2 <= response.elapsed < 3


def test_a_request_that_waits_for_a_connection_can_time_out_too(engine: EngineLoop, user: User, server: Server) -> None:
    async def crowd() -> list[str | None]:
        calls = [user.get("/stall", timeout=5) for _ in range(6)] + [user.get("/", timeout=0.2)]
        last = await calls[-1]
        user.forget()
        return [last.error]

    assert engine.run(crowd()) == ["timeout"]
    assert server.seen("GET /") == 0
    assert engine.row("GET /stall").unfinished == 6


# Errors by name.

ERRORS = [
    ("/close-silently", "closed without an answer"),
    ("/half?n=1000", "answer cut short"),
    ("/garbage", "answer is not HTTP"),
    ("/reset", "connection lost"),
]


@pytest.mark.parametrize(("path", "error"), ERRORS)
def test_an_answer_that_is_none_is_an_error_by_name(
    engine: EngineLoop, user: User, server: Server, path: str, error: str
) -> None:
    response = engine.run(user.get(path, name="odd"))
    after = engine.run(user.get("/"))

    assert (response.status, response.error, response.fault) == (0, error, error)
    assert engine.errors() == {error: 1}
    row = engine.row("GET odd")
    assert (row.started, row.answered, row.broken, row.failures, row.statuses) == (1, 0, 1, 1, {})
    assert (after.status, server.seen("GET /")) == (200, 1), "the user goes on"


RAW_ERRORS = [
    (b"", "closed without an answer"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "answer cut short"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "answer cut short"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "answer cut short"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "answer cut short"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", "connection lost"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "answer is not HTTP"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "answer is not HTTP"),
    (b"\r\n\r\n\r\n", "answer is not HTTP"),
]


@pytest.mark.parametrize(("answer", "error"), RAW_ERRORS)
def test_what_is_no_whole_answer_is_an_error_in_both_lanes(
    engine_loop: MakeEngineLoop, answer: bytes, error: str
) -> None:
    with Scripted(answer) as listener:
        engine = engine_loop(listener.url)
        response = engine.run(engine.user().get("/"))

    assert (response.status, response.error) == (0, error)


def test_a_head_without_end_is_refused(engine_loop: MakeEngineLoop) -> None:
    def babble(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Goose: " + b"honk" * 1_000 + b"\r\n")

    with Listener(babble) as listener:
        engine = engine_loop(listener.url)
        response = engine.run(engine.user().get("/", timeout=5))

    assert response.status == 0
    assert response.error != "timeout"


NAMELESS = f"{'a' * 64}.example"  # a label is at most 63 long: no resolver needs to ask anybody


def test_a_host_that_does_not_exist_is_an_error_by_name(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(f"http://{NAMELESS}")

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.error) == (0, "name not found")


def test_a_refused_connection_is_an_error_by_name(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(f"http://127.0.0.1:{free_port()}")

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.error) == (0, "cannot connect: connection refused")
    assert response.elapsed < 1, "the pause that follows is not the server's"


# A server that is not there is not hammered.


@pytest.mark.parametrize("host", ["127.0.0.1", NAMELESS])
def test_a_user_that_is_refused_tries_more_and_more_rarely(engine_loop: MakeEngineLoop, host: str) -> None:
    engine = engine_loop(f"http://{host}:{free_port()}")
    user = engine.user()

    async def insist(tries: int) -> float:
        began = time.monotonic()
        for _ in range(tries):
            await user.get("/")
        return time.monotonic() - began

    seconds = engine.run(insist(5))

    assert 0.75 <= seconds < 20, "after 0.05, 0.1, 0.2 and 0.4 seconds"
    assert engine.row("GET /").broken == 5
    assert engine.row("GET /").minimum_us < 50_000, "the pauses are not in it"


def test_after_an_answer_the_patience_begins_anew(engine: EngineLoop, user: User) -> None:
    refusing = f"http://127.0.0.1:{free_port()}/"

    async def took(url: str) -> float:
        began = time.monotonic()
        await user.get(url)
        return time.monotonic() - began

    async def took_after_an_answer() -> float:
        await user.get("/")
        return await took(refusing)

    async def try_again() -> tuple[float, float]:
        for _ in range(3):
            await user.get(refusing)
        return await took(refusing), min([await took_after_an_answer() for _ in range(5)])

    long, short = engine.run(try_again())

    assert long >= 0.4
    assert 0.05 <= short < 0.4, "the best of five: a machine may sleep for longer than that"


def test_the_refusals_of_one_user_do_not_slow_down_another(engine: EngineLoop) -> None:
    unlucky, lucky = engine.user(), engine.user()
    refusing = f"http://127.0.0.1:{free_port()}/"

    async def live() -> bool:
        for _ in range(3):
            await unlucky.get(refusing)
        waiting = asyncio.ensure_future(unlucky.get(refusing))
        await lucky.get("/")
        is_first = not waiting.done()
        waiting.cancel()
        return is_first

    assert engine.run(live())


def test_a_request_that_was_given_up_during_its_pause_is_counted_once(engine: EngineLoop, user: User) -> None:
    refusing = f"http://127.0.0.1:{free_port()}/"

    async def give_up() -> None:
        for _ in range(2):
            await user.get(refusing, name="refused")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await user.get(refusing, name="refused")

    engine.run(give_up())

    row = engine.row("GET refused")
    assert (row.started, row.broken, row.unfinished) == (3, 3, 0)
