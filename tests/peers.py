"""Managers and workers of a gaggle that only echo: in this process, and as processes of their own.

`python tests/peers.py manager` prints its port, sends back what it hears, and answers `tell` with what it has seen.
`python tests/peers.py workers PORT COUNT` joins COUNT workers, prints how long it took, and stays to the end of stdin.
`python tests/peers.py last PORT` joins, says `bye`, and ends at once. All have the token in their environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress

from gaggle import limits
from gaggle.joining import find_token
from gaggle.transport import Closed, ManagerTransport, WorkerTransport


class Manager(ManagerTransport):
    """Keeps what it hears and who was refused, and sends everything back."""

    def __init__(self, keys, host="127.0.0.1", port=0):
        super().__init__(self.hear, self.refuse)
        self.heard = []
        self.refusals = []
        self.bind(host, port, keys)

    def hear(self, peer, frames):
        self.heard.append((peer, frames))
        self.send(peer, frames)

    def refuse(self, address, reason):
        self.refusals.append((address, reason))


class Worker(WorkerTransport):
    """Keeps what it hears; `opened` and `closed` are futures."""

    def __init__(self, keys, *addresses):
        super().__init__(self.hear, lambda: self.opened.set_result(None), self.shut)
        self.opened, self.closed = self.loop.create_future(), self.loop.create_future()
        self.heard = []
        self.connect(addresses, keys)

    def hear(self, frames):
        self.heard.append(frames)

    def shut(self, end):
        self.closed.set_result(end)

    async def end(self) -> Closed:
        """Return how it ended; a session that opens instead has not."""
        await asyncio.wait({self.opened, self.closed}, return_when=asyncio.FIRST_COMPLETED)
        assert not self.opened.done(), "it was let in"
        return await self.closed


async def until(predicate, timeout=10.0, what=""):
    """Return the first true value of `predicate`, asked every 2 ms. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or predicate}"
        await asyncio.sleep(0.002)
    return found


class Teller(Manager):
    """A manager that keeps no messages, so that its memory says something, and tells what it has seen."""

    def __init__(self, keys):
        self.counts, self.reasons = Counter(), Counter()
        super().__init__(keys)

    def hear(self, peer, frames):
        self.counts[frames[0][:20].decode("ascii", "replace")] += 1
        told = [json.dumps({"heard": self.counts, "refused": self.reasons}).encode()]
        self.send(peer, told if frames == [b"tell"] else frames)

    def refuse(self, address, reason):
        self.reasons[reason] += 1


async def stdin_ends():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def manage(keys):
    manager = Teller(keys)
    print(manager.port, flush=True)
    await stdin_ends()


async def join(keys, port, count):
    began = time.monotonic()
    workers = [Worker(keys, ("127.0.0.1", port)) for _ in range(count)]
    for worker in workers:
        await worker.opened
        worker.send([b"hello"])
    await until(lambda: all(worker.heard for worker in workers), 60.0)
    print(time.monotonic() - began, flush=True)
    await stdin_ends()


async def say_last(keys, port):
    worker = Worker(keys, ("127.0.0.1", port))
    await worker.opened
    for number in range(40):
        assert worker.send([b"%d" % number, bytes(300_000)])  # more than TCP takes at once
    worker.send([b"bye"])
    worker.close(20.0)


def main(role, port=0, count=0):
    limits.raise_descriptors()
    keys = find_token(0)[0].keys()
    tasks = {"manager": lambda: manage(keys), "workers": lambda: join(keys, port, count)}
    tasks["last"] = lambda: say_last(keys, port)
    with suppress(KeyboardInterrupt):
        asyncio.run(tasks[role]())


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
