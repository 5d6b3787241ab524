"""Who starts when, what it does in which order, and how long it all lasts."""

from __future__ import annotations

import re
import signal
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import PATIENCE, eventually, lasting
from runs import Gaggle, Result
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")
TYPICAL = 0.06 * PATIENCE  # seconds that half of all users may be off at most
WORST = 0.8 * PATIENCE  # ... and any of them: the machine may be busy

# What users do is written down, a line each, by O_APPEND whole.
NOTING = """
    FILE = {file!r}

    class Noting(User):
        def note(self, *words):
            with open(FILE, "a") as file:
                print(self.number, *words, file=file)

        def tasks_done(self):
            self.done = getattr(self, "done", 0) + 1
            return self.done
"""


def noted(file: Path) -> dict[int, list[str]]:
    """Return what each user has written down, in order."""
    lines: defaultdict[int, list[str]] = defaultdict(list)
    for line in file.read_text().splitlines():
        number, words = line.split(" ", 1)
        lines[int(number)].append(words)
    return dict(lines)


# When users start.

STARTING = (
    NOTING
    + """
    class Starting(Noting):
        @on_start
        async def arrive(self):
            self.note(time.monotonic())

        @task
        async def wait_here(self):
            await asyncio.sleep(0.01)
"""
)


@pytest.mark.parametrize(("rate", "users", "engines"), [(10, 8, 2), (10, 4, 1), (2.5, 3, 2), (0.5, 2, 2)])
@pytest.mark.timed
def test_users_start_one_by_one_whichever_engine_they_live_in(
    rate: float, users: int, engines: int, run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "notes"

    result = run_gaggle(
        STARTING.format(file=str(file)),
        "-u",
        users,
        "-r",
        rate,
        "-t",
        "0.1s",
        "--engines",
        engines,
        "--no-reset-metrics",
    )

    came = {number: float(times[0]) for number, times in noted(file).items()}
    assert sorted(came) == list(range(1, users + 1))
    began = [came[number] - (number - 1) / rate for number in came]
    off = [abs(each - statistics.median(began)) for each in began]
    assert statistics.median(off) < TYPICAL
    assert max(off) < WORST
    assert result.returncode == 0


@pytest.mark.timed
def test_the_run_time_counts_from_the_start_of_the_last_user(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
                await asyncio.sleep(0.02)
    """

    result = run_gaggle(source, "-u", 4, "-r", 4, "-t", "0.6s")

    increasing, maintaining, decreasing = result.report["phases"]
    assert [phase["action"] for phase in (increasing, maintaining, decreasing)] == [
        "Increasing",
        "Maintaining",
        "Decreasing",
    ]
    assert (increasing["users_from"], increasing["users_to"]) == (0, 4)
    assert increasing["stopped"] - increasing["started"] == pytest.approx(0.75, abs=0.3 * PATIENCE)
    assert maintaining["stopped"] - increasing["started"] == pytest.approx(0.75 + 0.6, abs=0.3 * PATIENCE)
    assert maintaining["stopped"] - increasing["started"] > 0.75 + 0.6 - 0.01
    assert result.report["duration_s"] == pytest.approx(0.6, abs=0.3 * PATIENCE)  # since the reset


def test_a_ramp_longer_than_the_run_time_is_warned_of_before_it_starts(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(STARTING.format(file="/dev/null"), "-u", 9, "-r", 4, "-t", "1s", "-v")

    warning = "starting 9 users takes 2s, longer than the run time of 1s"
    lines = result.stderr.splitlines()
    warned = [number for number, line in enumerate(lines) if "WARN" in line and warning in line]
    launched = [number for number, line in enumerate(lines) if "launching user" in line]
    assert len(warned) == 1
    assert warned[0] < launched[0]
    assert len(launched) == 9


def test_users_come_when_they_are_due_however_busy_the_others_are(start_gaggle: StartGaggle, server: Server) -> None:
    """One came a turn of the loop, which takes the longer the more there are: these took over three minutes."""
    source = """
        class Busy(User):
            @task
            async def keep_busy(self):
                time.sleep(0.01)
                await asyncio.sleep(0)
    """

    gaggle = start_gaggle(source, "-u", 200, "--engines", 1, "-v", *AT_ONCE)

    eventually(lambda: gaggle.output().count("launching user") == 200, 10, "all users have come")
    gaggle.signal(signal.SIGINT)
    assert gaggle.finish().returncode == 0


# Who they are.

CLASSES = """
    class {0}(User):
        {1}

        @task
        async def visit(self):
            await asyncio.sleep(0.01)
"""
ANON_AND_AUTH = (("Anon", "weight = 4"), ("Auth", "weight = 1"))


@pytest.mark.parametrize(
    ("classes", "users", "expected"),
    [
        (ANON_AND_AUTH, 8, "Anon Anon Anon Auth Anon Anon Anon Anon"),
        ((("Anon", "weight = 8"), ("Auth", "weight = 2")), 8, "Anon Anon Anon Auth Anon Anon Anon Anon"),
        ((("Admin", "fixed_count = 2"), *ANON_AND_AUTH), 7, "Admin Admin Auth Anon Anon Anon Anon"),
        ((("Admin", "fixed_count = 3"),), 3, "Admin Admin Admin"),
    ],
)
def test_classes_are_laid_out_by_weight_and_fixed_count(
    classes: tuple[tuple[str, str], ...], users: int, expected: str, run_gaggle: RunGaggle
) -> None:
    source = "".join(CLASSES.format(*each) for each in classes)

    result = run_gaggle(source, "-u", users, "-t", lasting(0.25), "--engines", 2, "-v", *AT_ONCE, host="http://nowhere")

    launched = dict(re.findall(r"launching user (\d+) from (\w+)", result.stderr))
    assert [launched[str(number)] for number in range(1, users + 1)] == expected.split()


def test_users_that_no_class_may_have_are_refused(run_gaggle: RunGaggle) -> None:
    source = CLASSES.format("Admin", "fixed_count = 3")

    result = run_gaggle(source, "-u", 4, "-t", "0.05s", host="http://nowhere")

    assert result.returncode == 2
    assert "fixed_count allows 3" in result.stderr


# What they do.

BAG = (
    NOTING
    + """
    PASSES = 3

    class {name}(Noting):
        @task(15)
        async def front(self):
            self.did("front")

        @task(10)
        async def node(self):
            self.did("node")

        @task(3)
        async def user(self):
            self.did("user")

        def did(self, what):
            self.note(what)
            if self.tasks_done() == PASSES * 28:
                self.stop()

    {name} = {decorator}({name})
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def test_each_pass_has_every_task_as_often_as_its_weight_says(run_gaggle: RunGaggle, file: Path) -> None:
    """The seed's run has 7,166 : 4,781 : 1,433 tasks, which is 15 : 10 : 3."""
    source = BAG.format(file=str(file), name="Shuffled", decorator="")

    result = run_gaggle(source, "-u", 4, *AT_ONCE, host="http://nowhere")

    passes = [tasks[start : start + 28] for tasks in noted(file).values() for start in range(0, 3 * 28, 28)]
    assert [Counter(each) for each in passes] == [{"front": 15, "node": 10, "user": 3}] * 4 * 3
    assert len(set(map(tuple, passes))) == 4 * 3  # no two in the same order
    counts = {task.name: task.answered for task in result.tasks}
    assert counts == {"front": 15 * 12, "node": 10 * 12, "user": 3 * 12}
    assert result.report["users_by_class"][0]["started"] == 12


def test_a_sequence_is_done_in_order(run_gaggle: RunGaggle, file: Path) -> None:
    source = BAG.format(file=str(file), name="Ordered", decorator="sequence")

    run_gaggle(source, "-u", 3, *AT_ONCE, host="http://nowhere")

    one_pass = ["front"] * 15 + ["node"] * 10 + ["user"] * 3
    assert noted(file) == dict.fromkeys((1, 2, 3), one_pass * 3)


# The requests of a user are drawn from its luck, as are the order of its tasks and its waits.
LUCKY = (
    NOTING
    + """
    class Lucky(Noting):
        wait_time = between(0, 0.002)

        @task(2)
        async def draw(self):
            path = f"/bytes?n={{self.random.randint(1, 1000)}}"
            self.note(path)
            await self.get(path)
            if self.tasks_done() >= 12:
                self.stop()

        @task(1)
        async def other(self):
            self.note(f"wait {{self.wait_time():.9f}}")
            if self.tasks_done() >= 12:
                self.stop()
"""
)


def test_the_same_seed_gives_every_user_the_same_requests_again(
    run_gaggle: RunGaggle, server: Server, file: Path
) -> None:
    """On however many engines."""
    drawn = []
    for arguments in (("--seed", 7, "--engines", 2), ("--seed", 7, "--engines", 1), ("--seed", 8, "--engines", 2)):
        file.unlink(missing_ok=True)
        result = run_gaggle(LUCKY.format(file=str(file)), "-u", 5, *arguments, *AT_ONCE)
        assert result.report["seed"] == arguments[1]
        drawn.append(noted(file))

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert len(set(map(tuple, drawn[0].values()))) == 5  # each user has a luck of its own


def test_without_a_seed_each_run_is_another_and_says_how_to_repeat_it(
    run_gaggle: RunGaggle, server: Server, file: Path
) -> None:
    first = run_gaggle(LUCKY.format(file=str(file)), "-u", 3, "-v", *AT_ONCE)
    drawn = noted(file)
    file.unlink()
    second = run_gaggle(LUCKY.format(file=str(file)), "-u", 3, "--seed", first.report["seed"], *AT_ONCE)

    assert f"seed = {first.report['seed']}" in first.stderr
    assert second.report["seed"] == first.report["seed"]
    assert noted(file) == drawn
