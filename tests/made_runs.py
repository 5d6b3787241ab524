"""Runs of a server that never was, whose seconds are alike as those of a real one are."""

from __future__ import annotations

import math

import numpy as np

from gaggle._core import KIND_REQUEST
from gaggle.metrics import Key, Row, Snapshot
from gaggle.report.model import Report
from gaggle.series import Series

T0 = 1_653_000_000.0


def made_run(
    seed: int,
    names: tuple[str, ...] = ("/", "/shop"),
    seconds: int = 60,
    rate: int = 100,
    slower: float = 1.0,
    failing: float = 0.002,
    alike: float = 0.5,
) -> Report:
    """Return the report of a run. Times are lognormal around 20 ms, `slower` times longer.

    Their middle, and how many there are, drift by some percent from second to second: `alike` is how much of one
    second's drift is in the next one.
    """
    random = np.random.default_rng(seed)
    series, total = Series(T0), Snapshot()
    drift = random.normal(0, 0.03)
    for second in range(seconds):
        drift = alike * drift + math.sqrt(1 - alike * alike) * random.normal(0, 0.03)
        rows = [_row(random, name, round(rate / (1 + drift) / slower), slower * (1 + drift), failing) for name in names]
        delta = Snapshot({row.key: row for row in rows})
        series.extend(T0 + second + 1, users=8)
        series.put(T0 + second, T0 + second + 1, delta)
        total.merge(delta)
    return Report(total, float(seconds), users=8, load_test="shop.py", series=series)


def _row(random: np.random.Generator, name: str, count: int, slower: float, failing: float) -> Row:
    row = Row(Key(KIND_REQUEST, "GET", name), started=count, answered=count, bytes_in=10 * count)
    times = random.lognormal(math.log(20_000 * slower), 0.4, count).astype(int).tolist()
    for us in times:
        row.times.record(us)
    row.sum_us, row.minimum_us, row.maximum_us = sum(times), min(times), max(times)
    row.failed = int((random.random(count) < failing).sum())
    return row
