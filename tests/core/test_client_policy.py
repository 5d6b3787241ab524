"""What all requests of a run have in common by options: headers, where connections come from and lead to, TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from bare import Listener, plain, read_head
from echoed import Echoed, elsewhere, to
from in_process import EngineLoop, MakeEngineLoop
from sites import HttpsServer, Nginx, Server

from gaggle import User
from gaggle._core import transfer_has_http3


class Visitor(User):
    headers = {"X-Class": "class", "User-Agent": "class"}


# Headers.


def test_headers_of_the_options_win_over_the_class_and_the_request_over_both(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(headers={"x-class": "option", "User-Agent": "option", "X-Option": "ä"})
    user = engine.user(Visitor)

    plain_one, own = (Echoed(engine.run(user.get("/echo", **more))) for more in ({}, {"headers": {"X-Class": "own"}}))

    assert [plain_one.headers[name] for name in ("x-class", "user-agent")] == ["option", "option"]
    assert plain_one.headers["x-option"].encode("latin-1").decode() == "ä"
    assert own.headers["x-class"] == "own"
    assert plain_one.names.count("x-class") == 1


def test_bodies_are_not_asked_for_in_gzip_where_the_header_is_taken_away(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(headers={"Accept-Encoding": None})
    user = engine.user()

    echoed = Echoed(engine.run(user.get("/echo")))
    sent_all_the_same = engine.run(user.get("/gzip"))

    assert "accept-encoding" not in echoed.headers
    assert len(sent_all_the_same.text) > 0
    assert sent_all_the_same.ok


# Redirects to another host.


@pytest.mark.parametrize(("sticky", "asked"), [(False, "127.0.0.1"), (True, "localhost")])
def test_a_redirect_to_another_host_moves_the_user_there_where_that_is_asked_for(
    engine_loop: MakeEngineLoop, server: Server, sticky: bool, asked: str
) -> None:
    engine = engine_loop(sticky=sticky)
    user, other = engine.user(), engine.user()

    engine.run(user.get(to(f"{elsewhere(server)}/echo")))
    hosts = [Echoed(engine.run(each.get("/echo"))).headers["host"].partition(":")[0] for each in (user, other)]

    assert hosts == [asked, "127.0.0.1"]
    assert str(user.host).rstrip("/") == server.url.replace("127.0.0.1", asked)


def test_only_redirects_from_the_users_own_host_move_it(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(sticky=True)
    user = engine.user()

    engine.run(user.get(elsewhere(server) + to(f"{server.url}/echo")))
    engine.run(user.get("/redirect/2"))

    assert str(user.host).rstrip("/") == server.url


# Where connections lead, and come from.


def test_a_name_leads_where_the_options_say(engine_loop: MakeEngineLoop, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    engine = engine_loop(f"http://shop.example:{port}", resolve=[f"shop.example:{port}:127.0.0.1"])

    echoed = Echoed(engine.run(engine.user().get("/echo")))

    assert echoed.headers["host"] == f"shop.example:{port}"


def test_a_connection_goes_where_the_options_say_and_the_request_does_not_know(
    engine_loop: MakeEngineLoop, server: Server
) -> None:
    engine = engine_loop("http://shop.example", connect_to=["shop.example:80:" + server.url.removeprefix("http://")])
    users = [engine.user() for _ in range(2)]

    hosts = [Echoed(engine.run(user.get("/echo"))).headers["host"] for user in (*users, *users)]

    assert hosts == ["shop.example"] * 4
    assert server.seen().opened == 2


@pytest.fixture
def peers() -> Iterator[tuple[Listener, list[str]]]:
    """A server, and the addresses that connections to it came from."""
    found: list[str] = []

    def answer(connection: socket.socket) -> None:
        found.append(connection.getpeername()[0])
        while read_head(connection):
            connection.sendall(plain(b"x"))

    with Listener(answer) as listener:
        yield listener, found


def test_users_take_turns_at_several_source_addresses(
    engine_loop: MakeEngineLoop, peers: tuple[Listener, list[str]]
) -> None:
    listener, found = peers
    engine = engine_loop(listener.url, sources=["host!127.0.0.2", "host!127.0.0.3", "if!lo"])
    users = [engine.user() for _ in range(6)]

    statuses = [engine.run(user.get("/")).status for user in (*users, *users)]

    assert statuses == [200] * 12
    assert found == ["127.0.0.2", "127.0.0.3", "127.0.0.1"] * 2


def test_an_address_that_is_not_ours_is_an_error_by_name(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(sources=["host!192.0.2.1"])

    response = engine.run(engine.user().get("/"))

    assert response.error == "cannot connect from the source address"
    assert server.seen().total == 0


# TLS.


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_is_spoken_in_the_version_that_is_asked_for(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, version: str
) -> None:
    ciphers = {"1.2": "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", "1.3": "TLS_AES_128_GCM_SHA256"}
    engine = engine_loop(
        https_server.url, cacert=str(https_server.ca_file), tls_version=version, ciphers=ciphers[version]
    )

    assert engine.run(engine.user().get("/")).status == 200


def test_a_version_and_ciphers_that_do_not_fit_are_an_error(
    engine_loop: MakeEngineLoop, https_server: HttpsServer
) -> None:
    engine = engine_loop(
        https_server.url, cacert=str(https_server.ca_file), tls_version="1.2", ciphers="ECDHE-PSK-AES128-CBC-SHA256"
    )

    response = engine.run(engine.user().get("/"))

    assert response.status == 0
    assert str(response.error).startswith("TLS handshake failed")
    assert https_server.seen().total == 0


def client_certificate(ca: trustme.CA, folder: Path) -> tuple[str, str]:
    """Return the paths of a certificate and its key."""
    issued = ca.issue_cert("user@shop.example")
    issued.cert_chain_pems[0].write_to_path(folder / "client.pem")
    issued.private_key_pem.write_to_path(folder / "client.key")
    return str(folder / "client.pem"), str(folder / "client.key")


@pytest.mark.parametrize("how", ["none", "two files", "one file"])
def test_a_server_that_wants_a_certificate_of_its_client_gets_it(
    engine_loop: MakeEngineLoop, https_server: HttpsServer, tmp_path: Path, how: str
) -> None:
    cert, key = client_certificate(https_server.ca, tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(Path(cert).read_text() + Path(key).read_text())
    given = {"none": {}, "two files": {"cert": cert, "key": key}, "one file": {"cert": str(both)}}[how]
    strict = Server(
        *https_server.files("strict", https_server.ca.issue_cert("127.0.0.1")), "--client-ca", https_server.ca_file
    )
    engine = engine_loop(strict.url, cacert=str(https_server.ca_file), **given)

    try:
        statuses = [engine.run(user.get("/", timeout=5)).status for user in (engine.user(), engine.user())]
    finally:
        strict.stop()

    assert statuses == ([0, 0] if how == "none" else [200, 200])


# HTTP/3.


def test_http3_needs_https(engine: EngineLoop, user: User) -> None:
    with pytest.raises(ValueError, match="HTTP/3 needs"):
        user.get("/", http_version="3")


@pytest.mark.skipif(not transfer_has_http3(), reason="this libcurl has no HTTP/3")
def test_a_server_without_http3_is_spoken_to_as_it_can(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file), http_version="3", connect_timeout=5)

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.http_version) == (200, "2")
