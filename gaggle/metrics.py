"""What was counted: rows, errors, and the snapshot of them all that can be added, subtracted and packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import add, attrgetter, sub
from typing import NamedTuple, TypeVar

from gaggle._core import (
    KIND_CHECK,
    KIND_COUNT,
    KIND_GAUGE,
    KIND_REQUEST,
    KIND_TASK,
    KIND_USER,
    Arena,
    Histogram,
    Total,
)
from gaggle.meters import Meter

OTHER = "(other)"  # what came after the last name that the arena had room for
AGGREGATED = "Aggregated"

# In the order in which the arena counts them, and rows are packed.
COUNTERS = (
    *("started", "answered", "broken", "failed", "forgiven", "unfinished"),
    *("hops", "resent", "bytes_in", "bytes_out", "sum_us"),
)
_counts: Callable[[Row], tuple[int, ...]] = attrgetter(*COUNTERS)


class Key(NamedTuple):
    """What a row or meter counts. The label is a request's method, a task's user class, and else empty."""

    kind: int
    label: str
    name: str


@dataclass(slots=True)
class Row:
    """The counts of one request, task or user class; see arena.pxi for what each counter means.

    `minimum_us` and `maximum_us` are 0 when nothing was timed in the epoch. `statuses`: code -> count.
    """

    key: Key
    started: int = 0
    answered: int = 0
    broken: int = 0
    failed: int = 0
    forgiven: int = 0
    unfinished: int = 0
    hops: int = 0
    resent: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    sum_us: int = 0
    minimum_us: int = 0
    maximum_us: int = 0
    statuses: dict[int, int] = field(default_factory=dict, kw_only=True)
    times: Histogram = field(default_factory=Histogram, kw_only=True)
    first_byte: Histogram = field(default_factory=Histogram, kw_only=True)

    @property
    def count(self) -> int:
        """How many came to an end of their own: a response, or an error instead of one."""
        return self.answered + self.broken

    @property
    def failures(self) -> int:
        """How many were failures and were not taken back."""
        return max(0, self.failed - self.forgiven)

    @property
    def mean_us(self) -> float:
        """The exact mean of the times; 0.0 when there are none."""
        return self.sum_us / self.times.total if self.times else 0.0

    @property
    def counts(self) -> tuple[int, ...]:
        """The counters, in the order of COUNTERS."""
        return _counts(self)

    @property
    def idle(self) -> bool:
        """Whether nothing at all was counted."""
        return not (any(_counts(self)) or self.statuses or self.times or self.first_byte)

    def copy(self) -> Row:
        """Return an equal row that shares nothing with this one."""
        return Row(
            self.key,
            *(*_counts(self), self.minimum_us, self.maximum_us),
            statuses=dict(self.statuses),
            times=self.times.copy(),
            first_byte=self.first_byte.copy(),
        )

    def merge(self, other: Row) -> None:
        """Add what `other` counted, in place; the key stays."""
        for name, more in zip(COUNTERS, _counts(other), strict=True):
            setattr(self, name, getattr(self, name) + more)
        self.minimum_us = min(self.minimum_us, other.minimum_us) or self.minimum_us or other.minimum_us
        self.maximum_us = max(self.maximum_us, other.maximum_us)
        self.statuses = _combined(self.statuses, other.statuses, add)
        self.times.merge(other.times)
        self.first_byte.merge(other.first_byte)

    def __add__(self, other: Row) -> Row:
        total = self.copy()
        total.merge(other)
        return total

    def __sub__(self, other: Row) -> Row:
        """What was counted since `other`; minimum and maximum stay. Raises ValueError if `other` has more times."""
        return Row(
            self.key,
            *(*map(sub, _counts(self), _counts(other)), self.minimum_us, self.maximum_us),
            statuses=_combined(self.statuses, other.statuses, sub),
            times=self.times - other.times,
            first_byte=self.first_byte - other.first_byte,
        )


@dataclass(slots=True)
class ErrorRow:
    """How often a row had this error, and when first and last (unix seconds, in whole microseconds).

    In a difference the count is negative when more was forgiven than had happened, so that differences still add up.
    """

    key: Key
    text: str
    count: int
    first: float
    last: float

    def __add__(self, other: ErrorRow) -> ErrorRow:
        first, last = min(self.first, other.first), max(self.last, other.last)
        return ErrorRow(self.key, self.text, self.count + other.count, first, last)


@dataclass(slots=True)
class Snapshot:
    """All counts at one moment, or (as a difference) of a stretch of time; of an engine, a worker or a whole gaggle.

    `a + b` and `a - b` are exact and new, `merge` adds in place. Rows and errors that count nothing are left out. In a
    difference the three numbers of users are what changed, and may be negative.
    """

    rows: dict[Key, Row] = field(default_factory=dict)
    errors: dict[tuple[Key, str], ErrorRow] = field(default_factory=dict)
    lag: Histogram = field(default_factory=Histogram)
    users_running: int = 0
    users_started: int = 0
    users_exited: int = 0
    names_lost: int = 0
    errors_lost: int = 0
    meters: dict[Key, Meter] = field(default_factory=dict, kw_only=True)

    @classmethod
    def empty(cls) -> Snapshot:
        """Return a snapshot in which nothing was counted."""
        return cls()

    @classmethod
    def read(cls, source: Arena | Total) -> Snapshot:
        """Return what an arena counts now (its engine goes on meanwhile), or what a Total has added up.

        Raises ValueError when the arena is closed.
        """
        errors = (_read_error(*error) for error in source.errors())
        return cls(
            _table(row for row in _read_rows(source) if not row.idle),
            {(error.key, error.text): error for error in errors},
            source.lag(),
            *(getattr(source, name) for name in NUMBERS),
            meters=_busy(_read_meters(source)),
        )

    def requests(self) -> list[Row]:
        """Return the rows of requests by method and name, `(other)` last."""
        return self._of(KIND_REQUEST)

    def tasks(self) -> list[Row]:
        """Return the rows of tasks by user class and name, `(other)` last."""
        return self._of(KIND_TASK)

    def users(self) -> list[Row]:
        """Return the rows of user classes by name, `(other)` last."""
        return self._of(KIND_USER)

    def counts(self) -> list[tuple[str, Meter]]:
        """Return the counts of the load test's own by name, `(other)` last; `gauges` and `checks` alike."""
        return self._meters_of(KIND_COUNT)

    def gauges(self) -> list[tuple[str, Meter]]:
        return self._meters_of(KIND_GAUGE)

    def checks(self) -> list[tuple[str, Meter]]:
        return self._meters_of(KIND_CHECK)

    def _meters_of(self, kind: int) -> list[tuple[str, Meter]]:
        found = [(key.name, meter) for key, meter in self.meters.items() if key.kind == kind]
        return sorted(found, key=lambda item: (item[0] == OTHER, item[0]))

    @property
    def idle(self) -> bool:
        """Whether no request, task, user or meter counts anything, and no error."""
        return not (self.rows or self.errors or self.meters)

    def _of(self, kind: int) -> list[Row]:
        rows = (row for row in self.rows.values() if row.key.kind == kind)
        return sorted(rows, key=lambda row: (row.key.name == OTHER, row.key))

    def total(self, kind: int) -> Row:
        """Return the sum of all rows of one kind, named Aggregated."""
        total = Row(Key(kind, "", AGGREGATED))
        for row in self.rows.values():
            if row.key.kind == kind:
                total.merge(row)
        return total

    def close_books(self) -> None:
        """Settle what an engine left that is gone: what did not end is unfinished, and its users have exited."""
        for row in self.rows.values():
            row.unfinished = max(row.unfinished, row.started - row.count)
        self.users_exited += self.users_running
        self.users_running = 0

    def merge(self, other: Snapshot) -> None:
        """Add what `other` counted, in place. Raises ValueError for more than 2**63 - 1 counts in a histogram."""
        for key, row in other.rows.items():
            if key in self.rows:
                self.rows[key].merge(row)
            else:
                self.rows[key] = row.copy()
        for name, error in other.errors.items():
            self._put_error(name, self.errors[name] + error if name in self.errors else error)
        for key, meter in other.meters.items():
            self.meters[key] = self.meters[key] + meter if key in self.meters else meter
        self.lag.merge(other.lag)
        for number in NUMBERS:
            setattr(self, number, getattr(self, number) + getattr(other, number))

    def _put_error(self, name: tuple[Key, str], error: ErrorRow) -> None:
        if error.count:
            self.errors[name] = error
        else:
            self.errors.pop(name, None)

    def copy(self) -> Snapshot:
        """Return an equal snapshot that shares nothing with this one."""
        return self + Snapshot()

    def __add__(self, other: Snapshot) -> Snapshot:
        total = Snapshot()
        total.merge(self)
        total.merge(other)
        return total

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of users, and of what was lost, in the order of NUMBERS."""
        return _numbers(self)

    def __sub__(self, other: Snapshot) -> Snapshot:
        """What was counted since `other`, an earlier snapshot of the same; minimum and maximum stay as they are."""
        none: dict[Key, Row] = {key: Row(key) for key in other.rows.keys() - self.rows.keys()}
        rows = (row - other.rows[key] if key in other.rows else row.copy() for key, row in (self.rows | none).items())
        return Snapshot(
            _table(row for row in rows if not row.idle),
            _later(self.errors, other.errors),
            self.lag - other.lag,
            *map(sub, self.numbers, other.numbers),
            meters=_busy(
                (key, self.meters.get(key, Meter()) - other.meters.get(key, Meter()))
                for key in self.meters | other.meters
            ),
        )

    def halves(self) -> tuple[Snapshot, Snapshot]:
        """Return two snapshots, each with about half of the rows, errors and meters, that add up to this one."""
        rows, errors, meters = _halves(self.rows), _halves(self.errors), _halves(self.meters)
        second = Snapshot(rows=rows[1], errors=errors[1], meters=meters[1])
        return replace(self, rows=rows[0], errors=errors[0], meters=meters[0]), second

    @property
    def can_be_halved(self) -> bool:
        """Whether `halves` gives two that are smaller."""
        return max(len(self.rows), len(self.errors), len(self.meters)) > 1


NUMBERS = ("users_running", "users_started", "users_exited", "names_lost", "errors_lost")
_numbers: Callable[[Snapshot], tuple[int, ...]] = attrgetter(*NUMBERS)

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def _combined(left: dict[T, int], right: dict[T, int], how: Callable[[int, int], int]) -> dict[T, int]:
    if not right:
        return dict(left)
    both = {code: how(left.get(code, 0), right.get(code, 0)) for code in left | right}
    return {code: count for code, count in both.items() if count}


def _table(rows: Iterable[Row]) -> dict[Key, Row]:
    return {row.key: row for row in rows}


def _read_rows(source: Arena | Total) -> Iterator[Row]:
    for kind, label, name, counts, minimum, maximum, statuses, times, first_byte in source.rows():
        numbers = (*counts, minimum, maximum)
        yield Row(Key(kind, label, name), *numbers, statuses=statuses, times=times, first_byte=first_byte)


def _read_meters(source: Arena | Total) -> Iterator[tuple[Key, Meter]]:
    for kind, name, samples, failed, millionths, lowest, highest, last, last_ns in source.meters():
        yield Key(kind, "", name), Meter(samples, failed, millionths, lowest, highest, last, last_ns // 1_000)


def _busy(meters: Iterable[tuple[Key, Meter]]) -> dict[Key, Meter]:
    return {key: meter for key, meter in meters if not meter.idle}


def _halves(table: dict[K, V]) -> tuple[dict[K, V], dict[K, V]]:
    items = list(table.items())
    return dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])


def _read_error(kind: int, label: str, name: str, text: str, count: int, first_ns: int, last_ns: int) -> ErrorRow:
    return ErrorRow(Key(kind, label, name), text, count, _seconds(first_ns // 1_000), _seconds(last_ns // 1_000))


def _seconds(microseconds: int) -> float:
    return microseconds / 1e6


def _later(
    errors: dict[tuple[Key, str], ErrorRow], before: dict[tuple[Key, str], ErrorRow]
) -> dict[tuple[Key, str], ErrorRow]:
    """Return what the errors were since `before`, without those that did not change."""
    changed = {}
    for name in errors | before:
        error = errors.get(name) or before[name]
        count = (errors[name].count if name in errors else 0) - (before[name].count if name in before else 0)
        if count:
            changed[name] = ErrorRow(error.key, error.text, count, error.first, error.last)
    return changed
