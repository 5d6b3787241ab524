"""What the workers of a gaggle have counted, put together; and what is missing of those that did not come back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gaggle import units
from gaggle._core import Interval, Total
from gaggle.metrics import Snapshot
from gaggle.protocol import Work
from gaggle.report.model import EngineHealth

RATE_DELTAS = 5  # the last ones, from which a worker's rate is known: long enough to be smooth, short enough to be new


@dataclass(slots=True)
class Share:
    """What is known of one worker's counting: the (began, ended, requests) of its last deltas, in unix seconds."""

    last: deque[tuple[float, float, int]] = field(default_factory=lambda: deque(maxlen=RATE_DELTAS))

    @property
    def ended(self) -> float:
        return self.last[-1][1] if self.last else 0.0

    @property
    def rate(self) -> float:
        """Requests a second, of late."""
        seconds = sum(ended - began for began, ended, _ in self.last)
        return sum(requests for *_, requests in self.last) / seconds if seconds > 0 else 0.0


class Ledger:
    """Adds what comes in: `counted` since the metrics' reset, where there is one, and `ramp` before it."""

    def __init__(self) -> None:
        self.counted, self.ramp = Total(), Total()
        self.shares: dict[str, Share] = {}  # by the worker's own name

    def add(
        self,
        node: str,
        parts: Sequence[bytes],
        began: float,
        ended: float,
        is_ramp: bool = False,
        interval: Interval | None = None,
    ) -> None:
        """Count a worker's delta (packed snapshots), of a stretch of time in unix seconds; its interval gets it too.

        Raises ValueError.
        """
        total = self.ramp if is_ramp else self.counted
        requests = sum(total.add(part, interval) for part in parts)
        self.shares.setdefault(node, Share()).last.append((began, max(began, ended), requests))

    def measured(self, was_reset: bool) -> Snapshot:
        """Return what the report is about: all, or what was counted since the reset."""
        total = Snapshot.read(self.counted)
        if not was_reset:
            total.merge(Snapshot.read(self.ramp))
        return total

    def missing(self, node: str, number: int, began: float, until: float) -> str:
        """Return, for the report, what a worker that never came back can have counted and not told (unix seconds).

        It ran from `began` on, and until `until` at the latest: from its last delta to then nobody knows.
        """
        share = self.shares.get(node, Share())
        since = share.ended or began
        seconds = max(until - since, 0.0)
        at = time.strftime("%H:%M:%S", time.localtime(since))
        requests = units.thousands(round(share.rate * seconds))
        return (
            f"What worker {number} counted after {at} is missing: at most {seconds:.1f} s, "
            f"about {requests} requests at its last rate of {share.rate:,.1f} a second"
        )


def healths(workers: Iterable[tuple[int, tuple[Work, ...]]]) -> tuple[EngineHealth, ...]:
    """Return how hard each engine of each worker (its number, its engines) has worked."""
    return tuple(
        EngineHealth(work.index, work.cpu_seconds, work.wall_seconds, work.requests, number)
        for number, engines in sorted(workers)
        for work in engines
    )
