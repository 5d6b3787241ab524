"""Something that is not HTTP: users of a Redis server, whom gaggle counts and times like any others.

    REDIS=127.0.0.1:6379 gaggle examples/non_http.py --users 10 --run-time 10s

Any asyncio library works in a task; here the few bytes of Redis' protocol are written by hand, so that the example
needs none. `record` makes a row of the report: a kind where the method stands, a name, seconds, and what went wrong.
"""

from __future__ import annotations

import asyncio
import os
import time

from gaggle import User, between, on_start, on_stop, task

HOST, _, PORT = os.environ.get("REDIS", "127.0.0.1:6379").partition(":")


class Shopper(User):
    """Puts something into its cart, looks at the cart twice as often."""

    wait_time = between(0.01, 0.1)

    @on_start
    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, int(PORT))

    @on_stop
    async def disconnect(self) -> None:
        self.writer.close()

    @task
    async def add_to_cart(self) -> None:
        await self.redis("SET", f"cart:{self.number}", str(self.random.randint(1, 99)))

    @task(2)
    async def look_at_cart(self) -> None:
        await self.redis("GET", f"cart:{self.number}")

    async def redis(self, *words: str) -> None:
        """Send a command, wait for its answer, count it under the name of the command."""
        began = time.monotonic()
        parts = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word))]
        self.writer.write("".join(f"{part}\r\n" for part in parts).encode())
        answer = await self.reader.readline()
        if answer.startswith(b"$") and answer != b"$-1\r\n":  # a text follows, after its length
            await self.reader.readexactly(int(answer[1:]) + 2)
        error = None if answer.startswith((b"+", b"$")) else answer.decode().strip() or "the connection was closed"
        self.record("REDIS", words[0], time.monotonic() - began, error=error)
