"""A snapshot as bytes, for the wire and the disk.

A head, all numbers, all texts, all histograms. The numbers are those of HdrHistogram (1 to 9 bytes), in an order from
which a reader knows what comes: lengths of texts and histograms are among them. core/packed.pxi reads it too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite

from gaggle._core import (
    KIND_CHECK,
    KIND_COUNT,
    KIND_GAUGE,
    KIND_REQUEST,
    KIND_TASK,
    KIND_USER,
    Histogram,
    pack_numbers,
    unpack_numbers,
)
from gaggle.meters import MILLION, Meter
from gaggle.metrics import COUNTERS, ErrorRow, Key, Row, Snapshot

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


def pack(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes: a few hundred a row, most of them its histograms."""
    packer = Packer()
    packer.numbers += [len(snapshot.rows), len(snapshot.errors), packer.histogram(snapshot.lag), *snapshot.numbers]
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
    packer.numbers += row.counts
    packer.numbers += row.minimum_us, row.maximum_us, len(row.statuses)
    packer.numbers += packer.histogram(row.times), packer.histogram(row.first_byte)
    for status in row.statuses.items():
        packer.numbers += status


def unpack(data: bytes) -> Snapshot:
    """Return the snapshot in `data`. Raises ValueError for anything but what `pack` of this version makes.

    A Total adds up many of them, and is much faster; it must take and refuse the same.
    """
    parts = Unpacker(data)
    rows, errors, lag = parts.take(3)
    users, (*lost, meters) = parts.take(3, least=-MOST), parts.take(3)
    snapshot = Snapshot({}, {}, parts.histogram(lag), *users, *lost)
    snapshot.rows = {row.key: row for row in _unpack_rows(parts, rows)}
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
        yield ErrorRow(parts.key(kind, label, name), parts.text(text), seen, first / 1e6, last / 1e6)


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
