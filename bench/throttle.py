#!/usr/bin/env python3
"""How exactly a throttled test keeps its rate: requests that nginx counts, over every stretch of five seconds.

One engine on one core, 64 users that always want more. Where the machine has too little to give, the rate falls below
what was asked for, which the column `least` shows; `most` is what the throttle is to answer for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import trial
from nginx import Count, Nginx

WINDOW_SECONDS = 5.0
STEP_SECONDS = 0.5
EXACT = 0.01
USERS = 64


def main() -> None:
    """Measure each rate, print a line for each, and end with 1 when one was off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", default="500,5000,20000", metavar="N,N", help="default: 500,5000,20000")
    parser.add_argument("--seconds", type=float, default=12.0, metavar="S", help="how long each is watched (12)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    options = parser.parse_args()
    lines, fine = [], True
    for rate in map(int, options.rates.split(",")):
        least, most = extremes(watch(rate, options.seconds))
        fine &= abs(least / rate - 1) <= EXACT and abs(most / rate - 1) <= EXACT
        lines.append(
            f"{rate:>7,} a second: least {least:>9,.1f} ({least / rate - 1:+.2%}), most {most:>9,.1f} "
            f"({most / rate - 1:+.2%}) over any {WINDOW_SECONDS:g} s"
        )
    text = trial.headline("throttle") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("throttle", text)
    sys.exit(0 if fine else 1)


def watch(rate: int, seconds: float) -> list[Count]:
    """Return what nginx has counted, every half second; its own questions are taken off."""
    with tempfile.TemporaryDirectory(prefix="gaggle-throttle-") as folder:
        server_core, core = trial.cores()
        server = Nginx(Path(folder), server_core)
        words = f"--hatch-rate 1000 --throttle-requests {rate}".split()
        try:
            with trial.Trial("status.py", server.url, USERS, *words, engines=1, core=core) as run:
                arenas = run.arenas()
                run.until(lambda: sum(arena.users_started for arena in arenas) == USERS, "all users start")
                time.sleep(STEP_SECONDS)
                return [count._replace(requests=count.requests - asked) for asked, count in looks(server, seconds)]
        finally:
            server.stop()


def looks(server: Nginx, seconds: float) -> list[tuple[int, Count]]:
    found = []
    for number in range(int(seconds / STEP_SECONDS) + 1):
        found.append((number, server.count()))
        time.sleep(STEP_SECONDS)
    return found


def extremes(counts: list[Count]) -> tuple[float, float]:
    """Return the lowest and the highest rate over all stretches of five seconds."""
    step = int(WINDOW_SECONDS / STEP_SECONDS)
    pairs = zip(counts, counts[step:], strict=False)
    rates = [(later.requests - earlier.requests) / (later.at - earlier.at) for earlier, later in pairs]
    return min(rates), max(rates)


if __name__ == "__main__":
    main()
