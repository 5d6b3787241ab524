"""Notes once a second what was counted, and tells who looks on: live terminal, thresholds, exporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import sub

from gaggle._core import KIND_REQUEST, Interval
from gaggle.metrics import Row, Snapshot
from gaggle.series import Series

SECOND = 1.0
SPARE = 3  # intervals that are kept to be filled again: as many as are open at once
SLACK = 0.001  # edges of the series are whole milliseconds


@dataclass(frozen=True, slots=True)
class Node:
    """A worker as it stands: `state` is a word, `busy` the share of a core that its busiest engine has used so far."""

    name: str
    users: int
    busy: float
    state: str
    is_troubled: bool = False


@dataclass
class Moment:
    """What is told once a second to who looks on: live terminal, thresholds, exporters. Nothing in it may be changed.

    `total` is all that was counted so far, `baseline` what of it was set aside by the reset, `at` unix seconds.
    """

    at: float
    series: Series
    total: Snapshot
    baseline: Snapshot
    is_stopping: bool = False
    workers: Sequence[Node] = ()  # of a gaggle

    @cached_property
    def measured(self) -> Snapshot:
        """What the report would count if the run ended now."""
        return self.total if self.baseline.idle else self.total - self.baseline

    @property
    def seconds(self) -> float:
        """How long has been measured."""
        return max(self.series.end - self.series.measured_from, 0.0)


def requests_since(total: Snapshot, seen: Snapshot) -> Snapshot:
    """Return what the points of a series need of `total - seen`, of the requests that came to an end in between.

    Once a second for every name: the times to the first byte, statuses and errors would cost twice as much.
    """
    rows = {}
    for key, row in total.rows.items():
        before = seen.rows.get(key)
        if key.kind == KIND_REQUEST and (before is None or before.counts != row.counts):
            rows[key] = row if before is None else change(row, before)
    return Snapshot(rows, lag=total.lag - seen.lag)


def change(row: Row, before: Row) -> Row:
    """Return the counters and times of a row since it was `before`; the rest is left out."""
    return Row(row.key, *map(sub, row.counts, before.counts), times=row.times - before.times)


Observer = Callable[[Moment], None]


@dataclass
class Recorder:
    """Keeps the series of a run. It has no clock: moments, in unix seconds that never go back, are handed in."""

    observers: list[Observer] = field(default_factory=list)
    series: Series = field(default_factory=lambda: Series(0.0))
    has_begun: bool = False
    seen: Snapshot = field(default_factory=Snapshot.empty)
    taken: dict[tuple[int, int], Interval] = field(default_factory=dict)  # by the second it begins with, and how many
    spare: list[Interval] = field(default_factory=list)  # emptied

    def begin(self, at: float) -> None:
        """Let the run begin."""
        self.series, self.has_begun = Series(at), True

    def is_due(self, now: float) -> bool:
        """Whether the present second is over."""
        whole = int((self.series.end - self.series.start + SLACK) / SECOND)  # seconds that are over, however late
        return self.has_begun and now >= self.series.start + (whole + 1) * SECOND

    def count(self, began: float, ended: float, delta: Snapshot) -> None:
        """Put what was counted between two moments into the series."""
        if self.has_begun:
            self.series.put(began, ended, delta)

    def interval(self, began: float, ended: float) -> Interval:
        """Return what takes what was counted between two moments; the next `turn` puts it into the series.

        What many workers have counted in the same second, to half of one, goes into the same.
        """
        seconds = max(1, round((ended - began) / SECOND))
        first = round(((began + ended) / 2 - self.series.start) / SECOND - seconds / 2)
        stretch = first, seconds
        if stretch not in self.taken:
            self.taken[stretch] = self.spare.pop() if self.spare else Interval()
        return self.taken[stretch]

    def turn(self, now: float, users: int, busy: float = 0.0) -> None:
        """End the present second, with so many users at work. What was counted in it may come later."""
        if self.has_begun:
            self.series.extend(now, users, round(busy, 4))
        for (first, seconds), interval in self.taken.items():
            began = self.series.start + first * SECOND
            self.series.take(began, began + seconds * SECOND, interval)
        self.spare = [*self.spare, *self.taken.values()][:SPARE]
        self.taken.clear()

    def note(self, now: float, total: Snapshot, busy: float = 0.0) -> None:
        """End the present second, in which `total` has become all that was counted so far."""
        began = self.series.end
        if self.has_begun and now > began:
            self.turn(now, total.users_running, busy)
            self.count(began, now, requests_since(total, self.seen))
            self.seen = total

    def reset(self, now: float, total: Snapshot) -> None:
        """Let what the report counts begin now, with `total` set aside."""
        self.note(now, total)
        self.series.reset()

    def tell(
        self, total: Snapshot, baseline: Snapshot, is_stopping: bool = False, workers: Sequence[Node] = ()
    ) -> None:
        """Tell all that look on, in their order, where the run stands."""
        if self.has_begun and self.observers:
            moment = Moment(self.series.end, self.series, total, baseline, is_stopping, workers)
            for observer in list(self.observers):
                observer(moment)
