"""Users that do anything at any moment, to a server that does anything: nothing breaks, and the books still agree."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from in_process import EngineLoop
from processes import PATIENCE, eventually
from sites import Server

from gaggle import User
from gaggle.metrics import Snapshot

USERS = 8
SECONDS = 1.0 * min(PATIENCE, 4)

URLS = (
    *("/", "/bytes?n=20000", "/bytes?n=600000", "/status/404", "/redirect/3", "/redirect-to?url=/bytes?n=300000"),
    *("/close", "/close-idle?ms=0", "/close-idle?ms=3", "/close-silently", "/reset", "/garbage", "/half?n=3000"),
    *("/until-close?n=5000", "/chunked?n=5000&piece=500&ms=1", "/slow?ms=10", "/gzip?n=50000", "/br?n=50000"),
    *("/stall", "/stall-body", "/cookies/set?a=1", "/bomb?n=2000000"),
)


class Chaotic:
    """One user, and what comes into its head."""

    def __init__(self, user: User, luck: random.Random) -> None:
        self.user, self.luck = user, luck

    @property
    def url(self) -> str:
        return self.luck.choice(URLS)

    @property
    def timeout(self) -> float:
        return self.luck.choice((0.02, 0.1, 1.0))

    async def get(self) -> None:
        await self.user.get(self.url, timeout=self.timeout)

    async def crowd(self) -> None:
        await asyncio.gather(*(self.user.get(self.url, timeout=self.timeout) for _ in range(9)))

    async def stream(self) -> None:
        async with await self.user.get(self.url, stream=True, timeout=self.timeout) as response:
            async for _ in response:
                await asyncio.sleep(self.luck.choice((0, 0, 0.002)))
                if self.luck.random() < 0.1:
                    break

    async def neglect_a_stream(self) -> None:
        await self.user.get(self.url, stream=True, timeout=self.timeout)

    async def upload(self) -> None:
        await self.user.post(self.luck.choice((self.url, "/post")), data=self.pieces(), timeout=self.timeout)

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(self.luck.randrange(1, 20)):
            yield bytes(self.luck.randrange(50_000))
            if self.luck.random() < 0.2:
                await asyncio.sleep(0.001)
            if self.luck.random() < 0.02:
                raise KeyError("no more")

    async def walk_away(self) -> None:
        self.user.get(self.url, timeout=self.timeout)

    async def think_better_of_it(self) -> None:
        call = self.user.get(self.url)
        await asyncio.sleep(0)
        call.cancel()

    async def forget(self) -> None:
        self.user.forget()

    async def cut_streams(self) -> None:
        self.user.cut_streams()

    async def knock_in_vain(self) -> None:
        await self.user.get("http://127.0.0.1:1/", name="in vain")

    def ideas(self) -> list[Callable[[], Awaitable[None]]]:
        often = [*[self.get] * 7, *[self.stream] * 3, self.upload, self.upload, self.crowd, self.crowd]
        rarely = [self.walk_away, self.think_better_of_it, self.forget, self.neglect_a_stream, self.cut_streams]
        return [*often, *rarely, self.knock_in_vain]

    async def live(self, end: float) -> None:
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(self.luck.choice((0.001, 0.01, 0.05, 1.0))):
                    await self.luck.choice(self.ideas())()
            except (TimeoutError, asyncio.CancelledError):  # the latter: another of its requests has been forgotten
                continue


def test_whatever_users_and_server_do_the_books_agree(engine: EngineLoop, server: Server) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    lives = [Chaotic(engine.user(), random.Random(f"{seed}:{number}")) for number in range(USERS)]

    async def live() -> None:
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(life.live(end) for life in lives))
        for life in lives:
            life.user.forget()
        await asyncio.sleep(0.01)

    engine.run(live(), seconds=60)

    rows = Snapshot.read(engine.arena).requests()
    assert not [row for row in rows if row.started != row.answered + row.broken + row.unfinished]
    assert not [life for life in lives if life.user.in_flight]
    assert eventually(lambda: server.seen().open == 0)
    names = ("started", "answered", "hops", "resent")
    started, answered, hops, resent = (sum(getattr(row, name) for row in rows) for name in names)
    assert answered + hops <= server.seen().total <= started + hops + resent
    assert answered > 20, "there was something to count"
