"""The throttle: how many requests may begin in how much time, who waits, and how one stops waiting."""

from __future__ import annotations

import asyncio
import time

import pytest
from in_process import EngineLoop
from processes import PATIENCE
from sites import Server

from gaggle import User


async def insist(users: list[User], seconds: float) -> float:
    """Let users ask without a pause; return how long it took."""
    began = time.monotonic()

    async def ask(user: User) -> None:
        while time.monotonic() < began + seconds:
            await user.get("/")

    await asyncio.gather(*(ask(user) for user in users))
    return time.monotonic() - began


@pytest.mark.parametrize("rate", [50, 400])
def test_no_more_begin_than_the_rate_allows(engine: EngineLoop, server: Server, rate: int) -> None:
    users = [engine.user() for _ in range(20)]
    engine.pump.throttle(rate)

    took = engine.run(insist(users, 0.5))

    seen = server.seen("/")
    assert seen <= took * rate + 1
    assert seen > 0.3 * took * rate / PATIENCE


def test_time_in_which_nobody_asks_makes_no_burst(engine: EngineLoop, user: User, server: Server) -> None:
    engine.pump.throttle(20)
    engine.run(asyncio.sleep(0.3))

    began = time.monotonic()
    engine.run(asyncio.wait_for(asyncio.gather(*(user.get("/") for _ in range(4))), 10))

    assert time.monotonic() - began >= 3 / 20 - 0.001


def test_the_first_to_ask_is_the_first_to_go(engine: EngineLoop) -> None:
    engine.pump.throttle(200)
    order: list[int] = []

    async def ask(number: int) -> None:
        await engine.user().get("/")
        order.append(number)

    async def all_of_them() -> None:
        tasks = []
        for number in range(10):
            tasks.append(asyncio.create_task(ask(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    engine.run(all_of_them())

    assert sorted(order) == list(range(10))
    assert order[0] == 0


def test_waiting_is_not_in_the_response_time_and_counts_for_nothing(engine: EngineLoop, user: User) -> None:
    engine.pump.throttle(5 / PATIENCE)

    async def two() -> float:
        await user.get("/")
        return float((await user.get("/", timeout=0.15 * PATIENCE)).elapsed)  # a wait of 0.2 s is no time-out either

    elapsed = engine.run(two())

    assert elapsed < 0.15 * PATIENCE
    row = engine.row("GET /")
    assert (row.started, row.answered) == (2, 2)


def test_a_request_that_is_cancelled_while_it_waits_was_never_made(
    engine: EngineLoop, user: User, server: Server
) -> None:
    engine.pump.throttle(0.01)

    async def give_up() -> None:
        await user.get("/")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await user.get("/")

    engine.run(give_up())

    row = engine.row("GET /")
    assert (row.started, row.unfinished, server.seen("/")) == (1, 0, 1)
    assert (user.in_flight, engine.pump.throttled()) == (0, [])


def test_a_user_that_becomes_another_visitor_waits_no_more(engine: EngineLoop, user: User, server: Server) -> None:
    engine.pump.throttle(0.01)

    async def leave() -> None:
        await user.get("/")
        waiting = [user.get("/") for _ in range(10)]
        assert len(engine.pump.throttled()) == 10
        user.forget()
        assert all(request.cancelled() for request in waiting)

    engine.run(leave())

    assert engine.pump.throttled() == []
    assert server.seen("/") == 1


def test_another_rate_holds_for_those_that_wait_already(engine: EngineLoop, user: User) -> None:
    engine.pump.throttle(0.01)

    async def speed_up(rate: float) -> int:
        asked = [user.get("/") for _ in range(5)]
        await asyncio.sleep(0.02)
        engine.pump.throttle(rate)
        return len(await asyncio.gather(*asked))

    assert engine.run(speed_up(1_000)) == 5
    engine.pump.throttle(0.01)
    assert engine.run(speed_up(0)) == 5


def test_who_has_to_wait_can_be_heard_of(engine: EngineLoop, user: User) -> None:
    heard: list[User] = []
    engine.pump.throttle(50)
    engine.pump.on_wait = heard.append

    engine.run(asyncio.wait_for(asyncio.gather(user.get("/"), user.get("/")), 10))

    assert heard == [user]


def test_redirects_are_part_of_their_request(engine: EngineLoop, user: User, server: Server) -> None:
    engine.pump.throttle(0.01)

    response = engine.run(user.get("/redirect/3"))

    assert (response.status, server.seen().total) == (200, 4)


def test_a_user_in_a_hurry_ends_its_pauses_and_nobody_elses(engine: EngineLoop) -> None:
    one, other = engine.user(), engine.user()

    async def hurry() -> tuple[bool, bool]:
        waits = [one.pause(60), other.pause(60)]
        one.hurry()
        await waits[0]
        await one.pause(60)
        ended = waits[0].done(), waits[1].done()
        waits[1].cancel()
        return ended

    assert engine.run(hurry()) == (True, False)
