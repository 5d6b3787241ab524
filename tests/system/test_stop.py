"""How a test ends: users finish what they do, or are cut, or nobody is asked; and with which exit code."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import eventually, lasting
from runs import Gaggle, Result
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]
Golden = Callable[[str, str], None]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")
LONG = 10.0  # seconds: far above what ending takes, far below what would be waited for otherwise
FIRST = (signal.SIGINT, signal.SIGTERM)

# A task of three slow requests, and a farewell.
SLOW = """
    class Slow(User):
        @task
        async def thrice(self):
            for _ in range(3):
                await self.get("/slow?ms=150")

        @on_stop
        async def leave(self):
            await self.post("/bye")
"""

STALLED = """
    class Stalled(User):
        @task
        async def stall(self):
            await self.get("/")
            await self.get("/stall")

        @on_stop
        async def leave(self):
            await self.get("/slow?ms=800", name="bye")
"""

WAITING = """
    class Waiting(User):
        wait_time = constant(60)

        @task
        async def visit(self):
            await self.get("/")

        @on_stop
        async def leave(self):
            await self.post("/bye")
"""


def masked(text: str) -> str:
    """Return log lines without their times, the seed, and the order in which two engines tell of their users."""
    lines = re.sub(r"^\d\d:\d\d:\d\d ", "HH:MM:SS ", text, flags=re.MULTILINE)
    lines = re.sub(r"seed = \d+", "seed = 1", lines)
    lines = re.sub(r"http://127\.0\.0\.1:\d+", "http://local.dev", lines)
    lines = re.sub(r"after \d+ seconds", "after 1 seconds", lines)
    return in_order(in_order(lines, "launching user"), "exiting user")


def in_order(text: str, what: str) -> str:
    """Sort the lines that have `what` in them, among themselves."""
    lines = text.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if what in line]
    for place, line in zip(places, sorted(lines[place] for place in places), strict=True):
        lines[place] = line
    return "".join(lines)


# The first signal asks.


@pytest.mark.parametrize("number", FIRST, ids=lambda number: number.name)
def test_the_first_signal_lets_users_finish_their_task(
    number: signal.Signals, start_gaggle: StartGaggle, server: Server
) -> None:
    gaggle = start_gaggle(SLOW, "-u", 6, *AT_ONCE)
    eventually(lambda: server.seen("GET /slow") >= 6 + 1)

    gaggle.signal(number)
    result = gaggle.finish(LONG)

    task, request = result.task("Slow", "thrice"), result.request("GET /slow")
    assert (task.unfinished, request.unfinished, request.failures) == (0, 0, 0)
    assert request.answered == 3 * task.answered == server.seen("GET /slow")
    assert server.seen("POST /bye") == 6
    assert server.seen().aborted == 0
    assert result.returncode == 0
    assert "=== PER REQUEST METRICS ===" in result.stdout


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_ends_none(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(SLOW, "-u", 6, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /slow") >= 6 + 1)

    for pid in (*gaggle.engines(), *gaggle.launchers(), gaggle.pid):
        os.kill(pid, signal.SIGINT)
    result = gaggle.finish(LONG)

    assert (
        result.request("GET /slow").answered == 3 * result.task("Slow", "thrice").answered == server.seen("GET /slow")
    )
    assert server.seen("POST /bye") == 6
    assert result.incidents == []
    assert result.returncode == 0


def test_users_that_wait_leave_at_once(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(WAITING, "-u", 6, *AT_ONCE)
    eventually(lambda: server.seen("GET /") == 6)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert server.seen("POST /bye") == 6
    assert result.task("Waiting", "visit").answered == 6
    assert result.returncode == 0


def test_a_user_that_is_still_due_does_not_come_any_more(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(WAITING, "-u", 100, "--hatch-rate", 0.1, "-v")
    eventually(lambda: server.seen("GET /") == 1)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert server.seen("GET /") == server.seen("POST /bye") == 1
    assert result.stderr.count("launching user") == 1
    assert "launched" not in result.stderr


def test_the_run_time_ends_the_test_as_a_signal_does(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(SLOW, "-u", 6, "-t", lasting(0.2), *AT_ONCE)

    task, request = result.task("Slow", "thrice"), result.request("GET /slow")
    assert request.answered == 3 * task.answered == server.seen("GET /slow") >= 3 * 6
    assert server.seen("POST /bye") == 6
    assert server.seen().aborted == 0
    assert result.returncode == 0


def test_what_outlasts_the_stop_timeout_is_cut_and_on_stop_runs_still(
    start_gaggle: StartGaggle, server: Server
) -> None:
    """on_stop has a stop timeout of its own: it was cancelled again half a second after the task."""
    gaggle = start_gaggle(STALLED, "-u", 4, "--stop-timeout", lasting(1.2), *AT_ONCE)
    eventually(lambda: server.seen("GET /stall") == 4)

    asked = time.monotonic()
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    stalled, task = result.request("GET /stall"), result.task("Stalled", "stall")
    assert (stalled.started, stalled.unfinished, stalled.count, stalled.failures) == (4, 4, 0, 0)
    assert (task.started, task.unfinished, task.count, task.failures) == (4, 4, 0, 0)
    assert result.request("GET bye").answered == server.seen("GET /slow") == 4
    assert server.seen().aborted == 4
    assert result.report["errors"] == result.incidents == []
    assert time.monotonic() - asked >= 1.2
    assert result.returncode == 0


def test_an_on_stop_that_does_not_end_is_cut_as_well(start_gaggle: StartGaggle, server: Server) -> None:
    source = SLOW.replace('await self.post("/bye")', 'await self.get("/stall")')
    gaggle = start_gaggle(source, "-u", 3, "--stop-timeout", lasting(0.7), *AT_ONCE)
    eventually(lambda: server.seen("GET /slow") >= 3)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.request("GET /stall").unfinished == server.seen("GET /stall") == 3
    assert result.task("Slow", "thrice").unfinished == 0
    assert result.incidents == []
    assert result.returncode == 0


def test_a_task_that_hides_a_cancellation_is_cancelled_again(start_gaggle: StartGaggle, server: Server) -> None:
    source = """
        class Hiding(User):
            @task
            async def try_twice(self):
                for _ in range(2):
                    try:
                        await self.get("/stall")
                    except:
                        pass
    """
    gaggle = start_gaggle(source, "-u", 2, "--stop-timeout", "0.1s", *AT_ONCE)
    eventually(lambda: server.seen("GET /stall") == 2)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.request("GET /stall").unfinished == server.seen("GET /stall") == 4
    assert result.incidents == []


def test_a_task_that_will_not_be_cancelled_is_ended_with_its_engine(start_gaggle: StartGaggle, server: Server) -> None:
    source = """
        class Stubborn(User):
            @task
            async def stay(self):
                await self.get("/")
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass
    """
    gaggle = start_gaggle(source, "-u", 2, "--stop-timeout", "0.1s", *AT_ONCE)
    eventually(lambda: server.seen("GET /") == 2)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.request("GET /").answered == 2
    assert result.task("Stubborn", "stay").unfinished == 2
    assert {kind for kind, _ in result.incidents} == {"stuck"}
    assert "never awaits" not in result.stderr
    assert result.returncode == 0


# The second one does not ask.


@pytest.mark.parametrize("second", FIRST, ids=lambda number: number.name)
def test_the_second_signal_ends_everything_at_once(
    second: signal.Signals, start_gaggle: StartGaggle, server: Server
) -> None:
    gaggle = start_gaggle(STALLED, "-u", 4, *AT_ONCE)
    eventually(lambda: server.seen("GET /stall") == 4)

    gaggle.signal(signal.SIGINT)
    gaggle.wait_for_line("caught ctrl-c, stopping")
    gaggle.signal(second)
    result = gaggle.finish(LONG)

    name = {signal.SIGINT: "ctrl-c", signal.SIGTERM: "SIGTERM"}[second]
    assert f"caught another {name}, exiting immediately..." in result.stderr
    assert result.returncode == 130
    assert "METRICS" not in result.stdout
    assert not result.report_file.exists()
    assert server.seen("GET /slow") == 0  # no on_stop


HANGING = """
    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/")

    @test_{when}
    async def hang():
        {how}
