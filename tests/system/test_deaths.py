"""Processes that die: an engine's users go on elsewhere, its counts are kept, and nothing outlives the rest."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import eventually, lasting
from procfs import arenas, descriptors, is_alive, state
from runs import Gaggle, Result, assert_accounts
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")
AT_MOST = 3.0  # seconds, for what should take a tenth of one: the machine may be busy

VISITOR = """
    class Visitor(User):
        @task
        async def visit(self):
            await self.get(f"/?user={self.number}")
            await asyncio.sleep(0.01)
"""

DYING = """
    import ctypes, os

    FILE = {file!r}

    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/")
            if self.number == 1 and not os.path.exists(FILE):
                open(FILE, "w").close()
                {death}
            await asyncio.sleep(0.01)
"""

DYING_BEFORE_THE_GO = """
    import os

    def die_once():
        try:
            os.close(os.open({file!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os._exit(7)

    os.register_at_fork(after_in_child=die_once)

    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/")
            self.stop()
"""

DYING_AGAIN = """
    import os

    class Visitor(User):
        @task
        async def visit(self):
            await self.get("/")
            if self.number == 1:
                os._exit(7)
            await asyncio.sleep(0.01)
"""


def users_seen(server: Server) -> set[str]:
    return {user for connection in server.seen().connections for user in connection["users"]}


def kinds(result: Result) -> list[str]:
    return [kind for kind, _ in result.incidents]


def assert_counted(result: Result, server: Server) -> None:
    row = result.request("GET /")
    assert row.started == row.answered + row.broken + row.unfinished
    assert_accounts(row, server.seen("GET /"))


# An engine.


def test_the_users_of_a_killed_engine_start_again_in_a_new_one(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 6, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 50)
    first, second = gaggle.engines()

    os.kill(first, signal.SIGKILL)
    gaggle.wait_for_line("engine 0 was killed by SIGKILL .*; its users start again in a new engine", AT_MOST)
    server.reset()
    eventually(lambda: users_seen(server) == set("123456"), what="all users are there again")

    assert len(gaggle.engines()) == 2
    assert second in gaggle.engines()
    assert first not in gaggle.engines()
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()
    assert kinds(result) == ["engine"]
    assert "engine 0 was killed by SIGKILL" in result.stdout
    assert result.returncode == 0


def test_what_a_killed_engine_had_counted_is_kept(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 6, "--engines", 1, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 100)

    os.kill(gaggle.engines()[0], signal.SIGKILL)
    gaggle.wait_for_line("start again in a new engine")
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    assert result.request("GET /").answered >= 100 - 6
    assert_counted(result, server)
    assert 0 < result.task("Visitor", "visit").unfinished <= 6
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("death", "words"),
    [
        ("ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os._exit(3)", "ended with exit code 3"),
        ("os._exit(0)", "ended with exit code 0"),
    ],
)
def test_a_task_that_ends_its_process_is_an_incident_and_no_more(
    death: str, words: str, run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    source = DYING.format(file=str(tmp_path / "died"), death=death)

    result = run_gaggle(source, "-u", 4, "-t", lasting(0.5), "--engines", 2, *AT_ONCE)

    assert kinds(result) == ["engine"]
    assert f"engine 0 {words}" in result.incidents[0][1]
    assert_counted(result, server)
    assert result.returncode == 0


def test_an_engine_that_dies_again_and_again_is_given_up(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(DYING_AGAIN, "-u", 4, "-t", lasting(1.5), "--engines", 2, *AT_ONCE)

    assert kinds(result) == ["engine"] * 5 + ["loss"]
    assert "engine 0 ended with exit code 7; its users were not started again" in result.stderr
    assert_counted(result, server)
    assert result.request("GET /").answered > 20  # of the other engine
    assert "Do not trust these numbers" in result.stdout
    assert result.returncode == 5


def test_the_test_ends_when_its_last_engine_is_given_up(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(DYING_AGAIN, "-u", 2, "--engines", 1, *AT_ONCE)

    assert kinds(result) == ["engine"] * 5 + ["loss"]
    assert "=== PER REQUEST METRICS ===" in result.stdout
    assert_counted(result, server)
    assert result.returncode == 5


def test_an_engine_that_dies_while_it_stops_is_a_loss(start_gaggle: StartGaggle, server: Server) -> None:
    source = """
        class Slow(User):
            @task
            async def visit(self):
                await self.get("/")
                await self.get("/stall")
    """
    gaggle = start_gaggle(source, "-u", 2, "--engines", 2, "--stop-timeout", "1s", *AT_ONCE)
    eventually(lambda: server.seen("GET /stall") == 2)

    gaggle.signal(signal.SIGINT)
    gaggle.wait_for_line("caught ctrl-c")
    os.kill(gaggle.engines()[0], signal.SIGKILL)
    result = gaggle.finish()

    assert kinds(result) == ["loss"]
    assert_counted(result, server)
    assert result.request("GET /stall").unfinished == 2
    assert result.returncode == 5


def test_a_death_in_the_ramp_does_not_end_the_ramp(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 8, "--hatch-rate", 8, "--engines", 2, "-v")
    eventually(lambda: len(users_seen(server)) >= 3)

    os.kill(gaggle.engines()[0], signal.SIGKILL)
    gaggle.wait_for_line("launched 8 users")
    gaggle.wait_for_line("its users start again in a new engine")

    eventually(lambda: users_seen(server) == set("12345678"))
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()
    assert result.stderr.count("launched 8 users") == 1
    assert result.stdout.count("resetting metrics") == 1
    assert result.returncode == 0


def test_an_engine_that_dies_before_the_go_starts_no_user_twice(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    load_test = DYING_BEFORE_THE_GO.format(file=str(tmp_path / "died"))

    result = run_gaggle(load_test, "-u", 4, "--engines", 2, *AT_ONCE)

    assert kinds(result) == ["engine"]
    assert server.seen("GET /") == 4
    assert_counted(result, server)
    assert result.returncode == 0


def test_deaths_leave_no_zombie_and_no_descriptor(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 4, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 20)
    (launcher,) = gaggle.launchers()
    before = [len(descriptors(pid)) for pid in (gaggle.pid, launcher)]

    dead = [kill_one_of(gaggle) for _ in range(4)]

    eventually(lambda: [len(descriptors(pid)) for pid in (gaggle.pid, launcher)] == before)
    assert (arenas(gaggle.pid), arenas(launcher)) == (2, 0)
    assert [arenas(engine) for engine in gaggle.engines()] == [1, 1]
    assert [state(pid) for pid in dead] == [""] * 4
    gaggle.signal(signal.SIGINT)
    assert kinds(gaggle.finish()) == ["engine"] * 4


def kill_one_of(gaggle: Gaggle) -> int:
    """Kill the older engine; return its pid when another has taken its place."""
    oldest, other = gaggle.engines()
    os.kill(oldest, signal.SIGKILL)
    eventually(lambda: len(others := gaggle.engines()) == 2 and oldest not in others and arenas(gaggle.pid) == 2)
    assert other in gaggle.engines()
    return oldest


def test_memory_that_runs_out_is_a_failed_task_or_a_dead_engine_but_not_the_end(
    run_gaggle: RunGaggle, server: Server
) -> None:
    source = """
        import resource

        class Greedy(User):
            @task
            async def visit(self):
                await self.get("/")
                resource.setrlimit(resource.RLIMIT_DATA, (1 << 28, 1 << 28))
                bytearray(1 << 29)
    """

    result = run_gaggle(source, "-u", 2, "-t", lasting(0.3), *AT_ONCE)

    row = result.task("Greedy", "visit")
    assert row.failures == row.count > 0
    assert {error["text"].partition(" ")[0] for error in result.report["errors"]} == {"MemoryError"}
    assert_counted(result, server)
    assert result.returncode == 0


# The launcher, and the supervisor.


def test_the_report_is_printed_when_the_launcher_is_killed(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 6, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 50)
    (launcher,), engines = gaggle.launchers(), gaggle.engines()

    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, engines)), AT_MOST)
    result = gaggle.finish(AT_MOST)

    assert kinds(result) == ["loss"]
    assert "the launcher died, and its engines with it" in result.stdout
    assert "=== PER REQUEST METRICS ===" in result.stdout
    assert_counted(result, server)
    assert result.returncode == 5


def test_launcher_and_engine_that_die_together_are_no_riddle(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITOR, "-u", 6, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 50)
    (launcher,), engines = gaggle.launchers(), gaggle.engines()

    for pid in (*engines, launcher):
        os.kill(pid, signal.SIGKILL)
    result = gaggle.finish(AT_MOST)

    assert kinds(result)[-1] == "loss"
    assert_counted(result, server)
    assert "Traceback" not in result.stderr
    assert "never retrieved" not in result.stderr
    assert result.returncode == 5


def test_a_test_stop_that_has_no_launcher_left_is_an_incident(start_gaggle: StartGaggle, server: Server) -> None:
    source = (
        VISITOR
        + """
    @test_stop
    async def tidy_up():
        print("tidy")
    """
    )
    gaggle = start_gaggle(source, "-u", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") > 10)

    os.kill(gaggle.launchers()[0], signal.SIGKILL)
    result = gaggle.finish(AT_MOST)

    assert kinds(result) == ["loss", "test_stop"]
    assert result.returncode == 5


@pytest.mark.parametrize("blocked", ["", "time.sleep(60)"])
def test_nothing_outlives_the_supervisor(blocked: str, start_gaggle: StartGaggle, server: Server) -> None:
    source = VISITOR.replace("await asyncio.sleep(0.01)", blocked or "await asyncio.sleep(0.01)")
    gaggle = start_gaggle(source, "-u", 4, "--engines", 2, *AT_ONCE)
    eventually(lambda: server.seen("GET /") >= 2)  # blocked or not: each engine has begun
    family = [*gaggle.launchers(), *gaggle.engines()]
    assert len(family) == 3

    gaggle.signal(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, family)), AT_MOST)

    assert gaggle.wait() == -signal.SIGKILL


@pytest.mark.parametrize("when", ["test_start", "import"])
def test_nothing_outlives_a_supervisor_that_dies_before_the_test(when: str, start_gaggle: StartGaggle) -> None:
    hang: dict[str, Any] = {
        "test_start": VISITOR
        + """
    @test_start
    async def hang():
        print("hanging", flush=True)
        time.sleep(60)
    """,
        "import": """
        print("hanging", flush=True)
        time.sleep(60)
    """,
    }
    gaggle = start_gaggle(hang[when])
    gaggle.wait_for_line("hanging")
    family = [*gaggle.launchers(), *gaggle.engines()]

    gaggle.signal(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, family)), AT_MOST)

    assert gaggle.wait() == -signal.SIGKILL


def test_a_launcher_that_dies_at_the_import_is_one_line(run_gaggle: RunGaggle) -> None:
    result = run_gaggle("""
        import os
        os._exit(9)
    """)

    assert re.fullmatch(
        r"Error: the launcher ended with exit code 9 while it imported .*loadtest\.py", result.stderr.splitlines()[-1]
    )
    assert "Traceback" not in result.stderr
    assert result.returncode == 1
