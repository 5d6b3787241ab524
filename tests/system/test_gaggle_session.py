"""The gaggle of the first session, in three terminals: every line of it, what is counted, and what is refused."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest
from flock import Flock, Worker, masked
from processes import Process, lasting
from runs import Gaggle, Result, assert_accounts, clean_environment
from sites import DemoSite, Server

DRUPAL = Path(__file__).parents[2] / "examples" / "drupal_loadtest.py"
LONG = 30.0

Golden = Callable[[str, str], None]
LoadTestFile = Callable[..., Path]
RunGaggle = Callable[..., Result]


@pytest.fixture
def flock_file() -> Path:
    return DRUPAL


def three_terminals(flock: Flock, site: DemoSite, rate: int) -> tuple[Gaggle, Worker, Worker]:
    """Start the manager and two workers as in the seed; return them when all users are there."""
    manager = flock.manager("--expect-workers", 2, "--host", f"{site.url}/", "-u8", "-r", rate)
    one, two = flock.workers(2)
    for worker in (one, two):
        worker.wait_for_line("launched 4 users", LONG)
    return manager, one, two


def launches(*workers: Worker) -> list[tuple[int, int]]:
    """Return (worker, user) of all users in the order in which they were launched, numbers from 1."""
    found = []
    for number, worker in enumerate(workers, 1):
        lines = [line for line in worker.lines if "launching user" in line.text]
        found += [(line.at, number, user) for user, line in enumerate(lines, 1)]
    return [(number, user) for _, number, user in sorted(found)]


def gaps(worker: Worker) -> list[float]:
    """Return the seconds between one launch on a worker and the next."""
    times = [line.at for line in worker.lines if "launching user" in line.text]
    return [later - earlier for earlier, later in pairwise(times)]


def sorted_users(log: str) -> str:
    """Return a log with the users in their turn: at 100 a second, two engines need not say so in that order."""
    lines = log.splitlines(keepends=True)
    for word in ("launching user", "exiting user"):
        places = [place for place, line in enumerate(lines) if word in line]
        for place, line in zip(places, sorted(lines[place] for place in places), strict=True):
            lines[place] = line
    return "".join(lines)


# The session.


@pytest.mark.timed
def test_ctrl_c_on_worker_2_stops_all_and_every_line_is_the_seed_s(
    flock: Flock, demo_site: DemoSite, golden: Golden
) -> None:
    _, one, two = three_terminals(flock, demo_site, rate=2)

    two.signal(signal.SIGINT)
    results = flock.finish(LONG)

    assert [result.returncode for result in results] == [0, 0, 0]
    assert launches(one, two) == [(worker, user) for user in (1, 2, 3, 4) for worker in (1, 2)]
    assert min(gaps(one) + gaps(two)) > 0.5  # a second is due, but the machine is noisy
    for node, result in zip(("manager", "worker_1", "worker_2"), results, strict=True):
        golden(f"gaggle_{node}.log", masked(result.stderr))


def test_ctrl_c_on_the_manager_tells_every_worker_to_exit(flock: Flock, demo_site: DemoSite, golden: Golden) -> None:
    manager, *_ = three_terminals(flock, demo_site, rate=100)

    manager.signal(signal.SIGINT)
    results = flock.finish(LONG)

    assert [result.returncode for result in results] == [0, 0, 0]
    for node, result in zip(("manager", "worker_1", "worker_2"), results, strict=True):
        in_turn = sorted_users(masked(result.stderr))
        if node == "manager":  # which of the two is faster is nobody's business
            in_turn = in_turn.replace("worker 2 exited", "worker 1 exited")
        golden(f"gaggle_stopped_{node}.log", in_turn)


def test_ctrl_c_while_the_manager_waits_for_workers_ends_those_that_came(flock: Flock, demo_site: DemoSite) -> None:
    manager = flock.manager("--expect-workers", 2, "--host", demo_site.url, "-u8")
    flock.workers(1)

    manager.signal(signal.SIGINT)
    lead, worker = flock.finish(LONG)

    assert (lead.returncode, worker.returncode) == (130, 0), f"{lead}\n{worker}"
    assert "manager went away" in worker.stderr


def test_the_first_worker_has_its_users_long_before_the_second_comes(flock: Flock, demo_site: DemoSite) -> None:
    manager = flock.manager("--expect-workers", 2, "--host", demo_site.url, "-u8")

    flock.workers(1)

    manager.wait_for_line("sending 4 users to worker 1")
    assert not manager.find("gaggle distributed load test started")
    assert demo_site.seen().total() == 0


# What is counted.

VISITS = """
    class Visitor(User):
        wait_time = constant(0.005)
        @task
        async def front(self): await self.get("/")
        @task
        async def hop(self): await self.get("/redirect/1", name="hop")
        @task
        async def missing(self): await self.get("/status/404", name="missing")
