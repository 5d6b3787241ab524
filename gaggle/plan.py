"""What is wanted at each moment: how many users, who they are, when each is due. Pure functions of time, no clock.

Users are numbered from 1. Times are seconds after T0, the moment at which the first user is due.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice, repeat
from typing import Protocol

from gaggle import units


class Wishes(Protocol):
    """The options that make a plan. Times are seconds, 0 where none is given."""

    @property
    def users(self) -> int: ...
    @property
    def hatch_rate(self) -> float: ...
    @property
    def startup_time(self) -> float: ...
    @property
    def run_time(self) -> float: ...
    @property
    def decrease_rate(self) -> float: ...
    @property
    def decrease_time(self) -> float: ...
    @property
    def iterations(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How many users there should be at each moment. `run_time` counts from the last user's start; 0 is no end.

    When it is over users leave at `decrease_rate` a second, those that started last first; 0: all at once. With
    `iterations` each leaves by itself after so many passes; 0: none does.
    """

    users: int
    hatch_rate: float  # users a second
    run_time: float = 0.0
    decrease_rate: float = 0.0
    iterations: int = 0

    @classmethod
    def of(cls, options: Wishes) -> Plan:
        """Return what the options ask for, times turned into rates."""
        users = options.users
        return cls(
            users,
            rate(users - 1, options.startup_time) or options.hatch_rate,
            options.run_time,
            rate(users - 1, options.decrease_time) or options.decrease_rate,
            options.iterations,
        )

    @property
    def ramp_seconds(self) -> float:
        """The time from the start of the first user to that of the last."""
        return due(self.users, self.hatch_rate)

    @property
    def stop_at(self) -> float | None:
        """When users begin to leave, or None: they stay until somebody stops the test."""
        return self.ramp_seconds + self.run_time if self.run_time else None

    @property
    def gone_at(self) -> float | None:
        """When the last user leaves, or None."""
        return None if self.stop_at is None else self.stop_at + self.leave_after(1)

    def leave_after(self, number: int) -> float:
        """Return how long after `stop_at` user `number` leaves: the last one at once, the first one last."""
        return due(self.users - number + 1, self.decrease_rate) if self.decrease_rate else 0.0

    def users_at(self, time: float) -> int:
        """Return how many users there should be: those with `due` <= `time` that have not left.

        One that leaves at `time` is gone.
        """
        if time < 0 or (self.gone_at is not None and time >= self.gone_at):
            return 0
        if self.stop_at is not None and time >= self.stop_at:
            return self.users - _reached(time - self.stop_at, self.decrease_rate)
        if time >= self.ramp_seconds:
            return self.users
        return _reached(time, self.hatch_rate)

    def warnings(self) -> list[str]:
        """Return what a person should know before such a test starts, a line each."""
        if self.stop_at is None or self.ramp_seconds <= self.run_time:
            return []
        ramp, run_time, total = map(units.timespan, (self.ramp_seconds, self.run_time, self.stop_at))
        return [
            f"starting {units.thousands(self.users)} users takes {ramp}, longer than the run time of {run_time}, "
            f"which counts from the start of the last user: the test takes {total}"
        ]


def rate(events: int, seconds: float) -> float:
    """Return how many a second they are; 0 where no time is given."""
    return max(events, 1) / seconds if seconds else 0.0


def _reached(time: float, rate: float) -> int:
    """Return the last number that is due at `time`."""
    # Multiplied, time may miss the whole number that due() divided: look one to either side.
    near = int(time * rate)
    return max(number for number in (near, near + 1, near + 2) if due(number, rate) <= time)


