"""A request under way is what asyncio takes for an awaitable, a future and a coroutine, in all that asyncio does."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from in_process import EngineLoop
from sites import Server

from gaggle import Response, User

# Ways to wait for it.


async def with_gather(user: User) -> list[Response]:
    return await asyncio.gather(user.get("/text"), user.get("/echo"), user.get("/json"))


async def with_task_group(user: User) -> list[Response]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(user.get(path)) for path in ("/text", "/echo", "/json")]
    return [task.result() for task in tasks]


async def with_tasks(user: User) -> list[Response]:
    tasks = [asyncio.create_task(user.get(path)) for path in ("/text", "/echo", "/json")]
    return [await task for task in tasks]


async def with_ensure_future(user: User) -> list[Response]:
    futures = [asyncio.ensure_future(user.get(path)) for path in ("/text", "/echo", "/json")]
    return [await future for future in reversed(futures)][::-1]


async def with_wait(user: User) -> list[Response]:
    tasks = [asyncio.create_task(user.get(path)) for path in ("/text", "/echo", "/json")]
    done, pending = await asyncio.wait(tasks, timeout=10)
    assert (len(done), len(pending)) == (3, 0)
    return [task.result() for task in tasks]


async def with_as_completed(user: User) -> list[Response]:
    calls = [user.get(path) for path in ("/text", "/echo", "/json")]
    found = [await each for each in asyncio.as_completed(calls)]
    return sorted(found, key=lambda response: ["/text", "/echo", "/json"].index(response.name))


async def with_wait_for(user: User) -> list[Response]:
    return [await asyncio.wait_for(user.get(path), 10) for path in ("/text", "/echo", "/json")]


async def with_shield(user: User) -> list[Response]:
    return [await asyncio.shield(user.get(path)) for path in ("/text", "/echo", "/json")]


async def with_timeout(user: User) -> list[Response]:
    async with asyncio.timeout(10):
        return [await user.get(path) for path in ("/text", "/echo", "/json")]


async def with_callbacks(user: User) -> list[Response]:
    calls: list[Any] = [user.get(path) for path in ("/text", "/echo", "/json")]
    done: asyncio.Queue[Any] = asyncio.Queue()
    for call in calls:
        call.add_done_callback(done.put_nowait)
    for _ in calls:
        await done.get()
    return [call.result() for call in calls]


WAYS = [value for name, value in list(globals().items()) if name.startswith("with_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_asyncio_can_wait_for_requests(engine: EngineLoop, user: User, server: Server, way: Any) -> None:
    responses = engine.run(way(user))

    assert [response.name for response in responses] == ["/text", "/echo", "/json"]
    assert all(response.ok for response in responses)
    assert [server.seen(path) for path in ("/text", "/echo", "/json")] == [1, 1, 1]
    assert all(engine.row(f"GET {path}").answered == 1 for path in ("/text", "/echo", "/json"))


def test_gather_sends_its_requests_at_once(engine: EngineLoop, user: User, server: Server) -> None:
    async def at_once() -> None:
        await asyncio.gather(*(user.get("/slow?ms=200") for _ in range(5)))

    engine.run(at_once())

    assert server.seen().max_open == 5


def test_a_request_is_a_future_to_look_at(engine: EngineLoop, user: User) -> None:
    async def look() -> None:
        call: Any = user.get("/")
        assert asyncio.isfuture(call)
        assert asyncio.iscoroutine(call)
        assert (call.done(), call.cancelled()) == (False, False)
        assert call.get_loop() is asyncio.get_running_loop()
        with pytest.raises(asyncio.InvalidStateError):
            call.result()
        with pytest.raises(asyncio.InvalidStateError):
            call.exception()
        response = await call
        assert (call.done(), call.cancelled(), call.exception()) == (True, False, None)
        assert call.result() is response is await call
        assert call.cancel() is False

    engine.run(look())


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_request_is_a_coroutine_to_step_through(engine: EngineLoop, user: User, is_cancelled: bool) -> None:
    """By its `next`, as Python 3.12 and newer ones do; 3.11 has another way in, which the other tests take."""

    async def steps() -> tuple[Any, Any]:
        request: Any = user.get("/text")
        assert next(request) is request
        assert request._asyncio_future_blocking
        request._asyncio_future_blocking = False
        if is_cancelled:
            request.cancel()
        pause: Any = engine.pump.wait_until_ns(0)
        await asyncio.gather(request, pause, return_exceptions=True)
        return outcome(request), outcome(pause)

    def outcome(promise: Any) -> Any:
        with pytest.raises((StopIteration, asyncio.CancelledError)) as found:
            next(promise)
        return found.value.value if isinstance(found.value, StopIteration) else type(found.value)

    found, nothing = engine.run(steps())

    assert nothing is None
    assert found is asyncio.CancelledError if is_cancelled else found.status == 200


def test_several_tasks_may_wait_for_the_same_request(engine: EngineLoop, user: User, server: Server) -> None:
    async def share() -> list[Response]:
        call = user.get("/")

        async def wait() -> Response:
            response: Response = await call
            return response

        return await asyncio.gather(wait(), wait(), wait())

    first, *others = engine.run(share())

    assert all(other is first for other in others)
    assert server.seen("/") == 1 == engine.row("GET /").answered


def test_a_request_that_nobody_awaits_is_made_and_counted(engine: EngineLoop, user: User, server: Server) -> None:
    async def forget_it() -> None:
        user.get("/")
        gc.collect()
        await asyncio.sleep(0)
        while user.in_flight:
            await asyncio.sleep(0.001)

    engine.run(forget_it())

    assert server.seen("/") == 1 == engine.row("GET /").answered


def test_a_request_that_nobody_holds_when_its_user_goes_is_unfinished(engine: EngineLoop, user: User) -> None:
    """Nothing but the user had a hold on it: it must not vanish in the middle of its own end."""

    async def leave() -> None:
        for _ in range(10):
            user.get("/stall")
        await asyncio.sleep(0.01)
        user.forget()
        gc.collect()

    engine.run(leave())

    assert engine.row("GET /stall").unfinished == 10


def test_who_waits_for_a_request_of_a_user_that_goes_is_told(engine: EngineLoop, user: User) -> None:
    async def wait() -> str:
        try:
            await user.get("/stall")
        except asyncio.CancelledError:
            return "cancelled"
        return "answered"

    async def leave() -> str:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        user.forget()
        return await waiting

    assert engine.run(leave()) == "cancelled"
    assert engine.row("GET /stall").unfinished == 1
