"""What a manager decides by: fixed before the first worker is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gaggle.plan import Plan
from gaggle.units import SECOND_NS

CLOCKS_DRIFT = 1.01  # how much faster our clock may run than a worker's while a lease lasts


@dataclass(frozen=True, slots=True)
class Shipment:
    """The load test, for workers that come without one."""

    digest: str
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the manager decides by. Times are seconds; a lease is `lease` long, `slack` is for engines to be ended."""

    plan: Plan
    expect: int
    hash: str
    options: dict[str, Any]
    shipment: Shipment | None = None
    seed: int = 0
    shared: Any = None
    no_hash_check: bool = False
    on_loss: str = "redistribute"  # or continue, or stop
    rebalance: bool = False  # workers that come while the test runs get a share of the users
    most_wait: float = 0.0  # for the expected workers, from the first one on; 0: without end
    least_workers: int = 0  # enough to start with when that is over; 0: all
    lease: float = 10.0
    beat: float = 1.0
    slack: float = 2.0
    stop_timeout: float = 30.0
    throttle: float = 0.0  # requests a second over all workers; 0: no limit
    test: str = ""  # the test's own name, so that no worker brings the counts of another one
    boot: str = ""  # of the manager's machine: a worker on it has the same clocks

    @property
    def lease_ns(self) -> int:
        return int(self.lease * SECOND_NS)

    @property
    def give_away_ns(self) -> int:
        """How long after a beat was answered its sender's users may be given to others, whatever happened to it."""
        return int((CLOCKS_DRIFT * self.lease + self.slack) * SECOND_NS)
