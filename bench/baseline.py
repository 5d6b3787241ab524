#!/usr/bin/env python3
"""How often --baseline raises a false alarm, and how often it finds a shift: on runs that are drawn by chance.

No load is sent: a run is drawn second by second, with times that are lognormal and a middle that drifts, so that
neighbours are alike (tests/made_runs.py). What a real server does over hours is not in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trial

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_runs import made_run

from gaggle.comparing import compared

MOST_FALSE, LEAST_FOUND = 0.05, 0.90
STEADY = 0.5  # up to here a minute tells enough to find a shift


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="of each run (60)")
    parser.add_argument(
        "--rate", type=int, default=100, metavar="N", help="requests a second of each of two names (100)"
    )
    parser.add_argument("--shift", type=float, default=0.05, metavar="SHARE", help="that is planted (0.05)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def share_of_alarms(options: argparse.Namespace, alike: float, slower: float) -> float:
    """Return the share of the comparisons in which anything is clear."""
    alarms = 0
    for seed in range(options.repetitions):
        before, now = (
            made_run(2 * seed + place, seconds=options.seconds, rate=options.rate, alike=alike, slower=factor)
            for place, factor in enumerate((1.0, slower))
        )
        alarms += any(change.is_clear for change in compared(now, before, "before").changes)
    return alarms / options.repetitions


def main() -> None:
    options = arguments()
    lines = ["| seconds are alike | false alarms | shift found |", "| --: | --: | --: |"]
    is_fine = True
    for alike in (0.0, 0.5, 0.8):
        false, found = (share_of_alarms(options, alike, slower) for slower in (1.0, 1 + options.shift))
        print(f"{alike:.1f}: {false:.1%} false alarms, {found:.1%} found", file=sys.stderr, flush=True)
        is_fine &= false <= MOST_FALSE and (found >= LEAST_FOUND or alike > STEADY)
        lines.append(f"| {alike:.1f} | {false:.1%} | {found:.1%} |")
    text = trial.headline("baseline") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("baseline", text)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
