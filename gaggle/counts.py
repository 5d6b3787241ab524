"""What was counted in one stretch of time; it can be added to, dealt out, and kept in few bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaggle._core import Histogram
from gaggle.metrics import Row

SUMS = ("count", "failures", "bytes_in", "bytes_out")

Packed = tuple[int, int, int, int, bytes, bytes, int, float]  # the fields of Counts; b"" for an empty histogram


@dataclass(slots=True)
class Counts:
    """What was counted in one stretch of time: of one request, or of all of them together.

    `users` is the most that were at work, `busy` the largest share of a core that one engine used, `lag` how long
    responses waited for gaggle itself: all three of the whole only. A sum takes the larger of users and busy.
    """

    count: int = 0
    failures: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    times: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    users: int = 0
    busy: float = 0.0

    @classmethod
    def of(cls, row: Row) -> Counts:
        """Return what a row has counted, and its histogram itself. Failures may be negative: more were taken back."""
        return cls(row.count, row.failed - row.forgiven, row.bytes_in, row.bytes_out, row.times)

    @classmethod
    def unpacked(cls, values: Packed) -> Counts:
        """Return what `packed` was called of."""
        count, failures, bytes_in, bytes_out, times, lag, users, busy = values
        return cls(count, failures, bytes_in, bytes_out, _decoded(times), _decoded(lag), users, busy)

    def packed(self) -> Packed:
        """Return the fields in few bytes."""
        times, lag = _encoded(self.times), _encoded(self.lag)
        return self.count, self.failures, self.bytes_in, self.bytes_out, times, lag, self.users, self.busy

    def merge(self, other: Counts) -> None:
        """Add what `other` counted, in place; `other` stays as it is."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.times.merge(other.times)
        self.lag.merge(other.lag)
        self.users = max(self.users, other.users)
        self.busy = max(self.busy, other.busy)

    def dealt(self, hands: int) -> list[Counts]:
        """Return so many parts, alike as far as can be, that add up to the whole."""
        parts = [Counts(times=times, users=self.users, busy=self.busy) for times in dealt(self.times, hands)]
        for part, lag in zip(parts, dealt(self.lag, hands), strict=True):
            part.lag = lag
        for name in SUMS:
            for part, share in zip(parts, _shares(getattr(self, name), hands), strict=True):
                setattr(part, name, share)
        return parts


def added(one: Packed, other: Packed) -> Packed:
    """Return the sum of two."""
    total = Counts.unpacked(one)
    total.merge(Counts.unpacked(other))
    return total.packed()


def dealt_out(values: Packed, hands: int) -> list[Packed]:
    """Return so many parts, alike as far as can be, that add up to the whole."""
    return [values] if hands == 1 else [part.packed() for part in Counts.unpacked(values).dealt(hands)]


def dealt(histogram: Histogram, hands: int) -> list[Histogram]:
    """Return the counts dealt out like cards, from the shortest time up: parts alike that add up to the whole."""
    parts, turn = [Histogram() for _ in range(hands)], 0
    for us, count in histogram.buckets():
        each, more = divmod(count, hands)
        for place, part in enumerate(parts):
            part.record(us, each + ((place - turn) % hands < more))
        turn += more
    return parts


def _shares(number: int, hands: int) -> list[int]:
    return [number * (place + 1) // hands - number * place // hands for place in range(hands)]


def _encoded(histogram: Histogram) -> bytes:
    return histogram.encode() if histogram else b""


def _decoded(data: bytes) -> Histogram:
    return Histogram.decode(data) if data else Histogram()
