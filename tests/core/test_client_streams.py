"""Bodies that are read while they come: stream=True."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import random
import socket
import time
import zlib

import pytest
from bare import Listener, Scripted, read_head
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from sites import Server

from gaggle import Response, User


def twice_packed(data: bytes) -> bytes:
    """Return a whole answer whose body was gzipped, and then deflated."""
    body = zlib.compress(gzip.compress(data))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, deflate\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def pieces_of(response: Response) -> list[bytes]:
    return [piece async for piece in response]


def test_pieces_come_as_the_server_sends_them(engine: EngineLoop, user: User) -> None:
    async def read() -> tuple[list[bytes], list[float], float]:
        began, times, pieces = time.monotonic(), [], []
        response = await user.get("/chunked?n=500&piece=100&ms=60", stream=True)
        handed_over = time.monotonic() - began
        async for piece in response:
            times.append(time.monotonic() - began)
            pieces.append(piece)
        return pieces, times, handed_over

    pieces, times, handed_over = engine.run(read())

    assert b"".join(pieces) == b"x" * 500
    assert len(pieces) >= 3, "not all at once"
    assert times[-1] - times[0] >= 0.1
    assert handed_over <= times[0] < times[-1]
    row = engine.row("GET /chunked")
    assert (row.answered, row.failures, row.statuses) == (1, 0, {200: 1})
    assert row.maximum_us >= 200_000, "to the last byte"
    assert row.first_byte.maximum() < 200_000


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/bytes?n=3000000", 3_000_000),
        ("/chunked?n=300000&piece=20000", 300_000),
        ("/until-close?n=100000", 100_000),
        ("/bytes?n=1", 1),
        ("/bytes?n=0", 0),
        ("/status/204", 0),
    ],
)
def test_all_of_a_stream_is_read(engine: EngineLoop, user: User, server: Server, path: str, size: int) -> None:
    async def read() -> tuple[int, int, bytes]:
        response = await user.get(path, stream=True)
        body = await response.read()
        return response.status, len(body), await response.read()

    status, length, rest = engine.run(read())

    assert (length, rest) == (size, b"")
    row = engine.row(f"GET {path.partition('?')[0]}")
    assert (row.answered, row.unfinished, row.statuses) == (1, 0, {status: 1})
    assert server.seen().aborted == 0


def test_a_stream_may_be_longer_than_what_is_kept_of_a_body(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(max_body=1_000)

    async def read() -> str:
        response = await engine.user().get("/bytes?n=1000000", stream=True)
        return hashlib.sha256(await response.read()).hexdigest()

    whole = (bytes(range(256)) * 4_000)[:1_000_000]
    assert engine.run(read()) == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("path", ["/gzip?n=200000", "/deflate?n=200000", "/deflate?n=200000&raw=1", "/br?n=200000"])
def test_pieces_are_decoded(engine: EngineLoop, user: User, path: str) -> None:
    async def read() -> bytes:
        response = await user.get(path, stream=True)
        return await response.read()

    body = engine.run(read())

    assert len(body) == 200_000
    assert body.startswith(b"A goose, a gander")


def test_pieces_that_were_encoded_twice_are_decoded_twice(engine_loop: MakeEngineLoop) -> None:
    data = random.Random(5).randbytes(100_000) + bytes(5_000_000)
    with Scripted(twice_packed(data)) as listener:
        engine = engine_loop(listener.url)

        async def read() -> bytes:
            return await (await engine.user().get("/", stream=True)).read()

        assert engine.run(read()) == data


def test_a_piece_that_decodes_to_nothing_is_not_the_end(engine_loop: MakeEngineLoop) -> None:
    """The head of a gzip file is ten bytes without a byte of what is in it."""
    packed = gzip.compress(b"goose")

    def dribble(connection: socket.socket) -> None:
        read_head(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed))
        for byte in packed:
            connection.sendall(bytes([byte]))
            time.sleep(0.002)

    with Listener(dribble) as listener:
        engine = engine_loop(listener.url)

        async def read() -> bytes:
            return await (await engine.user().get("/", stream=True)).read()

        assert engine.run(read()) == b"goose"


@pytest.mark.parametrize("path", ["/bomb?n=30000000", "/gzip?n=30000000"])
def test_a_stream_of_a_decompression_bomb_comes_in_small_pieces(engine: EngineLoop, user: User, path: str) -> None:
    """Thirty megabytes come as thirty kilobytes: what is decoded is bounded, not only what has come."""

    async def read() -> tuple[int, int]:
        sizes = [len(piece) async for piece in await user.get(path, stream=True)]
        return sum(sizes), max(sizes)

    total, largest = engine.run(read())

    assert total == 30_000_000
    assert largest <= 512 * 1024
    assert engine.row(f"GET {path.partition('?')[0]}").bytes_in < 200_000


def test_the_server_waits_for_a_slow_reader(engine_loop: MakeEngineLoop) -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        while sent < 200_000_000:
            connection.sendall(bytes(100_000))
            sent += 100_000

    with Listener(pour) as listener:
        engine = engine_loop(listener.url)
        user = engine.user()

        async def read_a_little() -> tuple[int, int]:
            response = await user.get("/", stream=True)
            read, before = 0, -1
            while before < sent:
                before = sent
                await asyncio.sleep(0.5)
            stalled = sent
            async for piece in response:
                read += len(piece)
                if read > 30_000_000:
                    break
            await response.aclose()
            return stalled, read

        stalled, read = engine.run(read_a_little())

    assert stalled < 100_000_000, "buffers are full, and nothing more is asked for"
    assert read > 30_000_000, "and it goes on where it stopped"


@pytest.mark.parametrize("path", ["/text?n=3000000", "/until-close?n=3000000"])
def test_a_connection_whose_stream_waits_for_its_reader_is_not_idle(engine: EngineLoop, user: User, path: str) -> None:
    """What comes on an idle connection is nothing good, and ends it; this is the stream's."""

    async def read() -> tuple[int, str | None]:
        response = await user.get(path, stream=True)
        total = 0
        async for piece in response:
            total += len(piece)
            await asyncio.sleep(0.005)
        return total, response.error

    assert engine.run(read()) == (3_000_000, None)


