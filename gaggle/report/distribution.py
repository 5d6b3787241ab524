"""The response times for HdrHistogram's tools: .hgrm, a distribution by percentile, and .hlog, a log over time."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

from gaggle._core import KIND_REQUEST, Histogram
from gaggle.grid import Grid
from gaggle.metrics import Key
from gaggle.report.model import Report, named

TICKS = 5  # lines from each half of what is left to the next, as HdrHistogram's own tools print them
PER_MS = 1_000.0
FOOT = """\
#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]
#[Max     = {greatest:12.3f}, Total count    = {total:12d}]
#[Buckets = {buckets:12d}, SubBuckets     = {sub_buckets:12d}]
"""


def render_distribution(report: Report) -> str:
    """Return the response times (ms) of all requests together, by percentile: what HdrHistogram's plotter reads."""
    histogram = report.snapshot.total(KIND_REQUEST).times
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n", *_levels(histogram)]
    mean = histogram.mean()
    squares = sum(count * (us - mean) ** 2 for us, count in histogram.buckets())
    return (
        "\n".join(lines)
        + "\n"
        + FOOT.format(
            mean=mean / PER_MS,
            deviation=math.sqrt(squares / histogram.total) / PER_MS if histogram else 0.0,
            greatest=histogram.maximum() / PER_MS,
            total=histogram.total,
            buckets=22,
            sub_buckets=2_048,
        )
    )


def _levels(histogram: Histogram) -> Iterator[str]:
    """Yield a line a level: the value that so many did not exceed, the percentile, and how many those are."""
    level, seen = 0.0, 0
    for us, count in histogram.buckets():
        seen += count
        share = 100.0 * seen / histogram.total
        while level <= share and seen < histogram.total:
            yield f"{us / PER_MS:12.3f} {level / 100:2.12f} {seen:10d} {1 / (1 - level / 100):14.2f}"
            level += 100.0 / (TICKS * 2.0 ** (math.floor(math.log2(100.0 / (100.0 - level))) + 1))
    if histogram:
        yield f"{histogram.maximum() / PER_MS:12.3f} {1.0:2.12f} {histogram.total:10d}"


def render_log(report: Report) -> str:
    """Return the response times as a histogram log: lines without a tag are all requests, others one (%-encoded)."""
    series = report.series
    begun = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(series.start))
    lines = [
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {series.start:.3f} (seconds since epoch), {begun}]",
        "#[values are microseconds; Interval_Max is milliseconds]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
        *_intervals(series.whole, lambda key: ""),
        *_intervals(series.named, lambda key: f"Tag={quote(named(key), safe='/')},"),
    ]
    return "\n".join(lines) + "\n"


def _intervals(grid: Grid, tag: Callable[[Key], str]) -> Iterator[str]:
    """Yield the lines of each key in turn."""
    lines: dict[Key, list[str]] = {key: [] for key in sorted(grid.numbers)}
    for place, key, counts in grid.cells():
        if counts.times:
            start, end = grid.edges[place] - grid.edges[0], grid.edges[place + 1] - grid.edges[0]
            lines[key].append(f"{start:.3f},{end - start:.3f},{_interval(counts.times)}")
    for key, found in lines.items():
        yield from (tag(key) + line for line in found)


def _interval(times: Histogram) -> str:
    return f"{times.maximum() / PER_MS:.3f},{encoded(times)}"


def encoded(times: Histogram) -> str:
    """Return a histogram as texts of .hlog files hold it."""
    return base64.b64encode(times.encode_compressed()).decode()
