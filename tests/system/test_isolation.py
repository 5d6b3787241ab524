"""Users share nothing: cookies, connections and answers are their own, whatever numbers descriptors have."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from processes import eventually, lasting
from procfs import CLOSE_WAIT, ESTABLISHED, cpu_seconds, descriptors, sockets_to
from runs import Gaggle, Result
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

LANES = ("auto", "libcurl")
AT_ONCE = ("--hatch-rate", 10_000, "--no-reset-metrics")

# The server gives each connection that has no cookie a tag; a user must meet its first tag again and again.
TAGGED = """
    class Tagged(User):
        tag = None

        @task
        async def visit(self):
            seen = (await self.get(f"/tag?user={self.number}", name="/tag")).json()
            if self.tag is None:
                assert seen["tag"] is None, seen
                self.tag = f"c{seen['connection']}"
            else:
                assert seen["tag"] == self.tag == f"c{seen['connection']}", seen
            assert self.cookies["tag"] == self.tag
            await asyncio.sleep(self.random.uniform(0, 0.02))

        @task
        async def many(self):
            await asyncio.gather(*(self.get(f"/?user={self.number}", name="/") for _ in range(10)))
"""


@pytest.mark.parametrize("lane", LANES)
def test_fifty_users_on_two_engines_share_no_cookie_and_no_connection(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    source = TAGGED.replace("@task\n        async def many", "async def many")

    result = run_gaggle(source, "-u", 50, "--engines", 2, "-t", lasting(1), "--lane", lane, *AT_ONCE)

    connections = server.seen().connections
    assert result.report["errors"] == []
    assert len(connections) == 50  # kept alive: one a user
    assert sorted(user for connection in connections for user in connection["users"]) == sorted(map(str, range(1, 51)))
    assert result.returncode == 0


@pytest.mark.parametrize("lane", LANES)
def test_requests_at_the_same_time_use_up_to_six_connections_of_the_user_s_own(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    source = TAGGED.replace("== self.tag == f\"c{seen['connection']}\"", "== self.tag")

    result = run_gaggle(source, "-u", 20, "-t", lasting(0.7), "--lane", lane, *AT_ONCE)

    connections = server.seen().connections
    assert result.report["errors"] == []
    assert all(len(connection["users"]) == 1 for connection in connections)
    assert 20 < len(connections) <= 20 * 6


# Each response must be the one that its user asked for. Connections end after every response, and while one is awaited.
ECHOES = """
    class Echoing(User):
        headers = {"Connection": "close"}

        async def ask(self, **options):
            sent = f"{self.number}-{self.random.random()}"
            response = await self.get("/echo", params={"user": sent}, name="/echo", **options)
            if response.error is None:
                got = response.json()["query"]["user"]
                assert got == sent, f"{got} instead of {sent}"

        @task(6)
        async def echo(self):
            await self.ask()

        @task(6)
        async def sized(self):  # the server ends the connection, which is the end of the body
            size = self.number * 3 + 1
            response = await self.get(f"/until-close?n={size}", name="/until-close")
            if response.error is None:
                assert len(response.body) == size, f"{len(response.body)} bytes instead of {size}"

        @task(2)
        async def twice(self):
            await asyncio.gather(self.ask(), self.ask(headers={"Connection": "keep-alive"}))

        @task(1)
        async def impatient(self):
            try:
                async with asyncio.timeout(0.01):
                    await self.get("/slow?ms=30")
            except TimeoutError:
                pass

        @task(1)
        async def unlucky(self):
            await self.get(self.random.choice(("/close-silently", "/reset", "/half", "/garbage")))
"""


@pytest.mark.parametrize("lane", LANES)
def test_no_response_reaches_another_user_when_the_kernel_reuses_descriptors(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(ECHOES, "-u", 1000, "-t", lasting(1.5), "--engines", 1, "--lane", lane, *AT_ONCE)

    echoes = result.request("GET /echo")
    assert [error["text"] for error in result.report["errors"] if error["kind"] == "task"] == []
    assert echoes.answered > 500
    assert result.request("GET /until-close").answered > 500
    assert server.seen().opened > 1000
    assert result.incidents == []


SHORT_LIVED = """
    class ShortLived(User):
        session = "pass"

        @task
        async def visit(self):
            seen = (await self.get("/tag")).json()
            assert seen["tag"] is None, seen
            again = (await self.get("/tag")).json()
            assert again["tag"] == f"c{seen['connection']}" and again["connection"] == seen["connection"], again
"""


@pytest.mark.parametrize("lane", LANES)
def test_a_user_whose_session_is_a_pass_is_a_new_visitor_each_time(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(SHORT_LIVED, "-u", 10, "-t", lasting(0.4), "--lane", lane, *AT_ONCE)

    passes = result.report["users_by_class"][0]
    assert result.report["errors"] == []
    assert len(server.seen().connections) == passes["started"] > 20


# Connections that the server ends while nobody uses them.

IDLE = """
    class Idle(User):
        wait_time = constant(60)

        @task
        async def visit(self):
            await asyncio.gather(*(self.get("/close-idle?ms=50") for _ in range(3)))
"""
WINDOW_SECONDS = 1.0


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.timed
def test_idle_connections_that_the_server_ends_cost_nothing(
    lane: str, start_gaggle: StartGaggle, server: Server
) -> None:
    """3.7 million wake-ups in three seconds, it was in a prototype that let epoll tell of them."""
    gaggle = start_gaggle(IDLE, "-u", 40, "--engines", 2, "--lane", lane, *AT_ONCE)
    port = int(server.url.rpartition(":")[2])
    eventually(lambda: server.seen("GET /close-idle") == 3 * 40)
    eventually(lambda: sockets_to(port, ESTABLISHED) == 0, what="the server has closed them all")

    before = [cpu_seconds(engine) for engine in gaggle.engines()]
    until = time.monotonic() + WINDOW_SECONDS
    eventually(lambda: time.monotonic() > until)
    used = [cpu_seconds(engine) - seconds for engine, seconds in zip(gaggle.engines(), before, strict=True)]

    assert max(used) < 0.1 * WINDOW_SECONDS
    assert sockets_to(port, CLOSE_WAIT) == 0
    gaggle.signal(signal.SIGINT)
    assert gaggle.finish().returncode == 0


COMING_BACK = """
    class ComingBack(User):
        @task
        async def visit(self):
            await self.get("/close-idle?ms=1")
            await asyncio.sleep(0.03)
"""


@pytest.mark.parametrize("lane", LANES)
def test_ended_connections_do_not_pile_up(lane: str, start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(COMING_BACK, "-u", 20, "--engines", 1, "--lane", lane, *AT_ONCE)
    port = int(server.url.rpartition(":")[2])
    (engine,) = eventually(gaggle.engines)

    eventually(lambda: server.seen("GET /close-idle") > 20 * 20)

    assert len([target for target in descriptors(engine) if target.startswith("socket:")]) < 20 * 2 + 10
    assert sockets_to(port, CLOSE_WAIT) <= 20
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()
    assert result.request("GET /close-idle").failures == 0
    assert (
        server.seen().opened > server.seen("GET /close-idle") // 2
    )  # most of them had ended before they were used again
