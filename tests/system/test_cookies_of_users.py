"""Every user is a visitor of its own: its cookies and connections are never another's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

# The server gives each new visitor a cookie with the number of its connection, and tells what it was sent.
TAGGED = """
    class Visitor(User):
        rounds = 0

        async def on_start(self):
            await self.get(f"/cookies/set?user={self.number}")
            self.tag = (await self.get("/tag")).json()
            assert self.tag["tag"] is None

        @task
        async def visit(self):
            seen = (await self.get("/tag")).json()
            assert seen["tag"] == f"c{self.tag['connection']}", (seen, self.tag)
            assert sorted(seen["cookie"].split("; ")) == [f"tag={seen['tag']}", f"user={self.number}"], seen
            assert seen["connection"] == self.tag["connection"]
            self.rounds += 1
            if self.rounds == 20:
                self.stop()
"""


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_fifty_users_keep_their_cookies_and_connections_to_themselves(
    run_gaggle: RunGaggle, server: Server, lane: str
) -> None:
    result = run_gaggle(TAGGED, "-u", 50, "--engines", 2, "--lane", lane, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert result.task("Visitor", "visit").answered == 50 * 20
    assert not result.report["errors"], result.report["errors"]
    seen = server.seen()
    assert seen.opened == 50
    assert sorted(user for each in seen.connections for user in each["users"]) == sorted(str(n) for n in range(1, 51))
    assert all(len(each["users"]) == 1 and each["requests"] == 22 for each in seen.connections)


@pytest.mark.parametrize(
    ("session", "new", "connections"),
    [("user", [True, False, False, False], 1), ("pass", [True, False, True, False], 2)],
)
def test_a_session_lasts_as_long_as_it_is_told_to(
    run_gaggle: RunGaggle, server: Server, session: str, new: list[bool], connections: int
) -> None:
    """Two passes of two tasks each: with session = "pass" the second one is a new visitor's."""
    result = run_gaggle(
        f"""
        @sequence
        class Visitor(User):
            session = "{session}"
            found = []

            @task(2)
            async def visit(self):
                self.headers["X-Mine"] = "1"
                self.found.append((await self.get("/tag")).json()["tag"] is None)
                if len(self.found) == 4:
                    assert self.found == {new}, self.found
                    self.stop()
        """,
        *("-u", 1, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert not result.report["errors"], result.report["errors"]
    assert (server.seen("/tag"), server.seen().opened) == (4, connections)


def test_requests_at_once_share_the_cookies_of_their_user(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get(f"/cookies/set?user={self.number}")
                found = await asyncio.gather(*(self.get("/cookies") for _ in range(20)))
                assert {response.text for response in found} == {f"user={self.number}"}
                assert dict(self.cookies.items()) == {"user": str(self.number)}
                self.stop()
        """,
        *("-u", 10, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert not result.report["errors"], result.report["errors"]
    assert server.seen().opened <= 60
    assert all(len(each["users"]) == 1 for each in server.seen().connections if each["users"])
