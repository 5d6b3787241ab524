"""HTTPS: who is believed, how a refusal is named, and how one gets in and out of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from bare import Listener, Proxy
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop
from sites import HttpsServer, Server

from gaggle import User, limits


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