"""


@pytest.mark.parametrize("how", ["await asyncio.sleep(60)", "time.sleep(60)"])
def test_ctrl_c_ends_a_test_start_that_hangs(how: str, start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(HANGING.format(when="start", how=how), "-v")
    gaggle.wait_for_line("running test_start")

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert "caught ctrl-c, exiting..." in result.stderr
    assert result.returncode == 130
    assert server.seen().total == 0


def test_a_second_ctrl_c_ends_a_test_stop_that_hangs(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(HANGING.format(when="stop", how="time.sleep(60)"), "-v")
    eventually(lambda: server.seen("GET /") > 0)

    gaggle.signal(signal.SIGINT)
    gaggle.wait_for_line("running test_stop")
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert "caught another ctrl-c, exiting immediately..." in result.stderr
    assert result.returncode == 130


def test_ctrl_c_ends_the_import_of_a_load_test_that_hangs(start_gaggle: StartGaggle) -> None:
    gaggle = start_gaggle("""
        print("importing", flush=True)
        time.sleep(60)
    """)
    gaggle.wait_for_line("importing")

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.returncode == 130
    assert "Traceback" not in result.stderr


# What is said.


def test_the_log_lines_of_a_test_that_is_stopped_are_the_seed_s(
    start_gaggle: StartGaggle, server: Server, golden: Golden
) -> None:
    source = (
        WAITING.replace("wait_time", "weight = 4; wait_time")
        + """
    class Rare(Waiting):
        weight = 1
    """
    )
    gaggle = start_gaggle(source, "-u", 8, "--hatch-rate", 20, "-v")
    gaggle.wait_for_line("launched 8 users")
    eventually(lambda: server.seen("GET /") == 8)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    golden("stopped.log", masked(result.stderr))


# Users that leave by themselves.

LEAVING = """
    class Leaving(User):
        @task
        async def visit(self):
            await self.get("/")
            if self.number != STAYS:
                self.stop()
            await self.get("/text")

        @on_stop
        async def leave(self):
            await self.post("/bye")

    STAYS = {stays}
