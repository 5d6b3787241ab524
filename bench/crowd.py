#!/usr/bin/env python3
"""Workers that only pretend: the real protocol over real sockets, and made-up counts instead of engines.

`crowd.py PORT FIRST COUNT NAMES HASH`, with the join token in the environment, joins COUNT workers once its standard
input says `go`, prints `joined` when all have their users, and when all are let go a line of JSON. bench/manager.py
starts a few of these.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time

from gaggle import limits
from gaggle._core import KIND_REQUEST, KIND_TASK, Histogram
from gaggle.boot import boot_ns
from gaggle.joining import Keys, find_token
from gaggle.metrics import Key, Row, Snapshot
from gaggle.protocol import Hello, Lease, Message, decode_manager, encode
from gaggle.transport import LAST_SECONDS, Closed, WorkerTransport, finish
from gaggle.units import SECOND_NS
from gaggle.worker import Allow, End, Halt, Numbers, Prepare, Start, Worker
from gaggle.working import parts_of

TICK_SECONDS = 0.05  # a worker's own
VARIANTS = 4  # of what a second counted; all workers take turns with them
REQUESTS = 50  # a name and second


class Counts:
    """What a worker counts in a second: `names` requests and a task, in the parts that messages take."""

    def __init__(self, names: int, seed: int) -> None:
        drawn, snapshot = random.Random(seed), Snapshot.empty()
        for number in range(names):
            key = Key(KIND_REQUEST, "GET", f"/some/path/{number}")
            snapshot.rows[key] = row_of(key, drawn)
        task = Key(KIND_TASK, "Visitor", "front_page")
        snapshot.rows[task] = row_of(task, drawn)
        self.parts = parts_of(snapshot)
        self.requests = names * REQUESTS

    @property
    def bytes(self) -> int:
        return sum(map(len, self.parts))


def row_of(key: Key, drawn: random.Random) -> Row:
    """Return a row with response times around 8 ms, as a web site may have them."""
    row = Row(key, REQUESTS, REQUESTS, failed=1, bytes_in=REQUESTS * 2_000, bytes_out=REQUESTS * 300)
    row.statuses = {200: REQUESTS - 1, 404: 1}
    for _ in range(REQUESTS):
        us = int(drawn.lognormvariate(9, 0.5))
        row.times.record(us)
        row.first_byte.record(us * 9 // 10)
        row.sum_us += us
    row.minimum_us, row.maximum_us = row.times.minimum(), row.times.maximum()
    return row


class Pretender:
    """One worker: its state machine and its session."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd, self.number = crowd, number
        # Each on a machine of its own: the manager would warn of workers that share one.
        hello = Hello(f"pretender-{number}", f"host{number}", os.getpid(), crowd.hash, 1, f"boot{number}", ())
        self.worker = Worker(hello, state="waiting")
        self.session = WorkerTransport(self.heard, self.opened, self.closed)
        self.has_users = self.is_running = self.is_over = False
        self.due_ns = 0  # the next delta
        self.sent = self.requests = 0
        self.beats: dict[int, int] = {}  # seq -> ns, of those without an answer

    def opened(self) -> None:
        self.worker.connected()
        self.work_off()

    def closed(self, end: Closed) -> None:
        self.is_over = True
        self.crowd.fail(f"worker {self.number}: {end}")

    def heard(self, frames: list[bytes]) -> None:
        message: Message = decode_manager(frames)
        if isinstance(message, Lease):
            self.crowd.lag.record((boot_ns() - self.worker._sent_ns[message.seq]) // 1_000)
        self.worker.hear(message, boot_ns())
        self.work_off()

    def work_off(self) -> None:
        """Do and say what is due; the last word before the end."""
        while self.worker.outbox or self.worker.todo:
            if not self.worker.outbox:
                self.do(self.worker.todo.pop(0))
            elif not self.session.send(encode(self.worker.outbox.pop(0))):
                self.crowd.fail(f"worker {self.number} could not send")

    def do(self, deed: object) -> None:
        if isinstance(deed, Prepare):
            self.has_users = True
            self.worker.prepared()
            self.crowd.look()
        elif isinstance(deed, Start):
            self.is_running = True
            self.due_ns = boot_ns() + SECOND_NS * (self.number % 997) // 997  # spread over the second
        elif isinstance(deed, Halt):
            self.is_running = False
            self.worker.stopped()
        elif isinstance(deed, End):
            self.is_over = True
            self.session.close(LAST_SECONDS)
        elif not isinstance(deed, Allow):
            self.crowd.fail(f"worker {self.number}: {type(deed).__name__}")

    def tick(self, now_ns: int) -> None:
        self.worker.tick(now_ns, Numbers(users=1, wall=time.time()))
        if self.is_running and now_ns >= self.due_ns:
            if not self.worker.may_freeze():
                self.crowd.late += 1  # the manager has not acknowledged the last four
            else:
                counts = self.crowd.counts[(self.number + self.sent) % VARIANTS]
                self.worker.freeze(self.worker.epoch, time.time() - 1.0, time.time(), counts.parts)
                self.sent += 1
                self.requests += counts.requests
            self.due_ns = max(self.due_ns + SECOND_NS, now_ns)
        self.work_off()


class Crowd:
    """All that one process plays."""

    def __init__(self, port: int, first: int, count: int, names: int, hash: str) -> None:
        self.port, self.numbers, self.hash = port, range(first, first + count), hash
        self.counts = [Counts(names, seed) for seed in range(VARIANTS)]
        self.lag = Histogram()  # us from a beat to its answer, as it is handled here
        self.late = 0
        self.failures: list[str] = []
        self.has_told = False

    async def play(self, keys: Keys) -> None:
        self.workers = [Pretender(self, number) for number in self.numbers]
        for worker in self.workers:
            worker.session.connect([("127.0.0.1", self.port)], keys)
        while not (self.failures or all(worker.is_over for worker in self.workers)):
            now_ns = boot_ns()
            for worker in self.workers:
                if worker.session.attempt and not worker.is_over:
                    worker.tick(now_ns)
            await asyncio.sleep(TICK_SECONDS)

    def look(self) -> None:
        """Tell once when all have their users."""
        if not self.has_told and all(worker.has_users for worker in self.workers):
            self.has_told = True
            print("joined", flush=True)

    def fail(self, why: str) -> None:
        self.failures.append(why)

    def told(self) -> str:
        return json.dumps(
            {
                "requests": sum(worker.requests for worker in self.workers),
                "deltas": sum(worker.sent for worker in self.workers),
                "delta_bytes": self.counts[0].bytes,
                "late": self.late,
                "lag": self.lag.encode().hex(),
                "failures": self.failures[:3],
            }
        )


def main(port: str, first: str, count: str, names: str, hash: str) -> None:
    limits.raise_descriptors()
    crowd = Crowd(int(port), int(first), int(count), int(names), hash)
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(crowd.play(find_token(int(port))[0].keys()))
    finish()
    print(crowd.told(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
