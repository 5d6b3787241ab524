"""One user's life: on_start, passes over its tasks with waits between them, on_stop. All of it is counted."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from typing import Protocol

from gaggle._core import KIND_USER, Arena, Duty, Performer, Pump, Tally
from gaggle.loadtest import UserClass, is_of_load_test
from gaggle.records import Records
from gaggle.user import User, UserStopped

AGAIN_SECONDS = 1.0  # who cannot sign in does not try as fast as it can
# What a task may raise and its user goes on. A CancelledError: of the load test's own making.
FAILURES = (Exception, SystemExit, asyncio.CancelledError)


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
    stop_timeout: float
    iterations: int  # passes after which a user leaves; 0: it stays

    def task_failed(self, name: str, duty: Duty, error: BaseException) -> None:
        """Show the traceback of a task that raised."""

    def wait_failed(self, name: str, error: BaseException) -> None:
        """Show the traceback of a `wait_time` that raised."""


class Life(Performer):
    """One user in its roster's hands."""

    office: Office
    roster: Roster
    user: User
    is_leaving = False  # `on_stop` is all that is left

    def retire(self) -> None:
        """Leave after the present task, without waiting; a task that takes longer than --stop-timeout is cut."""
        self.user.stop()
        self.user.hurry()
        asyncio.get_running_loop().call_later(self.office.stop_timeout, self.cut)

    def cut(self) -> None:
        if self.task is not None and not self.is_leaving:
            self.task.cancel()

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
        """Run what comes first until it succeeds, with the wait between tries, a second at least.

        Returns False when the end comes before.
        """
        while not self.is_over:
            turns = self.office.pump.turns
            if await self.perform_all(self.roster.starts):
                return True
            await self.rest(max(self.pause_after(False, turns), AGAIN_SECONDS))
        return False

    async def perform_all(self, duties: tuple[Duty, ...]) -> bool:
        for duty in duties:
            if not await self.perform(duty):
                return False
        return True

    async def rest(self, seconds: float) -> None:
        self.is_resting = True
        try:
            await self.user.pause(seconds)
        finally:
            self.is_resting = False

    def judge(self, duty: Duty, began_ns: int, error: BaseException) -> bool | None:
        """Say whether a task that raised has ended well; count it where it has not. None: the error goes on."""
        if isinstance(error, UserStopped):
            self.user.stop()
            return True
        if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
            duty.cut()
            return None
        return self.failed(duty, began_ns, error) if isinstance(error, FAILURES) else None

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

    def wait_failed(self, error: Exception) -> None:
        """A `wait_time` has raised."""
        self.office.wait_failed(self.roster.name, error)

    def log_pass(self, began_ns: int) -> None:
        if self.office.records.passed is not None:
            self.office.records.passed(self.user.number, self.roster.name, began_ns)


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