@dataclass(frozen=True, slots=True)
class Block:
    """Users that one process runs: numbers `first`, `first + step`, …; their classes stand in the layout at `place`, ….

    `count` is how many they are. Blocks are split where their users are divided among processes, and sent as they are.
    """

    first: int
    step: int
    count: int
    place: int  # an index into the layout, from 0
    place_step: int = 1

    def numbers(self) -> range:
        """Return the numbers of the users, over the whole test."""
        return range(self.first, self.first + self.step * self.count, self.step)

    def places(self) -> range:
        """Return where their classes stand in the layout."""
        return range(self.place, self.place + self.place_step * self.count, self.place_step)

    def parted(self, count: int) -> tuple[Block, Block]:
        """Return the block's first `count` users, and those after them."""
        first, place = self.first + self.step * count, self.place + self.place_step * count
        return (
            Block(self.first, self.step, count, self.place, self.place_step),
            Block(first, self.step, self.count - count, place, self.place_step),
        )

    def split(self, parts: int) -> list[Block]:
        """Return the block divided among `parts`, which take turns; some may be empty."""
        return [
            Block(
                self.first + self.step * part,
                self.step * parts,
                count,
                self.place + self.place_step * part,
                self.place_step * parts,
            )
            for part, count in enumerate(share(self.count, parts))
        ]


def cut(mine: Sequence[Block], count: int) -> tuple[list[Block], list[Block]]:
    """Return what is left of some blocks, and the last `count` users, which are cut off. Both may be empty."""
    left, off = list(mine), []
    while count > 0 and left:
        last = left.pop()
        kept, gone = last.parted(max(last.count - count, 0))
        off.append(gone)
        count -= gone.count
        left += [kept] if kept.count else []
    return left, off


def without(own: Block, gone: Block) -> Block:
    """Return the first users of a block, without its last ones if those are `gone`."""
    kept, last = own.parted(max(own.count - gone.count, 0))
    return kept if last == gone else own


def blocks(users: int, workers: int) -> list[Block]:
    """Return each worker's users. Workers take turns: user j of worker k (both from 0) is number j * workers + k + 1.

    Their classes are contiguous in the layout, as in Goose: of 8 users of 4:1 worker 1 has the one of the second class.
    """
    shares = share(users, workers)
    return [Block(k + 1, workers, count, sum(shares[:k])) for k, count in enumerate(shares)]


def due(number: int, hatch_rate: float) -> float:
    """Return when user `number` is due: (number - 1) / hatch_rate, at most units.LONGEST."""
    return min((number - 1) / hatch_rate, units.LONGEST)


def engine_of(number: int, engines: int) -> int:
    """Return the engine (from 0) that runs user `number`: engines take turns, so that each ramps evenly."""
    return (number - 1) % engines


def share(users: int, parts: int) -> list[int]:
    """Return `users` divided among `parts`; the first `users % parts` of them get one more."""
    each, more = divmod(users, parts)
    return [each + (part < more) for part in range(parts)]


def layout(classes: Sequence[tuple[int, int | None]], users: int) -> list[int]:
    """Return the class of each user, an index into `classes`: int[users], user `number` at [number - 1].

    A class is (weight, fixed_count). Those with a fixed_count come first, in their order, each with its count or what
    is left. For the others the weights, divided by their gcd, make blocks; the blocks are repeated and cut to the users
    left, and users are taken from the end: 8 users of 4:1 are 0 0 0 1 0 0 0 0. As Goose 0.10.
    Raises ValueError when users are left and no class has a weight.
    """
    fixed = list(islice(chain.from_iterable(repeat(i, count) for i, (_, count) in enumerate(classes) if count), users))
    block = list(_block({i: weight for i, (weight, count) in enumerate(classes) if count is None and weight > 0}))
    left = users - len(fixed)
    if left and not block:
        raise ValueError(f"no class may have more users: {users} are wanted, fixed_count allows {len(fixed)}")
    return fixed + list(islice(cycle(block), left))[::-1]


def _block(weights: dict[int, int]) -> Iterable[int]:
    divisor = math.gcd(*weights.values())
    return chain.from_iterable(repeat(i, weight // divisor) for i, weight in weights.items())


def unplaced(classes: Sequence[tuple[int, int | None]], users: int) -> list[int]:
    """Return the classes (indices) that should have users and get none from `layout`: there are too few."""
    wanted = {i for i, (weight, count) in enumerate(classes) if (weight if count is None else count)}
    return sorted(wanted.difference(layout(classes, users)))