def test_a_stream_that_is_closed_early_is_unfinished(engine: EngineLoop, user: User, server: Server) -> None:
    async def look() -> list[bytes]:
        async with await user.get("/bytes?n=5000000", stream=True) as response:
            first = await anext(aiter(response))
        return [first, *await pieces_of(response)]

    first, *rest = engine.run(look())
    assert eventually(lambda: server.seen().aborted) == 1
    after = engine.run(user.get("/"))

    assert len(first) > 0
    assert rest == [], "after the end there is nothing"
    row = engine.row("GET /bytes")
    assert (row.started, row.answered, row.broken, row.unfinished, row.failures) == (1, 0, 0, 1, 0)
    assert (after.status, server.seen().opened) == (200, 2)


def test_a_stream_can_be_closed_by_another_task_than_its_reader(engine: EngineLoop, user: User) -> None:
    async def read_and_close() -> list[bytes]:
        response = await user.get("/stall-body?n=1000", stream=True)
        reader = asyncio.create_task(pieces_of(response))
        await asyncio.sleep(0.05)
        await response.aclose()
        await response.aclose()
        return await reader

    assert b"".join(engine.run(read_and_close())) == b"x" * 500
    assert engine.row("GET /stall-body").unfinished == 1


def test_a_stream_that_nobody_holds_any_more_does_no_harm(engine: EngineLoop, user: User) -> None:
    async def drop() -> int:
        await user.get("/bytes?n=5000000", stream=True)
        gc.collect()
        status = (await user.get("/")).status
        user.cut_streams()
        return int(status)

    assert engine.run(drop()) == 200
    assert engine.row("GET /bytes").unfinished == 1


@pytest.mark.parametrize(
    ("path", "error"),
    [("/half?n=100000", "answer cut short"), ("/stall-body?n=100000", "timeout")],
)
def test_a_stream_that_breaks_ends_and_says_why(engine: EngineLoop, user: User, path: str, error: str) -> None:
    async def read() -> tuple[int, bytes, str | None, bool]:
        response = await user.get(path, stream=True, timeout=0.5, name="stream")
        status = response.status
        body = await response.read()
        return status, body, response.error, response.ok

    status, body, said, ok = engine.run(read())

    assert (status, said, ok) == (200, error, False)
    assert body == b"x" * 50_000, "all that came"
    row = engine.row("GET stream")
    assert (row.started, row.answered, row.broken, row.failures) == (1, 0, 1, 1)
    assert engine.errors() == {error: 1}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/close-silently", "closed without an answer"),
        ("/reset", "connection lost"),
        ("/garbage", "answer is not HTTP"),
    ],
)
def test_a_stream_that_never_began_is_an_empty_one(engine: EngineLoop, user: User, path: str, error: str) -> None:
    async def read() -> tuple[int, bytes, str | None]:
        response = await user.get(path, stream=True)
        return response.status, await response.read(), response.error

    assert engine.run(read()) == (0, b"", error)


def test_a_bad_status_is_a_failure_of_a_stream_too(engine: EngineLoop, user: User) -> None:
    async def read() -> tuple[bool, bytes]:
        response = await user.get("/status/500", stream=True)
        return response.ok, await response.read()

    assert engine.run(read()) == (False, b"status 500\n")
    assert engine.errors() == {"500 Internal Server Error": 1}
    assert engine.row("GET /status/500").statuses == {500: 1}


def test_a_stream_says_how_it_is_read(engine: EngineLoop, user: User) -> None:
    async def read_wrongly() -> None:
        async with await user.get("/bytes?n=1000000", stream=True) as response:
            with pytest.raises(RuntimeError, match=r"async for piece in response.*await response.read\(\)"):
                _ = response.body
            with pytest.raises(RuntimeError, match="async for"):
                _ = response.text

    engine.run(read_wrongly())


def test_a_whole_response_can_be_read_as_if_it_were_a_stream(engine: EngineLoop, user: User) -> None:
    async def read() -> bytes:
        async with await user.get("/bytes?n=10") as response:
            return await response.read()

    assert engine.run(read()) == bytes(range(10))
