"""Callbacks and contexts of requests, and what the pump must not hold up."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from in_process import EngineLoop, MakeEngineLoop
from processes import PATIENCE
from sites import Server, free_port

from gaggle import User

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
        slow = asyncio.ensure_future(user.get(f"/slow?ms={300 * PATIENCE:.0f}"))
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
        end = asyncio.get_running_loop().time() + 0.5 * PATIENCE
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
