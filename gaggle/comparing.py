"""What changed since an earlier run, and whether chance alone could have done it.

Both runs are resampled in blocks of their points in time (a circular block bootstrap, Politis and Romano 1992), since
what happens in one second is like what happened in the second before. Blocks are as long as the autocorrelation asks
for (Carlstein 1986, for an autoregression of first order). The spread of the resampled statistics gives the error of
each difference, Holm's method (1979) then holds all differences of a comparison to one level, so that of a hundred
comparisons of a thing with itself at most five show anything. How often they do is measured by bench/baseline.py.

It knows the chance within the runs. What is the same all through a run, and differs between two, it cannot know.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gaggle.grid import Point
from gaggle.metrics import Key, Row
from gaggle.report.model import Change, Comparison, Report, named, percentile_us
from gaggle.series import WHOLE

RESAMPLES = 400
# The chance that a comparison of a thing with itself shows any clear change. Five in a hundred are promised: resampling
# takes seconds that are much alike for less so, so most of the promise is kept for that.
LEVEL = 0.01
INTERVAL = 0.95  # in which a change lies, looked at alone
LEAST_POINTS = 10  # of each run: fewer do not tell how much they vary
LEAST_BLOCKS = 4  # more than this, of both runs together
MOST_COMPARED = 100  # requests, the busiest; of the others it is only said what they were
STEP = 0.01  # of the logarithm of a time: resampled percentiles are looked up with so fine a scale
SHARES = {"p50": 50_00, "p95": 95_00, "p99": 99_00}
STATISTICS = ("rate", "failures", "mean", *SHARES)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """The points of one request in one run: `times` is (points, bins), a bin a step of the logarithm of the time."""

    seconds: Floats
    counts: Floats
    failures: Floats
    times: Floats
    lowest: int  # the number of the first bin

    @classmethod
    def of(cls, points: Sequence[Point]) -> Sample:
        """Return the arrays of some points."""
        found = [
            (place, math.floor(math.log(max(us, 1)) / STEP), count)
            for place, point in enumerate(points)
            for us, count in point.counts.times.buckets()
        ]
        lowest, highest = (which((number for _, number, _ in found), default=0) for which in (min, max))
        times = np.zeros((len(points), highest - lowest + 1))
        for place, number, count in found:
            times[place, number - lowest] += count
        columns = [[point.length, point.counts.count, point.counts.failures] for point in points]
        seconds, counts, failures = np.array(columns, float).reshape(-1, 3).T
        return cls(seconds, counts, failures, times, lowest)

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def middles(self) -> Floats:
        """The time in the middle of each bin, us."""
        middles: Floats = np.exp((self.lowest + np.arange(self.times.shape[1]) + 0.5) * STEP)
        return middles

    def block(self) -> int:
        """Return how many points a block must have so that blocks are next to independent."""
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.nan_to_num(self.times @ self.middles / self.times.sum(axis=1))
        rho: float = min(max(autocorrelation(means), autocorrelation(self.counts / self.seconds), 0.0), 0.97)
        wanted = len(self) ** (1 / 3) * (2 * rho / (1 - rho * rho)) ** (2 / 3)
        return int(max(1, min(math.ceil(wanted), len(self) // 3)))

    def drawn(self, block: int, random: np.random.Generator) -> Floats:
        """Return how often each resample (a row) has each point."""
        points = len(self)
        starts = random.integers(0, points, (RESAMPLES, math.ceil(points / block), 1))
        places = ((starts + np.arange(block)) % points).reshape(RESAMPLES, -1)[:, :points]
        drawn = np.zeros((RESAMPLES, points))
        np.add.at(drawn, (np.arange(RESAMPLES)[:, None], places), 1.0)
        return drawn

    def statistics(self, drawn: Floats) -> dict[str, Floats]:
        """Return each statistic of each resample: a share of failures as it is, all else as its logarithm."""
        counts, seconds = drawn @ self.counts, drawn @ self.seconds
        times = drawn @ self.times
        total = times.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "rate": np.log(counts / seconds),
                "failures": (drawn @ self.failures) / counts,
                "mean": np.log(times @ self.middles / total),
            }
            reached = times.cumsum(axis=1)
            return found | {what: self.percentile(reached, total * share / 1e4) for what, share in SHARES.items()}

    def percentile(self, reached: Floats, wanted: Floats) -> Floats:
        """Return the logarithm of the time that `wanted` of the counts did not exceed, within its bin by proportion."""
        place = np.minimum((reached < wanted[:, None]).sum(axis=1), reached.shape[1] - 1)
        rows = np.arange(len(reached))
        before = np.where(place > 0, reached[rows, place - 1], 0.0)
        part = (wanted - before) / (reached[rows, place] - before)
        logarithm: Floats = (self.lowest + place + part) * STEP
        return logarithm


def autocorrelation(values: Floats) -> float:
    """Return how alike neighbours are, from -1 to 1."""
    apart = values - values.mean()
    square = float(apart @ apart)
    return float(apart[1:] @ apart[:-1]) / square if square else 0.0


def compared(now: Report, before: Report, file: str) -> Comparison:
    """Return what changed from one run to the other; `file` is what the earlier one is called."""
    rows, olds = ({row.key: row for row in report.snapshot.requests()} for report in (now, before))
    both = sorted((key for key in rows if key in olds), key=lambda key: (-rows[key].count, key))
    changes = [change for key in (WHOLE, *both[:MOST_COMPARED]) for change in _changes(key, now, before)]
    return Comparison(
        file=file,
        started=before.series.measured_from,
        duration=before.duration,
        users=before.users,
        differing=tuple(_differing(now, before)),
        gone=tuple(named(key) for key in sorted(olds.keys() - rows.keys())),
        new=tuple(named(key) for key in sorted(rows.keys() - olds.keys())),
        changes=tuple(_held_to_one_level(changes)),
    )


def _differing(now: Report, before: Report) -> Iterator[str]:
    """Yield what was not asked for alike: such a change can be the reason of all others."""
    for name in ("users", "load_test", "hosts"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            said = [", ".join(value) if isinstance(value, tuple) else str(value) for value in (old, new)]
            yield f"{name.replace('_', ' ')}: {said[0]} then, {said[1]} now"
    if not 0.8 < (now.duration or 1) / (before.duration or 1) < 1.25:
        yield f"measured: {before.duration:.0f} s then, {now.duration:.0f} s now"


def _row(report: Report, key: Key) -> Row:
    return report.snapshot.total(key.kind) if key == WHOLE else report.snapshot.rows[key]


def _points(report: Report, key: Key) -> list[Point]:
    points = report.series.points if key == WHOLE else report.series.of(key)
    return [point for point in points if point.start >= report.series.measured_from and point.length > 0]


def _values(report: Report, key: Key) -> dict[str, float]:
    """Return the statistics as the report has them: a second, a share, us."""
    row = _row(report, key)
    values = {"rate": row.count / report.duration if report.duration > 0 else 0.0}
    values["failures"] = row.failures / row.count if row.count else 0.0
    values["mean"] = float(row.mean_us)
    return values | {what: float(percentile_us(row, share)) for what, share in SHARES.items()}


def _changes(key: Key, now: Report, before: Report) -> Iterator[Change]:
    old, new = _values(before, key), _values(now, key)
    errors = _errors(_points(before, key), _points(now, key))
    for what in STATISTICS:
        yield _change(key, what, old[what], new[what], errors.get(what))


def _errors(before: Sequence[Point], now: Sequence[Point]) -> dict[str, float]:
    """Return the standard error of the difference of each statistic; nothing where there is too little to tell."""
    samples = [Sample.of(points) for points in (before, now)]
    blocks = [sample.block() if len(sample) >= LEAST_POINTS else 0 for sample in samples]
    if not all(blocks):
        return {}
    freedom = sum(len(sample) / block for sample, block in zip(samples, blocks, strict=True)) - 2
    if freedom <= LEAST_BLOCKS:
        return {}
    random = np.random.default_rng(0)  # so that a report can be made again
    variances: dict[str, float] = dict.fromkeys(STATISTICS, 0.0)
    for sample, block in zip(samples, blocks, strict=True):
        short = len(sample) / (len(sample) - block)  # what a block's own mean hides
        for what, values in sample.statistics(sample.drawn(block, random)).items():
            variances[what] += float(values.var()) * short
    wide = freedom / (freedom - 2)  # as Student's t with so few blocks is wider than the normal distribution
    return {what: math.sqrt(variance * wide) for what, variance in variances.items() if math.isfinite(variance)}


def _change(key: Key, what: str, before: float, after: float, error: float | None) -> Change:
    """Return one change, and the chance to see it where nothing has changed."""
    made = Change(key.label, key.name, what, before, after)
    if what == "failures":
        made = replace(made, change=after - before)
        moved = after - before
    elif before > 0 and after > 0:
        made = replace(made, change=after / before - 1)
        moved = math.log(after / before)
    else:
        return made
    if error is None or (error == 0 and moved == 0):
        return made
    reach = NormalDist().inv_cdf((1 + INTERVAL) / 2) * error
    ends = [moved - reach, moved + reach]
    low, high = ends if what == "failures" else map(math.expm1, ends)
    chance = 2 * NormalDist().cdf(-abs(moved) / error) if error else 0.0
    return replace(made, low=low, high=high, chance=chance)


def _held_to_one_level(changes: Sequence[Change]) -> Iterator[Change]:
    """Yield the changes, those marked as clear that are so together with all others that are clearer (Holm)."""
    tested = sorted(change.chance for change in changes if change.chance is not None)
    clear = 0
    while clear < len(tested) and tested[clear] <= LEVEL / (len(tested) - clear):
        clear += 1
    limit = tested[clear - 1] if clear else -1.0
    for change in changes:
        yield replace(change, is_clear=change.chance is not None and change.chance <= limit)
