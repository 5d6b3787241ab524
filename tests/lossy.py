"""A bad line in user space: what goes through it is late, and now and then much later, as TCP's repeats make it.

It stands in for `tc qdisc add … netem loss 20% delay 300ms` where the kernel has no sch_netem: TCP hides a loss from
who uses it, and shows it as time. What it does not show is a line so bad that a connection ends.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PACKET = 1_448  # bytes of a TCP segment in Ethernet
REPEAT_SECONDS = 0.2  # Linux's shortest RTO, beyond the round trip; it doubles each time
LONGEST_SECONDS = 2.0  # ... but what comes behind a lost packet makes TCP repeat that sooner


class Line:
    """A port here that leads to another address, by way of a line with a delay each way and a share of losses."""

    def __init__(self, host: str, port: int, delay: float, loss: float, seed: int) -> None:
        self.target, self.delay, self.loss = (host, port), delay, loss
        self.drawn = random.Random(seed)
        self.port = self.repeats = 0

    async def serve(self, host: str, opened: threading.Event) -> None:
        """Carry until `close` is called."""
        self.loop, self.closed = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.carry, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        opened.set()
        await self.closed.wait()
        server.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.closed.set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*self.target)
        with suppress(asyncio.CancelledError):  # `serve` has ended
            await asyncio.gather(self.one_way(reader, there[1]), self.one_way(there[0], writer))

    async def one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry packets in order, each when it would have arrived."""
        packets: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as both:
            both.create_task(self.take(reader, packets))
            both.create_task(self.give(packets, writer))

    async def take(self, reader: asyncio.StreamReader, packets: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Note of each packet when it will have arrived, and then the end, as an empty one."""
        loop, data = asyncio.get_running_loop(), b"?"
        while data:
            try:
                data = await reader.read(PACKET)
            except OSError:
                data = b""
            packets.put_nowait((loop.time() + self.delay + (self.late() if data else 0.0), data))

    async def give(self, packets: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Write what has arrived. One late packet keeps up all behind it, as in TCP."""
        loop = asyncio.get_running_loop()
        while True:
            at, data = await packets.get()
            await asyncio.sleep(at - loop.time())
            if not data:
                return writer.close()
            writer.write(data)

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
    thread = threading.Thread(target=lambda: asyncio.run(line.serve(here, opened)), daemon=True)
    thread.start()
    assert opened.wait(10.0), "the line was not laid"
    try:
        yield line
    finally:
        line.close()
        thread.join(10.0)