"""


def assert_is_what_was_seen(result: Result, server: Server) -> None:
    """Hold the manager's report against the server's books; nothing was cut in these tests."""
    seen = server.seen()
    for name, paths in (("/", ("/",)), ("hop", ("/redirect/1", "/redirect/0")), ("missing", ("/status/404",))):
        row = result.request(f"GET {name}")
        assert row.answered > 0
        assert_accounts(row, sum(seen[f"GET {path}"] for path in paths))
    assert sum(row.answered + row.hops for row in result.requests) == seen.total


def test_the_manager_s_report_of_three_workers_is_what_the_server_saw(
    flock: Flock, server: Server, load_test: LoadTestFile
) -> None:
    flock.load_test = load_test(VISITS)
    flock.manager("--expect-workers", 3, "--host", server.url, "-u7", "-r50", "-t", lasting(1))
    flock.workers(3, "--engines", 1)

    lead, *others = flock.finish(LONG)

    assert [result.returncode for result in (lead, *others)] == [0, 0, 0, 0], lead
    assert_is_what_was_seen(lead, server)


def test_the_manager_s_report_of_two_workers_has_all_sections(
    flock: Flock, server: Server, load_test: LoadTestFile
) -> None:
    flock.load_test = load_test(VISITS)
    flock.manager("--expect-workers", 2, "--host", server.url, "-u4", "-r50", "-t", lasting(1))
    flock.workers(2, "--engines", 1)

    lead, *others = flock.finish(LONG)

    assert [result.returncode for result in (lead, *others)] == [0, 0, 0], lead
    assert_is_what_was_seen(lead, server)
    for section in ("PER TASK METRICS", "PER REQUEST METRICS", "STATUS CODE", "ERRORS", "OVERVIEW"):
        assert section in lead.stdout.upper(), f"no {section}:\n{lead.stdout}"
    assert "99%" in lead.stdout
    missing, hop = lead.request("GET missing"), lead.request("GET hop")
    assert missing.statuses == {"404": missing.answered}
    assert missing.failures == missing.answered
    assert hop.statuses == {"200": hop.answered}
    assert {error["count"] for error in lead.report["errors"]} == {missing.failures}
    assert lead.incidents == []


# What is refused.


def test_a_manager_that_expects_nobody_is_refused(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(DRUPAL, "--manager", host="")

    detail = "The --expect-workers option must be set to at least 1."
    assert result.stderr == f'Error: InvalidOption {{ option: "--expect-workers", value: "0", detail: "{detail}" }}\n'
    assert result.returncode == 2


def test_more_workers_than_users_are_refused(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(DRUPAL, "--manager", "--expect-workers", 2, "-u", 1, host="")

    detail = "The --expect-workers option can not be set to a value larger than --users option."
    assert result.stderr == f'Error: InvalidOption {{ option: "--expect-workers", value: "2", detail: "{detail}" }}\n'
    assert result.returncode == 2


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("manager", ["--host", "http://local.dev/", "-u8", "--manager", "--expect-workers", "2"]),
        ("worker", ["--worker"]),
    ],
)
def test_without_the_extra_a_gaggle_says_what_to_install(
    run_gaggle_without_zeromq: Callable[..., Process], mode: str, words: list[str]
) -> None:
    gaggle = run_gaggle_without_zeromq(*words)

    code = gaggle.wait(LONG)

    detail = f"Run `pip install 'gaggle-loadtest[gaggle]'` to start in {mode} mode."
    assert gaggle.output("stderr") == f'Error: FeatureNotEnabled {{ feature: "gaggle", detail: "{detail}" }}\n'
    assert code == 2


@pytest.fixture
def run_gaggle_without_zeromq(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return `run(*words)`, which starts gaggle where pyzmq is not installed."""
    started: list[Process] = []

    def run(*words: str) -> Process:
        env = clean_environment() | {"PYTHONPATH": str(without_zeromq(tmp_path))}
        started.append(Process([sys.executable, "-m", "gaggle", DRUPAL, *words], tmp_path, env))
        return started[-1]

    yield run
    for each in started:
        each.end()


def without_zeromq(folder: Path) -> Path:
    """Return a folder for PYTHONPATH, which hides pyzmq."""
    source = """
        import sys

        class Hidden:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "zmq":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Hidden())
    """
    (folder / "sitecustomize.py").write_text(dedent(source))
    return folder
