"""A worker on another machine: it joins by the printed command, and what becomes of it when its cables are cut.

The other machine is a network namespace. Users reach the server by another cable than the manager: what is cut is the
one to the manager, and nothing but the lease keeps a worker that still reaches the server from doing so for ever.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from busy import BUSY, LONG, USERS, all_work, assert_never_too_many, incident_texts, stopped
from flock import LEASE, NOT_HEARD, Flock, Worker
from lossy import lossy_line
from netns import FarWorker, Machine, why_not
from processes import eventually, lasting
from runs import Gaggle, Result, Row, assert_accounts
from sites import Server

NODES = 2  # with an engine each

LoadTestFile = Callable[..., Path]

# Each has one for longer than the test takes: who has a user and does not let go of it is seen for certain.
LASTING = (
    BUSY.replace("ms=150", "ms=90000")
    + """
        @on_start
        async def arrive(self): await self.get("/")  # a test in which nothing was answered has failed
"""
)


@pytest.fixture(scope="module")
def needs_machines() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def machine(needs_machines: None) -> Iterator[Machine]:
    """Another machine, with a cable to this one for the manager and one for the server."""
    with Machine() as machine:
        yield machine


@pytest.fixture
def far_server(machine: Machine) -> Iterator[Server]:
    """A test server that the other machine reaches by its load cable."""
    server = Server("--host", machine.load.here)
    yield server
    server.stop()


@pytest.fixture
def flock_file(load_test: LoadTestFile, machine: Machine) -> Path:
    """After the machine, so that the gaggle ends before it does."""
    return load_test(BUSY)


def far_worker(flock: Flock, machine: Machine, manager: Gaggle, *words: object, port: int = 0) -> Worker:
    """Start a worker on the other machine with the command that the manager has printed; `port` replaces its port."""
    command = manager.wait_for_line(r"^\s+(GAGGLE_JOIN_TOKEN=\S+ gaggle .* --manager-port \d+)$")[1]
    if port:
        command = command.replace(f"--manager-port {flock.port}", f"--manager-port {port}")
    worker = FarWorker(machine, command, "--engines", 1, *words, folder=flock.place("far"))
    flock.nodes.append(worker)
    return worker


def half_there(flock: Flock, machine: Machine, server: Server, lease: str) -> tuple[Gaggle, Worker]:
    """Start a manager and the worker that is on its machine."""
    words = ("--expect-workers", NODES, "-u", USERS, "-r", 50, "-H", server.url, "--lease", lease)
    manager = flock.manager(*words, "--stop-timeout", "2s", host=machine.control.here)
    [near] = flock.workers(1, "--engines", 1, "--manager-host", machine.control.here)
    return manager, near


def at_work(flock: Flock, machine: Machine, server: Server, lease: str = LEASE) -> tuple[Gaggle, Worker, Worker]:
    """Start a manager, a worker here and one on the other machine; return them when all users are at work."""
    manager, near = half_there(flock, machine, server, lease)
    far = far_worker(flock, machine, manager)
    all_work(server)
    return manager, near, far


def assert_nothing_twice(row: Row, logged: int) -> None:
    """What a worker had counted and never told is missing: then this is all of the inequality that is left."""
    assert row.answered + row.hops <= logged


# The quick ones.


def test_a_worker_at_another_address_joins_by_the_printed_command_and_both_count(
    flock: Flock, machine: Machine, far_server: Server
) -> None:
    manager = flock.manager(
        *("--expect-workers", NODES, "-u", USERS, "-r", 50, "-t", lasting(1), "-H", far_server.url),
        host=machine.control.here,
    )
    near = flock.worker("--engines", 1, "--manager-host", machine.control.here)
    far = far_worker(flock, machine, manager)

    result = manager.finish(LONG)

    assert [node.finish(LONG).returncode for node in (near, far)] == [0, 0]
    assert result.returncode == 0, result
    assert incident_texts(result) == []
    assert f"--manager-host {machine.control.here} " in result.stdout + result.stderr
    assert_accounts(result.request("GET slow"), far_server.seen("GET /slow"))
    assert_never_too_many(far_server, NODES)


def test_when_the_cable_to_the_manager_is_cut_others_have_the_users_and_never_both(
    flock: Flock, machine: Machine, far_server: Server, load_test: LoadTestFile
) -> None:
    flock.load_test = load_test(LASTING)
    manager, near, far = at_work(flock, machine, far_server)

    machine.control.cut()
    far.wait_for_line("users are ended", LONG)
    manager.wait_for_line("others have them now", LONG)
    all_work(far_server)
    result = stopped(manager)

    assert result.returncode == 0, result
    [incident] = incident_texts(result)
    assert incident.startswith(f"worker 2 {NOT_HEARD} with 3 users: others have them now")
    assert near.finish(LONG).returncode == 0
    assert_never_too_many(far_server, NODES)
    assert_nothing_twice(result.request("GET slow"), far_server.seen("GET /slow"))


def test_a_worker_whose_cable_is_mended_after_its_lease_tells_what_it_had_counted(
    flock: Flock, machine: Machine, far_server: Server
) -> None:
    manager, _, far = at_work(flock, machine, far_server)

    machine.control.cut()
    manager.wait_for_line("others have them now", LONG)
    machine.control.mend()
    all_work(far_server)
    result = stopped(manager)

    assert result.returncode == 0, result
    assert far.finish(LONG).returncode == 0
    assert_never_too_many(far_server, NODES)
    assert_accounts(result.request("GET slow"), far_server.seen("GET /slow"))


def test_a_line_that_loses_a_fifth_and_is_slow_changes_nothing(
    flock: Flock, machine: Machine, far_server: Server
) -> None:
    """A stand-in for netem, which not every kernel has: see tests/lossy.py. Below it is asked for."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    manager, near = half_there(flock, machine, far_server, lease=lasting(10))
    here = machine.control.here
    with lossy_line(here, here, flock.port, delay=0.15, loss=0.2, seed=seed) as line:
        far = far_worker(flock, machine, manager, port=line.port)
        all_work(far_server)
        repeats = line.repeats
        eventually(lambda: line.repeats > repeats + 2, LONG, "more of it is lost")
        result = stopped(manager)
        assert_nothing_happened(result, far_server, near, far)


