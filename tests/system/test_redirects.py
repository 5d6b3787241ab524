"""Redirects in the report: one request each, with all its hops, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import PATIENCE
from runs import Result, assert_accounts
from sites import Server

RunGaggle = Callable[..., Result]

# Seconds: the redirect comes before, the answer never does.
LATE = 0.5 * PATIENCE

VISITOR = """
    @sequence
    class Visitor(User):
        @task
        async def browse(self):
            response = await self.get("/redirect/3")
            assert [hop.status for hop in response.history] == [302] * 3 and response.url.endswith("/redirect/0")
            assert (await self.get("/redirect/2?absolute=1", name="absolute")).text == "the end\\n"

        @task
        async def log_in(self):
            response = await self.post("/redirect-to?url=/echo&status=303", data={"name": "alice"}, name="login")
            assert response.json()["method"] == "GET" and response.json()["body"] == ""

        @task
        async def stay(self):
            assert (await self.get("/redirect/5", name="stay", follow_redirects=False)).status == 302

        @task
        async def go_astray(self):
            assert (await self.get("/redirect-loop")).error == "too many redirects"
            assert (await self.get("/redirect-to?url=http://127.0.0.1:1/", name="gone")).status == 0
            assert (await self.get("/redirect-to?url=/stall", name="late", timeout=LATE)).error == "timeout"

        @task
        async def leave(self):
            self.stop()
""".replace("LATE", str(LATE))


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_hops_are_counted_beside_the_requests_that_made_them(run_gaggle: RunGaggle, server: Server, lane: str) -> None:
    options = ("-u", 4, "--engines", 2, "--lane", lane, "--hatch-rate", 1000, "--no-reset-metrics")

    result = run_gaggle(VISITOR, *options)

    assert result.returncode == 0, result
    assert not [row for row in result.report["errors"] if row["kind"] == "task"], result.stderr
    counted = {row.name: (row.answered, row.broken, row.hops) for row in result.requests}
    assert counted == {
        "/redirect/3": (4, 0, 12),
        "absolute": (4, 0, 8),
        "login": (4, 0, 4),
        "stay": (4, 0, 0),
        "/redirect-loop": (0, 4, 40),
        "gone": (0, 4, 4),
        "late": (0, 4, 4),
    }
    seen = server.seen()
    assert_accounts(result.request("GET /redirect/3"), 4 * 4)
    assert seen["/redirect-loop"] == 4 * 11
    assert seen["/stall"] == 4
    assert_accounts(result.report["totals"]["requests"], seen.total)
