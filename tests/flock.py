"""A gaggle on this machine, one process a node: a manager, its workers, and what they have said."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from processes import Process, eventually, lasting
from runs import Gaggle, Result, clean_environment

STARTING_SECONDS = 20.0
LEASE = lasting(2)  # as short as the machine allows: who waits for a core for that long is taken for lost
NOT_HEARD = f"was not heard for {LEASE[:-1]} seconds"


class Worker(Gaggle):
    """`gaggle --worker` at work. It makes no report: that is the manager's."""

    def __init__(self, load_test: Path | None, *arguments: str, folder: Path, env: Mapping[str, str]) -> None:
        self.report_file = folder / "no_report.json"
        named = [] if load_test is None else [load_test]
        command: list[str | Path] = [sys.executable, "-m", "gaggle", *named, "--worker", "-v", *arguments]
        Process.__init__(self, command, folder, clean_environment() | dict(env))

    def processes(self) -> list[int]:
        """Return the pids of all its processes: the supervisor, the launcher, the engines."""
        return [self.pid, *self.family()]

    def signal_all(self, number: int) -> None:
        """Send a signal to all its processes, the supervisor first: it must not hear of engines that end."""
        for pid in self.processes():
            signal_one(pid, number)


class Flock:
    """The nodes of one gaggle, while a `with` lasts. `env` keeps its join token from those of others here."""

    def __init__(self, load_test: Path, folder: Path) -> None:
        self.load_test, self.folder = load_test, folder
        self.runtime = folder / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.env = {"XDG_RUNTIME_DIR": str(self.runtime)}
        self.nodes: list[Gaggle] = []
        self.port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        left = self.end()
        assert kind or not left, f"left behind: {left}"

    def manager(self, *arguments: object, port: int = 0, host: str = "127.0.0.1", waits: bool = True) -> Gaggle:
        """Start a manager on a free port; return it when it listens."""
        words = ["--manager", "-v", "--manager-bind-host", host, "--manager-bind-port", port, *arguments]
        manager = Gaggle(self.load_test, *map(str, words), folder=self.place("manager"), env=self.env)
        self.nodes.append(manager)
        if waits:
            self.port = int(manager.wait_for_line(r"listening on tcp://[\d.]+:(\d+)", STARTING_SECONDS)[1])
            manager.wait_for_line("each worker to start")
            eventually(lambda: self.token_file.exists() or "gaggle is open" in manager.output())
        return manager

    def worker(self, *arguments: object, load_test: Path | None = None) -> Worker:
        """Start a worker of the manager that was started last, or of `self.port`."""
        words = ["--manager-port", self.port, *arguments]
        worker = Worker(load_test or self.load_test, *map(str, words), folder=self.place("worker"), env=self.env)
        self.nodes.append(worker)
        return worker

    def newcomer(self, *arguments: object) -> Worker:
        """Start a worker without a load test, in a folder where there is none."""
        words = ["--manager-port", self.port, *arguments]
        self.nodes.append(worker := Worker(None, *map(str, words), folder=self.place("newcomer"), env=self.env))
        return worker

    def workers(self, number: int, *arguments: object) -> list[Worker]:
        """Start workers one after the other, so that their numbers are in the order of the list."""
        found = []
        for _ in range(number):
            found.append(self.worker(*arguments))
            found[-1].wait_for_line("initializing user states|is a spare", STARTING_SECONDS)
        return found

    @property
    def token_file(self) -> Path:
        return self.runtime / "gaggle" / f"{self.port}.token"

    def place(self, role: str) -> Path:
        """Return an empty folder for a node."""
        place = self.folder / f"{role}{len(self.nodes) + 1}"
        place.mkdir()
        return place

    def finish(self, timeout: float = 60.0) -> list[Result]:
        """Wait for the end of all nodes; return how each ended, in the order in which they were started."""
        return [node.finish(timeout) for node in self.nodes]

    def end(self) -> list[str]:
        """End what still runs, without a chance to object; return what outlived a node that ended by itself."""
        left = []
        for node in self.nodes:
            if node.popen.poll() is None:
                for pid in node.family():
                    signal_one(pid, signal.SIGCONT)
                node.end()
            left += node.survivors()
        return left


def signal_one(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


MASKS = (
    (r"(?m)^\d\d:\d\d:\d\d ", "HH:MM:SS "),
    (r"seed = \d+", "seed = 1"),
    (r"http://127\.0\.0\.1:\d+", "http://local.dev"),
    (r"tcp://127\.0\.0\.1:\d+", "tcp://127.0.0.1:5115"),
    (r"after \d+ seconds", "after 1 seconds"),
    (r"share \d+ cores", "share 2 cores"),
)


def masked(text: str) -> str:
    """Return log lines without times, seed, ports, and the order in which users that run side by side say goodbye."""
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return in_order(text, "exiting user")


def in_order(text: str, what: str) -> str:
    """Sort the lines that have `what` in them, among themselves."""
    lines = text.splitlines(keepends=True)
    chosen = iter(sorted(line for line in lines if what in line))
    return "".join(next(chosen) if what in line else line for line in lines)
