"""Tasks that hold their engine: the test can still be stopped, its counts are kept, and the culprit is named."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest
from processes import PATIENCE, eventually, lasting
from procfs import cpu_seconds
from runs import Gaggle, Result
from sites import Server

from gaggle.engine import BLOCKED_SIGNAL

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")
LONG = 10.0

# User 1 blocks after its first request; its engine is the first of two.
BLOCKING = """
    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/")
            if self.number == 1:
                {block}
            await asyncio.sleep(0.01)

    async def finished():
        done = asyncio.get_running_loop().create_future()
        done.set_result(1)
        while True:
            await done

    def count_for_ever():
        while True:
            pass
"""
BLOCKS = ("count_for_ever()", "time.sleep(60)", "await finished()")


@pytest.mark.timed
@pytest.mark.parametrize("block", BLOCKS)
def test_a_task_that_holds_its_engine_does_not_hold_the_end(block: str, run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        BLOCKING.format(block=block),
        "-u",
        4,
        "--engines",
        2,
        "-t",
        lasting(0.3),
        "--stop-timeout",
        "0.2s",
        *AT_ONCE,
        timeout=LONG,
    )

    row = result.request("GET /")
    assert row.started == row.answered + row.unfinished
    assert row.answered <= server.seen("GET /") <= row.started
    assert row.answered > 10  # of the other engine
    assert result.task("Visitor", "visit").unfinished >= 1
    assert [kind for kind, _ in result.incidents] == ["stuck"]
    assert result.incidents[0][1] == "engine 0 did not stop and was killed: a task of it never awaits"
    assert "task visit of Visitor holds up the other users of its engine" in result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("block", BLOCKS[:2])
def test_signals_work_while_a_task_holds_its_engine(block: str, start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(BLOCKING.format(block=block), "-u", 2, "--engines", 1, "--stop-timeout", "0.2s", *AT_ONCE)
    gaggle.wait_for_line("holds up the other users of its engine")

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.request("GET /").answered >= 1
    assert result.returncode == 0


def test_a_second_signal_ends_an_engine_that_is_held_at_once(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(BLOCKING.format(block="count_for_ever()"), "-u", 2, "--engines", 1, *AT_ONCE)
    gaggle.wait_for_line("holds up the other users of its engine")

    gaggle.signal(signal.SIGINT)
    gaggle.wait_for_line("caught ctrl-c")
    gaggle.signal(signal.SIGINT)

    assert gaggle.finish(LONG).returncode == 130


def test_a_task_that_only_yields_holds_nobody_and_is_cut(start_gaggle: StartGaggle, server: Server) -> None:
    source = BLOCKING.format(block="\n                while True:\n                    await asyncio.sleep(0)")
    gaggle = start_gaggle(source, "-u", 4, "--engines", 1, "--stop-timeout", "0.3s", *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 10, LONG)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.task("Visitor", "visit").unfinished == 1
    assert result.incidents == []
    assert "holds up" not in result.stderr
    assert result.returncode == 0


def test_a_task_that_blocks_is_named_once_with_file_and_line(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        def nap():
            time.sleep(0.3)

        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
                nap()

            @task(name="another")
            async def other(self):
                await asyncio.sleep(0.01)
    """

    result = run_gaggle(source, "-u", 2, "--engines", 2, "-t", lasting(1.5), *AT_ONCE)

    warned = [line for line in result.stderr.splitlines() if "holds up" in line]
    assert len(warned) == 1
    assert re.search(
        r"\[ WARN\] task visit of Visitor holds up the other users of its engine: "
        r"more than 100 ms without an await at .*loadtest\.py:3$",
        warned[0],
    )
    assert result.task("Visitor", "visit").count >= 4


def test_each_task_that_blocks_is_named(run_gaggle: RunGaggle, server: Server) -> None:
    source = f"""
        class Visitor(User):
            @on_start
            async def arrive(self):
                time.sleep({0.2 * PATIENCE})

            @task
            async def visit(self):
                time.sleep({0.2 * PATIENCE})

            @on_stop
            async def leave(self):
                time.sleep({0.2 * PATIENCE})
    """

    result = run_gaggle(source, "-u", 1, "-t", lasting(0.5), *AT_ONCE)

    lines = re.findall(r"task (\w+) of Visitor holds up .*:(\d+)$", result.stderr, re.MULTILINE)
    assert lines == [("arrive", "5"), ("visit", "9"), ("leave", "13")]


