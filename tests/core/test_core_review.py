"""What holds an engine up, or makes it lose what somebody waits for, in moments that are rare."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import random
import socket
import ssl
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from bare import Listener, Proxy, Scripted, read_head
from in_process import EngineLoop, MakeEngineLoop
from sites import HttpsServer, Server

from gaggle import Response, User

TCP_CLOSE_WAIT = 8  # of linux/tcp.h
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

# The pump and asyncio.


def test_timers_of_asyncio_are_seen_after_asyncio_has_thrown_many_away(engine: EngineLoop, user: User) -> None:
    """asyncio puts a new heap in the place of one in which most timers were cancelled, as after many timeouts."""

    async def hurry() -> float:
        loop = asyncio.get_running_loop()
        for timer in [loop.call_later(1000, print) for _ in range(300)]:
            timer.cancel()
        await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        await user.get("/")  # who is woken by it runs in the pump
        began = loop.time()
        await asyncio.sleep(0.05)
        return loop.time() - began

    assert 0.05 <= engine.run(hurry(), seconds=5) < 3


def test_a_user_that_pauses_for_ever_does_not_hold_up_the_stop(engine: EngineLoop, user: User) -> None:
    async def wait_for_nothing() -> None:
        while True:
            await user.pause(1)

    async def stop() -> bool:
        task = asyncio.create_task(wait_for_nothing())
        await asyncio.sleep(0.01)
        engine.pump.stop_waiting()
        await asyncio.sleep(0.05)
        return task.cancel()

    assert engine.run(stop(), seconds=5)


def test_a_request_that_fails_at_once_and_is_made_again_holds_nobody_up(engine: EngineLoop, user: User) -> None:
    """libcurl refuses the name without having waited for anything."""

    async def insist() -> None:
        while True:
            await user.get("http://./", name="nowhere")

    async def stop() -> bool:
        task = asyncio.create_task(insist())
        await asyncio.sleep(0.2)
        return task.cancel()

    assert engine.run(stop(), seconds=5)
    assert set(engine.errors()) == {"malformed URL"}
    assert engine.row("GET nowhere").started < 20, "it must be tried more and more rarely"


def test_tasks_that_start_before_they_are_awaited_can_make_requests(engine: EngineLoop, user: User) -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("Python 3.12 has brought eager tasks")
    engine.loop.set_task_factory(factory)

    async def visit(path: str) -> int:
        return (await user.get(path)).status

    async def visit_all() -> list[int]:
        tasks = [asyncio.create_task(visit("/")) for _ in range(20)]
        alone = asyncio.create_task(user.get("/status/404"))
        return [*await asyncio.gather(*tasks), (await alone).status]

    assert engine.run(visit_all()) == [200] * 20 + [404]


def test_an_engine_loop_that_is_gone_leaves_no_descriptor(engine_loop: MakeEngineLoop, server: Server) -> None:
    def live() -> None:
        engine = EngineLoop(server.url, {"lane": "fast"})
        users = [engine.user() for _ in range(3)]
        for user in users:
            engine.run(user.get("/"))
            engine.run(user.post("/post", data=iter([b"by", b"libcurl"])))
        engine.loop.close()

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    live()
    before = descriptors()
    for _ in range(5):
        live()

    assert descriptors() <= before


# Hooks.


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, SystemExit, GeneratorExit])
def test_a_hook_that_raises_costs_nobody_the_response(
    engine: EngineLoop, user: User, kind: type[BaseException]
) -> None:
    heard: list[type[BaseException]] = []

    def hook(response: Response) -> None:
        raise kind("of the hook")

    engine.pump.hooks.append(hook)
    engine.pump.on_error = lambda hook, error: heard.append(type(error))

    assert engine.run(user.get("/"), seconds=5).ok
    assert heard == [kind]


def test_a_hook_may_make_requests_and_forget_its_user(engine: EngineLoop, user: User) -> None:
    others = [engine.user() for _ in range(3)]

    def hook(response: Response) -> None:
        if response.name == "/":
            user.forget()
            others[0].get("/text")

    engine.pump.hooks.append(hook)

    async def visit() -> list[int]:
        calls = [user.get("/"), *(user.get("/slow?ms=300") for _ in range(10))]
        found = await asyncio.gather(*calls, return_exceptions=True)
        while others[0].in_flight:
            await others[0].pause(0.001)
        return [each.status for each in found if isinstance(each, Response)]

    assert engine.run(visit()) == [200]
    assert engine.row("GET /text").answered == 1
    assert engine.row("GET /slow").unfinished == 10


# Requests and answers.


def test_a_host_header_can_be_left_out(engine_loop: MakeEngineLoop) -> None:
    with Scripted(OK + b"ok") as server:
        engine = engine_loop(server.url)

        assert engine.run(engine.user().get("/", headers={"Host": None})).ok
        assert b"\r\nhost:" not in server.heads[0].lower()


def test_an_encoded_body_that_is_spoilt_beyond_what_is_kept_is_a_failure(engine_loop: MakeEngineLoop) -> None:
    body = bytearray(gzip.compress(b"a" * 100_000))
    body[-6] ^= 0xFF  # in its checksum
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Scripted(head + body) as server:
        engine = engine_loop(server.url, max_body=1000)

        response = engine.run(engine.user().get("/"))

        assert response.body == b""
        assert not response.ok


def test_a_farewell_on_an_idle_connection_is_no_answer_to_the_next_request(engine_loop: MakeEngineLoop) -> None:
    """Some servers send a 408 on a connection that they give up. Nothing of the request was sent to it."""
    leave, left = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        while read_head(connection):
            connection.sendall(OK + b"ok")
            if not left.is_set():
                leave.wait(10)
                connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                left.set()
                return

    async def visit(user: User) -> list[int]:
        first = await user.get("/")
        leave.set()
        left.wait(10)  # the loop is held, so that nobody sees it
        return [first.status, (await user.get("/")).status]

    with Listener(handle) as server:
        engine = engine_loop(server.url)

        assert engine.run(visit(engine.user())) == [200, 200]
        assert server.accepted == 2


def test_a_stream_is_handed_over_with_its_head(engine_loop: MakeEngineLoop) -> None:
    """A server of events sends its head at once, and nothing more until there is one."""
    handed_over = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        if handed_over.wait(5):
            connection.sendall(b"data: 1\n\n")

    async def listen(user: User) -> tuple[int, str, bytes]:
        response = await user.get("/", stream=True)
        handed_over.set()
        return response.status, response.headers["content-type"], await response.read()

    with Listener(handle) as server:
        engine = engine_loop(server.url)

        assert engine.run(listen(engine.user())) == (200, "text/event-stream", b"data: 1\n\n")


@pytest.mark.parametrize("path", ["/bytes?n=600000", "/chunked?n=10&piece=10&ms=50"])
def test_a_stream_through_a_tunnel_is_the_servers(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, path: str
) -> None:
    with Proxy() as proxy:
        engine = engine_loop(https_server.url, proxy=proxy.url, cacert=str(https_server.ca_file))

        async def read(user: User) -> tuple[int, bool, int]:
            response = await user.get(path, stream=True)
            return response.status, "set-cookie" in response.headers, len(await response.read())

        assert engine.run(read(engine.user())) == (200, False, int(path.partition("n=")[2].partition("&")[0]))
        assert [line.split()[0] for line in proxy.lines] == ["CONNECT"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_no_url_is_refused_without_a_noise(
    engine: EngineLoop, user: User, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Python 3.13 tells of an error that is swallowed while a dict is asked: a list has no hash."""
    swallowed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)

    with pytest.raises(TypeError, match="takes a URL as str, got list"):
        getattr(user, method)(["/"])
    assert swallowed == []


