"""A request under way is what asyncio takes for an awaitable, a future and a coroutine, in all that asyncio does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from typing import Any

import pytest
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from sites import Server, free_port

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


# Callbacks and contexts.


def test_an_error_in_a_callback_is_asyncios_to_report_and_stops_nothing(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop()
    user = engine.user()
    heard = []

    async def ask() -> bool:
        call: Any = user.get("/")
        call.add_done_callback(lambda call: 1 / 0)
        call.add_done_callback(heard.append)
        ok = (await call).ok
        call.add_done_callback(lambda call: {}["late"])
        await asyncio.sleep(0)
        return bool(ok)

    assert engine.run(ask())
    errors = [type(complaint["exception"]) for complaint in engine.complaints]
    assert errors == [ZeroDivisionError, KeyError]
    assert len(heard) == 1
    engine.complaints.clear()


def test_callbacks_can_be_taken_back(engine: EngineLoop, user: User) -> None:
    heard: list[object] = []

    async def ask() -> None:
        call: Any = user.get("/")
        for callback in (heard.append, print, heard.append):
            call.add_done_callback(callback)
        assert call.remove_done_callback(heard.append) == 2
        assert call.remove_done_callback(heard.append) == 0
        await call

    engine.run(ask())

    assert heard == []


def test_context_variables_are_kept_across_requests(engine: EngineLoop) -> None:
    number = contextvars.ContextVar[int]("number")

    async def visit(mine: int) -> bool:
        user = engine.user()
        number.set(mine)
        for _ in range(5):
            await user.get("/")
            if number.get() != mine:
                return False
        return True

    async def visit_all() -> list[bool]:
        return await asyncio.gather(*(visit(mine) for mine in range(20)))

    assert engine.run(visit_all()) == [True] * 20


def test_a_callback_runs_in_the_context_it_was_given(engine: EngineLoop, user: User) -> None:
    name = contextvars.ContextVar("name", default="none")
    context = contextvars.copy_context()
    context.run(name.set, "mine")
    heard = []

    async def ask() -> None:
        call: Any = user.get("/")
        call.add_done_callback(lambda call: heard.append(name.get()), context=context)
        call.add_done_callback(lambda call: heard.append(name.get()))
        await call

    engine.run(ask())

    assert heard == ["mine", "none"]


# What the pump must not hold up.


def test_timers_threads_and_sockets_of_asyncio_go_on_while_requests_are_under_way(
    engine: EngineLoop, user: User, server: Server
) -> None:
    async def everything() -> tuple[int, str, str, bytes]:
        host, port = server.url.removeprefix("http://").split(":")
        slow = asyncio.ensure_future(user.get("/slow?ms=300"))
        ticks = 0
        for _ in range(5):
            await asyncio.sleep(0.01)
            ticks += 1
        assert not slow.done()
        in_a_thread = await asyncio.to_thread(lambda: "threaded")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        raw = await reader.read()
        writer.close()
        process = await asyncio.create_subprocess_exec("echo", "forked", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert (await slow).ok
        return ticks, in_a_thread, out.decode().strip(), raw[:15]

    assert engine.run(everything()) == (5, "threaded", "forked", b"HTTP/1.1 200 OK")


def test_a_busy_user_does_not_starve_the_loop(engine: EngineLoop, user: User) -> None:
    async def busy() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticker = asyncio.create_task(tick())
        end = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < end:
            await user.get("/")
        ticker.cancel()
        return ticks

    assert engine.run(busy()) > 10


def test_a_pause_is_a_promise_too(engine: EngineLoop, user: User) -> None:
    async def rest() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(user.pause(0.05), user.pause(0.1), user.pause(0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(user.pause(float("inf")), 0.05)
        return loop.time() - began

    assert 0.15 <= engine.run(rest()) < 2


def test_requests_that_fail_at_once_wake_their_tasks_too(engine: EngineLoop, user: User) -> None:
    """An error that libcurl knows of before it has waited for anything."""
    refusing = f"http://127.0.0.1:{free_port()}/"

    async def ask() -> list[str]:
        found = await asyncio.gather(*(user.get(refusing) for _ in range(3)))
        return [str(response.error) for response in found]

    assert engine.run(ask()) == ["cannot connect: connection refused"] * 3
