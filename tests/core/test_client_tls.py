"""HTTPS: who is believed, how a refusal is named, and that all goes as it does in the clear; HTTP/2."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from bare import Listener, Proxy, read_head
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from sites import HttpsServer, Nginx, Server

from gaggle import User, limits

MakeUser = Callable[..., User]


@pytest.fixture
def engine(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> EngineLoop:
    """An engine whose users are at the test server behind TLS, and believe it."""
    return engine_loop(https_server.url, cacert=str(https_server.ca_file))


# Who is believed.


def test_a_certificate_of_a_ca_that_is_known_is_believed(
    engine: EngineLoop, user: User, https_server: HttpsServer
) -> None:
    statuses = [engine.run(user.get("/")).status for _ in range(3)]

    assert statuses == [200] * 3
    assert (https_server.seen("/"), https_server.seen().opened) == (3, 1)


def refusal(engine_loop: MakeEngineLoop, server: Server, cacert: str) -> str:
    """Return why a request to `server` failed."""
    engine = engine_loop(server.url, cacert=cacert)
    response = engine.run(engine.user().get("/"))
    assert response.status == 0
    assert server.seen().total == 0
    assert engine.row("GET /").broken == 1
    return str(response.error)


def test_a_ca_that_nobody_knows_is_refused_by_what_the_system_trusts(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    """Without any option: the file of the system's certificates is found, which libcurl's wheel does not know of."""
    error = refusal(engine_loop, https_server, limits.ca_file(None))

    assert error.startswith("certificate refused")
    assert "issuer" in error or "self-signed" in error or "self signed" in error


def test_a_certificate_of_another_host_is_refused(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    error = refusal(engine_loop, https_server.wrong_host, str(https_server.ca_file))

    assert error.startswith("certificate refused")
    assert "subject" in error


def test_a_certificate_that_has_expired_is_refused(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    error = refusal(engine_loop, https_server.expired, str(https_server.ca_file))

    assert error.startswith("certificate refused")
    assert "expired" in error


def test_a_ca_file_that_cannot_be_read_is_an_error_by_name(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, tmp_path: Path
) -> None:
    assert refusal(engine_loop, https_server, str(tmp_path / "none.pem")) == "CA file cannot be read"


def test_a_name_of_the_certificate_is_as_good_as_the_address(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    engine = engine_loop(https_server.url.replace("127.0.0.1", "localhost"), cacert=str(https_server.ca_file))

    assert engine.run(engine.user().get("/")).ok


@pytest.mark.parametrize("which", ["good", "wrong_host", "expired"])
def test_everybody_is_believed_who_need_not_prove_anything(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, which: str
) -> None:
    server = https_server if which == "good" else getattr(https_server, which)
    engine = engine_loop(server.url, verify=False)
    user = engine.user()

    assert [engine.run(user.get("/")).status for _ in range(2)] == [200, 200]


def test_a_server_that_speaks_no_tls_is_an_error_by_name(engine_loop: MakeEngineLoop) -> None:
    with Listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain:
        engine = engine_loop(f"https://127.0.0.1:{plain.port}", cacert=limits.ca_file(None))
        response = engine.run(engine.user().get("/"))

    assert response.status == 0
    assert response.error.startswith("TLS handshake failed")


def test_a_server_that_wants_tls_is_an_error_too(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    engine = engine_loop(https_server.url.replace("https:", "http:"))

    response = engine.run(engine.user().get("/", timeout=2))

    assert (response.status, response.ok) == (0, False)
    assert response.error in ("answer is not HTTP", "closed without an answer", "connection lost")


def test_refused_certificates_are_not_asked_for_again_and_again(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    engine = engine_loop(https_server.url, cacert=limits.ca_file(None))
    user = engine.user()

    async def insist() -> int:
        tries, loop = 0, asyncio.get_running_loop()
        end = loop.time() + 0.5
        while loop.time() < end:
            await user.get("/")
            tries += 1
        return tries

    assert engine.run(insist()) <= 5


# All goes as it does in the clear.


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


# Between the two.


def test_redirects_lead_in_and_out_of_tls(
    engine: EngineLoop, user: User, server: Server, https_server: HttpsServer
) -> None:
    inwards = engine.run(
        user.get(f"{server.url}/redirect-to?url={quote(f'{https_server.url}/echo', safe='')}", auth="token")
    )
    outwards = engine.run(user.get(f"/redirect-to?url={quote(f'{server.url}/echo', safe='')}", auth="token"))

    assert inwards.url == f"{https_server.url}/echo"
    assert outwards.url == f"{server.url}/echo"
    assert "authorization" not in Echoed(inwards).headers
    assert "authorization" not in Echoed(outwards).headers


def test_secure_cookies_are_sent_over_tls(engine: EngineLoop, user: User) -> None:
    engine.run(user.get("/cookies/set?__Host-a=1&attributes=Path=/; Secure; HttpOnly"))

    assert engine.run(user.get("/cookies")).text == "__Host-a=1"


# Proxies.


def test_tls_goes_through_a_tunnel(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    with Proxy() as proxy:
        engine = engine_loop(https_server.url, cacert=str(https_server.ca_file), proxy=proxy.url)
        user = engine.user()
        responses = [engine.run(user.get("/echo", auth="secret", headers={"X-Mine": "1"})) for _ in range(2)]
        proxy_cookies = dict(user.cookies.items())

        assert [Echoed(response).headers["authorization"] for response in responses] == ["Bearer secret"] * 2
        assert proxy.lines == [f"CONNECT {https_server.url.removeprefix('https://')} HTTP/1.1"], "one for both"
        assert b"secret" not in proxy.heads[0], "what is for the server is not for the proxy"
        assert b"X-Mine" not in proxy.heads[0]
        assert proxy_cookies == {}


def test_a_tunnel_that_is_refused_is_an_error_by_name(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    with Proxy(refuses=True) as proxy:
        engine = engine_loop(https_server.url, cacert=str(https_server.ca_file), proxy=proxy.url)

        response = engine.run(engine.user().get("/"))

    assert response.status == 0
    assert response.error == "cannot connect: the proxy answered 403"


# HTTP/2.


def test_http2_is_spoken_where_it_is_asked_for(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file))

    one, two = engine.run(engine.user().get("/")), engine.run(engine.user().get("/", http_version="2"))

    assert [(each.status, each.http_version, each.text, each.reason) for each in (one, two)] == [
        (200, "1.1", "hello\n", "OK"),
        (200, "2", "hello\n", ""),
    ]
    assert [hit.protocol for hit in nginx.log()] == ["HTTP/1.1", "HTTP/2.0"]


def test_http2_carries_many_requests_on_one_connection(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file), http_version="2")
    user = engine.user()

    async def at_once() -> list[int]:
        found = await asyncio.gather(
            *(user.get(path) for path in ("/", "/page.html", "/big.bin", "/404", "/small.txt") * 4)
        )
        return [len(response.body) for response in found]

    sizes = engine.run(at_once())

    hits = nginx.log()
    assert [sizes[index] for index in (0, 1, 2, 4)] == [6, 15_000, 1 << 20, 8]
    assert sizes[:5] == sizes[5:10] == sizes[15:]
    assert len(hits) == 20
    assert len({hit.connection for hit in hits}) == 1
    assert {hit.protocol for hit in hits} == {"HTTP/2.0"}


def test_http2_carries_bodies_redirects_streams_and_cancelled_requests(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file), http_version="2")
    user = engine.user()

    async def everything() -> tuple[int, int, int]:
        posted = await user.post("/204", data=b"x" * 100_000)
        moved = await user.get("/redirect")
        streamed = await user.get("/big.bin", stream=True)
        size = len(await streamed.read())
        async with await user.get("/big.bin", stream=True) as response:
            await anext(response)
        assert (await user.get("/")).http_version == "2"
        return posted.status, len(moved.history), size

    assert engine.run(everything()) == (204, 1, 1 << 20)
    assert engine.row("GET /big.bin").unfinished == 1


def test_a_server_without_http2_is_spoken_to_as_it_can(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    engine = engine_loop(https_server.url, cacert=str(https_server.ca_file), http_version="2")

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.http_version) == (200, "1.1")
