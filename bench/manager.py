#!/usr/bin/env python3
"""What a manager costs: so many workers that send a filled delta and a beat every second, over encrypted sockets.

The manager, as a person would start it, has one core for itself; the workers (bench/crowd.py) have the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import cpu
import trial
from pauses import Watchers, may_watch

from gaggle._core import Histogram

HERE = Path(__file__).parent
LOAD_TEST = HERE / "loadtests" / "waiting.py"
LONGEST = 120.0  # seconds that anything may take
SETTLING_SECONDS = 3.0
SLICE_SECONDS = 0.02
MOST_BUSY = 0.5  # of its core
MOST_JOINING = 5.0  # seconds


class Case(NamedTuple):
    """So many workers that each count so many request names."""

    workers: int
    names: int


CASES = (Case(1_000, 20), Case(100, 1_000))


class Found(NamedTuple):
    """Seconds until all had joined; the share of its core that the manager used; us from a beat to its answer."""

    joined: float
    busy: float
    memory_kb: int
    deltas_a_second: float
    delta_bytes: int
    lag: Histogram
    late: int  # deltas that had to wait for an acknowledgement
    is_exact: bool  # the report has as many requests as the workers have sent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cases = "; ".join(f"{place} {case.workers:,} x {case.names:,} names" for place, case in enumerate(CASES, 1))
    parser.add_argument("--cases", default="1,2", metavar="N,N", help=f"which of: {cases}")
    parser.add_argument("--workers", type=int, metavar="N", help="instead of each case's own number")
    parser.add_argument("--names", type=int, metavar="N", help="instead of each case's own number")
    parser.add_argument("--processes", type=int, default=4, metavar="N", help="that play the workers (4)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="of each measurement (10)")
    parser.add_argument("--lease", default="10s", metavar="TIME", help="where the machine stands still: 60s (10s)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    lines = [
        f"{'workers':>8} {'names':>6} {'joined':>8} {'busy':>6} {'memory':>8} {'deltas/s':>9} {'delta':>8}"
        f" {'lag 50%':>9} {'99%':>9} {'most':>9} {'late':>5}   at most {MOST_BUSY:.0%}, {MOST_JOINING:g} s"
    ]
    fine = True
    for place in options.cases.split(","):
        case = CASES[int(place) - 1]
        case = Case(options.workers or case.workers, options.names or case.names)
        found = look_at(case, options)
        met = found.busy <= MOST_BUSY and found.joined <= MOST_JOINING and found.is_exact
        fine &= met
        lines.append(row(case, found) + f"   {'met' if met else 'MISSED'}{'' if found.is_exact else ', NOT EXACT'}")
        print(lines[-1], file=sys.stderr, flush=True)
    text = headline() + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("manager", text)
    sys.exit(0 if fine else 1)


def row(case: Case, found: Found) -> str:
    lags = (found.lag.percentile(0.5), found.lag.percentile(0.99), found.lag.maximum())
    return (
        f"{case.workers:8,} {case.names:6,} {found.joined:6.2f} s {found.busy:6.1%} {found.memory_kb // 1024:5} MB"
        f" {found.deltas_a_second:9,.0f} {found.delta_bytes:6,} B "
        + " ".join(f"{us / 1e3:6.1f} ms" for us in lags)
        + f" {found.late:5}"
    )


def headline() -> str:
    words = " ".join(word for word in sys.argv[1:] if word != "--no-file")
    return (
        f"date     {datetime.now().astimezone():%Y-%m-%d %H:%M %z}\n"
        f"machine  {cpu.machine()}\n"
        f"with     Python {platform.python_version()}\n"
        f"command  bench/manager.py {words}".rstrip()
        + "\n\n"
    )


def look_at(case: Case, options: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(prefix="gaggle-manager-") as folder:
        os.chmod(folder, 0o700)
        env = os.environ | {"XDG_RUNTIME_DIR": folder}
        manager = Manager(case, options.lease, Path(folder), env)
        crowds: list[subprocess.Popen[str]] = []
        try:
            port = manager.written(r"listening on tcp://127\.0\.0\.1:(\d+)")
            crowds = start_crowds(port, case, options.processes, env)
            return measured(manager, crowds, options.seconds)
        finally:
            for process in (*crowds, manager):
                process.kill()
                process.wait()


class Manager(subprocess.Popen[str]):
    """A manager on the last core. What it says goes into a file: 1,000 workers are more lines than a pipe holds."""

    def __init__(self, case: Case, lease: str, folder: Path, env: dict[str, str]) -> None:
        self.report, self.log = folder / "report.json", folder / "log"
        words = f"--manager --expect-workers {case.workers} --users {case.workers} --hatch-rate 10000 --lease {lease}"
        words += " --host http://127.0.0.1:9 --manager-bind-host 127.0.0.1 --manager-bind-port 0 --no-print-metrics -v"
        command = ["taskset", "-c", str(trial.cores()[1]), sys.executable, "-m", "gaggle", str(LOAD_TEST)]
        command += [*words.split(), "--report-file", str(self.report)]
        with self.log.open("w") as log:
            super().__init__(command, env=env, stdout=subprocess.DEVNULL, stderr=log, text=True)

    def written(self, pattern: str) -> str:
        """Return the first group of what it has logged that fits, once it has. Raises RuntimeError."""
        deadline = time.monotonic() + LONGEST
        while not (match := re.search(pattern, self.log.read_text())):
            if self.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the manager never said {pattern!r}:\n{self.log.read_text()[-2_000:]}")
            time.sleep(0.02)
        return match[match.lastindex or 0]


def start_crowds(port: str, case: Case, processes: int, env: dict[str, str]) -> list[subprocess.Popen[str]]:
    """Start the processes that play the workers, on the first core; they wait for the word."""
    each = -(-case.workers // processes)
    crowds = []
    for first in range(0, case.workers, each):
        count = min(each, case.workers - first)
        words = ["taskset", "-c", str(trial.cores()[0]), sys.executable, str(HERE / "crowd.py"), port, str(first)]
        words += [str(count), str(case.names), load_test_hash()]
        crowds.append(subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for crowd in crowds:
        said(crowd.stdout, "ready")
    return crowds


def load_test_hash() -> str:
    """Return what the manager's launcher says of the load test: who says something else is refused."""
    code = "import sys; from gaggle.loadtest import load; print(load(sys.argv[1]).describe()['hash'])"
    done = subprocess.run([sys.executable, "-c", code, str(LOAD_TEST)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measured(manager: Manager, crowds: list[subprocess.Popen[str]], seconds: float) -> Found:
    began = time.monotonic()
    for crowd in crowds:
        print("go", file=crowd.stdin, flush=True)
    for crowd in crowds:
        said(crowd.stdout, "joined")
    joined = time.monotonic() - began
    manager.written("gaggle distributed load test started")
    time.sleep(SETTLING_SECONDS)
    busy = busy_share(manager.pid, seconds) if may_watch() else plain_share(manager.pid, seconds)
    memory = cpu.memory_kb(manager.pid)
    ran = time.monotonic() - began - joined
    manager.send_signal(signal.SIGINT)
    told = [json.loads(said(crowd.stdout, r"^\{.*\}$")) for crowd in crowds]
    manager.wait(LONGEST)
    return found(told, json.loads(manager.report.read_text()), joined, busy, memory, ran)


def plain_share(pid: int, seconds: float) -> float:
    """Return which share of its core a process uses, as the kernel says."""
    before, at = cpu.used_by([pid]).total, time.monotonic()
    time.sleep(seconds)
    return (cpu.used_by([pid]).total - before) / (time.monotonic() - at)


def busy_share(pid: int, seconds: float) -> float:
    """Return which share of its core a process would use if that were always there.

    Where the core is there, it uses a greater share, as it makes good for the pauses.
    """
    began, away, still = time.monotonic(), 0.0, list[float]()
    with Watchers([trial.cores()[1]]) as watchers:
        while time.monotonic() < began + seconds:
            away += watchers.away()
            share = plain_share(pid, SLICE_SECONDS)
            if lost := watchers.away():
                away += lost
            else:
                still.append(share)
    there = 1 - away / (time.monotonic() - began)
    return there * sum(still) / max(len(still), 1)


def found(
    told: list[dict[str, Any]], report: dict[str, Any], joined: float, busy: float, memory: int, ran: float
) -> Found:
    failures = [failure for each in told for failure in each["failures"]]
    if failures:
        raise RuntimeError(f"the workers failed: {failures}")
    lag = Histogram()
    for each in told:
        lag.merge(Histogram.decode(bytes.fromhex(each["lag"])))
    requests = sum(each["requests"] for each in told)
    return Found(
        joined=joined,
        busy=busy,
        memory_kb=memory,
        deltas_a_second=sum(each["deltas"] for each in told) / ran,
        delta_bytes=told[0]["delta_bytes"],
        lag=lag,
        late=sum(each["late"] for each in told),
        is_exact=sum(row["answered"] for row in report["requests"]) == requests,
    )


def said(stream: IO[str] | None, pattern: str) -> str:
    """Return what a process says that fits. Raises RuntimeError where it ends before."""
    lines = []
    for line in stream or ():
        lines.append(line)
        if match := re.search(pattern, line.rstrip("\n")):
            return match[0]
    raise RuntimeError(f"it never said {pattern!r}:\n{''.join(lines[-20:])}")


if __name__ == "__main__":
    main()