@pytest.mark.timed
def test_short_turns_are_nobody_s_business(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
                time.sleep(0.02)
    """

    result = run_gaggle(source, "-u", 20, "--engines", 1, "-t", lasting(0.5), *AT_ONCE)

    assert "holds up" not in result.stderr


COUNTING = """
    class Visitor(User):
        @task
        async def work(self):
            for number in range(100_000):
                pass
            await asyncio.sleep(0)

        @task
        async def visit(self):
            await self.get("/")
"""


def test_a_task_is_not_to_blame_for_a_turn_that_has_ended(start_gaggle: StartGaggle, server: Server) -> None:
    """The question who it is may come late, where the machine stands still: it named whoever was at work by then."""
    gaggle = start_gaggle(COUNTING, "-u", 2, "--engines", 1, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 10)
    (engine,) = gaggle.engines()

    for _ in range(20):
        os.kill(engine, BLOCKED_SIGNAL)
        seen = server.seen("GET /")
        eventually(lambda: server.seen("GET /") > seen)  # noqa: B023
    gaggle.signal(signal.SIGINT)

    assert "holds up" not in gaggle.finish().stderr


@pytest.mark.timed
def test_a_task_is_not_to_blame_for_a_machine_that_lets_it_wait(start_gaggle: StartGaggle, server: Server) -> None:
    """A turn was long when the engine had no core for a tenth of a second, and whatever it did was named."""
    gaggle = start_gaggle(COUNTING, "-u", 2, "--engines", 1, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 10)
    (engine,) = gaggle.engines()

    for _ in range(4):
        os.kill(engine, signal.SIGSTOP)
        until = time.monotonic() + 0.25  # ten looks of the supervisor
        eventually(lambda: time.monotonic() > until)  # noqa: B023
        os.kill(engine, signal.SIGCONT)
        seen = server.seen("GET /")
        eventually(lambda: server.seen("GET /") > seen)  # noqa: B023
    gaggle.signal(signal.SIGINT)

    assert "holds up" not in gaggle.finish().stderr


# Tasks that fail, and try again at once.

FAILING = """
    class Failing(User):
        @task
        async def fail(self):
            {how}
            raise ValueError("no luck")

    class Fine(User):
        @task
        async def visit(self):
            await self.get("/")
            await asyncio.sleep(0.01)
"""


@pytest.mark.parametrize("how", ["pass", "await asyncio.sleep(0)", 'await self.get("/status/500")'])
@pytest.mark.timed
def test_a_loop_of_failures_neither_freezes_its_engine_nor_floods_the_log(
    how: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(FAILING.format(how=how), "-u", 4, "--engines", 1, "-t", lasting(0.7), *AT_ONCE)

    failing = result.task("Failing", "fail")
    assert failing.failures == failing.count > 2 * 3
    assert result.stderr.count("ValueError: no luck") == 1
    assert re.search(r"\[ERROR\] task fail of Failing failed:\nTraceback \(most recent", result.stderr)
    assert result.task("Fine", "visit").count > 2 * 10
    (error,) = [error for error in result.report["errors"] if error["kind"] == "task"]
    assert (error["count"], error["text"]) == (failing.count, "ValueError: no luck (loadtest.py:6)")
    assert result.incidents == []
    assert "holds up" not in result.stderr
    assert result.returncode == 0


def test_a_task_that_fails_without_having_waited_costs_little(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(FAILING.format(how="pass"), "-u", 2, "--engines", 1, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 50)
    (engine,) = gaggle.engines()

    gaggle.signal(signal.SIGINT)
    used = cpu_seconds(engine)
    result = gaggle.finish()

    phases = result.report["phases"]
    assert used < 0.7 * (phases[-1]["stopped"] - phases[0]["started"])
    assert result.task("Failing", "fail").count <= 25 * (phases[-1]["stopped"] - phases[0]["started"]) + 1


@pytest.mark.timed
def test_a_task_that_does_nothing_at_all_lets_the_others_live(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Nothing(User):
            @task
            async def nothing(self):
                pass

        class Fine(User):
            @task
            async def visit(self):
                await self.get("/")
                await asyncio.sleep(0.01)
    """

    result = run_gaggle(source, "-u", 4, "--engines", 1, "-t", lasting(0.5), *AT_ONCE)

    assert result.task("Nothing", "nothing").count > 100
    assert result.task("Fine", "visit").count > 2 * 10
    assert result.incidents == []
    assert "holds up" not in result.stderr
