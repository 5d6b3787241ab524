"""Memory and descriptors stay where they are, however many requests are made and however badly they are answered."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from processes import eventually
from procfs import descriptors, own_bytes
from runs import Gaggle, Result
from sites import Nginx, Server, has_nginx

MEGABYTE = 1 << 20
SAMPLES = 20

# The supervisor keeps a series, at most 240 points a name, and of each name histograms that fill ever more slowly.
KEPT = {"supervisor": 4 * MEGABYTE}

# Half of the users meet nginx, which is fast; the other half the test server, which is not nice.
MIXED = """
    from gaggle import *
    import asyncio

    NAMES = [f"name {{i}}" for i in range(15)]
    URLS = ["/", "/small.txt", "/page.html", "/404", "/500", "/204", "/redirect"]
    TROUBLE = [
        "/status/503", "/redirect/3", "/close", "/close-idle?ms=0", "/close-silently", "/reset", "/garbage", "/half",
        "/until-close", "/chunked?n=2000", "/gzip?n=5000", "/headers?n=50", "/cookies/set?a=1&b=2", "/hints",
    ]

    class Fast(User):
        weight = 1
        host = {nginx!r}

        @task(9)
        async def visit(self):
            for url in URLS:
                (await self.get(url, name=self.random.choice(NAMES))).headers.get("content-type")

        @task
        async def at_once(self):
            bodies = [response.text for response in await asyncio.gather(*(self.get(url) for url in URLS * 2))]

    class Unlucky(User):
        weight = 1
        host = {server!r}

        @task(5)
        async def visit(self):
            response = await self.get(self.random.choice(TROUBLE), timeout=5)
            response.headers, response.text, response.history, self.cookies
            if self.random.random() < 0.1:
                response.fail(f"not to my taste: {{self.random.randint(1, 5)}}")

        @task(2)
        async def form(self):
            fields, body = {{"a": str(self.random.random())}}, b"x" * self.random.randint(1, 9000)
            await self.post("/json", json=fields)
            await self.post("/post", data=body, headers={{"X-Size": str(len(body))}})
            await self.post("/upload", data=fields, files={{"file": body}})

        @task
        async def impatient(self):
            async with asyncio.timeout(0.005):
                await asyncio.gather(self.get("/stall"), self.get("/stall-body"), self.get("/slow?ms=20"))

        @task
        async def stream(self):
            size = {{"n": self.random.randint(1, 90_000)}}
            response = await self.get("/bytes", params=size, name="bytes", stream=True)
            async for piece in response:
                if self.random.random() < 0.2:
                    break

        @task
        async def uploads(self):
            async def pieces():
                for _ in range(5):
                    yield b"y" * 3000
            await self.post("/post", data=pieces(), name="streamed")

        @task
        async def reborn(self):
            self.forget()
            self.headers["X-Life"] = str(self.random.random())
            await self.get("/cookies")
"""


@dataclass(frozen=True)
class Size:
    """What the processes of a run hold: the least of several looks, since requests come and go."""

    memory: dict[str, int]
    descriptors: dict[str, int]

    @classmethod
    def of(cls, pids: dict[str, int]) -> Size:
        looks = [{name: (own_bytes(pid), len(descriptors(pid))) for name, pid in pids.items()} for _ in range(SAMPLES)]
        least = {name: tuple(map(min, zip(*(look[name] for look in looks), strict=True))) for name in pids}
        return cls({name: size[0] for name, size in least.items()}, {name: size[1] for name, size in least.items()})


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nginx, Server]]:
    if not has_nginx():
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    nginx, server = Nginx(tmp_path_factory.mktemp("nginx")), Server()
    yield nginx, server
    nginx.stop()
    server.stop()


@pytest.fixture
def run(tmp_path: Path, sites: tuple[Nginx, Server]) -> Iterator[Gaggle]:
    """A run of twenty users on one engine, that goes on until it is told to stop."""
    path = tmp_path / "loadtest.py"
    path.write_text(dedent(MIXED.format(nginx=sites[0].url, server=sites[1].url)))
    arguments = ("--users", "20", "--hatch-rate", "1000", "--engines", "1", "--stop-timeout", "2s")
    gaggle = Gaggle(path, *arguments, folder=tmp_path)
    yield gaggle
    gaggle.end()


def grows(run: Gaggle, sites: tuple[Nginx, Server], first: int, last: int, timeout: float) -> tuple[Size, Size]:
    """Return the sizes of the run's processes after `first` and after `last` requests."""
    nginx, server = sites
    begun = nginx.status()["requests"] + server.seen().total
    (engine,) = eventually(run.engines)
    pids = {"supervisor": run.pid, "launcher": run.launchers()[0], "engine": engine}

    def size_after(requests: int) -> Size:
        made: Callable[[], bool] = lambda: nginx.status()["requests"] + server.seen().total >= begun + requests  # noqa: E731
        eventually(made, timeout, f"{requests:,} requests")
        return Size.of(pids)

    return size_after(first), size_after(last)


def assert_flat(before: Size, after: Size, limit: int) -> None:
    grown = {name: after.memory[name] - before.memory[name] for name in before.memory}
    too_much = {name for name, more in grown.items() if more >= limit + KEPT.get(name, 0)}
    assert not too_much, f"grown by {grown} bytes to {after.memory}"
    more = {name: after.descriptors[name] - before.descriptors[name] for name in before.descriptors}
    assert max(more.values()) <= 20, f"{more} descriptors more: {after.descriptors}"  # one a user: they come and go


def finish(run: Gaggle) -> Result:
    run.signal(signal.SIGINT)
    return run.finish()


def test_sixty_thousand_requests_leave_nothing_behind(run: Gaggle, sites: tuple[Nginx, Server]) -> None:
    before, after = grows(run, sites, 30_000, 75_000, timeout=60)

    assert_flat(before, after, 2 * MEGABYTE)  # 45 bytes a request
    assert finish(run).incidents == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_requests_leave_nothing_behind(run: Gaggle, sites: tuple[Nginx, Server]) -> None:
    before, after = grows(run, sites, 100_000, 1_000_000, timeout=1800)

    assert_flat(before, after, 4 * MEGABYTE)  # 4 bytes a request
    assert finish(run).incidents == []
