"""What happened when: a run as points in time, one a second, coarser the longer it is; its percentiles are exact."""

from __future__ import annotations

from collections.abc import Iterable

from gaggle._core import KIND_REQUEST, Interval
from gaggle.counts import Counts, Packed
from gaggle.grid import Grid, Point
from gaggle.metrics import AGGREGATED, Key, Snapshot

MOST = 3_600  # points of the whole: an hour in seconds
MOST_NAMED = 240  # points of a name: 200 names x ten hours must stay small
MOST_CELLS = 60_000  # of all names together: beyond 250 names, each has fewer points
LEAST_NAMED = 10
WHOLE = Key(KIND_REQUEST, "", AGGREGATED)


class Series:
    """A run in points of time: of all requests together, and, coarser, of each request by its name.

    `points` and `of(key)` have what was counted; both cover the time from the start to now without gaps. All of what
    was counted is in them, also what a reset has set aside: `measured_from` (unix seconds) is where the report begins.
    """

    def __init__(self, start: float) -> None:
        self.whole = Grid(start, MOST)
        self.named = Grid(start, MOST_NAMED)
        self.measured_from = self.whole.end

    @property
    def start(self) -> float:
        """When the first point begins, unix seconds."""
        return self.whole.edges[0]

    @property
    def end(self) -> float:
        """When the last point ends, unix seconds."""
        return self.whole.end

    @property
    def points(self) -> list[Point]:
        """All requests together, the earliest first."""
        return list(self.whole.points(WHOLE))

    @property
    def last(self) -> Point | None:
        """The last point of all requests together, or None before the first second is over."""
        return self.whole.point(WHOLE, len(self.whole) - 1) if self.whole else None

    @property
    def newest(self) -> Point | None:
        """The last point in which anything was counted, of the last three: what workers send comes late."""
        places = range(len(self.whole) - 1, max(len(self.whole) - 4, -1), -1)
        points = (self.whole.point(WHOLE, place) for place in places)
        return next((point for point in points if point.counts.count), self.last)

    @property
    def keys(self) -> list[Key]:
        """The requests that have points of their own, by method and name."""
        return sorted(self.named.numbers)

    def of(self, key: Key) -> list[Point]:
        """Return the points of one request, the earliest first; they may be coarser than those of the whole."""
        return list(self.named.points(key))

    def measured(self) -> list[Point]:
        """Return the points of all requests together from the reset on: what the report counts."""
        return [point for point in self.points if point.start >= self.measured_from]

    def extend(self, to: float, users: int = 0, busy: float = 0.0) -> None:
        """Let the run last until `to`, unix seconds; so many users are at work."""
        self.whole.extend(to)
        self.named.extend(to)
        if self.whole:
            self.whole.add(len(self.whole) - 1, WHOLE, Counts(users=users, busy=busy).packed())

    def reset(self) -> None:
        """Let what the report counts begin at the end of the series."""
        self.measured_from = self.end
        for grid in (self.whole, self.named):
            grid.keep(grid.end)

    def put(self, began: float, ended: float, delta: Snapshot) -> None:
        """Add what was counted between two moments (unix seconds), which may be long ago."""
        whole, named = Counts(lag=delta.lag.copy()), []
        for row in delta.rows.values():
            if row.key.kind == KIND_REQUEST and (row.count or row.failed or row.forgiven or row.bytes_out):
                counts = Counts.of(row)
                whole.merge(counts)
                named.append((row.key, counts.packed()))
        self._put(began, ended, whole, named)

    def take(self, began: float, ended: float, interval: Interval) -> None:
        """Add what is in an interval, and empty it."""
        whole, rows = interval.take()
        named = (
            (Key(KIND_REQUEST, label, name), (count, failures, bytes_in, bytes_out, times, b"", 0, 0.0))
            for label, name, count, failures, bytes_in, bytes_out, times in rows
            if count or failures or bytes_out
        )
        self._put(began, ended, Counts(*whole), named)

    def _put(self, began: float, ended: float, whole: Counts, named: Iterable[tuple[Key, Packed]]) -> None:
        self.whole.put(began, ended, [(WHOLE, whole.packed())])
        self.named.put(began, ended, named)
        self.named.most = max(LEAST_NAMED, min(MOST_NAMED, MOST_CELLS // max(1, len(self.named.numbers))))
