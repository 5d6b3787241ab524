"""What a report says: what was counted, what happened meanwhile, and why its numbers may be wrong. No layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gaggle import units
from gaggle._core import KIND_REQUEST, KIND_TASK, Histogram
from gaggle.metrics import OTHER, ErrorRow, Key, Row, Snapshot
from gaggle.series import Series

STATUS_OTHER = 0xFFFF  # the code under which the arena counts what came after the 100th of a request

# In a hundredth of a percent, because 1 - 0.9999 is no exact float and is_known() compares with it.
PERCENTILES = (50_00, 75_00, 95_00, 98_00, 99_00, 99_90, 99_99)
WHOLE = 100_00

LAG_LIMIT_US = 10_000  # later than that, gaggle's own waiting shows in the response times of most sites
LAG_SHARE = 0.01  # so the limit is one for the 99th percentile
BUSY_LIMIT = 0.9  # above it, turns of an engine begin to queue
UNFINISHED_SHARE = 0.01  # the slowest requests are the likeliest to be cut: from here on the 99th percentile is theirs
LOSS = "loss"  # the kind of incident after which the numbers are not complete


def named(key: Key) -> str:
    """Return what a row is called where rows of several kinds meet: `GET /`, `AnonUser front page`, `AnonUser`."""
    return f"{key.label} {key.name}".strip()


@dataclass(frozen=True, slots=True)
class ReportClass:
    """A user class and its tasks, as the load test defines them: a named on_start first, a named on_stop last."""

    name: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the test in which the number of users grew, stood still or fell. Times are unix seconds."""

    action: str  # Increasing, Maintaining, Decreasing, Canceling
    started: float
    stopped: float
    users_from: int
    users_to: int


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that the reader must know, `at` unix seconds. The kind is one word, `loss` where counts are missing."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """How hard one engine worked in the time that was measured."""

    index: int
    cpu_seconds: float
    wall_seconds: float
    requests: int
    worker: int = 0  # of a gaggle, from 1; 0 where there is none

    @property
    def name(self) -> str:
        return f"engine {self.index} of worker {self.worker}" if self.worker else f"engine {self.index}"

    @property
    def busy(self) -> float:
        """The share of a core that it used; 0 when it did not run."""
        return self.cpu_seconds / self.wall_seconds if self.wall_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one threshold: `text` is it as it was given, `said` what was found instead, for people.

    `value` is in microseconds, or a share, a rate a second, or a number, as the threshold asks for; None when nothing
    was measured (`missing`), which does not hold. `crossed`: when it first was, unix seconds, where that is known.
    """

    text: str
    holds: bool
    value: float | None
    said: str
    missing: bool = False
    crossed: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """How one statistic of a request (or of all, called Aggregated) changed since the baseline.

    `what` is rate (a second), failures (a share), mean, p50, p95 or p99 (us). `change` is relative, of failures the
    difference; None where there is nothing to divide by. `low` and `high` are its 95 % interval, `chance` is how likely
    so much is where nothing changed; None where there is too little to tell. `is_clear` looks at all changes together.
    """

    method: str
    name: str
    what: str
    before: float
    after: float
    change: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    is_clear: bool = False

    @property
    def request(self) -> str:
        """What the request is called."""
        return named(Key(KIND_REQUEST, self.method, self.name))

    @property
    def is_worse(self) -> bool:
        """Whether it went where nobody wants it: times and failures up, the rate down."""
        return (self.after < self.before) if self.what == "rate" else self.after > self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against an earlier one, the baseline: `file`, when it was measured (unix seconds), for how long."""

    file: str
    started: float
    duration: float
    users: int
    differing: tuple[str, ...] = ()  # what was not asked for alike, a line each
    gone: tuple[str, ...] = ()  # requests of the baseline alone
    new: tuple[str, ...] = ()  # requests that the baseline lacks
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One load test, as it is reported. `duration` is the seconds that were measured: rates divide by it."""

    snapshot: Snapshot
    duration: float
    classes: tuple[ReportClass, ...] = ()  # in order of definition
    phases: tuple[Phase, ...] = ()
    hosts: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    engines: tuple[EngineHealth, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)  # gaggle, libcurl, python
    seed: int = 0
    users: int = 0
    load_test: str = ""
    show_statuses: bool = True
    show_errors: bool = True
    show_tasks: bool = True
    notes: tuple[str, ...] = ()
    series: Series = field(default_factory=lambda: Series(0.0))
    thresholds: tuple[Judgement, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)  # those that somebody set
    baseline: Comparison | None = None

    @property
    def doubts(self) -> list[str]:
        """The reasons why the numbers should not be trusted, a line each; empty if they can be believed."""
        return list(chain.from_iterable(doubt(self) for doubt in DOUBTS))

    @property
    def nothing_succeeded(self) -> bool:
        """Whether not one request was a success; for a load test that makes none, not one task."""
        rows = self.snapshot.requests() or self.snapshot.tasks()
        return all(row.count <= row.failures for row in rows)

    def tasks(self) -> list[tuple[str, list[Row]]]:
        """Return each user class with a row a task, in the load test's order, never-run tasks with 0.

        What was counted under a name that the load test does not have follows, by class and name.
        """
        if not self.show_tasks:
            return []
        rows = {row.key: row for row in self.snapshot.tasks()}
        classes = {known.name: [_pop(rows, known.name, task) for task in _once(known.tasks)] for known in self.classes}
        for row in rows.values():
            classes.setdefault(row.key.label, []).append(row)
        return list(classes.items())

    def errors(self) -> list[ErrorRow]:
        """Return what went wrong, the most frequent first; without what was only forgiven since the metrics' reset."""
        found = (row for row in self.snapshot.errors.values() if row.count > 0)
        return sorted(found, key=lambda row: (-row.count, row.key, row.text))

    def unfinished_share(self) -> float:
        """Return the share of the begun requests that were cut by the end of the test or cancelled."""
        rows = self.snapshot.requests()
        unfinished = sum(row.unfinished for row in rows)
        return unfinished / (unfinished + sum(row.count for row in rows)) if unfinished else 0.0


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _pop(rows: dict[Key, Row], label: str, name: str) -> Row:
    key = Key(KIND_TASK, label, name)
    return rows.pop(key, None) or Row(key)