# Connections with TLS.


def waiting_to_be_closed() -> int:
    """Return how many connections of this process the other side has closed, and we have not."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # no socket
            connection = socket.socket(fileno=int(entry))
            try:
                found += connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE_WAIT
            finally:
                connection.detach()
    return found


def tls(server: HttpsServer, handle: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket], None]:
    """Return `handle`, for a Listener, on the other side of a handshake."""
    _, chain, _, key = server.files("bare", server.ca.issue_cert("127.0.0.1"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)

    def shake_hands(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            handle(secure)

    return shake_hands


def test_an_idle_tls_connection_that_the_server_closes_politely_is_closed(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    """What TLS says before the end is read by nobody, and must not hide the end."""
    answered, goodbye, noticed, gone = (threading.Event() for _ in range(4))

    def handle(connection: ssl.SSLSocket) -> None:
        read_head(connection)
        connection.sendall(OK + b"ok")
        answered.wait(10)
        connection.setblocking(False)
        with suppress(ssl.SSLError):
            connection.unwrap()  # says goodbye, and does not wait for an answer
        goodbye.set()
        noticed.wait(10)
        connection.close()
        gone.set()

    async def visit(user: User) -> int:
        status = (await user.get("/")).status
        answered.set()
        await until(goodbye.is_set)
        await user.pause(0.02)  # some turns, in which the pump sees the goodbye
        noticed.set()
        await until(lambda: gone.is_set() and not waiting_to_be_closed())
        return status

    async def until(predicate: Callable[[], bool]) -> None:
        while not predicate():
            await user.pause(0.01)

    with Listener(tls(https_server, handle)) as server:
        engine = engine_loop(server.url.replace("http:", "https:"), cacert=str(https_server.ca_file))
        user = engine.user()

        assert engine.run(visit(user)) == 200


# All of it at once.

PATHS = (
    "/", "/text?n=300000", "/slow?ms=20", "/stall", "/stall-body", "/close", "/close-silently", "/close-idle?ms=1",
    "/reset", "/garbage", "/half", "/chunked", "/until-close", "/gzip", "/redirect/3", "/redirect-loop", "/status/500",
    "/hints", "/cookies/set?a=1",
)  # fmt: skip


async def read_some(user: User, path: str, luck: random.Random) -> None:
    """Ask for a stream; read all of it, a part, or nothing."""
    async with await user.get(path, stream=True) as response:
        most = luck.choice([0, 1, 1000])
        async for _ in response:
            most -= 1
            if most <= 0:
                break


async def send_pieces(user: User, luck: random.Random) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(luck.randrange(5)):
            yield b"x" * luck.randrange(100_000)
            await asyncio.sleep(0)

    await user.post("/post", data=pieces())


async def do_anything(user: User, https_url: str, luck: random.Random) -> None:
    path = luck.choice(PATHS)
    choice = luck.randrange(8)
    if choice == 0:
        await read_some(user, path, luck)
    elif choice == 1:
        await send_pieces(user, luck)
    elif choice == 2:
        await user.get("/redirect-to", params={"url": https_url + luck.choice(PATHS)})
    elif choice == 3:
        await user.get(https_url + path, stream=luck.random() < 0.3)
    elif choice == 4:
        await asyncio.gather(*(user.get(luck.choice(PATHS), timeout=0.1) for _ in range(luck.randrange(12))))
    elif choice == 5:
        await user.post("/post", data=b"x" * luck.randrange(2_000_000))
    elif choice == 6:
        user.get(path)  # and does not wait for it
        await user.pause(luck.random() * 0.01)
    else:
        await user.get(path)


async def live(user: User, https_url: str, luck: random.Random, until: float) -> None:
    """Do this and that, give up some of it, and leave in the middle."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        try:
            async with asyncio.timeout(luck.choice([0.0005, 0.003, 0.02, 0.1, 0.3])):
                await do_anything(user, https_url, luck)
        except TimeoutError:
            pass
        if luck.random() < 0.1:
            user.forget()
        if luck.random() < 0.3:
            user.cut_streams()
    user.forget()


