#!/usr/bin/env python3
"""What it costs a manager to add up what its workers have counted: without sockets, in one process.

A hundred workers send a second of counts each (bench/crowd.py makes them up), for a few seconds; the first one only
warms up. A virtual machine loses its cores every now and then: so the median of all deltas counts, and no sum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import NamedTuple

import trial
from crowd import VARIANTS, Counts

from gaggle.ledger import Ledger
from gaggle.recorder import Recorder

WORKERS = 100


class Spent(NamedTuple):
    """Seconds for each delta, and for each turn of the recorder, once a second."""

    deltas: list[float]
    turns: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--names", default="20,200,1000", metavar="N,N", help="default: 20,200,1000")
    parser.add_argument("--seconds", type=int, default=8, metavar="N", help="of a run, as it is played here (8)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    options = parser.parse_args()
    if options.seconds < 2:
        parser.error(f"--seconds {options.seconds}: at least 2, as the first one only warms up")
    lines = [row(names, spend(names, options.seconds)) for names in map(int, options.names.split(","))]
    text = trial.headline("adding") + "\n".join(lines) + "\n"
    print(text, end="")
    if not options.no_file:
        trial.keep("adding", text)


def spend(names: int, seconds: int) -> Spent:
    """Play a run."""
    ledger, recorder, spent = Ledger(), Recorder(), Spent([], [])
    counts = [Counts(names, seed) for seed in range(VARIANTS)]
    recorder.begin(0.0)
    for second in range(seconds):
        for worker in range(WORKERS):
            began = second + worker / WORKERS
            with clocked(spent.deltas):
                parts, interval = counts[worker % VARIANTS].parts, recorder.interval(began - 1, began)
                ledger.add(str(worker), parts, began - 1, began, interval=interval)
        with clocked(spent.turns):
            recorder.turn(second + 1.0, WORKERS)
    return Spent(spent.deltas[WORKERS:], spent.turns[1:])


@contextmanager
def clocked(into: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


def row(names: int, spent: Spent) -> str:
    low, middle, high = quantiles(spent.deltas)
    turn = quantiles(spent.turns)[0]
    spread = f"{each(low, names)}, {each(high, names)}"
    return (
        f"{names:6,} names: {each(middle, names)} us a name and delta (quartiles {spread}), {1e3 * turn:6.2f} ms"
        f" to end a second (lower quartile); {WORKERS} workers {middle * WORKERS + turn:.1%} of a core"
    )


def each(seconds: float, names: int) -> str:
    """Return the us of one row: the names, and the task."""
    return f"{1e6 * seconds / (names + 1):.2f}"


if __name__ == "__main__":
    main()