def status_name(code: int) -> str:
    """Return a status code as it is written: `200`, or `other` for the codes after the 100th of a request."""
    return "other" if code == STATUS_OTHER else str(code)


def is_known(percentile: int, count: int) -> bool:
    """Return whether `count` samples can tell `percentile` (in hundredths of a percent).

    They can when at least one of them is expected above it: count * (1 - p) >= 1, so that 99.9 % needs a thousand.
    Any sample has a median.
    """
    return count * (WHOLE - percentile) >= WHOLE or (percentile == PERCENTILES[0] and count > 0)


def percentile_us(row: Row, percentile: int) -> int:
    """Return the time (us) that `percentile` (in hundredths of a percent) of the row did not exceed; 0 if it is empty.

    Never above the maximum, which is exact where a bucket's top is not.
    """
    return min(row.times.percentile(percentile / WHOLE), extremes(row)[1])


def extremes(row: Row) -> tuple[int, int]:
    """Return the least and the greatest time (us) of the row; (0, 0) if it is empty.

    They are exact where the row has them, and at most 0.1 % off, from the histogram, where the row's are of another
    stretch of time or of a part only.
    """
    return _exact(row.minimum_us, row.times.minimum()), _exact(row.maximum_us, row.times.maximum())


def _exact(value_us: int, bucket_us: int) -> int:
    """Return `value_us` if it can lie in the bucket that has an end at `bucket_us`, or else `bucket_us`."""
    return value_us if abs(value_us - bucket_us) <= bucket_us // 1_000 + 1 else bucket_us


def _late(report: Report) -> Iterator[str]:
    lag: Histogram = report.snapshot.lag
    late = lag.count_above(LAG_LIMIT_US)
    if late > 1 and late > lag.total * LAG_SHARE:
        share = units.percent(late, lag.total)
        limit = units.milliseconds(LAG_LIMIT_US)
        yield (
            f"gaggle itself was late: {share} of the responses waited more than {limit} ms for it, "
            "which is in their times; use more engines, more workers or fewer users"
        )


def _saturated(report: Report) -> Iterator[str]:
    busy = [engine for engine in report.engines if engine.busy > BUSY_LIMIT]
    if busy:
        worst = max(busy, key=lambda engine: engine.busy)
        yield (
            f"{len(busy)} of {counted(len(report.engines), 'engine')} used more than {BUSY_LIMIT:.0%} of a core "
            f"({worst.name}: {worst.busy:.0%}); use more engines, more workers or fewer users"
        )


def _lost_names(report: Report) -> Iterator[str]:
    if report.snapshot.names_lost:
        yield (
            f"there were more names than rows: what came later is counted as {OTHER}; "
            "name requests with name= or by a template, get('/node/{id}', id=7)"
        )


def _lost_errors(report: Report) -> Iterator[str]:
    if lost := report.snapshot.errors_lost:
        yield f"there were more kinds of errors than rows: {counted(lost, 'error')} stand without a text, as {OTHER}"


def _losses(report: Report) -> Iterator[str]:
    if losses := sum(incident.kind == LOSS for incident in report.incidents):
        yield f"{counted(losses, 'loss', 'losses')}: the counts are not complete (see the incidents)"


def _cut(report: Report) -> Iterator[str]:
    if (share := report.unfinished_share()) > UNFINISHED_SHARE:
        yield (
            f"{units.percent(share, 1)} of the requests were unfinished: the slowest are the likeliest to be cut, "
            "so the true times are longer; use a longer run time or --stop-timeout"
        )


DOUBTS: tuple[Callable[[Report], Iterator[str]], ...] = (_losses, _late, _saturated, _cut, _lost_names, _lost_errors)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return `1 engine`, `2 engines`, `1,000 losses`: the number and its noun."""
    return f"{units.thousands(count)} {noun if count == 1 else nouns or noun + 's'}"
