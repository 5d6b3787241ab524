"""What a manager must have on disk before it says it: words that wait, and acknowledgements, a file at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gaggle.protocol import Assign, Exit, Fewer, Go, Lease, Message, More, Stop
from gaggle.statefile import StateFile

SAVE_SECONDS = 1.0  # as often as a worker sends a delta: each is acknowledged within two seconds
# Words that give or take users, or end something: a manager that took up an older state would not know of them.
WEIGHTY = (Assign, Go, More, Fewer, Stop, Exit)


class Keeper:
    """Writes the state when words or acknowledgements wait for it. The writing does not hold up the leases.

    `pack` returns the state as it is now, `send` says a word, `acknowledge` tells a worker that a delta is on disk.
    `failed` hears of a disk that takes nothing more: then nothing waits for it any longer.
    """

    def __init__(
        self,
        file: StateFile,
        pack: Callable[[], bytes],
        send: Callable[[bytes, Message], None],
        acknowledge: Callable[[str, int], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self.file, self.pack, self.send, self.acknowledge, self.failed = file, pack, send, acknowledge, failed
        self.held: list[tuple[bytes, Message]] = []
        self.counted: dict[str, int] = {}  # worker -> its newest delta that is not on disk
        self.writing: asyncio.Task[None] | None = None
        self.due = 0.0  # monotonic
        self.is_broken = False

    def say(self, peer: bytes, message: Message) -> None:
        """Send a word, in its turn, when the state that it follows from is on disk. That of a lease has long been."""
        if self.is_broken or isinstance(message, Lease) or not (self.held or isinstance(message, WEIGHTY)):
            self.send(peer, message)
        else:
            self.held.append((peer, message))

    def count(self, node: str, number: int) -> None:
        """Acknowledge a delta once the state that holds it is on disk."""
        if self.is_broken:
            self.acknowledge(node, number)
        else:
            self.counted[node] = number

    def tick(self, is_running: bool) -> None:
        """Write when something waits; while the test runs also to note the time."""
        is_due = time.monotonic() >= self.due and (self.counted or is_running)
        if self.writing is None and not self.is_broken and (self.held or is_due):
            self.due = time.monotonic() + SAVE_SECONDS
            self.writing = asyncio.ensure_future(self.write())

    async def write(self) -> None:
        """Write the state as it is now, then say what has waited for it."""
        words, counted = len(self.held), self.counted
        self.counted = {}
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.file.write, self.pack())
        except OSError as error:
            self.is_broken = True
            self.failed(error)
        self.writing = None
        self.release(words)
        for node, number in counted.items():
            self.acknowledge(node, number)

    def release(self, words: int) -> None:
        """Say the first `words` that wait, and those behind them that need not."""
        held, self.held = self.held, []
        for peer, message in held[:words]:
            self.send(peer, message)
        for peer, message in held[words:]:
            self.say(peer, message)

    async def settle(self) -> None:
        """Wait until nothing is being written any more."""
        if self.writing:
            await self.writing

    def flush(self) -> None:
        """Say at once what waits: it is the end."""
        self.release(len(self.held))
