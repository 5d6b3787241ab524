#!/usr/bin/env python3
"""What a waiting user costs in memory: all of gaggle's processes with so many users, less the same with one."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cpu
import trial
from nginx import Count, Nginx

STARTING_SECONDS = 120.0
ROOM = 2_000  # descriptors of nginx beside those of the users


class Case(NamedTuple):
    """So many users of a load test; `most_kb` is the target a user, None for a case that only has to start."""

    name: str
    load_test: str
    users: int
    lane: str
    most_kb: float | None
    secure: bool = False
    connects: bool = True


CASES = (
    Case("plain, fast lane", "waiting.py", 8_000, "fast", 20),
    Case("plain, libcurl lane", "waiting.py", 8_000, "libcurl", 25),
    Case("TLS, fast lane", "waiting.py", 2_000, "fast", 80, secure=True),
    Case("TLS, libcurl lane", "waiting.py", 2_000, "libcurl", 80, secure=True),
    Case("not connected", "patient.py", 100_000, "fast", None, connects=False),
)


class Found(NamedTuple):
    """Resident KB: of the engine, of all of gaggle's processes, and what of the engine's is its own."""

    engine: int
    all: int
    own: int
    seconds: float  # until all users were there


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default="1,2,3,4,5", metavar="N,N", help="which of: " + "; ".join(numbered()))
    parser.add_argument("--users", type=int, metavar="N", help="instead of each case's own number")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def numbered() -> list[str]:
    return [f"{place} {case.name}" for place, case in enumerate(CASES, 1)]


def main() -> None:
    options = arguments()
    lines = [f"{'case':22} {'users':>8} {'engine KB':>10} {'a user':>8} {'target':>7}          started in"]
    fine = True
    for case in (CASES[int(place) - 1] for place in options.cases.split(",")):
        case = case._replace(users=options.users or case.users)
        line, met = judged(case, look_at(case._replace(users=1)), look_at(case))
        lines.append(line)
        fine &= met
        print(line, file=sys.stderr, flush=True)
    text = trial.headline("memory") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("memory", text)
    sys.exit(0 if fine else 1)


def judged(case: Case, one: Found, many: Found) -> tuple[str, bool]:
    """Return the line of a case, and whether it meets its target. What a user costs has all processes in it."""
    each = (many.all - one.all) / (case.users - 1)
    met = case.most_kb is None or each <= case.most_kb
    target = "-" if case.most_kb is None else f"{case.most_kb:g} KB"
    verdict = "met" if met else "MISSED"
    taken = f"{many.engine:10,} {each:5.2f} KB {target:>7} {verdict:8}"
    return f"{case.name:22} {case.users:8,} {taken} {many.seconds:6.1f} s", met


def look_at(case: Case) -> Found:
    """Return what `case` takes once all its users wait."""
    with tempfile.TemporaryDirectory(prefix="gaggle-memory-") as folder:
        server_core, core = trial.cores()
        server = Nginx(Path(folder), server_core, descriptors=case.users + ROOM)
        words = f"--hatch-rate {max(case.users, 1)} --lane {case.lane} --cacert {server.ca_file}".split()
        try:
            url = server.https_url if case.secure else server.url
            with trial.Trial(case.load_test, url, case.users, *words, core=core) as run:
                return measured(case, run, server)
        finally:
            server.stop()


def measured(case: Case, run: trial.Trial, server: Nginx) -> Found:
    pids = run.family()
    began = time.monotonic()
    arena = run.arenas()[0]
    run.until(lambda: arena.users_started == case.users, "all users have started", STARTING_SECONDS)
    if case.connects:
        run.until(lambda: is_visited(server.count(), case.users), "all users have their answers", STARTING_SECONDS)
    seconds = time.monotonic() - began
    resident = [cpu.memory_kb(pid) for pid in pids]
    return Found(resident[2], sum(resident), cpu.memory_kb(pids[2], "RssAnon"), seconds)


def is_visited(count: Count, users: int) -> bool:
    """Whether nginx has served and kept as many as there are users; one connection is ours."""
    return count.requests > users and count.connections > users


if __name__ == "__main__":
    main()
