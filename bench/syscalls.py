#!/usr/bin/env python3
"""What an engine at saturation asks of the kernel: `strace -c` of one engine, calls for each request that nginx counts.

strace makes each call some ten times as expensive. So the engine is what is slowest here, as it is at saturation.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trial
from nginx import Nginx

SENDS = ("sendmsg", "sendto", "write", "writev", "send")
RECEIVES = ("recvfrom", "recvmsg", "read", "readv", "recv")
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll")
# (what, its calls, the most of them a request)
TARGETS = (("sends", SENDS, 1.0), ("receives", RECEIVES, 1.0), ("waits", WAITS, 0.5))
TOLERANCE = 1.01  # strace does not begin and end in the same instant as nginx's counting
ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.M)  # calls, errors, name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lanes", default="fast,libcurl", metavar="NAME,NAME", help="default: fast,libcurl")
    parser.add_argument("--users", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of strace (5)")
    parser.add_argument("--secure", action="store_true", help="over HTTPS")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not shutil.which("strace"):
        sys.exit("strace is not installed: apt-get install strace")
    text = trial.headline("syscalls")
    verdicts = []
    for lane in options.lanes.split(","):
        with tempfile.TemporaryDirectory(prefix="gaggle-syscalls-") as folder:
            server_core, core = trial.cores()
            server = Nginx(Path(folder), server_core)
            try:
                requests, calls = traced(server, lane, core, options)
            finally:
                server.stop()
        verdicts.append(lane != "fast" or is_met(requests, calls))
        text += table(lane, options, requests, calls)
    print(text, end="")
    if not options.no_file:
        trial.keep("syscalls-https" if options.secure else "syscalls", text)
    sys.exit(0 if all(verdicts) else 1)


def traced(server: Nginx, lane: str, core: int, options: argparse.Namespace) -> tuple[int, dict[str, int]]:
    """Return how many requests nginx counted while one engine was traced, and its system calls by name."""
    url = server.https_url if options.secure else server.url
    words = f"--hatch-rate 1000 --lane {lane} --cacert {server.ca_file}".split()
    with trial.Trial("status.py", url, options.users, *words, core=core) as run:
        engine = run.family()[2]
        run.until(lambda: server.count().connections > options.users, "all users are connected")
        output = server.folder / "strace"
        command = ["strace", "-c", "-f", "-p", str(engine), "-o", str(output)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            strace.stderr.readline()  # "Process 123 attached"
            before = server.count()
            time.sleep(options.seconds)
            after = server.count()
            strace.send_signal(signal.SIGINT)
    return after.requests - before.requests - 1, {name: int(calls) for calls, name in ROW.findall(output.read_text())}


def is_met(requests: int, calls: dict[str, int]) -> bool:
    return all(per_request(requests, calls, names) <= most * TOLERANCE for _, names, most in TARGETS)


def per_request(requests: int, calls: dict[str, int], names: tuple[str, ...]) -> float:
    return sum(calls.get(name, 0) for name in names) / requests


def table(lane: str, options: argparse.Namespace, requests: int, calls: dict[str, int]) -> str:
    over = "HTTPS" if options.secure else "HTTP"
    lines = [f"{lane} lane, {options.users} users, {over}, `return 200`: {requests:,} requests under strace -c -f", ""]
    lines.append(f"{'calls':>12}  {'a request':>9}  system call")
    for name, count in sorted(calls.items(), key=lambda item: -item[1]):
        if name != "total":
            lines.append(f"{count:12,}  {count / requests:9.3f}  {name}")
    lines.append("")
    for what, names, most in TARGETS:
        found = per_request(requests, calls, names)
        verdict = "met" if found <= most * TOLERANCE else "missed"
        lines.append(f"{what:9} {found:6.3f} a request, at most {most:g}: {verdict if lane == 'fast' else 'no target'}")
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
