"""What goes over TLS goes as it does in the clear: bodies, streams, errors, ends of connections."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import ssl

import pytest
from bare import Listener, read_head
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from sites import HttpsServer

from gaggle import User


@pytest.fixture
def engine(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> EngineLoop:
    """An engine whose users are at the test server behind TLS, and believe it."""
    return engine_loop(https_server.url, cacert=str(https_server.ca_file))


def test_bodies_of_any_size_pass_in_both_directions(engine: EngineLoop, user: User) -> None:
    body = random.Random(2).randbytes(3_000_000)

    async def exchange() -> tuple[str, list[int], int]:
        up = await user.post("/post", data=body)
        downs = [len((await user.get(f"/bytes?n={size}")).body) for size in (0, 1, 16_384, 16_385, 65_536, 1_000_000)]
        chunked = await user.get("/chunked?n=100000&piece=7000")
        return up.json()["sha256"], downs, len(chunked.body)

    digest, sizes, chunked = engine.run(exchange())

    assert digest == hashlib.sha256(body).hexdigest()
    assert sizes == [0, 1, 16_384, 16_385, 65_536, 1_000_000]
    assert chunked == 100_000


def test_a_body_that_the_server_is_slow_to_read_passes(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    """libcurl wants the same bytes again after it could not send them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(https_server.folder / "good.pem", https_server.folder / "good.key")
    digests = []
    body = random.Random(3).randbytes(8_000_000)

    def slowly(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            rest = read_head(secure).partition(b"\r\n\r\n")[2]
            digest, size = hashlib.sha256(rest), len(rest)
            while size < len(body) and (data := secure.recv(30_000)):
                digest.update(data)
                size += len(data)
            digests.append(digest.hexdigest())
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Listener(slowly) as listener:
        engine = engine_loop(f"https://127.0.0.1:{listener.port}", cacert=str(https_server.ca_file))
        response = engine.run(engine.user().post("/", data=body))

    assert response.status == 204
    assert digests == [hashlib.sha256(body).hexdigest()]


def test_streams_pass(engine: EngineLoop, user: User) -> None:
    async def read() -> tuple[int, int]:
        response = await user.get("/bytes?n=2000000", stream=True)
        total = pieces = 0
        async for piece in response:
            total += len(piece)
            pieces += 1
            await asyncio.sleep(0)
        return total, pieces

    total, pieces = engine.run(read())

    assert total == 2_000_000
    assert pieces > 1


def test_the_server_waits_for_a_slow_reader_of_a_stream(
    engine: EngineLoop, user: User, https_server: HttpsServer
) -> None:
    async def read() -> int:
        response = await user.get("/chunked?n=30000000&piece=100000", stream=True)
        await asyncio.sleep(0.3)
        assert https_server.seen().open == 1, "it could not have sent all of it"
        return len(await response.read())

    assert engine.run(read()) == 30_000_000


def test_streamed_uploads_pass(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.post("/post", data=(bytes([number]) * 50_000 for number in range(20))))

    assert response.json()["bytes"] == 1_000_000


def test_six_connections_serve_any_number_of_requests(
    engine: EngineLoop, user: User, https_server: HttpsServer
) -> None:
    async def at_once() -> list[int]:
        return [response.status for response in await asyncio.gather(*(user.get("/slow?ms=10") for _ in range(30)))]

    assert engine.run(at_once()) == [200] * 30
    assert (https_server.seen().opened, https_server.seen().max_open) == (6, 6)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/close-silently", "closed without an answer"),
        ("/half", "answer cut short"),
        ("/garbage", "answer is not HTTP"),
        ("/stall", "timeout"),
        ("/stall-body", "timeout"),
    ],
)
def test_errors_have_the_same_names(engine: EngineLoop, user: User, path: str, error: str) -> None:
    response = engine.run(user.get(path, timeout=1.0 if error == "timeout" else 10))

    assert (response.status, response.error) == (0, error)
    assert engine.run(user.get("/")).ok


def test_connections_that_the_server_closes_are_replaced(
    engine: EngineLoop, user: User, https_server: HttpsServer
) -> None:
    async def browse() -> list[int]:
        found = []
        for path in ("/close", "/", "/until-close", "/close-idle?ms=1", "/"):
            found.append((await user.get(path)).status)
            await asyncio.sleep(0.02)
        return found

    assert engine.run(browse()) == [200] * 5
    assert https_server.seen().opened == 4


def test_a_cancelled_request_is_given_up(engine: EngineLoop, user: User, https_server: HttpsServer) -> None:
    async def give_up() -> int:
        await user.get("/")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await user.get("/stall")
        return int((await user.get("/")).status)

    assert engine.run(give_up()) == 200
    assert eventually(lambda: https_server.seen().aborted) == 1
    assert engine.row("GET /stall").unfinished == 1


def test_connections_are_not_kept_where_that_is_not_wanted(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    engine = engine_loop(https_server.url, cacert=str(https_server.ca_file), keepalive=False)
    user = engine.user()

    assert [engine.run(user.get("/")).status for _ in range(3)] == [200] * 3
    assert https_server.seen().opened == 3


@pytest.mark.parametrize(("resume", "reused"), [(True, [False, True, True]), (False, [False, False, False])])
def test_a_session_is_resumed_by_the_same_user_only(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, resume: bool, reused: list[bool]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(https_server.folder / "good.pem", https_server.folder / "good.key")
    found: list[bool | None] = []

    def once(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            found.append(secure.session_reused)
            read_head(secure)
            secure.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            secure.unwrap()

    with Listener(once) as listener:
        engine = engine_loop(f"https://127.0.0.1:{listener.port}", cacert=str(https_server.ca_file), tls_resume=resume)
        for user in (engine.user(), engine.user()):
            for _ in range(3):
                assert engine.run(user.get("/")).status == 204

    assert found == reused * 2
