"""What the charts of the page show: the series in few bytes, as web/src/data.ts reads it."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gaggle._core import KIND_REQUEST, Histogram
from gaggle.counts import Counts
from gaggle.grid import Grid
from gaggle.metrics import AGGREGATED, Key, Row
from gaggle.report.model import Report, named
from gaggle.series import WHOLE

Values = list[int | float | None]
Line = dict[str, Any]

SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
LEVEL = 0.1  # of log10(1 / (1 - share)): ten points to each nine
COLUMNS: dict[str, Callable[[Counts], int | None]] = {
    "count": lambda counts: counts.count,
    "failures": lambda counts: max(counts.failures, 0),
    "p50": lambda counts: percentile(counts.times, SHARES["p50"]),
    "p95": lambda counts: percentile(counts.times, SHARES["p95"]),
    "p99": lambda counts: percentile(counts.times, SHARES["p99"]),
}


def packed(report: Report) -> str:
    """Return the series as base64 of deflated JSON; "" where there is none."""
    if not report.series.whole:
        return ""
    text = json.dumps(data(report), separators=(",", ":"), allow_nan=False)
    deflate = zlib.compressobj(9, wbits=-15)
    return base64.b64encode(deflate.compress(text.encode()) + deflate.flush()).decode()


def data(report: Report) -> Line:
    """Return what data.ts calls Data."""
    series = report.series
    rows = {row.key: row for row in report.snapshot.requests()}
    whole = report.snapshot.total(KIND_REQUEST)
    lines = [*lines_of(series.whole, {WHOLE: whole}), *lines_of(series.named, rows)]
    points = [point.counts for point in series.points]
    return {
        "start": series.start,
        "measured": milliseconds(series.measured_from - series.start),
        "whole": {"edges": edges(series.whole)},
        "named": {"edges": edges(series.named)},
        "lines": lines,
        "users": [counts.users for counts in points],
        "busy": [round(100 * counts.busy, 1) for counts in points],
        "lag": [percentile(counts.lag, SHARES["p99"]) for counts in points],
    }


def lines_of(grid: Grid, rows: dict[Key, Row]) -> Iterable[Line]:
    """Return a line for each key: its columns, and how its times are spread over the whole run."""
    found = {key: line_of(key, rows.get(key)) for key in sorted(grid.numbers, key=named)}
    for place, key, counts in grid.cells():
        line = found[key]
        line["at"].append(place)
        for name, column in COLUMNS.items():
            line[name].append(column(counts))
    return found.values()


def line_of(key: Key, row: Row | None) -> Line:
    """Return a line without columns."""
    spread = list(levels(row.times)) if row is not None else []
    return {
        "name": f"All requests ({AGGREGATED.lower()})" if key == WHOLE else named(key),
        "at": [],
        **{name: [] for name in COLUMNS},
        "levels": [round(level, 1) for level, _ in spread],
        "reached": [us for _, us in spread],
    }


def levels(times: Histogram) -> Iterator[tuple[float, int]]:
    """Yield how the times are spread: a level, log10(1 / (1 - share)), and the time (us) that the share did not exceed.

    They end where less than one of the counts is above.
    """
    most = math.floor(math.log10(times.total) / LEVEL) if times else -1
    for step in range(most + 1):
        yield step * LEVEL, times.percentile(max(1 - 10 ** (-step * LEVEL), 1e-9))


def percentile(times: Histogram, share: float) -> int | None:
    """Return a percentile in us; None where nothing was counted."""
    return times.percentile(share) if times else None


def edges(grid: Grid) -> list[int]:
    """Return where stretches begin and the last one ends, in ms since the start."""
    return [milliseconds(edge - grid.edges[0]) for edge in grid.edges]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)
