"""Servers that people run: they have logged what the report says, at any keep-alive limit and while they are reloaded.

All the others, and 25 times as many requests: tests/soak/test_real_servers.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from real_servers import HttpLibrary, Nginx, RealServer, running
from runs import Gaggle, Result
from visits import ALL, LANES, assert_agrees, assert_limits_held, visiting

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

USERS = 12  # two a door
REQUESTS = 2_000
RELOADS = 3
BETWEEN_RELOADS = 200  # requests


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", [Nginx, HttpLibrary], ids=lambda kind: kind.__name__)
def test_a_server_has_logged_what_the_report_says(kind: type[RealServer], lane: str, run_gaggle: RunGaggle) -> None:
    with running(kind) as server:
        load_test = visiting(server, server.doors, quota=REQUESTS // USERS + 1)
        result = run_gaggle(
            load_test, "-u", USERS, "--lane", lane, "--cacert", server.ca_file, *ALL, host=server.doors[0].url
        )
        server.stop()
        hits = server.hits()

    assert_agrees(result, hits)
    assert result.total("started") >= REQUESTS
    assert_limits_held(hits, server.doors)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", [Nginx], ids=lambda kind: kind.__name__)
def test_no_request_is_lost_while_a_server_reloads(
    kind: type[RealServer], lane: str, start_gaggle: StartGaggle
) -> None:
    with running(kind) as server:
        load_test = visiting(server, server.doors)
        gaggle = start_gaggle(
            load_test, "-u", USERS, "--lane", lane, "--cacert", server.ca_file, *ALL, host=server.doors[0].url
        )
        for _ in range(RELOADS):
            server.wait_for(BETWEEN_RELOADS)
            server.reload()
        server.wait_for(BETWEEN_RELOADS)
        gaggle.signal(signal.SIGINT)
        result = gaggle.finish()
        server.stop()
        hits = server.hits()

    assert_agrees(result, hits)


AGAIN = """
    class Visitor(User):
        @on_start
        async def come(self):
            for visit in range(5):
                await self.get(f"/page?id={self.number}.{visit}")
            self.stop()

        @task
        async def nothing(self):
            pass
"""


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(("resume", "resumed"), [("yes", 4 * 4), ("no", 0)])
def test_a_user_that_connects_again_resumes_its_tls_session(
    resume: str, resumed: int, lane: str, run_gaggle: RunGaggle
) -> None:
    with running(Nginx) as server:
        once = next(door for door in server.doors if door.name == "https-1")
        arguments = ("-u", 4, "--lane", lane, "--cacert", server.ca_file, "--tls-resume", resume, *ALL)
        result = run_gaggle(AGAIN, *arguments, host=once.url)
        server.stop()
        hits = server.hits()

    assert result.total("answered") == len(hits) == 4 * 5
    assert sum(hit.resumed for hit in hits) == resumed
