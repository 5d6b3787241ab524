"""One user's life: on_start, passes over its tasks with waits between them, on_stop. All of it is counted."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gaggle._core import KIND_TASK, KIND_USER, Arena, Pump, Scope, Tally
from gaggle.loadtest import Task, UserClass, is_of_load_test
from gaggle.records import Records
from gaggle.user import User, UserStopped

# A task that fails without having waited for anything would spin: this keeps it to 20 a second.
STUMBLE_SECONDS = 0.05


class Duty:
    """A task with its row in the arena, shared by all users of a class in an engine."""

    def __init__(self, arena: Arena, label: str, task: Task) -> None:
        self.task, self.function, self.scope = task, task.function, Scope(task.request_name, label, task.name)
        self._key = (arena, KIND_TASK, label, task.name)
        self._tally: Tally | None = None
        self.begin: Callable[[], int] = time.monotonic_ns
        self.end: Callable[[int], None] = lambda began_ns: None
        if task.has_row:
            self._count()

    def _count(self) -> Tally:
        """Have a row from now on. Who begins and ends a task calls it and not us: that saves two calls a task."""
        self._tally = Tally(*self._key)
        self.begin, self.end = self._tally.begin, self._tally.end
        return self._tally

    def cut(self) -> None:
        if self._tally:
            self._tally.cut()

    def fail(self, began_ns: int, error: str) -> None:
        """Count a failure, also where the task has no row of its own: then it gets one."""
        tally = self._tally
        if tally is None:
            tally = self._count()
            tally.begin()
        tally.end(began_ns, error)


@dataclass(frozen=True, slots=True)
class Roster:
    """What the users of one class do, in one engine."""

    cls: type[User]
    name: str
    starts: tuple[Duty, ...]
    tasks: tuple[Duty, ...]
    stops: tuple[Duty, ...]
    passes: Tally
    cards: tuple[Duty, ...]  # of one pass: each task as often as its weight says
    is_shuffled: bool

    @classmethod
    def of(cls, arena: Arena, item: UserClass) -> Roster:
        """Make the rows of a class, in the order in which the report shows them."""
        starts, tasks, stops = (
            tuple(Duty(arena, item.name, task) for task in tasks) for tasks in (item.starts, item.tasks, item.stops)
        )
        passes = Tally(arena, KIND_USER, "", item.name)
        cards = tuple(duty for duty in tasks for _ in range(duty.task.weight))
        is_shuffled = len(cards) > 1 and not item.cls.sequential
        return cls(item.cls, item.name, starts, tasks, stops, passes, cards, is_shuffled)


class Office(Protocol):
    """What a life needs of its engine."""

    pump: Pump
    records: Records
    is_stopping: bool
    stop_timeout: float
    iterations: int  # passes after which a user leaves; 0: it stays

    def task_failed(self, name: str, duty: Duty, error: BaseException) -> None:
        """Show the traceback of a task that raised."""


class Life:
    """One user in its roster's hands."""

    def __init__(self, office: Office, roster: Roster, user: User) -> None:
        self.office, self.roster, self.user = office, roster, user
        self.is_leaving = False  # `on_stop` is all that is left
        self.passes = 0  # that were completed
        self.is_resting = False  # between two tasks

    @property
    def is_over(self) -> bool:
        return self.office.is_stopping or self.user.is_stopped or 0 < self.office.iterations <= self.passes

    def retire(self) -> None:
        """Leave after the present task, without waiting; a task that takes longer than --stop-timeout is cut."""
        self.user.stop()
        self.user.hurry()
        asyncio.get_running_loop().call_later(self.office.stop_timeout, self.cut)

    def cut(self) -> None:
        if self.task is not None and not self.is_leaving:
            self.task.cancel()

    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Live until the test stops or the user does. A cancel cuts the present task; `on_stop` still runs."""
        has_begun = False
        try:
            has_begun = await self.begin()
            if has_begun:
                await self.work()
        except asyncio.CancelledError:
            pass
        uncancel()
        if has_begun:
            await self.end()
        self.user.forget()

    async def end(self) -> None:
        """Run what comes last, where what comes first has succeeded. It has as long as a task at the stop."""
        self.is_leaving = True
        try:
            async with asyncio.timeout(self.office.stop_timeout):
                for duty in self.roster.stops:
                    await self.perform(duty)
        except (asyncio.CancelledError, TimeoutError):
            uncancel()

    async def begin(self) -> bool:
        """Run what comes first until it succeeds, with the wait between tries. False when the end comes before."""
        while not self.is_over:
            turns = self.office.pump.turns
            if await self.perform_all(self.roster.starts):
                return True
            if (seconds := self.pause_after(False, turns)) is not None:
                await self.rest(seconds)
        return False

    async def perform_all(self, duties: tuple[Duty, ...]) -> bool:
        for duty in duties:
            if not await self.perform(duty):
                return False
        return True

    async def work(self) -> None:
        """Do pass after pass until the end. What stands here is done for each task, and many a task is one request."""
        roster, user, pump = self.roster, self.user, self.office.pump
        while not self.is_over:
            began_ns, cards = roster.passes.begin(), list(roster.cards)
            try:
                while cards:
                    duty = cards.pop(int(user.chance() * len(cards)) if roster.is_shuffled else 0)
                    turns = pump.turns
                    seconds = self.pause_after(await self.perform(duty), turns)
                    if seconds is not None:
                        await self.rest(seconds)
                    if cards and self.is_over:
                        break
            except asyncio.CancelledError:
                roster.passes.cut()
                raise
            if cards:
                roster.passes.cut()
            else:
                self.complete(began_ns)

    def complete(self, began_ns: int) -> None:
        """Count a pass that came to its end."""
        self.passes += 1
        self.roster.passes.end(began_ns)
        if self.office.records.passed is not None:
            self.office.records.passed(self.user.number, self.roster.name, began_ns)
        if self.user.session == "pass":
            self.user.forget()

    async def perform(self, duty: Duty) -> bool:
        """Run one task and count it. Returns False when it raised."""
        user = self.user
        user.scope = duty.scope
        began_ns = duty.begin()
        user.task_began = began_ns / 1e9
        try:
            await duty.function(user)
        except UserStopped:
            user.stop()
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                duty.cut()
                raise
            return self.failed(duty, began_ns, error)
        except (Exception, SystemExit) as error:
            return self.failed(duty, began_ns, error)
        finally:
            if user.in_flight:
                user.cut_streams()
        duty.end(began_ns)
        self.log(duty, began_ns, "")
        return True

    def log(self, duty: Duty, began_ns: int, error: str) -> None:
        """Put a task that has ended into the task log, where there is one."""
        if self.office.records.task is not None:
            number, name = self.user.number, self.roster.name
            self.office.records.task(number, name, began_ns, task=duty.task.name, success=not error, error=error)

    def failed(self, duty: Duty, began_ns: int, error: BaseException) -> bool:
        duty.fail(began_ns, describe(error))
        self.log(duty, began_ns, describe(error))
        self.office.task_failed(self.roster.name, duty, error)
        return False

    def pause_after(self, succeeded: bool, turns: int) -> float | None:
        """Return the seconds to wait after a task that began at this turn of the pump, None for no wait at all.

        Who has waited for nothing in it lets the others go on.
        """
        try:
            seconds = float(self.user.wait_time())
        except Exception as error:
            seconds = 1.0
            self.office.task_failed(self.roster.name, self.roster.tasks[0], error)
        if seconds > 0:
            return seconds
        if self.office.pump.turns != turns:
            return None
        return 0 if succeeded else STUMBLE_SECONDS

    async def rest(self, seconds: float) -> None:
        self.is_resting = True
        try:
            await self.user.pause(seconds)
        finally:
            self.is_resting = False


def is_being_cancelled() -> bool:
    """Whether the engine has cancelled this task, as against a CancelledError of the load test's own making."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def uncancel() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def describe(error: BaseException) -> str:
    """Return "KeyError: 'token' (loadtest.py:12)": the place is the last one outside of gaggle and its libraries."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_of_load_test(frame.filename)]
    return f"{text} ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else text
