"""What was counted: rows, errors, and the snapshot of them all that can be added, subtracted and packed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import isfinite
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
    pack_numbers,
    unpack_numbers,
)
from gaggle.meters import MILLION, Meter

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

    def __sub__(self, other: Snapshot) -> Snapshot:
        """What was counted since `other`, an earlier snapshot of the same; minimum and maximum stay as they are."""
        none: dict[Key, Row] = {key: Row(key) for key in other.rows.keys() - self.rows.keys()}
        rows = (row - other.rows[key] if key in other.rows else row.copy() for key, row in (self.rows | none).items())
        return Snapshot(
            _table(row for row in rows if not row.idle),
            _later(self.errors, other.errors),
            self.lag - other.lag,
            *map(sub, _numbers(self), _numbers(other)),
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

    def pack(self) -> bytes:
        """Return the snapshot as bytes: a few hundred a row, most of them its histograms. See Packer."""
        return _pack(self)

    @classmethod
    def unpack(cls, data: bytes) -> Snapshot:
        """Return the snapshot in `data`. Raises ValueError for anything but what `pack` of this version makes.

        A Total adds up many of them, and is much faster; it must take and refuse the same.
        """
        return _unpack(data)


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


# How a snapshot is packed: a head, all numbers, all texts, all histograms. The numbers are those of HdrHistogram (1 to
# 9 bytes), in an order from which a reader knows what comes: lengths of texts and histograms are among them.
# core/packed.pxi reads it too.

MAGIC = b"gaggle"
VERSION = 2
HEAD = struct.Struct(">6sBII")  # magic, version, how many numbers, bytes of the texts
MOST = 2**52  # of any number: 140 years in us; 2,000 of them can be added without overflow anywhere
PER_ROW = 3 + len(COUNTERS) + 2 + 1 + 2  # kind, label, name; counters; minimum, maximum; statuses; two histograms
PER_ERROR = 7  # kind, label, name, text, count, first, last
LARGEST_SUM = 2**62  # of a meter: Python adds without overflow, and what is packed has 63 bits
HALVES, DOUBLE = struct.Struct(">II"), struct.Struct(">d")


class Packer:
    """Collects the parts of a packed snapshot."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.texts: list[bytes] = []
        self.histograms: list[bytes] = []

    def text(self, text: str) -> int:
        """Take a text and return its length, which belongs among the numbers."""
        self.texts.append(text.encode())
        return len(self.texts[-1])

    def histogram(self, histogram: Histogram) -> int:
        """Take a histogram and return its length; an empty one takes none."""
        self.histograms.append(histogram.encode() if histogram else b"")
        return len(self.histograms[-1])

    def bytes(self) -> bytes:
        texts = b"".join(self.texts)
        head = HEAD.pack(MAGIC, VERSION, len(self.numbers), len(texts))
        return b"".join((head, pack_numbers(self.numbers), texts, *self.histograms))


class Unpacker:
    """Takes a packed snapshot apart. Everything raises ValueError when the bytes are not what they should be."""

    def __init__(self, data: bytes) -> None:
        if len(data) < HEAD.size:
            raise ValueError(f"not a packed snapshot: {len(data)} bytes are too few")
        magic, version, numbers, texts = HEAD.unpack_from(data)
        if magic != MAGIC:
            raise ValueError(f"not a packed snapshot: it starts with {magic!r}")
        if version != VERSION:
            raise ValueError(f"a packed snapshot of version {version}, this is version {VERSION}")
        self.data = data
        self.numbers, self.text_at = unpack_numbers(data, HEAD.size, numbers)
        self.histogram_at = self.texts_end = self.text_at + texts
        self.at = 0

    def take(self, count: int, least: int = 0, most: int = MOST) -> list[int]:
        """Return the next `count` numbers, none of them below `least` or above `most`."""
        taken = self.numbers[self.at : self.at + count]
        self.at += count
        if len(taken) < count or (count and not least <= min(taken) <= max(taken) <= most):
            raise ValueError("a packed snapshot with numbers that are missing or out of range")
        return taken

    def text(self, length: int) -> str:
        start, self.text_at = self.text_at, self.text_at + length
        return str(self.data[start : self.text_at], "utf-8")

    def histogram(self, length: int) -> Histogram:
        start, self.histogram_at = self.histogram_at, self.histogram_at + length
        histogram = Histogram.decode(self.data[start : self.histogram_at]) if length else Histogram()
        if histogram.total > MOST or bool(length) != bool(histogram):
            raise ValueError("a packed snapshot with a histogram that is empty or out of range")
        return histogram

    def key(self, kind: int, label: int, name: int) -> Key:
        if kind not in (KIND_REQUEST, KIND_TASK, KIND_USER):
            raise ValueError(f"a packed snapshot with a row of kind {kind}")
        return Key(kind, self.text(label), self.text(name))

    def double(self) -> float:
        """Return the next two numbers as the double whose halves they are; it is finite."""
        (value,) = DOUBLE.unpack(HALVES.pack(*self.take(2, most=2**32 - 1)))
        if not isfinite(value):
            raise ValueError("a packed snapshot with a value that is no number")
        return float(value)

    def end(self) -> None:
        """Nothing may be left, and nothing may have been read twice."""
        if (self.at, self.text_at, self.histogram_at) != (len(self.numbers), self.texts_end, len(self.data)):
            raise ValueError("a packed snapshot whose parts are longer or shorter than announced")


