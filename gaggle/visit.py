"""One user in this very process, each of its tasks once: for a debugger, a plain script, a pytest test. No engines."""

from __future__ import annotations

import asyncio
import bdb
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gaggle._core import Arena, Pump, Response, Scope, Settings
from gaggle.engine import run_jobs
from gaggle.errors import LoadTestError
from gaggle.life import describe, is_being_cancelled
from gaggle.loadtest import Task, UserClass
from gaggle.logs import LOGGER
from gaggle.user import Job, UserStopped, abort_listeners

# What breaks off the whole visit: the person, or the debugger that the person has left.
BREAKS = (KeyboardInterrupt, bdb.BdbQuit)


@dataclass(slots=True)
class Step:
    """One task of the visit. `kind` is test_start, on_start, task, on_stop or test_stop; `seconds` is what it took."""

    kind: str
    name: str
    responses: list[Response] = field(default_factory=list)
    error: BaseException | None = None
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Why it failed, a line each: requests, then the task itself."""
        failed = [f"{each.method} {each.url}: {each.fault}" for each in self.responses if not each.ok]
        return failed + ([describe(self.error)] if self.error is not None else [])


@dataclass(slots=True)
class Visit:
    """What one user did."""

    user_class: str
    steps: list[Step] = field(default_factory=list)
    aborted: str | None = None  # why the load test called abort()

    @property
    def responses(self) -> list[Response]:
        """All responses, in the order in which they came."""
        return [response for step in self.steps for response in step.responses]

    @property
    def failed(self) -> list[Response]:
        """The responses that count as failures."""
        return [response for response in self.responses if not response.ok]

    @property
    def errors(self) -> list[BaseException]:
        """What tasks have raised."""
        return [step.error for step in self.steps if step.error is not None]

    @property
    def failures(self) -> list[str]:
        """Everything that went wrong, a line each: "task buy: POST http://…: 500 Internal Server Error"."""
        found = [f"{step.kind} {step.name}: {line}" for step in self.steps for line in step.failures]
        return found + ([f"aborted: {self.aborted}"] if self.aborted is not None else [])

    @property
    def ok(self) -> bool:
        return not self.failures

    def raise_for_failures(self) -> Visit:
        """Return the visit. Raises LoadTestError, caused by what a task raised, if anything went wrong."""
        if self.failures:
            error = LoadTestError(f"{self.user_class} failed:\n" + "\n".join(self.failures))
            raise error from (self.errors[0] if self.errors else None)
        return self


class Witness:
    """Hears of a visit as it goes on. This one does nothing."""

    def begins(self, step: Step) -> None:
        """A task is about to run."""

    def answered(self, response: Response) -> None:
        """A request has ended."""

    def ended(self, step: Step) -> None:
        """A task has ended, well or not."""


@dataclass(frozen=True, slots=True)
class Itinerary:
    """What a visit consists of: the user class, and what the load test does around it."""

    item: UserClass
    test_starts: tuple[Job, ...] = ()
    test_stops: tuple[Job, ...] = ()
    hooks: tuple[Any, ...] = ()

    def tasks(self) -> Iterator[tuple[str, Task]]:
        for kind, tasks in (("on_start", self.item.starts), ("task", self.item.tasks), ("on_stop", self.item.stops)):
            for task in tasks:
                yield kind, task


def visit(itinerary: Itinerary, settings: dict[str, Any], seed: int = 0, witness: Witness | None = None) -> Visit:
    """Run a visit to its end; in a thread of its own where this one has a loop already (a notebook)."""
    guide = Guide(itinerary, seed, witness or Witness())
    if not has_loop():
        return guide.run(settings)
    with ThreadPoolExecutor(1, "gaggle") as pool:
        return pool.submit(guide.run, settings).result()


def has_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Guide:
    """Takes one user through its tasks."""

    def __init__(self, itinerary: Itinerary, seed: int, witness: Witness) -> None:
        self.itinerary, self.seed, self.witness = itinerary, seed, witness
        self.visit = Visit(itinerary.item.name)
        self.step = Step("", "")

    def run(self, settings: dict[str, Any]) -> Visit:
        """Run all of it on an event loop of its own. Raises KeyboardInterrupt when the person breaks it off."""
        pump = Pump(Arena.create(), Settings(**settings))
        pump.watch(keeps_sent=True)
        loop = asyncio.SelectorEventLoop(pump)
        pump.attach(loop)
        pump.hooks.extend((*self.itinerary.hooks, self.answered))
        pump.on_error = self.hook_failed
        pump.on_forgotten = lambda what: LOGGER.warning("%s", what)
        asyncio.set_event_loop(loop)
        try:
            with self.listening():
                loop.run_until_complete(self.whole())
        except bdb.BdbQuit as error:
            raise KeyboardInterrupt from error
        finally:
            close(loop)
        return self.visit

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear of abort() and log_debug()."""
        abort_listeners.append(self.aborted)
        try:
            yield
        finally:
            abort_listeners.remove(self.aborted)

    async def whole(self) -> None:
        shared = await self.around("test_start", self.itinerary.test_starts)
        if not self.visit.errors and self.visit.aborted is None:
            await self.live(shared)
        await self.around("test_stop", self.itinerary.test_stops)

    async def around(self, kind: str, jobs: tuple[Job, ...]) -> Any:
        """Run what the load test does before and after all users."""
        found = None
        if jobs:
            async with self.taking(Step(kind, kind)):
                found = await run_jobs(jobs)
        return found

    async def live(self, shared: Any) -> None:
        """Make the user, and let it do everything once. Where its start fails it has no tasks."""
        item = self.itinerary.item
        try:
            user = item.cls()
        except Exception as error:
            raise LoadTestError(f"{item.name} cannot be made: {describe(error)}") from error
        user.number, user.run_seed, user.shared = 1, self.seed, shared
        user.seed_luck(self.seed, 1)
        for kind, task in self.itinerary.tasks():
            if kind == "task" and any(step.kind == "on_start" and step.error for step in self.visit.steps):
                continue
            if self.visit.aborted is not None:
                break
            user.scope, user.task_began = Scope(task.request_name, item.name, task.name), time.monotonic()
            async with self.taking(Step(kind, task.name)):
                try:
                    await task.function(user)
                finally:
                    user.cut_streams()
        user.forget()

    def taking(self, step: Step) -> Taking:
        return Taking(self, step)

    def answered(self, response: Response) -> None:
        self.step.responses.append(response)
        self.witness.answered(response)

    def aborted(self, reason: str) -> None:
        self.visit.aborted = self.visit.aborted or str(reason)

    def hook_failed(self, hook: Any, error: BaseException) -> None:
        self.step.error = self.step.error or error


class Taking:
    """Around one task: its time, its error, its place in the visit."""

    def __init__(self, guide: Guide, step: Step) -> None:
        self.guide, self.step, self.began = guide, step, 0.0

    async def __aenter__(self) -> None:
        self.guide.step = self.step
        self.guide.visit.steps.append(self.step)
        self.guide.witness.begins(self.step)
        self.began = time.perf_counter()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.step.seconds = time.perf_counter() - self.began
        if isinstance(error, BREAKS) or (isinstance(error, asyncio.CancelledError) and is_being_cancelled()):
            return False
        if error is not None and not isinstance(error, UserStopped):
            self.step.error = error
        self.guide.witness.ended(self.step)
        return True


def close(loop: asyncio.AbstractEventLoop) -> None:
    """End what the load test has left running, and the loop."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
