"""What happened when: a run as points in time, one a second, coarser the longer it is; its percentiles are exact."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from gaggle._core import KIND_REQUEST, Histogram
from gaggle.metrics import AGGREGATED, Key, Row, Snapshot

MOST = 3_600  # points of the whole: an hour in seconds
MOST_NAMED = 240  # points of a name: 200 names x ten hours must stay small
MOST_CELLS = 60_000  # of all names together: beyond 250 names, each has fewer points
LEAST_NAMED = 10
OPEN = 10  # so many of the last points are kept unpacked: what workers send is rarely later than that
WHOLE = Key(KIND_REQUEST, "", AGGREGATED)


class Times:
    """A histogram that is kept packed (HdrHistogram V2, not compressed) once nothing more is expected for it."""

    __slots__ = ("kept",)

    def __init__(self, kept: Histogram | bytes = b"") -> None:
        self.kept = kept

    @property
    def histogram(self) -> Histogram:
        """The histogram; not to be changed by who asks."""
        if isinstance(self.kept, Histogram):
            return self.kept
        return Histogram.decode(self.kept) if self.kept else Histogram()

    def merge(self, other: Times) -> None:
        """Add what `other` counts, in place; `other` stays as it is."""
        if not other.kept:
            return
        if not isinstance(self.kept, Histogram):
            self.kept = self.histogram
        if isinstance(other.kept, Histogram):
            self.kept.merge(other.kept)
        else:
            self.kept.add_encoded(other.kept)

    def pack(self) -> None:
        """Keep fewer bytes; it can still be added to."""
        if isinstance(self.kept, Histogram):
            self.kept = self.kept.encode() if self.kept else b""

    def compressed(self) -> bytes:
        """Return HdrHistogram V2 bytes with zlib, as .hlog files hold them; b"" for an empty one."""
        return self.histogram.encode_compressed() if self.kept else b""

    def dealt(self, hands: int) -> list[Times]:
        """Return the counts dealt out like cards, from the shortest time up: parts alike that add up to the whole."""
        parts, turn = [Histogram() for _ in range(hands)], 0
        for us, count in self.histogram.buckets():
            each, more = divmod(count, hands)
            for place, part in enumerate(parts):
                part.record(us, each + ((place - turn) % hands < more))
            turn += more
        return [Times(part) for part in parts]

    def __bool__(self) -> bool:
        return bool(self.kept)  # an empty histogram is false as well

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Times) and self.histogram == other.histogram

    __hash__ = None  # type: ignore[assignment]


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
    times: Times = field(default_factory=Times)
    lag: Times = field(default_factory=Times)
    users: int = 0
    busy: float = 0.0

    @classmethod
    def of(cls, row: Row) -> Counts:
        """Return what a row has counted. Failures may be negative: more were taken back than there were."""
        return cls(row.count, row.failed - row.forgiven, row.bytes_in, row.bytes_out, Times(row.times.copy()))

    def merge(self, other: Counts) -> None:
        """Add what `other` counted, in place."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.times.merge(other.times)
        self.lag.merge(other.lag)
        self.users = max(self.users, other.users)
        self.busy = max(self.busy, other.busy)

    def pack(self) -> None:
        """Keep fewer bytes."""
        self.times.pack()
        self.lag.pack()

    def dealt(self, hands: int) -> list[Counts]:
        """Return so many parts, alike as far as can be, that add up to the whole."""
        parts = [Counts(times=times, users=self.users, busy=self.busy) for times in self.times.dealt(hands)]
        for part, lag in zip(parts, self.lag.dealt(hands), strict=True):
            part.lag = lag
        for name in SUMS:
            for part, share in zip(parts, _shares(getattr(self, name), hands), strict=True):
                setattr(part, name, share)
        return parts


SUMS = ("count", "failures", "bytes_in", "bytes_out")