def _pack(snapshot: Snapshot) -> bytes:
    packer = Packer()
    packer.numbers += [len(snapshot.rows), len(snapshot.errors), packer.histogram(snapshot.lag), *_numbers(snapshot)]
    packer.numbers.append(len(snapshot.meters))
    for row in snapshot.rows.values():
        _pack_row(packer, row)
    for error in snapshot.errors.values():
        packer.numbers += error.key.kind, packer.text(error.key.label), packer.text(error.key.name)
        packer.numbers += packer.text(error.text), error.count, round(error.first * 1e6), round(error.last * 1e6)
    for key, meter in snapshot.meters.items():
        _pack_meter(packer, key, meter)
    return packer.bytes()


def _pack_meter(packer: Packer, key: Key, meter: Meter) -> None:
    whole, millionths = divmod(meter.millionths, MILLION)
    packer.numbers += key.kind, packer.text(key.name), meter.samples, meter.failed
    packer.numbers += max(-LARGEST_SUM, min(whole, LARGEST_SUM)), millionths, meter.lowest is not None
    for value in (meter.lowest or 0.0, meter.highest or 0.0, meter.last):
        packer.numbers += HALVES.unpack(DOUBLE.pack(value))
    packer.numbers.append(meter.last_us)


def _pack_row(packer: Packer, row: Row) -> None:
    packer.numbers += row.key.kind, packer.text(row.key.label), packer.text(row.key.name)
    packer.numbers += _counts(row)
    packer.numbers += row.minimum_us, row.maximum_us, len(row.statuses)
    packer.numbers += packer.histogram(row.times), packer.histogram(row.first_byte)
    for status in row.statuses.items():
        packer.numbers += status


def _unpack(data: bytes) -> Snapshot:
    parts = Unpacker(data)
    rows, errors, lag = parts.take(3)
    users, (*lost, meters) = parts.take(3, least=-MOST), parts.take(3)
    snapshot = Snapshot({}, {}, parts.histogram(lag), *users, *lost)
    snapshot.rows = _table(_unpack_rows(parts, rows))
    snapshot.errors = {(error.key, error.text): error for error in _unpack_errors(parts, errors)}
    snapshot.meters = dict(_unpack_meters(parts, meters))
    parts.end()
    if (len(snapshot.rows), len(snapshot.errors), len(snapshot.meters)) != (rows, errors, meters):
        raise ValueError("a packed snapshot with the same row twice")
    return snapshot


def _unpack_rows(parts: Unpacker, count: int) -> Iterator[Row]:
    for _ in range(count):
        kind, label, name, *numbers, statuses, times, first_byte = parts.take(PER_ROW)
        yield Row(
            parts.key(kind, label, name),
            *numbers,
            statuses=_unpack_statuses(parts.take(2 * statuses)),
            times=parts.histogram(times),
            first_byte=parts.histogram(first_byte),
        )


def _unpack_statuses(numbers: list[int]) -> dict[int, int]:
    statuses = dict(zip(numbers[::2], numbers[1::2], strict=True))
    if len(statuses) * 2 != len(numbers) or not all(numbers[1::2]) or max(statuses, default=0) > 0xFFFF:
        raise ValueError("a packed snapshot with statuses that cannot be")
    return statuses


def _unpack_errors(parts: Unpacker, count: int) -> Iterator[ErrorRow]:
    for _ in range(count):
        (kind, label, name, text), (seen,), (first, last) = parts.take(4), parts.take(1, least=-MOST), parts.take(2)
        yield ErrorRow(parts.key(kind, label, name), parts.text(text), seen, _seconds(first), _seconds(last))


def _unpack_meters(parts: Unpacker, count: int) -> Iterator[tuple[Key, Meter]]:
    for _ in range(count):
        kind, name, samples, failed = parts.take(4)
        (whole,), (millionths,), (has_ends,) = (
            parts.take(1, -LARGEST_SUM, LARGEST_SUM), parts.take(1, most=MILLION - 1), parts.take(1, most=1)
        )  # fmt: skip
        if kind not in (KIND_COUNT, KIND_GAUGE, KIND_CHECK):
            raise ValueError(f"a packed snapshot with a meter of kind {kind}")
        lowest, highest, last, (last_us,) = parts.double(), parts.double(), parts.double(), parts.take(1)
        meter = Meter(samples, failed, whole * MILLION + millionths, last=last, last_us=last_us)
        if has_ends:
            meter = replace(meter, lowest=lowest, highest=highest)
        yield Key(kind, "", parts.text(name)), meter
