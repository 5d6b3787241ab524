#!/usr/bin/env python3
"""How exactly a throttled test keeps its rate: requests that nginx counts, over every stretch of five seconds.

One engine on one core, 64 users that always want more. Time in which a core stood still (bench/pauses.py) is the
machine's fault, and not made up for: `settled` is the rate without it, `most` what the throttle always answers for.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import NamedTuple

import measure
import trial
from measure import Stand

WINDOW_SECONDS = 5.0
STEP_SECONDS = 0.02
SETTLING_SECONDS = 1.0
EXACT = 0.01
USERS = 64


class Look(NamedTuple):
    """What nginx had counted at a moment (unix seconds), and for how long cores stood still since the look before."""

    at: float
    requests: int
    away: float


def main() -> None:
    """Measure each rate, print a line for each, and end with 1 when one was off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", default="500,5000,20000", metavar="N,N", help="default: 500,5000,20000")
    parser.add_argument("--seconds", type=float, default=12.0, metavar="S", help="how long each is watched (12)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    options = parser.parse_args()
    if options.seconds <= WINDOW_SECONDS:
        parser.error(f"--seconds {options.seconds:g}: more than {WINDOW_SECONDS:g}, or no stretch of those is in it")
    options.settle, options.window = SETTLING_SECONDS, options.seconds
    lines, fine = [], True
    for rate in map(int, options.rates.split(",")):
        with measure.set_up(options, trial.cores()) as stand:
            seen = watch(stand, rate)
        (least, most), (settled, seconds) = extremes(seen), between_pauses(seen)
        stood_still = any(each.away for each in seen)
        judged = (settled, max(most, rate)) if stood_still else (settled, least, most)
        fine &= all(abs(each / rate - 1) <= EXACT for each in judged)
        lines.append(
            f"{rate:>7,} a second: settled {settled:>9,.1f} ({settled / rate - 1:+.2%}, {seconds:.1f} s); "
            f"over any {WINDOW_SECONDS:g} s least {least:>9,.1f} ({least / rate - 1:+.2%}), "
            f"most {most:>9,.1f} ({most / rate - 1:+.2%})"
        )
    text = trial.headline("throttle") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("throttle", text)
    sys.exit(0 if fine else 1)


def watch(stand: Stand, rate: int) -> list[Look]:
    """Return what nginx has counted, every 20 ms; its own questions are taken off."""
    words = f"--hatch-rate 1000 --throttle-requests {rate}".split()
    with trial.Trial("status.py", stand.server.url, USERS, *words, engines=1, core=trial.cores()[1]) as run:
        arenas = run.arenas()
        run.until(lambda: sum(arena.users_started for arena in arenas) == USERS, "all users start")
        time.sleep(stand.settle)
        return list(looks_at(stand))


def looks_at(stand: Stand) -> Iterator[Look]:
    """Look every 20 ms, for as long as is measured."""
    deadline = time.monotonic() + stand.window
    for asked in count():
        yield look(stand, asked)
        if time.monotonic() > deadline:
            return


def look(stand: Stand, asked: int) -> Look:
    time.sleep(STEP_SECONDS)
    seen = stand.server.count()
    return Look(seen.at, seen.requests - asked, stand.watchers.away() if stand.watchers else 0.0)


def extremes(looks: Sequence[Look]) -> tuple[float, float]:
    """Return the lowest and the highest rate over all stretches of five seconds."""
    rates, first = [], 0
    for last in looks:
        while last.at - looks[first].at > WINDOW_SECONDS:
            rates.append(rate_of(looks[first], last))
            first += 1
    return min(rates), max(rates)


def between_pauses(looks: Sequence[Look]) -> tuple[float, float]:
    """Return the rate of the steps in which, and in those before which, no core stood still; and their seconds."""
    steps = list(pairwise(looks))
    calm = [now for before, now in pairwise(steps) if not (before[1].away or now[1].away)]
    seconds = sum(later.at - earlier.at for earlier, later in calm)
    return sum(later.requests - earlier.requests for earlier, later in calm) / max(seconds, 1e-9), seconds


def rate_of(earlier: Look, later: Look) -> float:
    return (later.requests - earlier.requests) / (later.at - earlier.at)


if __name__ == "__main__":
    main()
