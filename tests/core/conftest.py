"""Fixtures of the core's tests: the test server, and an engine's event loop in this very process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from in_process import EngineLoop, MakeEngineLoop
from sites import HttpsServer, Nginx, Server, has_nginx

from gaggle import User


@pytest.fixture(scope="session")
def server_process() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(server_process: Server) -> Server:
    """The test server: `.url`; `.seen()` is all it saw, `.seen("GET /path")` a number; `.reset()` forgets it."""
    server_process.start_over()
    return server_process


@pytest.fixture(scope="session")
def https_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    server = HttpsServer(tmp_path_factory.mktemp("https"))
    yield server
    for each in server.servers():
        each.stop()


@pytest.fixture
def https_server(https_server_process: HttpsServer) -> HttpsServer:
    """The test server behind TLS, trusted by `.ca_file`; `.wrong_host` and `.expired` are servers that must not be."""
    for each in https_server_process.servers():
        each.start_over()
    return https_server_process


@pytest.fixture(scope="session")
def nginx_process(tmp_path_factory: pytest.TempPathFactory, https_server_process: HttpsServer) -> Iterator[Nginx]:
    if not has_nginx():
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder = https_server_process.folder
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), (folder / "good.pem", folder / "good.key"))
    yield nginx
    nginx.stop()


@pytest.fixture
def nginx(nginx_process: Nginx) -> Nginx:
    """nginx: `.https_url` speaks HTTP/2 (trust `https_server.ca_file`); `.log()` is what it saw."""
    nginx_process.reset()
    return nginx_process


@pytest.fixture(params=["fast", "libcurl"])
def lane(request: pytest.FixtureRequest) -> str:
    """What speaks HTTP/1.1: whoever uses an engine loop runs once in each lane, and must see the same."""
    return str(request.param)


@pytest.fixture
def engine_loop(request: pytest.FixtureRequest, lane: str) -> Iterator[MakeEngineLoop]:
    """Return `engine_loop(base=None, **settings)`, which returns an `EngineLoop`; once a test.

    Paths are joined to `base`: None is the fixture `server`, "" leaves the users without a host.
    """
    made: list[EngineLoop] = []

    def make(base: str | None = None, **settings: Any) -> EngineLoop:
        assert not made, "one pump at a time"
        chosen = request.getfixturevalue("server").url if base is None else base or None
        made.append(EngineLoop(chosen, {"lane": lane} | settings))
        return made[0]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def engine(engine_loop: MakeEngineLoop) -> EngineLoop:
    """An `EngineLoop` as the options' defaults make it, its users at the fixture `server`."""
    return engine_loop()


@pytest.fixture
def user(engine: EngineLoop) -> User:
    """A user of `engine`."""
    return engine.user()
