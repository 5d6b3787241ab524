"""50,000 requests to each server that people run, plain and TLS, at each keep-alive limit; as many under reloads."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from real_servers import LIMITS, RELOADED, SERVERS, Door, RealServer, running
from runs import Gaggle, Result
from visits import ALL, LANES, assert_agrees, assert_limits_held, visiting

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

pytestmark = pytest.mark.soak

USERS = 40
REQUESTS = 50_000
BETWEEN_RELOADS = 1_000  # requests
LONGEST_SECONDS = 1_200.0


def door_of(server: RealServer, scheme: str, limit: int) -> Door:
    return next(door for door in server.doors if (door.scheme, door.limit) == (scheme, limit))


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__)
def test_a_server_has_logged_what_the_report_says(
    kind: type[RealServer], scheme: str, limit: int, lane: str, run_gaggle: RunGaggle
) -> None:
    with running(kind) as server:
        doors = [door_of(server, scheme, limit)]
        load_test = visiting(server, doors, quota=REQUESTS // USERS + 1)
        arguments = ("-u", USERS, "--lane", lane, "--cacert", server.ca_file, *ALL)
        result = run_gaggle(load_test, *arguments, host=doors[0].url, timeout=LONGEST_SECONDS)
        server.stop()
        hits = server.hits()

    assert_agrees(result, hits)
    assert result.total("started") >= REQUESTS
    assert_limits_held(hits, doors)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", RELOADED, ids=lambda kind: kind.__name__)
def test_no_request_is_lost_while_a_server_reloads(
    kind: type[RealServer], scheme: str, lane: str, start_gaggle: StartGaggle
) -> None:
    with running(kind) as server:
        doors = [door for door in server.doors if door.scheme == scheme]
        arguments = ("-u", USERS, "--lane", lane, "--cacert", server.ca_file, *ALL)
        gaggle = start_gaggle(visiting(server, doors), *arguments, host=doors[0].url)
        while server.lines() < REQUESTS:
            server.wait_for(BETWEEN_RELOADS)
            server.reload()
        gaggle.signal(signal.SIGINT)
        result = gaggle.finish()
        server.stop()
        hits = server.hits()

    assert_agrees(result, hits)
