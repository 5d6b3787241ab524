"""Options of a load test, seen at work by the server."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flock import Flock
from processes import PATIENCE, Process, eventually, lasting
from runs import Gaggle, Result, clean_environment
from sites import Server

LoadTestFile = Callable[..., Path]
RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

AT_ONCE = ("--hatch-rate", 1000)

VISITORS = """
    class AnonUser(User):
        @task(tags=["fast", "read"])
        async def front(self):
            await self.get("/")

        @task(tags="slow")
        async def read(self):
            await self.get("/text?n=10")

    class AuthUser(User):
        @task
        async def log_in(self):
            await self.get("/cookies")
"""


# The plan.


def test_users_leave_after_so_many_passes_and_the_test_ends_with_them(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(VISITORS, "-u", 4, *AT_ONCE, "--iterations", 3, "--engines", 2, "-v")

    assert result.returncode == 0
    assert (server.seen("/"), server.seen("/text"), server.seen("/cookies")) == (6, 6, 6)
    assert "resetting metrics" not in result.stdout, "each user counts from its first request on"


def test_all_users_start_and_leave_within_their_times(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            wait_time = constant(60)

            @task
            async def visit(self):
                await self.get("/")
    """

    result = run_gaggle(
        source,
        *("-u", 5, "--startup-time", lasting(0.4), "-t", lasting(0.3), "--decrease-time", lasting(0.4)),
        *("--no-reset-metrics", "-v", "--engines", 1),  # two engines need not be in step
    )

    assert result.returncode == 0
    exits = [int(number) for number in re.findall(r"exiting user (\d+)", result.stderr)]
    assert sorted(exits) == [1, 2, 3, 4, 5]
    assert exits[-1] == 1, "who came first goes last"
    phases = [(each["action"], each["users_from"], each["users_to"]) for each in result.report["phases"]]
    assert phases == [("Increasing", 0, 5), ("Maintaining", 5, 5), ("Decreasing", 5, 0)]
    assert result.report["phases"][2]["stopped"] - result.report["phases"][2]["started"] > 0.35


