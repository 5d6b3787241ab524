"""A gaggle of busy users: each has a request open all the time, so what is open is how many are at work."""

from __future__ import annotations

import signal

from processes import eventually
from runs import Gaggle, Result
from sites import Server

LONG = 60.0
USERS = 6

BUSY = """
    class Busy(User):
        wait_time = constant(0)
        @task
        async def slow(self): await self.get("/slow?ms=150", name="slow")
"""


def all_work(server: Server) -> None:
    eventually(lambda: server.seen().open == USERS, LONG, "all users at work")


def assert_never_too_many(server: Server, engines: int) -> None:
    assert server.seen().max_open <= USERS + engines


def stopped(manager: Gaggle, timeout: float = LONG) -> Result:
    """Stop a gaggle at its manager."""
    manager.signal(signal.SIGINT)
    return manager.finish(timeout)


def incident_texts(result: Result) -> list[str]:
    return [text for _, text in result.incidents]
