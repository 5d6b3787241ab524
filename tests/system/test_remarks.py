"""What a load test does that it hardly means: said once, in a line that names it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from processes import lasting
from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics", "--engines", 1)

FORGETFUL = """
    class Forgetful(User):
        wait_time = constant(0.05)

        @task
        async def look(self):
            self.get("/text")
            await self.get("/")
            await asyncio.gather(self.get("/json"), asyncio.create_task(self.get("/echo")))
"""
REMARK = "GET /text was asked for and never awaited: write `await` before it"


def test_a_request_that_nobody_awaits_is_named_once(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(FORGETFUL, "-u", 3, "-t", lasting(0.5), *AT_ONCE)

    assert result.stderr.count("never awaited") == result.stderr.count(REMARK) == 1
    assert server.seen("GET /text") >= 3


def test_once_says_so_too(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(FORGETFUL, "--once")

    assert REMARK in result.stderr
    assert result.stderr.count("never awaited") == 1


def seconds_of(result: Result) -> float:
    phases = result.report["phases"]
    return float(phases[-1]["stopped"] - phases[0]["started"])


@pytest.mark.parametrize(
    ("wait", "why"),
    [
        ("return -1", "ValueError: wait_time must be 0 or more, got -1"),
        ("return float('nan')", "ValueError: wait_time must be 0 or more, got nan"),
        ("return None", "TypeError: float() argument must be a string or a real number, not 'NoneType'"),
        ("raise KeyError('x')", "KeyError: 'x'"),
    ],
)
def test_a_wait_that_is_none_is_said_and_a_second_long(
    run_gaggle: RunGaggle, server: Server, wait: str, why: str
) -> None:
    source = f"""
        class Hasty(User):
            def wait_time(self):
                {wait}

            @task
            async def look(self):
                await self.get("/")
    """

    result = run_gaggle(source, "-u", 1, "-t", lasting(0.5), *AT_ONCE)

    assert result.stderr.count("[ERROR] wait_time of Hasty failed, it waits a second instead:") == 1
    assert why in result.stderr
    assert 1 <= server.seen("GET /") <= 1 + seconds_of(result)


def test_who_cannot_sign_in_does_not_try_as_fast_as_it_can(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Member(User):
            @on_start
            async def sign_in(self):
                (await self.get("/status/401")).raise_for_status()

            @task
            async def look(self):
                await self.get("/")
    """

    result = run_gaggle(source, "-u", 2, "-t", lasting(0.5), *AT_ONCE)

    assert 2 <= server.seen("GET /status/401") <= 2 + 2 * seconds_of(result)
    assert result.task("Member", "sign_in").failures == result.request("GET /status/401").answered


def test_what_test_start_returns_must_be_json(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        @test_start
        async def prepare():
            return {1, 2}

        class Visitor(User):
            @task
            async def look(self):
                await self.get("/")
    """

    result = run_gaggle(source, "-u", 1)

    why = "what it returns is sent to every engine as JSON: Object of type set is not JSON serializable"
    assert result.stderr.splitlines()[-1] == f"Error: @test_start failed: {why}"
    assert result.returncode == 1


def test_answers_that_wait_for_a_task_that_blocks_are_late(run_gaggle: RunGaggle, server: Server) -> None:
    """Each of them, and they alone: the loop's one long turn was counted, beside answers that seemed to be in time."""
    source = """
        class Visitor(User):
            @task
            async def look(self):
                await self.get("/")
                time.sleep(0.05)
    """

    result = run_gaggle(source, "-u", 8, "-t", lasting(1.0), *AT_ONCE)

    lag = result.report["lag"]
    assert lag["count"] == result.total("answered") + result.total("broken")
    assert lag["p50_us"] > 10_000
    assert re.search(r"\d% of the responses waited more than 10 ms", result.stdout), lag
