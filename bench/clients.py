"""The load testers that are compared: how each is started on a workload, and what it says of its latencies."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LOADTESTS = HERE / "loadtests"
LOCUST_VENV = HERE.parent / "build" / "locust"
LONGEST_SECONDS = 120  # nobody waits longer for a measurement that has gone wrong


@dataclass(frozen=True)
class Workload:
    """What the users do: a load test of ours, and the same for the others."""

    name: str
    title: str
    load_test: str
    path: str
    locust_class: str
    script: str | None = None  # for wrk
    secure: bool = False


@dataclass(frozen=True)
class Job:
    """One run of a client: `url` without a path, `folder` its own."""

    workload: Workload
    users: int
    url: str
    ca_file: Path
    folder: Path = Path()


class Said(NamedTuple):
    """What a client says at its end: latencies in ms, None where it does not say; `errors` are failed requests."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    errors: int = 0


@dataclass(frozen=True)
class Client:
    """A load tester. `said` reads its output and its files; `stop` asks it to end and to say what it saw."""

    name: str
    command: Callable[[Job], list[str]]
    said: Callable[[Job, str], Said]
    version: str
    stop: signal.Signals = signal.SIGINT
    engines: int = 1


WORKLOADS = (
    Workload("status", "return 200: the task reads the status and one header", "status.py", "/", "Status"),
    Workload("many", "the same, 100 requests a task", "many.py", "/", "Status"),
    Workload("text", "10 KB body, read as text", "text.py", "/text", "Text"),
    Workload("post", "POST of JSON, the JSON answer parsed (not by wrk)", "post.py", "/json", "Post", "post.lua"),
    Workload("https", "return 200 over HTTPS, kept alive", "status.py", "/", "Status", secure=True),
)


def gaggle_command(lane: str, engines: int, job: Job) -> list[str]:
    command = [sys.executable, "-m", "gaggle", str(LOADTESTS / job.workload.load_test), "--host", job.url]
    command += f"--users {job.users} --hatch-rate {job.users} --run-time {LONGEST_SECONDS}s".split()
    command += f"--engines {engines} --lane {lane} --report-file {job.folder / 'report.json'}".split()
    return command + (["--cacert", str(job.ca_file)] if job.workload.secure else [])


def gaggle_said(job: Job, output: str) -> Said:
    report = json.loads((job.folder / "report.json").read_text())
    requests, tasks = report["totals"]["requests"], report["totals"]["tasks"]
    times = requests["response_time"]
    return Said(times["p50_us"] / 1e3, times["p99_us"] / 1e3, requests["failures"] + tasks["failures"])


def gaggle(name: str, lane: str, engines: int = 1) -> Client:
    version = subprocess.run([sys.executable, "-m", "gaggle", "--version"], capture_output=True, text=True, check=True)
    command = partial(gaggle_command, lane, engines)
    return Client(name, command, gaggle_said, version.stdout.strip(), engines=engines)


def wrk_command(job: Job) -> list[str]:
    command = f"wrk --threads 1 --connections {job.users} --duration {LONGEST_SECONDS}s --timeout 60s --latency".split()
    if job.workload.script:
        command += ["--script", str(LOADTESTS / job.workload.script)]
    return [*command, job.url + job.workload.path]


def wrk_said(job: Job, output: str) -> Said:
    times = dict(re.findall(r"(50|99)%\s+([\d.]+\w+)", output))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    errors = sum(int(number) for found in (bad, sockets) if found for number in found.groups())
    return Said(milliseconds(times["50"]), milliseconds(times["99"]), errors)


def milliseconds(text: str) -> float:
    """Return "517.00us", "10.44ms" or "1.20s" in ms."""
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def wrk() -> Client | None:
    """Return wrk, or None where it is not installed."""
    if not shutil.which("wrk"):
        return None
    said = subprocess.run(["wrk", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return Client("wrk", wrk_command, wrk_said, " ".join(said.split()[:2]))


def locust_command(job: Job) -> list[str]:
    command = [str(LOCUST_VENV / "bin" / "locust"), "--locustfile", str(LOADTESTS / "locustfile.py"), "--headless"]
    command += f"--host {job.url} --users {job.users} --spawn-rate {job.users} --run-time {LONGEST_SECONDS}s".split()
    return [*command, "--only-summary", "--csv", str(job.folder / "locust"), job.workload.locust_class]


def locust_said(job: Job, output: str) -> Said:
    with open(job.folder / "locust_stats.csv", newline="") as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    return Said(float(total["50%"]), float(total["99%"]), int(total["Failure Count"]))


def locust() -> Client | None:
    """Return Locust, installed into a venv of its own under build/; None where that does not work."""
    program = LOCUST_VENV / "bin" / "locust"
    try:
        if not program.exists():
            print("installing Locust into build/locust", file=sys.stderr, flush=True)
            venv.create(LOCUST_VENV, clear=True, with_pip=True)
            python = str(LOCUST_VENV / "bin" / "python")
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "locust"], check=True
            )
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no Locust: {error}", file=sys.stderr)
        return None
    return Client("locust", locust_command, locust_said, " ".join(version.split()[:2]), signal.SIGTERM)
