"""Streams over redirects, and readers that change their mind."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import quote

import pytest
from bare import Listener, Scripted, read_head
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import User

# Redirects.


def test_the_answer_at_the_end_of_the_redirects_is_streamed(engine: EngineLoop, user: User, server: Server) -> None:
    async def read() -> tuple[list[int], str, bytes]:
        response = await user.get(f"/redirect-to?url={quote('/bytes?n=100000')}", stream=True)
        return [hop.status for hop in response.history], response.url, await response.read()

    history, url, body = engine.run(read())

    assert (history, url, len(body)) == ([302], f"{server.url}/bytes?n=100000", 100_000)
    assert engine.row("GET /redirect-to").hops == 1


def test_many_streams_over_redirects_leave_nothing_behind(engine: EngineLoop, user: User) -> None:
    async def read_all() -> None:
        for _ in range(20):
            await (await user.get("/redirect/3", stream=True)).read()

    engine.run(read_all())

    assert engine.row("GET /redirect/3").answered == 20
    assert user.in_flight == 0


def large(head: bytes, size: int) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % size + bytes(size)


def test_a_large_body_of_a_redirect_is_passed_over(engine_loop: MakeEngineLoop) -> None:
    """Nobody reads it: it must not fill the room that a reader would make, and so stop everything."""
    answers = (
        large(b"HTTP/1.1 302 Found\r\nLocation: /next\r\n", 2_000_000),
        large(b"HTTP/1.1 200 OK\r\n", 1_000_000),
    )
    with Scripted(*answers) as listener:
        engine = engine_loop(listener.url)

        async def read() -> int:
            return len(await (await engine.user().get("/", stream=True, timeout=5)).read())

        assert engine.run(read()) == 1_000_000


def test_a_location_makes_no_redirect_of_another_status(engine_loop: MakeEngineLoop) -> None:
    """201 Created says where the new thing is; its body is the answer."""
    with Scripted(large(b"HTTP/1.1 201 Created\r\nLocation: /new\r\n", 1_000_000)) as listener:
        engine = engine_loop(listener.url)

        async def read() -> tuple[int, int]:
            response = await engine.user().post("/", stream=True, timeout=5)
            return response.status, len(await response.read())

        assert engine.run(read()) == (201, 1_000_000)


def test_a_redirect_that_is_not_followed_is_streamed_itself(engine: EngineLoop, user: User) -> None:
    async def read() -> tuple[int, bytes]:
        response = await user.get("/redirect/1", stream=True, follow_redirects=False)
        return response.status, await response.read()

    assert engine.run(read()) == (302, b"")


# Readers that change their mind.


def test_a_reader_may_stop_waiting_and_read_on_later(engine: EngineLoop, user: User) -> None:
    async def read() -> tuple[int, int]:
        response = await user.get("/chunked?n=600&piece=200&ms=600", stream=True)
        interrupted, read = 0, 0
        while read < 600:
            try:
                async with asyncio.timeout(0.04):
                    read += len(await anext(response))
            except TimeoutError:
                interrupted += 1
        return interrupted, len(await response.read())

    interrupted, rest = engine.run(read())

    assert interrupted >= 2
    assert rest == 0, "every byte came once"
    assert engine.row("GET /chunked").answered == 1


def test_a_stream_is_read_by_one_task_at_a_time(engine: EngineLoop, user: User) -> None:
    async def read_twice() -> None:
        response = await user.get("/stall-body?n=10", stream=True)
        await anext(response)
        waiting = asyncio.ensure_future(anext(response))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one task at a time"):
            await anext(response)
        waiting.cancel()
        await response.aclose()

    engine.run(read_twice())


def test_streams_of_several_users_do_not_mix(engine: EngineLoop) -> None:
    async def read(user: User, size: int) -> int:
        response = await user.get(f"/chunked?n={size}&piece=1000", stream=True)
        total = 0
        async for piece in response:
            total += len(piece)
            await asyncio.sleep(0)
        return total

    async def read_all() -> list[int]:
        return await asyncio.gather(*(read(engine.user(), 10_000 + number) for number in range(20)))

    assert engine.run(read_all()) == [10_000 + number for number in range(20)]


def test_the_body_may_go_up_while_the_answer_comes_down(engine_loop: MakeEngineLoop) -> None:
    """An echo: each piece is sent when the answer to the one before it has been read."""

    def echo(connection: socket.socket) -> None:
        rest = read_head(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(rest)
        while data := connection.recv(65_536):
            connection.sendall(data)
            if data.endswith(b"0\r\n\r\n"):
                return

    with Listener(echo) as listener:
        engine = engine_loop(listener.url)

        async def talk() -> list[bytes]:
            heard: asyncio.Queue[bytes] = asyncio.Queue()

            async def say():  # type: ignore[no-untyped-def]
                yield b"0"
                for number in range(1, 4):
                    assert await heard.get() == str(number - 1).encode()
                    yield str(number).encode()

            response = await engine.user().post("/", data=say(), stream=True, timeout=5)
            pieces = []
            async for piece in response:
                pieces.append(piece)
                heard.put_nowait(piece)
            return pieces

        assert engine.run(talk()) == [b"0", b"1", b"2", b"3"]