"""


def test_a_user_that_stops_leaves_after_its_task_and_the_others_stay(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(LEAVING.format(stays=2), "-u", 4, *AT_ONCE)
    eventually(lambda: server.seen("POST /bye") == 3 and server.seen("GET /text") > 100)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(LONG)

    assert result.request("GET /").count == result.request("GET /text").count == server.seen("GET /")
    assert server.seen("POST /bye") == 4
    assert result.returncode == 0


def test_the_test_ends_when_all_users_have_left(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(LEAVING.format(stays=0), "-u", 5, *AT_ONCE, timeout=LONG)

    assert server.seen("GET /") == server.seen("GET /text") == server.seen("POST /bye") == 5
    assert result.task("Leaving", "visit").answered == 5
    assert result.returncode == 0


def test_a_load_test_may_abort_itself_and_says_why(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
                if self.number == 2:
                    abort("the site is in maintenance")

            @on_stop
            async def leave(self):
                await self.post("/bye")
    """

    result = run_gaggle(source, "-u", 4, *AT_ONCE, timeout=LONG)

    assert result.returncode == 1
    assert "the site is in maintenance" in result.stderr.splitlines()[-1]
    assert [kind for kind, _ in result.incidents] == ["abort"]
    assert server.seen("POST /bye") == len(server.seen().connections)  # of all that had come by then


def test_a_report_that_cannot_be_written_is_refused_before_the_test(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    result = run_gaggle(SLOW, "-t", "0.2s", "--report-file", tmp_path / "nowhere" / "report.json")

    assert result.returncode == 2
    assert server.seen().total == 0
