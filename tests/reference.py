"""What the core counts, in plain Python: slow, obvious, and used on the same random input as the core."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random, SystemRandom

HIGHEST_US = 3_600_000_000


def seeded() -> Random:
    """Return a generator whose seed is printed; GAGGLE_TEST_SEED=n repeats a run."""
    seed = int(os.environ.get("GAGGLE_TEST_SEED", SystemRandom().randrange(2**32)))
    print(f"GAGGLE_TEST_SEED={seed}")
    return Random(seed)


def latencies(rng: Random, count: int) -> list[int]:
    """Return `count` latencies (us) as load tests see them: a log-normal body, and some from anywhere up to an hour."""
    body = [int(rng.lognormvariate(rng.uniform(4, 12), rng.uniform(0.1, 2))) for _ in range(count)]
    return [rng.randint(0, HIGHEST_US) if rng.random() < 0.02 else us for us in body]


def index_of(us: int) -> int:
    """Return the counter of `us`: 2,048 of 1 us, then for each doubling 1,024 of twice the width."""
    us = min(max(us, 0), HIGHEST_US)
    doublings = 0
    while us >> doublings >= 2048:
        doublings += 1
    return us if doublings == 0 else 2048 + (doublings - 1) * 1024 + (us >> doublings) - 1024


def range_of(index: int) -> tuple[int, int]:
    """Return the lowest and the highest value (us) of a counter."""
    if index < 2048:
        return index, index
    doublings = (index - 2048) // 1024 + 1
    low = ((index - 2048) % 1024 + 1024) << doublings
    return low, low + (1 << doublings) - 1


@dataclass
class Histogram:
    """HdrHistogram from 1 us to 1 hour with 3 digits, as a dict of counts by counter."""

    counts: Counter[int] = field(default_factory=Counter)

    @staticmethod
    def of(values: Iterable[int]) -> Histogram:
        return Histogram(Counter(index_of(us) for us in values))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def record(self, us: int, count: int = 1) -> None:
        self.counts[index_of(us)] += count

    def percentile(self, fraction: float) -> int:
        """As hdr_value_at_percentile: the first counter at which the rounded share is reached."""
        wanted = max(1, int(fraction * self.total + 0.5))
        for index, seen in running(self.counts):
            if seen >= wanted:
                return range_of(index)[1]
        return 0

    def mean(self) -> float:
        middles = ((low + (high - low + 1) // 2) * self.counts[i] for i in self.counts for low, high in [range_of(i)])
        return sum(middles) / self.total if self.total else 0.0

    def minimum(self) -> int:
        return range_of(min(self.counts))[0] if self.total else 0

    def maximum(self) -> int:
        return range_of(max(self.counts))[1] if self.total else 0

    def count_above(self, us: int) -> int:
        return sum(count for index, count in self.counts.items() if index > index_of(us))

    def buckets(self) -> list[tuple[int, int]]:
        return [(range_of(index)[1], count) for index, count in sorted(self.counts.items()) if count]

    def encode(self) -> bytes:
        """HdrHistogram's V2 form, not compressed."""
        payload, following = b"", 0
        for index in sorted(self.counts):
            if index > following:
                payload += number(0 if index - following == 1 else following - index)
            payload += number(self.counts[index])
            following = index + 1
        return struct.pack(">iiiiqqd", 0x1C849313, len(payload), 0, 3, 1, HIGHEST_US, 1.0) + payload


def running(counts: Counter[int]) -> Iterator[tuple[int, int]]:
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        yield index, seen


def number(value: int) -> bytes:
    """ZigZag LEB128-64b9B: seven bits a byte, low ones first; the ninth byte has eight."""
    rest = value * 2 if value >= 0 else -value * 2 - 1
    data = bytearray()
    while rest >= 128 and len(data) < 8:
        data.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*data, rest])


@dataclass
class Slot:
    """One row of an arena."""

    counts: Counter[str] = field(default_factory=Counter)
    extremes: dict[int, tuple[int, int]] = field(default_factory=dict)  # epoch -> minimum, maximum
    statuses: Counter[int] = field(default_factory=Counter)
    times: Histogram = field(default_factory=Histogram)
    first_byte: Histogram = field(default_factory=Histogram)


@dataclass
class Arena:
    """The counters of one engine: what is beyond the limits falls into "(other)", or status 65535."""

    most_names: int = 4_000
    most_errors: int = 1_000
    most_statuses: int = 100
    epoch: int = 1
    names: dict[tuple[int, str, str], Slot] = field(default_factory=dict)
    others: dict[tuple[int, str, str], Slot] = field(default_factory=dict)
    errors: dict[tuple[tuple[int, str, str], str], int] = field(default_factory=dict)
    other_errors: int = 0
    names_lost: int = 0
    errors_lost: int = 0

    def slot(self, kind: int, label: str, name: str) -> Slot:
        key = (kind, label, name)
        if key in self.names or len(self.names) < self.most_names:
            return self.names.setdefault(key, Slot())
        self.names_lost += 1
        return self.others.setdefault((kind, "", "(other)"), Slot())

    def time(self, slot: Slot, us: int) -> None:
        us = max(us, 1)
        low, high = slot.extremes.get(self.epoch, (us, us))
        slot.extremes[self.epoch] = (min(low, us), max(high, us))
        slot.counts["sum_us"] += us
        slot.times.record(us)

    def status(self, slot: Slot, status: int) -> None:
        known = status in slot.statuses or len(slot.statuses) < self.most_statuses
        slot.statuses[status if known else 0xFFFF] += 1

    def error(self, key: tuple[int, str, str], text: str) -> None:
        if (key, text) in self.errors or len(self.errors) < self.most_errors:
            self.errors[key, text] = self.errors.get((key, text), 0) + 1
        else:
            self.errors_lost += 1
            self.other_errors += 1

    def forgive(self, key: tuple[int, str, str], text: str) -> None:
        if (key, text) in self.errors:
            self.errors[key, text] -= 1
        else:
            self.other_errors -= 1

    def rows(self) -> dict[tuple[int, str, str], Slot]:
        return {**self.names, **self.others}
