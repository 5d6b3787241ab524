"""Time-outs and servers that are not there, in a whole run: named, counted, and never hammered."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable

import pytest
from bare import Listener
from processes import PATIENCE, lasting
from runs import Result, assert_accounts
from sites import Server, free_port

RunGaggle = Callable[..., Result]

TIMEOUT = 0.3 * PATIENCE  # seconds, in which a request reaches its server
ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")


def errors(result: Result) -> dict[tuple[str, str], int]:
    return {(row["name"], row["text"]): row["count"] for row in result.report["errors"]}


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_requests_that_take_too_long_are_failures_by_name(run_gaggle: RunGaggle, server: Server, lane: str) -> None:
    result = run_gaggle(
        """
        class Impatient(User):
            @task
            async def visit(self):
                assert (await self.get("/stall")).error == "timeout"
                assert (await self.get("/stall-body?n=1000")).status == 0
                assert (await self.get("/slow?ms=600", timeout=30)).ok
                assert (await self.get("/redirect-to?url=/stall", name="redirected")).error == "timeout"
                self.stop()
        """,
        *("-u", 4, "--timeout", TIMEOUT, "--lane", lane, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert result.task("Impatient", "visit").failures == 0, result.stderr
    assert errors(result) == {("/stall", "timeout"): 4, ("/stall-body", "timeout"): 4, ("redirected", "timeout"): 4}
    stalled = result.request("GET /stall")
    assert (stalled.answered, stalled.broken, stalled.failures) == (0, 4, 4)
    assert TIMEOUT <= stalled.response_time["min_us"] / 1e6 < 10 * TIMEOUT
    assert_accounts(result.report["totals"]["requests"], server.seen().total)
    assert server.seen().aborted == 12


def test_a_server_that_is_not_there_is_not_hammered(run_gaggle: RunGaggle) -> None:
    """A user without any wait tries at 0, 0.05, 0.15, 0.35, 0.75 and 1.55 seconds, and then every two seconds."""
    tries = [0, 0.05, 0.15, 0.35, 0.75, 1.55, *range(3, 60, 2)]
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                response = await self.get("/")
                assert response.status == 0 and not response.ok
        """,
        *("-u", 3, "-t", lasting(1), *ALL_AT_ONCE),
        host=f"http://127.0.0.1:{free_port()}",
    )

    assert result.returncode == 1, "nothing succeeded"
    row = result.request("GET /")
    assert 3 * 3 <= row.broken <= 3 * (bisect(tries, result.report["duration_s"]) + 1)
    assert errors(result) == {("/", "cannot connect: connection refused"): row.broken}
    assert row.response_time["p50_us"] < 200_000, "the pauses are not in it"


def test_connections_that_are_never_accepted_are_given_up(run_gaggle: RunGaggle, server: Server) -> None:
    """TLS that never begins: the time to connect covers it."""
    with Listener(lambda connection: connection.recv(1 << 20) and connection.recv(1)) as silent:
        result = run_gaggle(
            f"""
            class Visitor(User):
                @task
                async def visit(self):
                    assert (await self.get("https://127.0.0.1:{silent.port}/", name="silent")).error
                    assert (await self.get("/")).ok
                    self.stop()
            """,
            *("-u", 2, "--connect-timeout", 0.3, *ALL_AT_ONCE),
        )

    assert result.returncode == 0, result
    assert errors(result) == {("silent", "connect timeout"): 2}
    assert server.seen("/") == 2


def test_what_the_end_of_the_test_cuts_is_neither_success_nor_failure(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/text")
                await asyncio.gather(*(self.get("/stall") for _ in range(8)))
        """,
        *("-u", 2, "-t", lasting(0.4), "--stop-timeout", lasting(0.3), *ALL_AT_ONCE),
        timeout=20,
    )

    stalled = result.request("GET /stall")
    assert (stalled.started, stalled.answered, stalled.broken, stalled.unfinished) == (16, 0, 0, 16)
    assert stalled.response_time["count"] == 0
    assert result.task("Visitor", "visit").unfinished == 2
    assert server.seen("/stall") == 12, "six to a user; those that waited were never sent"
    assert not result.report["errors"]
    assert result.returncode == 0
