"""A run cut into stretches of time: what each key counted in them, coarser the longer the run is."""

from __future__ import annotations

import marshal
import math
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from gaggle.counts import Counts, Packed, added, dealt_out
from gaggle.metrics import Key

OPEN = 3.0  # seconds: what workers send is rarely later than that, so stretches that ended before are packed
FASTEST = 1  # of zlib's levels: a stretch of 200 names in a tenth of the bytes


class Stretch:
    """What was counted in one stretch of time, by the number of the key.

    Thousands of them are kept, and few are looked at: one for which nothing more is expected is bytes.
    """

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: dict[int, Packed] | bytes = {}

    def __iter__(self) -> Iterator[tuple[int, Packed]]:
        """Yield the numbers and what they count, in order."""
        yield from sorted(self.values().items())

    def get(self, number: int) -> Counts | None:
        """Return what one key counted, if anything."""
        values = self.values().get(number)
        return values and Counts.unpacked(values)

    def add(self, number: int, values: Packed) -> None:
        """Add what a key counted."""
        cells = self.kept = self.values()
        cells[number] = added(cells[number], values) if number in cells else values

    def pack(self) -> None:
        """Keep bytes."""
        if not isinstance(self.kept, bytes):
            self.kept = zlib.compress(marshal.dumps(self.kept), FASTEST)

    def values(self) -> dict[int, Packed]:
        if not isinstance(self.kept, bytes):
            return self.kept
        values: dict[int, Packed] = marshal.loads(zlib.decompress(self.kept))  # ours: it never left this process
        return values


def united(stretches: Sequence[Stretch]) -> Stretch:
    """Return one stretch, packed, of some that follow each other; they are used up."""
    first, *others = stretches
    for other in others:
        for number, values in other:
            first.add(number, values)
    first.pack()
    return first


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
        self.numbers: dict[Key, int] = {}
        self.stretches: list[Stretch] = []
        self.open: set[int] = set()  # the stretches that are not packed

    def __len__(self) -> int:
        return len(self.stretches)

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
        self.lay([*self.edges, to])
        self.pack(self.end - OPEN)
        while len(self) > self.most and self.halve():
            pass

    def lay(self, edges: list[float]) -> None:
        """Let the stretches lie between these edges: those that there are between the first ones."""
        self.edges = edges
        self.stretches += [Stretch() for _ in range(len(edges) - 1 - len(self))]

    def pack(self, before: float = math.inf) -> None:
        """Keep the stretches that ended before a moment in few bytes; they can still be added to."""
        for place in [place for place in self.open if self.edges[place + 1] < before]:
            self.stretches[place].pack()
            self.open.remove(place)

    def keep(self, moment: float) -> None:
        """Let a stretch begin at this edge for ever."""
        self.kept.add(round(moment, 3))

    def add(self, place: int, key: Key, values: Packed) -> None:
        """Add what a key counted in the stretch of a number."""
        self.open.add(place)
        self.stretches[place].add(self.numbers.setdefault(key, len(self.numbers)), values)

    def put(self, began: float, ended: float, cells: Iterable[tuple[Key, Packed]]) -> None:
        """Add what was counted between two moments, in the stretch of its middle, or in all whose middles it covers."""
        if not self:
            return
        first, last = self.covered(began, ended)
        for key, values in cells:
            for place, part in enumerate(dealt_out(values, last - first + 1), first):
                self.add(place, key, part)

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
        pairs = groupby(zip(places, self.stretches, strict=True), lambda pair: pair[0])
        self.stretches = [united([stretch for _, stretch in pair]) for _, pair in pairs]
        self.edges, self.step, self.open = edges, self.step * 2, set()
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
        """Yield a point a stretch, also where nothing was counted; for all keys together, take `cells`."""
        return (self.point(key, place) for place in range(len(self)))

    def point(self, key: Key, place: int) -> Point:
        """Return what a key counted in the stretch of a number."""
        start, end = self.edges[place], self.edges[place + 1]
        return Point(start, round(end - start, 3), self.stretches[place].get(self.numbers.get(key, -1)) or Counts())

    def cells(self) -> Iterator[tuple[int, Key, Counts]]:
        """Yield what there is, the earliest first: the number of the stretch, the key, what it counted."""
        keys = list(self.numbers)
        for place, stretch in enumerate(self.stretches):
            yield from ((place, keys[number], Counts.unpacked(values)) for number, values in stretch)
