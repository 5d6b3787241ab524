"""One run of gaggle that a bench looks at from outside, and the file in which the bench keeps what it saw."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

import cpu
import measure
import nginx

from gaggle._core import Arena

HERE = Path(__file__).parent
LOADTESTS = HERE / "loadtests"
LANES = ("fast", "libcurl")
STARTING_SECONDS = 20.0


class Trial:
    """`gaggle` on a load test of bench/loadtests, against `url`. Leave it, and it is ended with all its processes."""

    def __init__(self, load_test: str, url: str, users: int, *options: str, engines: int = 1, core: int | None = None):
        command = [sys.executable, "-m", "gaggle", str(LOADTESTS / load_test), "--host", url, *options]
        command += f"--users {users} --engines {engines} --no-reset-metrics --no-print-metrics --stop-timeout 5".split()
        self.command = command if core is None else ["taskset", "-c", str(core), *command]
        self.users, self.engine_count = users, engines
        self.output = os.memfd_create("said")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        measure.end(self.process)
        os.close(self.output)

    def family(self) -> list[int]:
        """Return the pids of supervisor, launcher and engines, once all of them are there."""
        self.until(lambda: len(cpu.family(self.process.pid)) >= 2 + self.engine_count, "the engines are there")
        return cpu.family(self.process.pid)

    def arenas(self) -> list[Arena]:
        """Return what the engines count in."""
        return [Arena.attach(os.open(path, os.O_RDWR)) for pid in self.family()[2:] for path in arena_files(pid)]

    def until(
        self, happened: Callable[[], bool], what: str, seconds: float = STARTING_SECONDS, step: float = 0.05
    ) -> None:
        """Wait until something has happened. Raises RuntimeError when gaggle ends or `seconds` are over before."""
        deadline = time.monotonic() + seconds
        while not happened():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"not within {seconds:g} s: {what}\n{' '.join(self.command)}\n{self.said()}")
            time.sleep(step)

    def said(self) -> str:
        """Return the end of what it has printed."""
        return Path(f"/proc/self/fd/{self.output}").read_text(errors="replace")[-2_000:]


def arena_files(pid: int) -> list[Path]:
    """Return the arenas that an engine has open; it has one from before its first user on."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return [file for file in files if "gaggle-arena" in os.readlink(file)]


def cores() -> tuple[int, int]:
    """Return the core of the server and that of gaggle, as in the other benches."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def headline(script: str) -> str:
    """Return date, machine, versions and command."""
    version = subprocess.run([sys.executable, "-m", "gaggle", "--version"], capture_output=True, text=True).stdout
    words = " ".join(word for word in sys.argv[1:] if word != "--no-file")
    return (
        f"date     {datetime.now().astimezone():%Y-%m-%d %H:%M %z}\n"
        f"machine  {cpu.machine()}\n"
        f"with     {nginx.version()}; {version.strip()}; {platform.platform(terse=True)}\n"
        f"command  bench/{script}.py {words}".rstrip()
        + "\n\n"
    )


def keep(script: str, text: str) -> None:
    """Write what was measured into bench/results."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now():%Y-%m-%d-%H%M}-{script}.txt").write_text(text)
