"""One measurement: a client is started, loads nginx for a while, is looked at from outside, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path

import cpu
from clients import Client, Job, Said
from nginx import Nginx

CONNECTING_SECONDS = 30.0
ENDING_SECONDS = 20.0
QUIET = 0.08  # of a core: what others may use while we call the machine quiet
QUIET_SECONDS = 0.25
SLICE_SECONDS = 0.05
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


def measure(server: Nginx, client: Client, job: Job, cores: str, settle: float, window: float) -> Sample:
    """Return what `client` does for `window` seconds, once all users are connected and `settle` seconds more.

    `cores` is what taskset pins the client to. Raises Unmeasured.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        job = replace(job, folder=Path(folder))
        command = ["taskset", "-c", cores, *client.command(job)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
        try:
            wait_for_users(server, process, job.users)
            time.sleep(settle)
            slices = watch(server, cpu.family(process.pid), window)
            process.send_signal(client.stop)
            process.wait(ENDING_SECONDS)
            output.seek(0)
            return replace(undisturbed(slices), said=client.said(job, output.read()))
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


def watch(server: Nginx, pids: list[int], window: float) -> list[Sample]:
    """Return what happened in each slice of the next `window` seconds."""
    readings = [read(server, pids)]
    while readings[-1].at < readings[0].at + window:
        time.sleep(SLICE_SECONDS)
        readings.append(read(server, pids))
    return [sample(before, after) for before, after in pairwise(readings)]


def undisturbed(slices: list[Sample]) -> Sample:
    """Return the better half of the slices as one: in the others somebody had the core, or the host had it.

    What a hypervisor takes without saying so is counted by the guest's kernel as CPU time of the process that it met.
    """
    by_rate = sorted(slices, key=lambda each: each.rate, reverse=True)
    return reduce(Sample.plus, by_rate[: (len(by_rate) + 1) // 2])


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
