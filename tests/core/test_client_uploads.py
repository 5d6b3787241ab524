"""Bodies of requests that are made while they are sent."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from bare import Listener
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import User

# Bodies that are made while they are sent.

PIECES = [b"one, ", b"", b"two, ", b"x" * 100_000, b"end"]


async def asynchronous() -> AsyncIterator[bytes]:
    for piece in PIECES:
        await asyncio.sleep(0.001)
        yield piece


def synchronous() -> Iterator[bytes]:
    yield from PIECES


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "make",
    [
        asynchronous,
        synchronous,
        lambda: io.BytesIO(b"".join(PIECES)),
        lambda: map(bytearray, PIECES),
        lambda: map(memoryview, PIECES),
        lambda: iter(PIECES),
    ],
    ids=["async generator", "generator", "file", "bytearrays", "memoryviews", "iterator"],
)
def test_a_streamed_body_arrives_in_chunks(engine: EngineLoop, user: User, method: str, make: object) -> None:
    echoed = Echoed(engine.run(user.request(method, "/echo", data=make())))  # type: ignore[operator]

    assert echoed.body == b"".join(PIECES)
    assert echoed.headers["transfer-encoding"] == "chunked"
    assert not {"content-length", "content-type", "expect"} & echoed.headers.keys()


def test_an_empty_streamed_body_is_a_body(engine: EngineLoop, user: User) -> None:
    echoed = Echoed(engine.run(user.post("/echo", data=iter(()))))

    assert (echoed.body, echoed.headers["transfer-encoding"]) == (b"", "chunked")


def test_after_a_streamed_body_the_connection_serves_on(engine: EngineLoop, user: User, server: Server) -> None:
    async def take_turns() -> list[int]:
        calls = (
            user.post("/post", data=synchronous()),
            user.post("/post", data="x"),
            user.post("/post", data=asynchronous()),
        )
        return [(await call).json()["bytes"] for call in calls]

    assert engine.run(take_turns()) == [100_013, 1, 100_013]


class Broken(Exception):
    pass


def breaking() -> Iterator[bytes]:
    yield b"begin"
    raise Broken("no more")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (breaking, ["Broken", "no more"]),
        (lambda: iter(["text"]), ["TypeError", "str"]),
        (lambda: iter([5]), ["TypeError", "int"]),
        (lambda: io.StringIO("text"), ["TypeError", "str"]),
    ],
    ids=["raises", "text", "numbers", "text file"],
)
def test_a_source_that_fails_breaks_its_request_off_and_nothing_else(
    engine: EngineLoop, user: User, server: Server, source: object, words: list[str]
) -> None:
    response = engine.run(user.post("/post", data=source()))  # type: ignore[operator]
    after = engine.run(user.post("/post", data=synchronous()))

    assert response.status == 0
    assert response.error.startswith("the source of the body failed")
    assert all(word in response.error for word in words)
    assert after.status == 200
    assert server.seen("POST /post") == 1, "the first one was never whole"
    assert engine.row("POST /post").broken == 1


def test_a_source_is_asked_only_as_fast_as_the_server_reads(engine_loop: MakeEngineLoop) -> None:
    made = 0

    def endless() -> Iterator[bytes]:
        nonlocal made
        while made < 200_000_000:
            made += 50_000
            yield bytes(50_000)

    over = threading.Event()
    with Listener(lambda connection: over.wait(10)) as deaf:
        engine = engine_loop(deaf.url)
        response = engine.run(engine.user().post("/", data=endless(), timeout=0.5))
        over.set()

    assert response.error == "timeout"
    assert made < 50_000_000, "what the kernel's buffers take, and a little more"


def test_the_source_is_closed_when_its_request_is_given_up(engine: EngineLoop, user: User) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async def give_up() -> str:
        response = await user.post("/post", data=endless(), timeout=0.1)
        await asyncio.wait_for(closed.wait(), 5)
        return str(response.error)

    assert engine.run(give_up()) == "timeout"
