"""What becomes of a gaggle when a part of it is lost: users are never at work twice, and what was lost is said."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from busy import BUSY, LONG, USERS, all_work, assert_never_too_many, incident_texts, stopped
from flock import LEASE, NOT_HEARD, Flock, Worker
from processes import eventually, kill, lasting
from runs import Gaggle, assert_accounts
from sites import Server

from gaggle.joining import Token

HANDED_OVER = f"worker 2 {NOT_HEARD} with 3 users: others have them now"

LoadTestFile = Callable[..., Path]


@pytest.fixture
def flock_file(load_test: LoadTestFile) -> Path:
    return load_test(BUSY)


def at_work(
    flock: Flock, server: Server, workers: int, *words: object, lease: str = LEASE
) -> tuple[Gaggle, list[Worker]]:
    """Start a gaggle of workers with an engine each; return it when all its users are at work."""
    manager = flock.manager(
        "--expect-workers", workers, "-u", USERS, "-r", 50, "-H", server.url, "--lease", lease, *words
    )
    found = flock.workers(workers, "--engines", 1)
    eventually(lambda: server.seen().open == USERS, LONG, "all users at work")
    return manager, found


# A worker is lost.


def test_users_of_a_worker_whose_supervisor_is_killed_start_again_on_the_others(flock: Flock, server: Server) -> None:
    manager, (first, second) = at_work(flock, server, 2)
    assert len(second.family()) >= 2

    second.signal(signal.SIGKILL)
    gone = second.finish(LONG)  # and nothing of it is left behind
    manager.wait_for_line("others have them now", LONG)
    all_work(server)
    result = stopped(manager)

    assert (gone.returncode, result.returncode) == (-signal.SIGKILL, 0), result
    assert incident_texts(result) == [HANDED_OVER]
    assert first.finish(LONG).returncode == 0
    assert_never_too_many(server, engines=2)


def test_an_engine_that_is_killed_is_replaced_on_its_own_worker(flock: Flock, server: Server) -> None:
    manager, (first, second) = at_work(flock, server, 2)
    [engine] = second.engines()

    kill([engine])
    second.wait_for_line("start again in a new engine")
    all_work(server)
    result = stopped(manager)

    assert result.returncode == 0, result
    text = "worker 2: engine 0 was killed by SIGKILL (out of memory?); its users start again in a new engine"
    assert incident_texts(result) == [text]
    assert [worker.finish(LONG).returncode for worker in (first, second)] == [0, 0]
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))


def test_an_engine_that_is_replaced_has_the_users_that_came_from_a_lost_worker_too(
    flock: Flock, server: Server
) -> None:
    manager, (first, second) = at_work(flock, server, 2)
    second.signal_all(signal.SIGKILL)
    manager.wait_for_line("others have them now")
    all_work(server)

    kill(first.engines())
    first.wait_for_line("start again in a new engine")
    eventually(lambda: server.seen().open < USERS, LONG)

    all_work(server)
    assert stopped(manager).returncode == 0
    assert_never_too_many(server, engines=2)


def test_a_worker_that_stood_still_for_longer_than_its_lease_has_no_users_when_it_goes_on(
    flock: Flock, server: Server
) -> None:
    manager, (first, second) = at_work(flock, server, 2)
    [engine] = second.engines()

    second.signal_all(signal.SIGSTOP)
    manager.wait_for_line("others have them now", LONG)
    all_work(server)
    second.signal_all(signal.SIGCONT)
    eventually(lambda: engine not in second.family(), what="its engine has ended")
    second.wait_for_line("users are ended")
    result = stopped(manager)

    assert result.returncode == 0, result
    assert incident_texts(result) == [HANDED_OVER]
    assert [worker.finish(LONG).returncode for worker in (first, second)] == [0, 0]
    assert_never_too_many(server, engines=2)
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))


def test_sigterm_lets_a_worker_drain_and_hands_its_users_over_at_once(flock: Flock, server: Server) -> None:
    manager, (_, second) = at_work(flock, server, 2, lease="60s")  # so that nobody waits for its end

    second.signal(signal.SIGTERM)
    gone = second.finish(LONG)
    all_work(server)
    result = stopped(manager)

    assert gone.returncode == 0, gone
    assert result.returncode == 0, result
    assert incident_texts(result) == ["worker 2 was told to leave with 3 users: others have them now"]
    assert_never_too_many(server, engines=2)
    row = result.request("GET slow")
    assert row.unfinished == 0
    assert_accounts(row, server.seen("GET /slow"))


def test_a_spare_takes_the_users_of_a_lost_worker(flock: Flock, server: Server) -> None:
    manager, (first, second) = at_work(flock, server, 2)
    [spare] = flock.workers(1, "--engines", 1)
    manager.wait_for_line("is a spare: 2 were expected, and are here")

    second.signal_all(signal.SIGKILL)
    spare.wait_for_line("entering gaggle mode", LONG)
    all_work(server)
    result = stopped(manager)

    assert result.returncode == 0, result
    assert incident_texts(result) == [HANDED_OVER]
    assert [worker.finish(LONG).returncode for worker in (first, spare)] == [0, 0]
    assert_never_too_many(server, engines=3)


def test_with_continue_the_test_goes_on_without_the_users_and_is_incomplete(flock: Flock, server: Server) -> None:
    manager, (first, second) = at_work(flock, server, 2, "--on-worker-loss", "continue")

    second.signal_all(signal.SIGKILL)
    manager.wait_for_line("the test goes on without them", LONG)
    eventually(lambda: server.seen().open == USERS / 2)
    result = stopped(manager)

    assert result.returncode == 5, result
    assert incident_texts(result) == [f"worker 2 {NOT_HEARD} with 3 users: the test goes on without them"]
    assert first.finish(LONG).returncode == 0


def test_with_stop_the_test_ends_at_the_loss_of_a_worker_and_is_incomplete(flock: Flock, server: Server) -> None:
    manager, (first, second) = at_work(flock, server, 2, "--on-worker-loss", "stop")

    second.signal_all(signal.SIGKILL)
    result = manager.finish(LONG)

    assert result.returncode == 5, result
    assert incident_texts(result) == [f"worker 2 {NOT_HEARD} with 3 users: the test stops"]
    assert first.finish(LONG).returncode == 0


# The manager is lost.


def test_workers_stop_when_their_manager_is_killed(flock: Flock, server: Server) -> None:
    manager = flock.manager("--expect-workers", 2, "-u", USERS, "-r", 50, "-H", server.url, "--lease", LEASE)
    workers = flock.workers(2, "--engines", 1, "--manager-grace", "3s")
    eventually(lambda: server.seen().open == USERS, LONG, "all users at work")

    manager.signal(signal.SIGKILL)
    eventually(lambda: not any(worker.engines() for worker in workers), what="no engine is left")
    results = [worker.finish(LONG) for worker in workers]

    address = f"tcp://127.0.0.1:{flock.port}"
    for result in results:
        assert result.returncode == 1, result
        [error] = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
        assert error.startswith(f"Error: the manager at {address} was not heard for ")
        assert "Traceback" not in result.stderr


def test_a_worker_may_be_there_before_its_manager(flock: Flock, server: Server) -> None:
    flock.port = free_port()
    worker = flock.worker("--engines", 1)
    worker.wait_for_line("waiting for the manager")

    manager = flock.manager("--expect-workers", 1, "-u2", "-r50", "-t", lasting(0.5), "-H", server.url, port=flock.port)
    result = manager.finish(LONG)

    assert result.returncode == 0, result
    assert worker.finish(LONG).returncode == 0
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))


def test_a_worker_does_not_wait_longer_for_a_manager_than_it_was_told(flock: Flock) -> None:
    flock.port = free_port()
    worker = flock.worker("--manager-timeout", "500ms")

    result = worker.finish(LONG)

    assert result.returncode == 1
    assert f"Error: the manager at tcp://127.0.0.1:{flock.port} was not heard for " in result.stderr


# Who is not let in.


def test_strangers_are_refused_by_name_and_the_others_go_on(
    flock: Flock, server: Server, load_test: LoadTestFile, tmp_path: Path
) -> None:
    manager = flock.manager("--expect-workers", 1, "-u2", "-r50", "-t", lasting(0.5), "-H", server.url)
    file = tmp_path / "token"
    file.write_text(Token.make().written)
    file.chmod(0o600)
    with_another_token = flock.worker("--join-token-file", file)
    with_another_test = flock.worker(load_test=load_test(BUSY.replace("150", "151"), "other.py"))
    refused = [with_another_token.finish(LONG), with_another_test.finish(LONG)]
    worker = flock.worker()
    result = manager.finish(LONG)

    assert [each.returncode for each in refused] == [1, 1]
    assert re.search("Error: the manager does not let this worker in: .*another join token", refused[0].stderr)
    assert "Error: the manager refused this worker: it runs a different load test" in refused[1].stderr
    assert f"worker {socket.gethostname()} is running a different load test, refusing it" in result.stderr
    assert "was refused" in result.stderr
    assert result.returncode == 0, result
    assert worker.finish(LONG).returncode == 0


def test_a_worker_with_another_load_test_is_let_in_where_the_manager_does_not_mind(
    flock: Flock, server: Server, load_test: LoadTestFile
) -> None:
    manager = flock.manager(
        "--expect-workers", 1, "-u2", "-r50", "-t", lasting(0.5), "-H", server.url, "--no-hash-check"
    )
    other = flock.worker(load_test=load_test(BUSY.replace("150", "151"), "other.py"))
    result = manager.finish(LONG)

    assert result.returncode == 0, result
    assert "is running a different load test, ignoring" in result.stderr
    assert other.finish(LONG).returncode == 0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
