"""Whether a core stood still: a watcher of highest priority on each core wakes every 2 ms, and notes when it came late.

A virtual machine loses its cores for 10 to 300 ms every now and then. The guest's kernel counts that as CPU time of
whoever ran, and the rate of a load tester falls: only what happens between two pauses says something of either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Self

EVERY_SECONDS = 0.002
LATE_SECONDS = 0.003  # later than that the core was away: a watcher goes before everybody else on it
PRIORITY = 1  # of SCHED_FIFO


class Watchers:
    """A watcher on each of `cores`, while a `with` lasts. Needs root, or CAP_SYS_NICE."""

    def __init__(self, cores: Iterable[int]) -> None:
        self.processes = [
            subprocess.Popen([sys.executable, __file__, str(core)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for core in cores
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        for process in self.processes:
            process.communicate()  # which closes its stdin

    def away(self) -> float:
        """Return for how many seconds cores were away since the last call. Raises RuntimeError when a watcher ended."""
        return sum(map(noted_by, self.processes))


def noted_by(process: subprocess.Popen[bytes]) -> float:
    """Ask a watcher for how many seconds its core was away since it was asked the last time."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"?")
    process.stdin.flush()
    if not (answer := process.stdout.readline()):
        raise RuntimeError("a watcher has ended")
    return float(answer)


def may_watch() -> bool:
    """Return whether we may have a watcher's priority."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, parameters)
    return True


def watch(core: int) -> None:
    """Be the watcher of `core`: answer each byte of stdin with a number, until stdin ends."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    os.set_blocking(0, False)
    last, away = time.monotonic(), 0.0
    while True:
        time.sleep(EVERY_SECONDS)
        now = time.monotonic()
        late = now - last - EVERY_SECONDS
        away, last = away + (late if late > LATE_SECONDS else 0.0), now
        try:
            if not os.read(0, 1):
                return
        except BlockingIOError:
            continue
        print(away, flush=True)
        away = 0.0


if __name__ == "__main__":
    watch(int(sys.argv[1]))