@pytest.mark.parametrize("number", range(2))
def test_whatever_users_do_what_was_started_ends_in_one_way_and_leaves_nothing(
    engine_loop: MakeEngineLoop, server: Server, https_server: HttpsServer, number: int
) -> None:
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 32)))
    print(f"TEST_SEED={seed}")
    engine = engine_loop(cacert=str(https_server.ca_file))
    users = [engine.user() for _ in range(20)]
    before = len(os.listdir("/proc/self/fd"))

    async def live_all() -> None:
        until = asyncio.get_running_loop().time() + 1
        await asyncio.gather(
            *(live(user, https_server.url, random.Random(f"{seed} {i}"), until) for i, user in enumerate(users))
        )

    engine.run(live_all())

    assert sum(user.in_flight for user in users) == 0
    rows = [engine.row(name) for name in engine.names()]
    assert all(row.started == row.answered + row.broken + row.unfinished for row in rows), rows
    answered, hops = sum(row.answered for row in rows), sum(row.hops for row in rows)
    started, resent = sum(row.started for row in rows), sum(row.resent for row in rows)
    logged = server.seen().total + https_server.seen().total
    assert answered + hops <= logged <= started + hops + resent
    assert len(os.listdir("/proc/self/fd")) <= before + 32, "libcurl keeps some connections of its own lane"
