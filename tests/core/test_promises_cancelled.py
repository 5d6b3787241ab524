"""A request that is cancelled is really given up, whoever does it and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from in_process import EngineLoop
from processes import eventually
from sites import Server

from gaggle import Response, User

# Cancelling.


async def by_timeout(user: User) -> None:
    async with asyncio.timeout(0.05):
        await user.get("/stall")


async def by_wait_for(user: User) -> None:
    await asyncio.wait_for(user.get("/stall"), 0.05)


async def by_task(user: User) -> None:
    task = asyncio.create_task(user.get("/stall"))
    await asyncio.sleep(0.05)
    task.cancel()
    await task


async def by_task_of_a_coroutine(user: User) -> None:
    async def visit() -> None:
        await user.get("/stall")

    task = asyncio.create_task(visit())
    await asyncio.sleep(0.05)
    task.cancel("enough")
    await task


async def by_task_twice(user: User) -> None:
    async def visit() -> None:
        await user.get("/stall")

    task = asyncio.create_task(visit())
    await asyncio.sleep(0.05)
    task.cancel()
    task.cancel()
    await task


async def by_itself(user: User) -> None:
    call: Any = user.get("/stall")
    await asyncio.sleep(0.05)
    assert call.cancel() is True
    assert call.cancel() is False
    assert (call.done(), call.cancelled()) == (True, True)
    await call


async def by_gather(user: User) -> None:
    gathered = asyncio.gather(user.get("/stall"), asyncio.sleep(10))
    await asyncio.sleep(0.05)
    gathered.cancel()
    await gathered


async def by_group(user: User) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(user.get("/stall"))
        await asyncio.sleep(0.05)
        raise TimeoutError


async def by_closing(user: User) -> None:
    call: Any = user.get("/stall")
    await asyncio.sleep(0.05)
    call.close()
    await call


CANCELS = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", CANCELS, ids=lambda way: way.__name__)
def test_a_cancelled_request_is_really_given_up(engine: EngineLoop, user: User, server: Server, way: Any) -> None:
    async def cancel_and_go_on() -> Response:
        with pytest.raises((asyncio.CancelledError, TimeoutError, ExceptionGroup)):
            await way(user)
        response: Response = await user.get("/")
        return response

    response = engine.run(cancel_and_go_on())

    assert response.ok
    assert eventually(lambda: server.seen().aborted) == 1, "the server has seen it"
    assert server.seen().opened == 2, "the connection was not used again"
    row = engine.row("GET /stall")
    assert (row.started, row.answered, row.broken, row.unfinished, row.failures) == (1, 0, 0, 1, 0)
    assert row.times.total == 0
    assert user.in_flight == 0
    assert not engine.complaints


def test_a_shielded_request_goes_on(engine: EngineLoop, user: User, server: Server) -> None:
    async def shield() -> Response:
        call: Any = user.get("/slow?ms=200")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(call)
        response: Response = await call
        return response

    assert engine.run(shield()).ok
    assert server.seen().aborted == 0


def test_who_shares_a_request_shares_its_cancellation(engine: EngineLoop, user: User) -> None:
    """As with every future."""

    async def share() -> list[object]:
        call = user.get("/stall")

        async def wait() -> None:
            await call

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(found) for found in engine.run(share())] == [asyncio.CancelledError] * 3


def test_a_request_that_is_cancelled_before_it_is_sent_never_was(
    engine: EngineLoop, user: User, server: Server
) -> None:
    async def change_of_mind() -> None:
        user.get("/").cancel()
        await asyncio.sleep(0.02)

    engine.run(change_of_mind())

    assert server.seen("/") == 0
    assert engine.row("GET /").unfinished == 1


def test_a_cancelled_upload_ends_its_source(engine: EngineLoop, user: User) -> None:
    ended = asyncio.Event()

    async def endless():  # type: ignore[no-untyped-def]
        try:
            while True:
                yield b"x" * 1_000
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    async def cancel() -> bool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await user.post("/post", data=endless())
        await asyncio.wait_for(ended.wait(), 5)
        return True

    assert engine.run(cancel())
    assert engine.row("POST /post").unfinished == 1


def test_cancelling_in_every_moment_loses_nothing(engine: EngineLoop, user: User, server: Server) -> None:
    """Hundreds of requests, given up after times around the one that an answer takes."""

    async def hurry() -> tuple[int, int]:
        done = given_up = 0
        for number in range(300):
            try:
                async with asyncio.timeout(number % 30 * 0.00005):
                    await user.get("/bytes?n=20000")
                done += 1
            except TimeoutError:
                given_up += 1
        return done, given_up

    done, given_up = engine.run(hurry())

    row = engine.row("GET /bytes")
    assert done + given_up == 300 == row.started
    assert row.started == row.answered + row.broken + row.unfinished
    assert done <= row.answered <= server.seen("/bytes") <= row.started + row.resent
    assert row.failures == 0
    assert engine.run(user.get("/")).ok
