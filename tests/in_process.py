"""An engine's event loop in this very process: requests of users without the tree of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bare import Scripted

from gaggle import Response, User
from gaggle._core import Arena, Pump, Settings
from gaggle.metrics import Row, Snapshot

Found = TypeVar("Found")
LONGEST_SECONDS = 20.0


class EngineLoop:
    """A pump and its asyncio loop: what an engine is, without the process, the supervisor and the users' lives.

    Only one may live at a time. Paths are joined to `base`; `settings` are those of `_core.Settings`.
    """

    def __init__(self, base: str | None, settings: dict[str, Any]) -> None:
        self.arena = Arena.create()
        self.pump = Pump(self.arena, Settings(base=base, **settings))
        self.loop = asyncio.SelectorEventLoop(self.pump)
        self.pump.attach(self.loop)
        self.users: list[User] = []
        self.complaints: list[dict[str, Any]] = []  # what asyncio would have logged
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))

    def user(self, cls: type[User] = User, **attributes: Any) -> User:
        """Return a new user, its connections and cookies its own."""
        user = cls()
        for name, value in attributes.items():
            setattr(user, name, value)
        self.users.append(user)
        return user

    def run(self, awaitable: Awaitable[Found], seconds: float = LONGEST_SECONDS) -> Found:
        """Return what `awaitable` comes to; raises TimeoutError when that takes longer."""
        return self.loop.run_until_complete(within(awaitable, seconds))

    def row(self, name: str) -> Row:
        """Return what was counted as "GET /path"; an empty row when nothing was."""
        rows = {f"{row.key.label} {row.key.name}": row for row in Snapshot.read(self.arena).requests()}
        return rows[name] if name in rows else Row(("", "", name))  # type: ignore[arg-type]

    def names(self) -> list[str]:
        """Return what was counted, as "GET /path"."""
        return [f"{row.key.label} {row.key.name}" for row in Snapshot.read(self.arena).requests()]

    def errors(self) -> dict[str, int]:
        """Return how often each error was counted and not taken back."""
        return {error.text: error.count for error in Snapshot.read(self.arena).errors.values()}

    def close(self) -> None:
        """End all that is under way. Raises AssertionError when something was wrong that nobody saw."""
        for user in self.users:
            user.forget()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0.001))
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.arena.close()
        assert not self.complaints


async def within(awaitable: Awaitable[Found], seconds: float) -> Found:
    async with asyncio.timeout(seconds):
        return await awaitable


MakeEngineLoop = Callable[..., EngineLoop]


def ask(engine_loop: MakeEngineLoop, answer: bytes, method: str = "get", **settings: Any) -> Response:
    """Return what a user makes of the bytes `answer`."""
    with Scripted(answer) as listener:
        engine = engine_loop(listener.url, **settings)
        response: Response = engine.run(getattr(engine.user(), method)("/"))
        return response
