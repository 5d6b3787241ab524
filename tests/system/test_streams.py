"""Streams in a whole run: read, left, and cut by the end of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import eventually, lasting
from runs import Gaggle, Result, assert_accounts
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_streams_are_answered_or_unfinished_and_never_lost(run_gaggle: RunGaggle, server: Server, lane: str) -> None:
    result = run_gaggle(
        """
        @sequence
        class Listener(User):
            @task
            async def read(self):
                response = await self.get("/chunked?n=1000&piece=100&ms=2", name="read", stream=True)
                assert response.first_byte > 0
                assert sum([len(piece) async for piece in response]) == 1000
                assert response.elapsed > response.first_byte

            @task
            async def look(self):
                async with await self.get("/bytes?n=5000000", name="looked at", stream=True) as response:
                    async for piece in response:
                        break

            @task
            async def neglect(self):
                await self.get("/bytes?n=5000000", name="forgotten", stream=True)

            @task
            async def stumble(self):
                async with await self.get("/bytes?n=5000000", name="failed", stream=True) as response:
                    raise KeyError("in the middle")

            @task
            async def lose(self):
                response = await self.get("/half?n=50000", name="lost", stream=True)
                assert len(await response.read()) == 25000 and response.error == "answer cut short"

            @task
            async def leave(self):
                self.stop()
        """,
        *("-u", 3, "--lane", lane, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    counted = {row.name: (row.answered, row.broken, row.unfinished) for row in result.requests}
    assert counted == {
        "read": (3, 0, 0),
        "looked at": (0, 0, 3),
        "forgotten": (0, 0, 3),
        "failed": (0, 0, 3),
        "lost": (0, 3, 0),
    }
    assert {row.name: row.failures for row in result.tasks} == {
        **{"read": 0, "look": 0, "neglect": 0, "lose": 0, "leave": 0},
        "stumble": 3,
    }
    assert_accounts(result.report["totals"]["requests"], server.seen().total)
    assert eventually(lambda: server.seen().open == 0), "the server does not go on sending"


def test_a_stream_that_is_open_at_the_end_is_cut_and_unfinished(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Listener(User):
            @task
            async def listen(self):
                response = await self.get("/chunked?n=1000000&piece=1&ms=10", stream=True)
                async for piece in response:
                    pass

            async def on_stop(self):
                await self.get("/text")
        """,
        *("-u", 2, "-t", lasting(0.5), "--stop-timeout", lasting(0.3), *ALL_AT_ONCE),
        timeout=20,
    )

    row = result.request("GET /chunked")
    assert (row.started, row.answered, row.broken, row.unfinished, row.failures) == (2, 0, 0, 2, 0)
    assert result.task("Listener", "listen").unfinished == 2
    assert result.request("GET /text").answered == 2 == server.seen("/text")
    assert server.seen("/chunked") == 2