def assert_nothing_happened(result: Result, server: Server, *workers: Worker) -> None:
    assert result.returncode == 0, result
    assert incident_texts(result) == []
    assert [worker.finish(LONG).returncode for worker in workers] == [0, 0]
    assert_never_too_many(server, NODES)
    assert_accounts(result.request("GET slow"), server.seen("GET /slow"))


# The long ones: the real lease, and what takes as long as it takes.

REAL_LEASE = "10s"


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_cable_that_is_cut_for_12_seconds(
    flock: Flock, machine: Machine, far_server: Server, load_test: LoadTestFile
) -> None:
    """Longer than the lease, and not so long that the users were given away: they must not come back by themselves."""
    flock.load_test = load_test(LASTING)
    manager, _, far = at_work(flock, machine, far_server, REAL_LEASE)

    machine.control.cut()
    time.sleep(12.0)
    machine.control.mend()
    far.wait_for_line("users are ended", LONG)
    all_work(far_server)
    result = stopped(manager)

    assert result.returncode == 0, result
    assert far.finish(LONG).returncode == 0
    assert_never_too_many(far_server, NODES)
    assert_accounts(result.request("GET slow"), far_server.seen("GET /slow"))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_cable_that_is_cut_for_good(
    flock: Flock, machine: Machine, far_server: Server, load_test: LoadTestFile
) -> None:
    flock.load_test = load_test(LASTING)
    manager, _, far = at_work(flock, machine, far_server, REAL_LEASE)

    machine.control.cut()
    manager.wait_for_line("others have them now", LONG)
    all_work(far_server)
    gone = far.finish(240.0)  # TCP finds it within 30 s, then it tries for --manager-grace
    result = stopped(manager)

    assert result.returncode == 0, result
    assert gone.returncode == 1
    assert "was not heard for" in gone.stderr
    assert_never_too_many(far_server, NODES)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_a_worker_that_stands_still(flock: Flock, machine: Machine, far_server: Server, seconds: float) -> None:
    """For five seconds it has its lease still, and nothing happens; after a minute others have its users."""
    manager, near, far = at_work(flock, machine, far_server, REAL_LEASE)

    far.signal_all(signal.SIGSTOP)
    time.sleep(seconds)
    far.signal_all(signal.SIGCONT)
    all_work(far_server)
    result = stopped(manager)

    if seconds < 10.0:
        assert_nothing_happened(result, far_server, near, far)
        return
    assert result.returncode == 0, result
    assert incident_texts(result)[0].startswith(
        "worker 2 was not heard for 10 seconds with 3 users: others have them now"
    )
    assert far.finish(LONG).returncode == 0
    assert_never_too_many(far_server, NODES)
    assert_accounts(result.request("GET slow"), far_server.seen("GET /slow"))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_cable_that_loses_a_fifth_of_its_packets(flock: Flock, machine: Machine, far_server: Server) -> None:
    words = ["tc", "qdisc", "add", "dev", machine.control.near, "root", "netem", "loss", "20%", "delay", "300ms"]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this kernel has no netem (package iproute2, module sch_netem): {done.stderr.strip()}")
    manager, near, far = at_work(flock, machine, far_server, REAL_LEASE)

    time.sleep(30.0)
    result = stopped(manager)

    assert_nothing_happened(result, far_server, near, far)
