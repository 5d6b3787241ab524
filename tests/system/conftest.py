"""Fixtures of the system tests: something to aim at, a load test, and the command `gaggle` to run it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from flock import Flock
from runs import Gaggle, Result
from sites import DemoSite, HttpsServer, Nginx, Server, has_nginx

PRELUDE = "import asyncio, random, time; from gaggle import *"
STOPPING_SECONDS = 15.0

LoadTestFile = Callable[..., Path]
StartGaggle = Callable[..., Gaggle]
RunGaggle = Callable[..., Result]


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
    """nginx: `.url`, `.https_url` (HTTP/2; trust `https_server.ca_file`); `.log()`, `.seen("/path")`, `.status()`."""
    nginx_process.reset()
    return nginx_process


@pytest.fixture
def zeromq() -> None:
    pytest.importorskip("zmq", reason="a gaggle needs pyzmq: pip install 'gaggle-loadtest[gaggle]'")


@pytest.fixture
def flock(flock_file: Path, tmp_path: Path, zeromq: None) -> Iterator[Flock]:
    """A gaggle of the module's own `flock_file`, a load test; all its processes end with the test."""
    with Flock(flock_file, tmp_path) as flock:
        yield flock


@pytest.fixture(scope="session")
def demo_site_process() -> Iterator[DemoSite]:
    pytest.importorskip("aiohttp", reason="the demo site needs aiohttp: pip install 'gaggle-loadtest[demo]'")
    site = DemoSite()
    yield site
    site.stop()


@pytest.fixture
def demo_site(demo_site_process: DemoSite) -> DemoSite:
    """examples/demo_site.py: `.url`; `.seen()` counts by route, `.seen("GET /node/{nid}", 200)` is a number."""
    demo_site_process.reset()
    return demo_site_process


@pytest.fixture
def load_test(tmp_path: Path) -> LoadTestFile:
    """Return `load_test(source, name="loadtest.py")`, which writes a load test and returns its path.

    All names of gaggle are imported in the first line, in place of the empty one that a triple-quoted source begins
    with: so lines have the numbers that they have in the source.
    """

    def write(source: str, name: str = "loadtest.py") -> Path:
        path = tmp_path / name
        source = source if source.startswith("\n") else f"\n{source}"
        path.write_text(PRELUDE + dedent(source))
        return path

    return write


@pytest.fixture
def start_gaggle(request: pytest.FixtureRequest, tmp_path: Path, load_test: LoadTestFile) -> Iterator[StartGaggle]:
    """Return `start_gaggle(load_test, *arguments, host=None, env=None)`, which returns the running `Gaggle`.

    `load_test` is a path, or a source that is written to loadtest.py. Requests go to `host`: None is the fixture
    `server`, "" gives no --host. Whatever still runs at the end of the test is told to stop, then killed; a process
    that outlives its gaggle fails the test.
    """
    started: list[Gaggle] = []

    def start(
        source: str | Path, *arguments: Any, host: str | None = None, env: Mapping[str, str] | None = None
    ) -> Gaggle:
        path = source if isinstance(source, Path) else load_test(source)
        if host is None and not {"--host", "-H"} & set(arguments):
            host = request.getfixturevalue("server").url
        words = [*(["--host", host] if host else []), *map(str, arguments)]
        folder = tmp_path / f"run{len(started) + 1}"
        folder.mkdir()
        started.append(Gaggle(path, *words, folder=folder, env=env))
        return started[-1]

    yield start
    left = [line for gaggle in started for line in stop(gaggle)]
    assert not left, f"left behind: {left}"


def stop(gaggle: Gaggle) -> list[str]:
    """End a run that a test has not waited for; return what outlived it."""
    if gaggle.popen.poll() is None:
        gaggle.signal(signal.SIGTERM)
        try:
            gaggle.popen.wait(STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            gaggle.end()
    return gaggle.survivors()


@pytest.fixture
def run_gaggle(start_gaggle: StartGaggle) -> RunGaggle:
    """Return `run_gaggle(load_test, *arguments, host=None, timeout=60, env=None)`: as `start_gaggle`, to the end."""

    def run(
        source: str | Path,
        *arguments: Any,
        host: str | None = None,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        return start_gaggle(source, *arguments, host=host, env=env).finish(timeout)

    return run
