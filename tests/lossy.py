"""A bad line in user space: what goes through it is late, and now and then much later, as TCP's repeats make it.

It stands in for `tc qdisc add … netem loss 20% delay 300ms` where the kernel has no sch_netem: TCP hides a loss from
who uses it, and shows it as time. What it does not show is a line so bad that a connection ends.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PACKET = 1_448  # bytes of a TCP segment in Ethernet
REPEAT_SECONDS = 0.2  # Linux's shortest RTO, beyond the round trip; it doubles each time
LONGEST_SECONDS = 2.0  # ... but what comes behind a lost packet makes TCP repeat that sooner


class Line:
    """A port here that leads to another address, by way of a line with a delay each way and a share of losses."""

    def __init__(self, host: str, port: int, delay: float, loss: float, seed: int) -> None:
        self.target, self.delay, self.loss = (host, port), delay, loss
        self.drawn = random.Random(seed)
        self.port = self.repeats = 0

    async def serve(self, host: str, opened: threading.Event, closed: asyncio.Event) -> None:
        server = await asyncio.start_server(self.carry, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        opened.set()
        await closed.wait()
        server.close()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*self.target)
        await asyncio.gather(self.one_way(reader, there[1]), self.one_way(there[0], writer))

    async def one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry packets in order, each when it would have arrived."""
        loop, last = asyncio.get_running_loop(), 0.0
        try:
            while data := await reader.read(PACKET):
                last = max(last, loop.time() + self.delay + self.late())
                loop.call_at(last, writer.write, data)
        except OSError:
            pass
        loop.call_at(max(last, loop.time()) + 0.001, writer.close)

    def late(self) -> float:
        """Return by how many seconds repeats make a packet late."""
        seconds, wait = 0.0, 2 * self.delay + REPEAT_SECONDS
        while self.drawn.random() < self.loss:
            self.repeats += 1
            seconds, wait = seconds + wait, min(2 * wait, LONGEST_SECONDS)
        return seconds


@contextmanager
def lossy_line(here: str, host: str, port: int, delay: float, loss: float, seed: int) -> Iterator[Line]:
    """Lay a line from a free port of `here` (an address of this machine) to `host`:`port`."""
    line, opened = Line(host, port, delay, loss, seed), threading.Event()
    loop, closed = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(line.serve(here, opened, closed)), daemon=True)
    thread.start()
    assert opened.wait(10.0), "the line was not laid"
    try:
        yield line
    finally:
        loop.call_soon_threadsafe(closed.set)
        thread.join(10.0)
