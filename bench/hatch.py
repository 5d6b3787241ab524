#!/usr/bin/env python3
"""How long it takes until 10,000 users, hatched at 10,000 a second, have all had their first answer. nginx counts."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cpu
import trial
from nginx import Nginx

MOST_SECONDS = 3.0
STEP_SECONDS = 0.01
ROOM = 2_000  # descriptors of nginx beside those of the users


class Found(NamedTuple):
    """Seconds from the first user's start: until all had started, until all had their answers; since the command."""

    started: float
    answered: float
    since_command: float
    cpu: float  # seconds, of all engines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000, metavar="N", help="default: 10,000")
    parser.add_argument("--rate", type=int, default=10_000, metavar="N", help="users a second (10,000)")
    parser.add_argument("--engines", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--lanes", default="fast,libcurl", metavar="NAME,NAME", help="default: fast,libcurl")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    engines = f"{options.engines} engine" + "s" * (options.engines > 1)
    lines = [
        f"{options.users:,} users at {options.rate:,} a second, {engines}; seconds from the first user's start",
        "",
    ]
    titles = f"{'all started':>12} {'all answered':>13} {'since the command':>18} {'CPU of engines':>15}"
    lines.append(f"{'lane':8} {titles}   at most {MOST_SECONDS:g} s")
    fine = True
    for lane in options.lanes.split(","):
        for _ in range(options.rounds):
            found = look_at(lane, options)
            met = found.answered <= MOST_SECONDS
            fine &= met
            columns = f"{found.started:12.2f} {found.answered:13.2f} {found.since_command:18.2f} {found.cpu:15.2f}"
            lines.append(f"{lane:8} {columns}   {'met' if met else 'MISSED'}")
            print(lines[-1], file=sys.stderr, flush=True)
    text = trial.headline("hatch") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("hatch", text)
    sys.exit(0 if fine else 1)


def look_at(lane: str, options: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(prefix="gaggle-hatch-") as folder:
        server_core, core = trial.cores()
        server = Nginx(Path(folder), server_core, descriptors=options.users + ROOM)
        words = f"--hatch-rate {options.rate} --lane {lane}".split()
        try:
            began = time.monotonic()
            place = core if options.engines == 1 else None
            with trial.Trial(
                "waiting.py", server.url, options.users, *words, engines=options.engines, core=place
            ) as run:
                return timed(run, server, options.users, began)
        finally:
            server.stop()


def timed(run: trial.Trial, server: Nginx, users: int, began: float) -> Found:
    arenas = run.arenas()
    run.until(lambda: any(arena.users_started for arena in arenas), "the first user starts", step=STEP_SECONDS)
    first = time.monotonic()
    run.until(lambda: sum(arena.users_started for arena in arenas) == users, "all users start", 60, STEP_SECONDS)
    started = time.monotonic()
    # Each user asks once, so nginx has answered all of them when it has counted as many; our own questions come on top.
    asked = 0

    def all_answered() -> bool:
        nonlocal asked
        asked += 1
        return server.count().requests - asked >= users

    run.until(all_answered, "all users have their first answer", 60, STEP_SECONDS)
    ended = time.monotonic()
    return Found(started - first, ended - first, ended - began, cpu.used_by(run.family()[2:]).total)


if __name__ == "__main__":
    main()
