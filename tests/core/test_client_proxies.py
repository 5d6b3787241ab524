"""Proxies: named, of the environment, or ignored. Tunnels are in test_client_tls.py."""

from __future__ import annotations

import pytest
from bare import Proxy
from in_process import EngineLoop, MakeEngineLoop
from sites import Server, free_port

from gaggle import User

# Proxies.


@pytest.fixture
def environment_proxy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A proxy that the environment asks for, and that is not there."""
    url = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return url


def test_a_proxy_of_the_environment_is_ignored(engine: EngineLoop, user: User, environment_proxy: str) -> None:
    assert engine.run(user.get("/")).ok


def test_a_proxy_of_the_environment_is_used_when_it_is_asked_for(
    engine_loop: MakeEngineLoop, server: Server, environment_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        engine = engine_loop(proxy="env")
        response = engine.run(engine.user().get("/echo"))

        assert response.ok
        assert proxy.lines == [f"GET {server.url}/echo HTTP/1.1"]


def test_no_proxy_of_the_environment_is_heeded(
    engine_loop: MakeEngineLoop, environment_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,example.com")
    engine = engine_loop(proxy="env")

    assert engine.run(engine.user().get("/")).ok


def test_requests_go_through_a_proxy(engine_loop: MakeEngineLoop, server: Server) -> None:
    with Proxy() as proxy:
        engine = engine_loop(proxy=proxy.url)
        user = engine.user()
        statuses = [engine.run(user.get("/echo?a=1")).status, engine.run(user.post("/post", data="x")).status]

        assert statuses == [200, 200]
        assert proxy.lines == [f"GET {server.url}/echo?a=1 HTTP/1.1", f"POST {server.url}/post HTTP/1.1"]
        assert server.seen().total == 2


def test_a_proxy_that_is_not_there_is_an_error_by_name(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(proxy=f"http://127.0.0.1:{free_port()}")

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.error) == (0, "cannot connect: connection refused")
    assert server.seen().total == 0


def test_an_answer_of_the_proxy_is_an_answer(engine_loop: MakeEngineLoop) -> None:
    with Proxy(refuses=True) as proxy:
        engine = engine_loop(proxy=proxy.url)

        assert engine.run(engine.user().get("/")).status == 403
