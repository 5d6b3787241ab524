"""A manager that is killed and started again takes up its test; a worker that comes late or again gets a share."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from busy import BUSY, LONG, USERS, all_work, stopped
from flock import LEASE, Flock, Worker
from processes import eventually
from runs import Gaggle, assert_accounts
from sites import Server

LoadTestFile = Callable[..., Path]


@pytest.fixture
def flock_file(load_test: LoadTestFile) -> Path:
    return load_test(BUSY)


def words(server: Server, workers: int, *more: object) -> list[object]:
    return ["--expect-workers", workers, "-u", USERS, "-r", 50, "-H", server.url, *more]


def users_of(worker: Worker) -> int:
    """Return how many users a worker has started."""
    return sum("launching user" in line.text for line in worker.lines)


def killed_and_resumed(flock: Flock, server: Server, state: Path, lease: str) -> tuple[Gaggle, list[Worker]]:
    """Let a manager with two workers be killed and started again, as it was but for --resume."""
    given = words(server, 2, "--lease", lease, "--state-file", state)
    first = flock.manager(*given)
    workers = flock.workers(2, "--engines", 1)
    all_work(server)
    first.signal(signal.SIGKILL)
    first.finish(LONG)
    if lease == LEASE:
        eventually(lambda: not any(worker.engines() for worker in workers), LONG, "the leases are over")
    return flock.manager(*given, "--resume", port=flock.port), workers


def test_a_manager_that_is_started_again_takes_up_its_test(flock: Flock, server: Server, tmp_path: Path) -> None:
    state = tmp_path / "state"

    manager, workers = killed_and_resumed(flock, server, state, lease="60s")
    manager.wait_for_line(f"all {USERS} users went on", LONG)
    result = stopped(manager)

    assert result.returncode == 0, result
    [(kind, text)] = result.incidents
    assert kind == "manager"
    assert re.fullmatch(rf"the manager was away for \d+ seconds: all {USERS} users went on", text)
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))
    assert server.seen().max_open <= USERS + 2
    assert [worker.finish(LONG).returncode for worker in workers] == [0, 0]
    assert not state.exists()


def test_users_whose_lease_ended_while_there_was_no_manager_begin_again(
    flock: Flock, server: Server, tmp_path: Path
) -> None:
    manager, workers = killed_and_resumed(flock, server, tmp_path / "state", LEASE)
    all_work(server)
    result = stopped(manager)

    assert result.returncode == 0, result
    [(kind, text)] = result.incidents
    assert kind == "manager"
    assert text.endswith(f"of {USERS} users {USERS} ended, and began again when their worker was back")
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))
    assert server.seen().max_open <= USERS + 2
    assert [worker.finish(LONG).returncode for worker in workers] == [0, 0]


def test_a_test_that_has_not_ended_is_not_overwritten(flock: Flock, server: Server, tmp_path: Path) -> None:
    state = tmp_path / "state"
    given = words(server, 1, "--state-file", state)
    manager = flock.manager(*given)
    eventually(state.exists)
    manager.signal(signal.SIGKILL)
    manager.finish(LONG)

    without = flock.manager(*given, waits=False).finish(LONG)
    other = flock.manager(*given, "--resume", "-t", "1m", waits=False).finish(LONG)

    assert (without.returncode, other.returncode) == (2, 2)
    assert "holds a test that has not ended: add --resume to take it up, or remove the file." in without.stderr
    assert f"The test in {state} was started with --run-time 0: give the same." in other.stderr
    assert state.exists()


def test_a_worker_that_comes_late_takes_its_share_of_the_users(flock: Flock, server: Server) -> None:
    manager = flock.manager(*words(server, 1, "--rebalance"))
    [first] = flock.workers(1, "--engines", 1)
    all_work(server)

    second = flock.worker("--engines", 1)
    second.wait_for_line("launched 3 users", LONG)
    all_work(server)
    result = stopped(manager)

    assert result.returncode == 0, result
    assert result.incidents == [("rebalance", "worker 2 has come while the test runs: 3 users move to it")]
    assert (users_of(first), users_of(second)) == (6, 3)
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))
    assert server.seen().max_open <= USERS
    assert [worker.finish(LONG).returncode for worker in (first, second)] == [0, 0]
    assert {engine["worker"] for engine in result.report["engines"]} == {1, 2}


def test_a_worker_that_comes_back_takes_a_share_again(flock: Flock, server: Server) -> None:
    manager = flock.manager(*words(server, 2, "--rebalance", "--lease", LEASE))
    first, second = flock.workers(2, "--engines", 1)
    all_work(server)

    second.signal_all(signal.SIGSTOP)
    manager.wait_for_line("others have them now", LONG)
    all_work(server)
    second.signal_all(signal.SIGCONT)
    eventually(lambda: users_of(second) == 6, LONG, "it has users again")
    all_work(server)
    result = stopped(manager)

    assert result.returncode == 0, result
    assert [kind for kind, _ in result.incidents] == ["loss", "rebalance"]
    assert server.seen().max_open <= USERS + 2
    assert [worker.finish(LONG).returncode for worker in (first, second)] == [0, 0]
