"""Visitors of the real servers, who know each of their requests again, and the books that must agree afterwards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from real_servers import BIG, PAGE, Door, Hit, RealServer
from runs import Result, Row, assert_accounts

# Of each lane the same is asked. What is counted is everything, from the first request on.
LANES = ("fast", "libcurl")
ALL = ("--no-reset-metrics", "--hatch-rate", 1000)
WITHOUT_END = 10**9  # requests a user

VISITING = """
    DOORS = {doors!r}
    QUOTA = {quota}
    PAGE, BIG = {page!r}, {big!r}

    class Visitor(User):
        asked = 0

        @on_start
        async def choose_a_door(self):
            self.door = list(DOORS)[self.number % len(DOORS)]
            self.host = DOORS[self.door]

        async def ask(self, method, path, expected=PAGE, **options):
            self.asked += 1
            if self.asked >= QUOTA:
                self.stop()
            number = f"{{method}}.{{path[1:]}}.{{self.number}}.{{self.asked}}"
            response = await self.request(method, f"{{path}}?id={{number}}", name=f"{{self.door}} {{path}}", **options)
            if response.error:
                return
            if response.text != expected:
                response.fail(f"{{len(response.text)}} characters instead of {{len(expected)}}")
            if {tells_id} and response.headers.get("x-id") != number:
                response.fail("the answer to another request")

        @task(4)
        async def page(self):
            await self.ask("GET", "/page")

        @task(2)
        async def big(self):
            await self.ask("GET", "/big", BIG)

        @task(2)
        async def form(self):
            await self.ask("POST", "/form", data={{"bird": "goose"}})

        @task(1)
        async def only_the_head(self):
            await self.ask("HEAD", "/big", "")

        @task(1)
        async def redirect(self):
            await self.ask("GET", "/redirect")

        @task(1)
        async def three_at_once(self):
            await asyncio.gather(self.ask("GET", "/page"), self.ask("GET", "/big", BIG), self.ask("GET", "/redirect"))
"""


def visiting(server: RealServer, doors: Iterable[Door], quota: int = WITHOUT_END) -> str:
    """Return a load test whose users share `doors` between them and leave after `quota` requests each."""
    urls = {door.name: door.url for door in doors}
    return VISITING.format(doors=urls, quota=quota, page=PAGE, big=BIG, tells_id=server.tells_id)


def assert_agrees(result: Result, hits: list[Hit]) -> None:
    """Nothing failed, was lost or cut, and was sent twice only where it says so; the server has logged the same."""
    logged: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for hit in hits:
        method, path = hit.id.split(".")[:2]
        logged[f"{method} {hit.door} /{path}"][hit.id] += 1
    rows = {f"{row.method} {row.name}": row for row in result.requests}
    assert set(logged) == set(rows)
    for name, row in rows.items():
        assert_complete(row, result)
        assert_each_is_logged_once(row, logged[name])
    assert result.returncode == 0, str(result)


def assert_complete(row: Row, result: Result) -> None:
    assert (row.failures, row.broken, row.unfinished) == (0, 0, 0), f"{row}\n{result.report['errors']}"
    assert row.started == row.answered == row.count
    assert row.hops == (row.started if row.name.endswith("/redirect") else 0)


def assert_each_is_logged_once(row: Row, times: Counter[str]) -> None:
    """`times`: how often each request of this row was logged, its redirect included."""
    once = 2 if row.hops else 1
    assert_accounts(row, times.total())
    assert len(times) == row.started
    assert min(times.values()) == once
    assert sum(count - once for count in times.values()) <= row.resent


def assert_limits_held(hits: list[Hit], doors: Iterable[Door]) -> None:
    """No connection served more than its door allows, and the doors that allow few reached their limit."""
    most = Counter[str]()
    for hit in hits:
        most[hit.door] = max(most[hit.door], hit.nth)
    for door in doors:
        assert most[door.name] == door.limit if door.limit < 10 else 2 < most[door.name] <= door.limit, most
