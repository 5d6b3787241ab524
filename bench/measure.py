"""One measurement: a client is started, loads nginx for a while, is looked at from outside, and ends."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import cpu
from awake import awake
from clients import Client, Job, Said
from nginx import Nginx
from pauses import Watchers, may_watch

CONNECTING_SECONDS = 30.0
ENDING_SECONDS = 20.0
QUIET = 0.08  # of a core: what others may use while we call the machine quiet
QUIET_SECONDS = 0.25
SLICE_SECONDS = 0.02
LONGEST_SEARCH = 12  # times the seconds that are measured: so long we look for slices in which no core stood still
LEAST_FOUND = 0.3  # of the seconds that are measured
NOTHING = Said()


@dataclass(frozen=True)
class Reading:
    """What is known at one moment."""

    at: float
    requests: int  # as nginx counted them
    client: cpu.Cpu  # of the client with all its processes
    engines: cpu.Cpu  # of its engines alone; the same for a client that has none
    server: float
    everybody: float


@dataclass(frozen=True)
class Sample:
    """What a client did in some time, as nginx and the kernel saw it."""

    seconds: float
    requests: int
    client: cpu.Cpu
    engines: cpu.Cpu
    server: float
    others: float  # CPU seconds of processes that have nothing to do with this
    said: Said = NOTHING

    def plus(self, other: Sample) -> Sample:
        return Sample(
            self.seconds + other.seconds,
            self.requests + other.requests,
            self.client.plus(other.client),
            self.engines.plus(other.engines),
            self.server + other.server,
            self.others + other.others,
        )

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cost_us(self) -> float:
        """CPU time of a request in us, user and system, of all the client's processes."""
        return self.client.total / self.requests * 1e6

    @property
    def per_engine_second(self) -> float:
        """Requests per CPU second of the engines."""
        return self.requests / self.engines.total


class Unmeasured(Exception):
    """A client that did not come to its load, or died under it."""


@dataclass(frozen=True)
class Stand:
    """What all measurements of a bench share: `window` seconds are measured, `settle` seconds after the last user came.

    With watchers, the window is put together of slices in which no core stood still; without, of the better half.
    """

    server: Nginx
    watchers: Watchers | None
    settle: float
    window: float


@contextmanager
def set_up(options: argparse.Namespace, cores: Sequence[int]) -> Iterator[Stand]:
    """Start nginx on the first of `cores`, and watchers on all where we may. `options` has settle and window (s)."""
    with ExitStack() as stack:
        stack.enter_context(awake())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gaggle-bench-"))
        server = Nginx(Path(folder), cores[0])
        stack.callback(server.stop)
        watchers = stack.enter_context(Watchers(cores)) if may_watch() else None
        yield Stand(server, watchers, options.settle, options.window)


def measure(stand: Stand, client: Client, job: Job, cores: str) -> Sample:
    """Return what `client` does once all its users are connected. `cores` is what taskset pins it to.

    Raises Unmeasured.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        job = replace(job, folder=Path(folder))
        command = ["taskset", "-c", cores, *client.command(job)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
        try:
            wait_for_users(stand.server, process, job.users)
            time.sleep(stand.settle)
            found = (still if stand.watchers else better_half)(stand, cpu.family(process.pid))
            process.send_signal(client.stop)
            process.wait(ENDING_SECONDS)
            output.seek(0)
            return replace(reduce(Sample.plus, found), said=client.said(job, output.read()))
        except (Unmeasured, subprocess.TimeoutExpired, KeyError, FileNotFoundError) as error:
            output.seek(0)
            raise Unmeasured(f"{client.name}: {error!r}\n{' '.join(command)}\n{output.read()[-2_000:]}") from error
        finally:
            end(process)


def wait_for_users(server: Nginx, process: subprocess.Popen[bytes], users: int) -> None:
    """Wait until as many connections are open as there are users."""
    deadline = time.monotonic() + CONNECTING_SECONDS
    while (found := server.count().connections - 1) < users:
        if process.poll() is not None:
            raise Unmeasured(f"ended with exit code {process.returncode} before its users were connected")
        if time.monotonic() > deadline:
            raise Unmeasured(f"{found} of {users} users are connected after {CONNECTING_SECONDS:g} s")
        time.sleep(0.05)


def read(server: Nginx, pids: list[int]) -> Reading:
    """Take a reading. Of gaggle's processes the engines are those below the launcher, the second of the family."""
    count = server.count()
    return Reading(
        at=count.at,
        requests=count.requests,
        client=cpu.used_by(pids),
        engines=cpu.used_by(pids[2:] or pids),
        server=cpu.used_by([server.pid]).total,
        everybody=cpu.used_by_all(),
    )


def still(stand: Stand, pids: list[int]) -> list[Sample]:
    """Return the window in slices in which no core stood still, or what was found of it. Raises Unmeasured."""
    assert stand.watchers
    longest = LONGEST_SEARCH * stand.window
    deadline = time.monotonic() + longest
    found: list[Sample] = []
    while (seconds := sum(each.seconds for each in found)) < stand.window and time.monotonic() < deadline:
        stand.watchers.away()  # which forgets what was before the slice
        each = slice_of(stand.server, pids)
        if not stand.watchers.away():
            found.append(each)
    if seconds < LEAST_FOUND * stand.window:
        raise Unmeasured(f"in {longest:g} s there were {seconds:.1f} s in which no core stood still")
    return found


def better_half(stand: Stand, pids: list[int]) -> list[Sample]:
    """Return the slices of the window in which most requests were made."""
    deadline = time.monotonic() + stand.window
    found = [slice_of(stand.server, pids)]
    while time.monotonic() < deadline:
        found.append(slice_of(stand.server, pids))
    found.sort(key=lambda each: each.rate, reverse=True)
    return found[: (len(found) + 1) // 2]


def slice_of(server: Nginx, pids: list[int]) -> Sample:
    """Return what happens in the next moment."""
    before = read(server, pids)
    time.sleep(SLICE_SECONDS)
    return sample(before, read(server, pids))


def sample(before: Reading, after: Reading) -> Sample:
    client, server = after.client.minus(before.client), after.server - before.server
    return Sample(
        seconds=after.at - before.at,
        requests=after.requests - before.requests - 1,  # less our own question
        client=client,
        engines=after.engines.minus(before.engines),
        server=server,
        others=max(0.0, after.everybody - before.everybody - client.total - server),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End the client and what it has started, whatever state it is in."""
    if process.poll() is None:
        for pid in reversed(cpu.family(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def wait_for_quiet(patience: float) -> None:
    """Wait until others use next to nothing of this machine, at most `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = cpu.used_by_all()
        time.sleep(QUIET_SECONDS)
        if (cpu.used_by_all() - before) / QUIET_SECONDS < QUIET:
            return
