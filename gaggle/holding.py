"""The users that this machine has: those of the start, those that came from elsewhere, those on their way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gaggle.plan import Block, without


@dataclass(slots=True)
class Holding:
    """Blocks of users. An engine has its part of each, by `Block.split`."""

    block: Block
    added: list[Block] = field(default_factory=list)  # users that were at work elsewhere
    dropped: list[Block] = field(default_factory=list)  # users that others have now, or will have
    leaving: dict[Block, set[int]] = field(default_factory=dict)  # -> the engines (pids) that still have some of them

    def own_number(self, number: int) -> int:
        """Return a user's number on this machine, from 1; of one that came from elsewhere its number in the gaggle."""
        turn, rest = divmod(number - self.block.first, self.block.step)
        return turn + 1 if rest == 0 and 0 <= turn < self.block.count else number

    def share(self, index: int, engines: int) -> float:
        """Return what part of all users here (0 to 1) engine `index` of `engines` has."""
        blocks = (self.block, *self.added)
        users = sum(block.split(engines)[index].count for block in blocks)
        return users / max(sum(block.count for block in blocks), 1)

    def drop(self, block: Block, engines: Iterable[int]) -> list[Block]:
        """The last users of one of our blocks are to leave these engines. Returns what `left` does."""
        mine = [without(own, block) for own in (self.block, *self.added)]
        self.block, self.added = mine[0], [own for own in mine[1:] if own.count]
        self.dropped.append(block)
        self.leaving[block] = set(engines)
        return self.left(None, block)

    def left(self, engine: int | None, *blocks: Block) -> list[Block]:
        """An engine has none of these users any more; none of any that are to leave where no block is named.

        Returns the blocks that have now left this machine.
        """
        for block in blocks or self.leaving:
            self.leaving.get(block, set()).discard(engine)
        gone = [block for block, engines in self.leaving.items() if not engines]
        for block in gone:
            del self.leaving[block]
        return gone
