"""What was counted on this machine: by engines that run, and by those that have gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gaggle.crew import Hand
from gaggle.metrics import Snapshot
from gaggle.report.model import EngineHealth


@dataclass(slots=True)
class Books:
    """What engines left behind, and what was counted before the measuring began. Counters only grow."""

    left: Snapshot = field(default_factory=Snapshot.empty)
    baseline: Snapshot = field(default_factory=Snapshot.empty)
    cpu_before: dict[int, float] = field(default_factory=dict)  # by pid, seconds
    cpu: dict[int, float] = field(default_factory=dict)  # by engine, seconds
    cpu_seen: dict[int, float] = field(default_factory=dict)  # by pid, seconds
    requests: dict[int, int] = field(default_factory=dict)  # by engine

    def total(self, hands: Iterable[Hand]) -> Snapshot:
        """Return all that was counted so far."""
        found, *others = [*(Snapshot.read(hand.arena) for hand in hands), self.left.copy()]
        for other in others:
            found.merge(other)
        return found

    def measured(self) -> Snapshot:
        """Return what was counted since the measuring began, once all engines have gone."""
        return self.left - self.baseline

    def begin(self, hands: Iterable[Hand]) -> None:
        """Note the CPU time from which on engines are measured."""
        self.cpu_before = {hand.pid: hand.cpu_seconds() for hand in hands}

    def reset(self, hands: list[Hand]) -> None:
        """Begin to measure anew: what the counters are now is remembered and taken away later."""
        self.baseline = self.total(hands)
        self.begin(hands)
        for hand in hands:
            hand.arena.epoch += 1

    def end(self, hands: Iterable[Hand]) -> None:
        """Note what CPU time the engines have used by now, which cannot be asked any more when they have gone."""
        for hand in hands:
            before, now = self.cpu_before.get(hand.pid, 0.0), hand.cpu_seconds()
            self.cpu[hand.index] = self.cpu.get(hand.index, 0.0) + max(now - before, 0.0)
            self.cpu_before[hand.pid] = now

    def busiest(self, hands: Iterable[Hand], seconds: float) -> float:
        """Return the share of a core that the busiest engine used in the `seconds` since this was last asked."""
        before, self.cpu_seen = self.cpu_seen, {hand.pid: hand.cpu_seconds() for hand in hands}
        used = [now - before[pid] for pid, now in self.cpu_seen.items() if pid in before]
        return max(used, default=0.0) / seconds if seconds > 0 else 0.0

    def close(self, hand: Hand) -> None:
        """Take over what an engine has counted; what it had begun and not ended is unfinished."""
        found = Snapshot.read(hand.arena)
        found.close_books()
        self.requests[hand.index] = self.requests.get(hand.index, 0) + sum(row.count for row in found.requests())
        self.left = self.left + found
        hand.arena.close()

    def so_far(self, hands: Iterable[Hand]) -> dict[int, tuple[float, int]]:
        """Return the CPU time (s) and the requests of each engine up to now, of those that have gone too."""
        found = {
            index: (self.cpu.get(index, 0.0), self.requests.get(index, 0)) for index in {*self.cpu, *self.requests}
        }
        for hand in hands:
            cpu, requests = found.get(hand.index, (0.0, 0))
            used = max(hand.cpu_seconds() - self.cpu_before.get(hand.pid, 0.0), 0.0)
            count = sum(row.count for row in Snapshot.read(hand.arena).requests())
            found[hand.index] = cpu + used, requests + count
        return found

    def healths(self, engines: int, wall: float) -> tuple[EngineHealth, ...]:
        """Return how hard each engine worked in the `wall` seconds that were measured."""
        return tuple(
            EngineHealth(index, self.cpu.get(index, 0.0), wall, self.requests.get(index, 0)) for index in range(engines)
        )