def _shares(number: int, hands: int) -> list[int]:
    return [number * (place + 1) // hands - number * place // hands for place in range(hands)]


class Point(NamedTuple):
    """A stretch of the run: from `start` (unix seconds) on, `length` seconds long."""

    start: float
    length: float
    counts: Counts


class Grid:
    """Stretches that follow each other without a gap, at most about `most`, and what each key counted in them.

    `edges` has the moments (unix seconds, whole milliseconds) at which stretches begin, and the end of the last one.
    When there are too many, neighbours become one, but never across a moment that is kept.
    """

    def __init__(self, start: float, most: int) -> None:
        self.edges = [round(start, 3)]
        self.most = most
        self.step = 1.0  # seconds that a stretch should be long
        self.kept: set[float] = set()
        self.cells: dict[Key, dict[int, Counts]] = {}  # by the number of the stretch; where nothing was, is nothing

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def end(self) -> float:
        return self.edges[-1]

    def extend(self, to: float) -> None:
        """Let the grid reach to a moment: by a new stretch, or by a longer last one as long as that is too short."""
        to = round(to, 3)
        if to <= self.end:
            return
        if self and self.end not in self.kept and self.end - self.edges[-2] < self.step * 0.75:
            self.edges[-1] = to
            return
        self.edges.append(to)
        for cells in self.cells.values():
            if old := cells.get(len(self) - 1 - OPEN):
                old.pack()
        while len(self) > self.most and self.halve():
            pass

    def keep(self, moment: float) -> None:
        """Let a stretch begin at this edge for ever."""
        self.kept.add(round(moment, 3))

    def put(self, key: Key, began: float, ended: float, counts: Counts) -> None:
        """Add what was counted between two moments, in the stretch of its middle, or in all whose middles it covers."""
        if not self:
            return
        cells = self.cells.setdefault(key, {})
        first, last = self.covered(began, ended)
        parts = counts.dealt(last - first + 1) if last > first else [counts]
        for place, part in enumerate(parts, first):
            if place in cells:
                cells[place].merge(part)
            else:
                cells[place] = part
            if place < len(self) - OPEN:
                cells[place].pack()

    def covered(self, began: float, ended: float) -> tuple[int, int]:
        """Return the first and the last stretch that what was counted between two moments belongs to."""
        middle = self.find((began + ended) / 2)
        first, last = self.find(began), self.find(ended)
        inside = [place for place in range(first, last + 1) if began <= self.middle(place) <= ended]
        return (inside[0], inside[-1]) if inside else (middle, middle)

    def find(self, moment: float) -> int:
        """Return the number of the stretch in which a moment is, or of the one that is nearest to it."""
        return min(max(bisect_right(self.edges, moment) - 1, 0), len(self) - 1)

    def middle(self, place: int) -> float:
        return (self.edges[place] + self.edges[place + 1]) / 2

    def halve(self) -> bool:
        """Make neighbours one, two and two. Returns False where that is not possible any more."""
        before = len(self)
        places, edges = self.paired()
        for key, cells in self.cells.items():
            self.cells[key] = _united(cells, places)
        self.edges, self.step = edges, self.step * 2
        for cells in self.cells.values():
            for place, counts in cells.items():
                if place < len(self) - OPEN:
                    counts.pack()
        return len(self) < before

    def paired(self) -> tuple[list[int], list[float]]:
        """Return for each stretch the number of the one that it becomes a part of, and the new edges."""
        places: list[int] = []
        edges = [self.edges[0]]
        is_second = False
        for start, end in pairwise(self.edges):
            if is_second and start not in self.kept:
                edges[-1], is_second = end, False
            else:
                edges.append(end)
                is_second = True
            places.append(len(edges) - 2)
        return places, edges

    def points(self, key: Key) -> Iterator[Point]:
        """Yield a point a stretch, also where nothing was counted."""
        cells = self.cells.get(key, {})
        for place, (start, end) in enumerate(pairwise(self.edges)):
            yield Point(start, round(end - start, 3), cells.get(place) or Counts())


def _united(cells: dict[int, Counts], places: Sequence[int]) -> dict[int, Counts]:
    united: dict[int, Counts] = {}
    for place, counts in cells.items():
        if places[place] in united:
            united[places[place]].merge(counts)
        else:
            united[places[place]] = counts
    return united


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
    def keys(self) -> list[Key]:
        """The requests that have points of their own, by method and name."""
        return sorted(self.named.cells)

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
            cells = self.whole.cells.setdefault(WHOLE, {})
            cells.setdefault(len(self.whole) - 1, Counts()).merge(Counts(users=users, busy=busy))

    def reset(self) -> None:
        """Let what the report counts begin at the end of the series."""
        self.measured_from = self.end
        for grid in (self.whole, self.named):
            grid.keep(grid.end)

    def put(self, began: float, ended: float, delta: Snapshot) -> None:
        """Add what was counted between two moments (unix seconds), which may be long ago."""
        whole = Counts(lag=Times(delta.lag.copy()))
        for row in delta.rows.values():
            if row.key.kind == KIND_REQUEST and (row.count or row.failed or row.forgiven or row.bytes_out):
                counts = Counts.of(row)
                whole.merge(counts)
                self._put_named(row.key, began, ended, counts)
        self.whole.put(WHOLE, began, ended, whole)

    def _put_named(self, key: Key, began: float, ended: float, counts: Counts) -> None:
        self.named.put(key, began, ended, counts)
        self.named.most = max(LEAST_NAMED, min(MOST_NAMED, MOST_CELLS // max(1, len(self.named.cells))))
