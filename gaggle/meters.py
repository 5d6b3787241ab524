"""One count, gauge or check of the load test's own: how it is added, subtracted and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """What was counted under one name. Sums are whole numbers, so that they add up exactly in any order.

    `lowest` and `highest` are those of the epoch, None where it has no value; `last` is the value that came last by the
    clock of its machine, at `last_us` (unix time).
    """

    samples: int = 0  # how often it was counted, noted or checked
    failed: int = 0  # of a check
    millionths: int = 0  # the sum of a count or gauge; each value is rounded to a millionth
    lowest: float | None = None
    highest: float | None = None
    last: float = 0.0
    last_us: int = 0

    @property
    def passed(self) -> int:
        """How often the check was as it should be."""
        return self.samples - self.failed

    @property
    def sum(self) -> int | float:
        """The sum of the values; an int where it is a whole number."""
        whole, rest = divmod(self.millionths, MILLION)
        return self.millionths / MILLION if rest else whole

    @property
    def mean(self) -> float:
        """The mean of the values; 0.0 when there are none."""
        return self.millionths / MILLION / self.samples if self.samples else 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing was counted."""
        return not (self.samples or self.failed or self.millionths)

    def __add__(self, other: Meter) -> Meter:
        return Meter(
            *(self.samples + other.samples, self.failed + other.failed, self.millionths + other.millionths),
            *(_end(min, self.lowest, other.lowest), _end(max, self.highest, other.highest)),
            *_last(self, other),
        )

    def __sub__(self, other: Meter) -> Meter:
        """What was counted since `other`; the ends and the last value stay."""
        return replace(
            self,
            samples=self.samples - other.samples,
            failed=self.failed - other.failed,
            millionths=self.millionths - other.millionths,
        )


def _end(which: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    return which(one, other) if one is not None and other is not None else one if other is None else other


def _last(one: Meter, other: Meter) -> tuple[float, int]:
    """Return the later value and its moment; of two at the same microsecond the greater, whoever is asked first."""
    last_us, last = max((one.last_us, one.last), (other.last_us, other.last))
    return last, last_us
