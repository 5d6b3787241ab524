"""What is exported, by name, label and kind; how it is written is for others. Counters never fall, also not at a reset.

Labels are bounded: after MOST_NAMES requests, tasks or meters of the load test's own, the others are one called OTHER.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, starmap

from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, Histogram
from gaggle.metrics import OTHER, Key, Row, Snapshot
from gaggle.recorder import Moment
from gaggle.report.model import status_name

MOST_NAMES = 500
# Seconds: where Prometheus' own defaults are, and from a millisecond on, for what is near.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PER_SECOND = 1_000_000


class Kind(enum.Enum):
    """What a number means: it only grows, it goes up and down, or it is many times in buckets."""

    COUNTER = enum.auto()
    GAUGE = enum.auto()
    HISTOGRAM = enum.auto()


@dataclass(frozen=True, slots=True)
class Buckets:
    """How often each time was seen: `counts` has one more than BOUNDS, for what is longer; the others are seconds."""

    counts: tuple[int, ...]
    total: float
    least: float
    greatest: float

    @classmethod
    def of(cls, times: Histogram, total: float) -> Buckets:
        """Return the counts of a histogram, whose times add up to `total` seconds."""
        above = [times.count_above(int(bound * PER_SECOND)) for bound in BOUNDS]
        edges = [times.total, *above, 0]
        counts = tuple(more - less for more, less in pairwise(edges))
        return cls(counts, total, times.minimum() / PER_SECOND, times.maximum() / PER_SECOND)

    @property
    def count(self) -> int:
        return sum(self.counts)


Value = float | Buckets
Sample = tuple[tuple[str, ...], Value]  # the labels' values, in the order of the family's labels


@dataclass(frozen=True, slots=True)
class Family:
    """All that is exported under one name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    samples: list[Sample] = field(default_factory=list)


@dataclass(slots=True)
class Names:
    """Which names have labels of their own: the first ones that came."""

    known: dict[int, set[Key]] = field(default_factory=dict)  # by kind

    def labels(self, key: Key) -> tuple[str, str]:
        """Return the two labels of a row or meter."""
        known = self.known.setdefault(key.kind, set())
        if key not in known and len(known) >= MOST_NAMES:
            return "", OTHER
        known.add(key)
        return key.label, key.name


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter that each request or task has: its family, and how it is read off a row."""

    name: str
    help: str
    of: Callable[[Row], int]
    unit: str = ""


REQUESTS = (
    Counter("requests", "Requests that came to an end.", lambda row: row.count),
    Counter("request_failures", "Requests that failed, also those that the load test forgave.", lambda row: row.failed),
    Counter("requests_forgiven", "Failures that the load test took back.", lambda row: row.forgiven),
    Counter("received_bytes", "Bytes of responses.", lambda row: row.bytes_in, "bytes"),
    Counter("sent_bytes", "Bytes of requests.", lambda row: row.bytes_out, "bytes"),
)
TASKS = (
    Counter("tasks", "Tasks that came to an end.", lambda row: row.count),
    Counter("task_failures", "Tasks that raised.", lambda row: row.failed),
)


def families(moment: Moment, names: Names) -> Iterator[Family]:
    """Yield everything that is known at a moment."""
    total = moment.total
    yield from _of_rows(total.requests(), names, ("method", "name"), REQUESTS)
    yield _durations(total, names)
    yield _statuses(total, names)
    yield from _of_rows(total.tasks(), names, ("user", "name"), TASKS)
    yield from _own(total, names)
    yield from _gauges(moment)


def _of_rows(
    rows: Sequence[Row], names: Names, labels: tuple[str, str], counters: Sequence[Counter]
) -> Iterator[Family]:
    for counter in counters:
        samples = _summed((names.labels(row.key), counter.of(row)) for row in rows)
        yield Family(counter.name, Kind.COUNTER, counter.help, labels, counter.unit, samples)


def _summed(samples: Iterable[tuple[tuple[str, ...], float]]) -> list[Sample]:
    """Return one sample for each labels: those that found no room have the same."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        found[labels] = found.get(labels, 0) + value
    return list(found.items())


def _durations(total: Snapshot, names: Names) -> Family:
    found: dict[tuple[str, ...], tuple[Histogram, float]] = {}
    for row in total.requests():
        labels = names.labels(row.key)
        times, seconds = found.get(labels, (Histogram(), 0.0))
        found[labels] = times + row.times, seconds + row.sum_us / PER_SECOND
    samples = [(labels, Buckets.of(*value)) for labels, value in found.items()]
    text = "Times of responses, from the start of a request to the last byte."
    return Family("request_duration", Kind.HISTOGRAM, text, ("method", "name"), "seconds", list(samples))


def _statuses(total: Snapshot, names: Names) -> Family:
    counts = (
        ((*names.labels(row.key), status_name(code)), count)
        for row in total.requests()
        for code, count in row.statuses.items()
    )
    text = "Responses, by status code."
    return Family("responses", Kind.COUNTER, text, ("method", "name", "status"), samples=_summed(counts))


def _own(total: Snapshot, names: Names) -> Iterator[Family]:
    """Yield what the load test counts itself. A sum may fall, so it is a gauge."""
    meters = [(names.labels(key)[1], key.kind, meter) for key, meter in total.meters.items()]
    checks = [(name, meter) for name, kind, meter in meters if kind == KIND_CHECK]
    outcomes = [((name, "passed"), meter.passed) for name, meter in checks]
    outcomes += [((name, "failed"), meter.failed) for name, meter in checks]
    yield Family("checks", Kind.COUNTER, "What self.check() was told.", ("name", "result"), samples=_summed(outcomes))
    sums = [((name,), float(meter.sum)) for name, kind, meter in meters if kind == KIND_COUNT]
    yield Family("count", Kind.GAUGE, "What self.count() adds up to.", ("name",), samples=_summed(sums))
    last = [((name,), float(meter.last)) for name, kind, meter in meters if kind == KIND_GAUGE and name != OTHER]
    yield Family("gauge", Kind.GAUGE, "What self.gauge() was told last.", ("name",), samples=list(last))


def _gauges(moment: Moment) -> Iterator[Family]:
    last = moment.series.last
    users, busy = (last.counts.users, last.counts.busy) if last else (0, 0.0)
    workers = sum(not node.is_troubled and node.users > 0 for node in moment.workers)
    facts = (
        ("users", "Users at work.", users),
        ("engine_busy_ratio", "Share of a core that the busiest engine of this machine used in the last second.", busy),
        ("workers", "Workers of a gaggle that have users.", workers),
    )
    yield from starmap(_gauge, facts)
    text = "How long responses waited for gaggle itself."
    lag = moment.total.lag
    samples: list[Sample] = [((), Buckets.of(lag, lag.mean() * lag.total / PER_SECOND))]
    yield Family("lag", Kind.HISTOGRAM, text, (), "seconds", samples)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, Kind.GAUGE, text, samples=[((), value)])
