#!/usr/bin/env python3
"""Whether memory stays flat: a long run with 200 names, errors and reconnects, watched process by process."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import cpu
import nginx

HERE = Path(__file__).parent
WARM = 0.2  # of the run: buffers and tables find their sizes in it
SHOWN = "answered", "broken", "failed", "unfinished", "hops", "resent"
FLAT_KB = 1_024  # by which no process may have grown after that
CONNECTIONS_LAST = """
        keepalive_requests 200;
        location /page/ { add_header Set-Cookie "visit=$request_id; Path=/"; return 200 "$request_uri\\n"; }
        location = /redirect { return 302 /; }
        location = /hang-up { return 444; }
        location /missing/ { return 404; }"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="length of the run (10)")
    parser.add_argument("--every", type=float, default=30.0, metavar="S", help="seconds between two lines (30)")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--engines", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--lane", choices=("auto", "fast", "libcurl"), default="auto")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="gaggle-memory-") as name:
        folder = Path(name)
        server = nginx.Nginx(folder, min(os.sched_getaffinity(0)), CONNECTIONS_LAST)
        command = [sys.executable, "-m", "gaggle", str(HERE / "loadtests" / "rough.py"), "--host", server.url]
        command += f"--users {options.users} --hatch-rate {options.users} --engines {options.engines}".split()
        command += f"--lane {options.lane} --no-reset-metrics --no-print-metrics --stop-timeout 5".split()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, "--report-file", str(folder / "report.json")], stdout=log, stderr=log)
        try:
            table = watch(options, server, process)
            process.send_signal(signal.SIGINT)
            process.wait(30)
        finally:
            process.kill()
            server.stop()
        report = json.loads((folder / "report.json").read_text())
    publish(options, headline(options) + "\n" + "\n".join(table) + "\n\n" + summary(report))


def watch(options: argparse.Namespace, server: nginx.Nginx, process: subprocess.Popen[bytes]) -> list[str]:
    """Return the table: a line a moment, and what each process has grown since it was warm."""
    wait_for_engines(process, options.engines)
    pids = cpu.family(process.pid)
    titles = ["supervisor", "launcher", *(f"engine {number}" for number in range(options.engines))]
    head = "minute     requests  " + "  ".join(f"{title:>17}" for title in titles) + "   KB resident (of it, its own)"
    lines = [head]
    print(head, flush=True)
    began, seen = time.monotonic(), []
    while time.monotonic() - began < options.minutes * 60:
        time.sleep(options.every)
        if process.poll() is not None:
            raise RuntimeError(f"the run ended by itself, with exit code {process.returncode}")
        count = server.count()
        seen.append([cpu.memory_kb(pid, "RssAnon") for pid in pids])
        shown = (f"{cpu.memory_kb(pid):8,} ({own:6,})" for pid, own in zip(pids, seen[-1], strict=True))
        lines.append(f"{(count.at - began) / 60:6.1f} {count.requests:12,}  " + "  ".join(shown))
        print(lines[-1], flush=True)
    return [*lines, "", *growth(titles, seen)]


def wait_for_engines(process: subprocess.Popen[bytes], engines: int) -> None:
    deadline = time.monotonic() + 10
    while len(cpu.family(process.pid)) < 2 + engines:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the engines do not start")
        time.sleep(0.05)


def growth(titles: list[str], seen: list[list[int]]) -> list[str]:
    """Return a line a process: flat, or by how much it has grown."""
    first = seen[int(len(seen) * WARM)]
    found = []
    for title, before, after in zip(titles, first, seen[-1], strict=True):
        verdict = "flat" if after - before <= FLAT_KB else "GROWS"
        found.append(f"{verdict:5}  {title}: {after - before:+,} KB of its own in the last {1 - WARM:.0%} of the run")
    return found


def summary(report: dict[str, Any]) -> str:
    """Return what the run was made of, so that nobody takes an idle one for a flat one."""
    total = report["totals"]["requests"]
    counts = ", ".join(f"{total[name]:,} {name}" for name in SHOWN)
    errors = "\n".join(f"  {row['count']:10,}  {row['name']}: {row['text']}" for row in report["errors"][:12])
    return f"{len(report['requests'])} names; {counts}; errors:\n{errors}\n"


def headline(options: argparse.Namespace) -> str:
    version = subprocess.run([sys.executable, "-m", "gaggle", "--version"], capture_output=True, text=True).stdout
    return (
        f"date     {datetime.now().astimezone():%Y-%m-%d %H:%M %z}\n"
        f"machine  {cpu.machine()}\n"
        f"with     {nginx.version()}; {version.strip()}; {platform.platform(terse=True)}\n"
        f"command  bench/flat_memory.py {' '.join(word for word in sys.argv[1:] if word != '--no-file')}\n"
        f"run      {options.users} users, {options.engines} engines, lane {options.lane}, {options.minutes:g} minutes\n"
    )


def publish(options: argparse.Namespace, text: str) -> None:
    print(text, end="")
    if not options.no_file:
        (HERE / "results" / f"{datetime.now():%Y-%m-%d-%H%M}-memory-{options.lane}.txt").write_text(text)


if __name__ == "__main__":
    main()