def test_users_that_are_told_to_leave_finish_their_present_task(run_gaggle: RunGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/slow?ms=300")
                await self.get("/")
    """

    result = run_gaggle(source, "-u", 2, *AT_ONCE, "-t", lasting(0.1), "--decrease-rate", 20, "--no-reset-metrics")

    assert result.total("unfinished") == 0
    assert server.seen("/slow") == server.seen("/") >= 2


# The choice.


def test_only_what_was_chosen_runs(run_gaggle: RunGaggle, server: Server) -> None:
    run_gaggle(VISITORS, "-u", 2, *AT_ONCE, "--iterations", 1, "--classes", "anon*", "--exclude-tags", "slow")

    assert dict(server.seen()) == {"GET /": 2}


def test_the_list_shows_tags_and_only_what_was_chosen(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(VISITORS, "--list", "--tags", "slow", host="")

    assert result.stdout == "Available tasks:\n - AnonUser (weight: 1)\n    o read (weight: 1, tags: slow)\n"


def test_a_tag_that_no_task_has_is_refused(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(VISITORS, "--tags", "slwo", host="http://127.0.0.1:1")

    assert result.returncode == 2
    assert "names a tag that no task has; the tags are fast, read, slow." in result.stderr


# Metrics.


def test_metrics_are_printed_while_it_runs(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(VISITORS, "-u", 2, *AT_ONCE, "--running-metrics", "200ms", "-v")

    gaggle.wait_for_line("printing running metrics after")
    gaggle.wait_for_line("GET /text")
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    assert result.stdout.count("PER REQUEST METRICS") >= 2
    assert result.stdout.count("OVERVIEW") == 1


def test_tasks_can_be_left_out_of_the_reports(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(VISITORS, "-u", 2, *AT_ONCE, "--iterations", 1, "--no-task-metrics")

    assert result.tasks == []
    assert "PER TASK METRICS" not in result.stdout
    assert "PER REQUEST METRICS" in result.stdout


def test_without_metrics_nothing_is_printed(load_test: LoadTestFile, server: Server, tmp_path: Path) -> None:
    words = ["-u", "2", "-r", "1000", "--iterations", "1", "--no-metrics", "--host", server.url]

    process = Process([sys.executable, "-m", "gaggle", load_test(VISITORS), *words], tmp_path, clean_environment())

    assert process.wait() == 0
    assert process.output("stdout") == ""
    assert server.seen("/") > 0


# Requests.


@pytest.mark.parametrize("lane", ["fast", "libcurl"])
def test_headers_of_the_command_line_are_sent_with_every_request(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    source = """
        class Visitor(User):
            headers = {"User-Agent": "class"}

            @task
            async def look(self):
                response = await self.get("/echo")
                sent = {name.lower(): value for name, value in response.json()["headers"]}
                wanted = {"x-test": "a, b", "user-agent": "Goose", "host": "shop.example"}
                for name, value in wanted.items():
                    if sent.get(name) != value:
                        response.fail(f"{name} is {sent.get(name)}")
                if "accept-encoding" in sent:
                    response.fail("it asks for gzip")
    """

    result = run_gaggle(
        source,
        *("-u", 2, *AT_ONCE, "--iterations", 2, "--lane", lane, "--no-gzip"),
        *("--header", "X-Test: a, b", "--user-agent", "Goose"),
        *("--connect-to", f"shop.example:80:{server.url.removeprefix('http://')}"),
        host="http://shop.example",
    )

    assert (result.request("GET /echo").failures, result.request("GET /echo").answered) == (0, 4)
    assert result.returncode == 0


# The throttle.


@pytest.mark.parametrize("engines", [1, 2])
def test_the_throttle_holds_over_all_engines(engines: int, run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        VISITORS,
        *("-u", 6, *AT_ONCE, "-t", lasting(1), "--throttle-requests", 100, "--engines", engines, "--no-reset-metrics"),
    )

    seen = server.seen().total
    assert seen <= 100 * (result.report["duration_s"] + 0.1) + engines
    assert seen > 30


def test_users_that_wait_for_the_throttle_leave_at_once(start_gaggle: StartGaggle, server: Server) -> None:
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")

            @on_stop
            async def leave(self):
                pass
    """
    gaggle = start_gaggle(
        source, "-u", 8, *AT_ONCE, "--engines", 1, "--throttle-requests", 0.01, "--stop-timeout", 60, "-v"
    )
    gaggle.wait_for_line("launched 8 users")
    eventually(lambda: server.seen("/") == 1)

    began = time.monotonic()
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish(50 / PATIENCE)

    assert time.monotonic() - began < 50, "not after the stop timeout"
    assert result.total("unfinished") == 0, "what had not begun was not cut"
    assert server.seen("/") == 1


# All of it in a gaggle: the manager says what leads.


@pytest.fixture
def flock_file(load_test: LoadTestFile) -> Path:
    return load_test(VISITORS)


def test_a_gaggle_does_what_its_manager_chose_and_ends_when_all_have_left(flock: Flock, server: Server) -> None:
    flock.manager(
        *("--expect-workers", 2, "--host", server.url, "-u", 4, *AT_ONCE, "--iterations", 2),
        *("--tags", "slow", "--throttle-requests", 50),
    )
    flock.workers(2, "--engines", 1)

    results = flock.finish()

    assert [result.returncode for result in results] == [0, 0, 0]
    assert dict(server.seen()) == {"GET /text": 8}
    assert results[0].request("GET /text").answered == 8


def test_a_gaggle_lets_its_users_go_one_by_one_and_needs_no_metrics_to_end(flock: Flock, server: Server) -> None:
    options = ("-u", 4, *AT_ONCE, "-t", lasting(0.5), "--decrease-time", lasting(0.6), "--throttle-requests", 40)
    with bare_manager(flock, "--expect-workers", 2, "--host", server.url, *options, "--no-metrics") as manager:
        workers = flock.workers(2, "--engines", 1)

        codes = [manager.wait(), *(worker.finish().returncode for worker in workers)]

    assert codes == [0, 0, 0]
    assert "METRICS" not in manager.output()
    for worker in workers:
        assert re.findall(r"exiting user (\d)", worker.output()) == ["2", "1"]


OWN = """
    @own_options
    class Shop:
        depth: int = option(1)
        api_key: str = option(secret=True)

    class Visitor(User):
        @task
        async def browse(self):
            for page in range(self.own.depth):
                await self.get("/text", params={"key": self.own.api_key}, name="page")
"""


def test_the_manager_s_values_of_own_options_reach_all_workers(
    flock: Flock, server: Server, load_test: LoadTestFile
) -> None:
    flock.load_test = load_test(OWN, "own.py")
    words = ("--depth", 3, "--api-key", "goose", "--iterations", 1)
    flock.manager("--expect-workers", 2, "--host", server.url, "-u", 2, *AT_ONCE, *words)
    flock.workers(2, "--engines", 1)

    results = flock.finish()

    assert [result.returncode for result in results] == [0, 0, 0]
    assert server.seen("/text") == results[0].request("GET page").answered == 6
    assert not [result for result in results if "goose" in result.stdout + result.stderr], "it is a secret"
    assert "goose" not in results[0].report_file.read_text()


@contextmanager
def bare_manager(flock: Flock, *options: object) -> Iterator[Process]:
    """A manager that is asked for no report."""
    words = ["--manager", "-v", "--manager-bind-host", "127.0.0.1", "--manager-bind-port", "0", *map(str, options)]
    command = [sys.executable, "-m", "gaggle", flock.load_test, *words]
    manager = Process(command, flock.place("manager"), clean_environment() | flock.env)
    try:
        flock.port = int(manager.wait_for_line(r"listening on tcp://127\.0\.0\.1:(\d+)", 20)[1])
        eventually(flock.token_file.exists)
        yield manager
    finally:
        manager.end()
