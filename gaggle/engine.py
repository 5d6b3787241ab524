"""One engine: a forked process that runs users. What it counts is in its arena; the supervisor hears of little else."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import CodeType, FrameType
from typing import Any

from gaggle import plan
from gaggle._core import Arena, Duty, Pump, Settings
from gaggle.channel import Channel
from gaggle.errors import LoadTestError
from gaggle.life import Life, Roster, describe
from gaggle.loadtest import Chosen, LoadTest, is_of_load_test
from gaggle.own import made
from gaggle.plan import Block, Plan
from gaggle.records import Records, Wanted
from gaggle.user import User, abort_listeners, debug_listeners, feeds

# A turn of the loop that takes longer is a task that holds up all other users of its engine.
BLOCKED_NS = 100_000_000
BLOCKED_SIGNAL = signal.SIGUSR2
LONGEST_TRACEBACK = 20_000
MOST_SHOWN = 1_000  # tracebacks and remarks
CANCEL_AGAIN_SECONDS = 0.5
LATE_NS = 2_000_000_000  # after T0: then users have been at work elsewhere. An engine that is slow to start catches up
# Python's collector must not look at every user again and again: at 10,000 users that stopped the engine for 120 ms.
HATCHING_NS = 5_000_000  # so long at a time users may be hatched that are due, or as long as the others had before
USERS_BETWEEN_FREEZES = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor asks of an engine. Users are numbered from 1 over the whole test."""

    index: int
    engines: int
    block: Block  # this engine's users
    plan: Plan  # of the whole test: classes are laid out over all its users
    seed: int
    stop_timeout: float
    settings: dict[str, Any]
    shared: Any = None
    own: dict[str, Any] = field(default_factory=dict)  # values of the load test's own options
    is_replacement: bool = False
    tells_of_users: bool = False
    records: Wanted = field(default_factory=Wanted)  # the logs that it writes
    t0_ns: int = 0  # when the test began, where it has begun
    chosen: Chosen | None = None  # the classes and tasks that take part; None: all
    throttle: float = 0.0  # requests a second that this engine may start; 0: no limit

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Order:
        """Make one of plain data, as it comes over a channel."""
        kinds = {"block": Block, "plan": Plan, "records": Wanted}
        return cls(**{**fields, **{name: kind(**fields[name]) for name, kind in kinds.items()}})


@dataclass(slots=True)
class Spawning:
    """Users that are to start one after the other, and the numbers of those that shall not any more."""

    block: Block
    unwanted: list[range] = field(default_factory=list)

    def wants(self, number: int) -> bool:
        return not any(number in numbers for numbers in self.unwanted)


class Engine:
    """Runs users in this process until it is told to stop, or all of them have left."""

    def __init__(self, arena: Arena, channel: Channel, load_test: LoadTest, order: Order) -> None:
        self.arena, self.channel, self.load_test, self.order = arena, channel, load_test, order
        self.pump = Pump(arena, Settings(**order.settings))
        self.loop = asyncio.SelectorEventLoop(self.pump)
        self.pump.attach(self.loop)
        self.records = Records(order.records, self.pump, order.seed, self.records_lost)
        self.pump.throttle(order.throttle)
        self.rosters = [Roster.of(arena, item) for item in load_test.chosen(order.chosen)]
        self.stop_timeout, self.iterations = order.stop_timeout, order.plan.iterations
        self.is_stopping = self.is_decreasing = False
        self.lives: dict[asyncio.Task[None], Life] = {}
        self.shown: set[str] = set()
        self.spawners: set[asyncio.Task[None]] = set()
        self.spawnings = [Spawning(order.block)]
        self.drops: set[asyncio.Task[None]] = set()
        self.finished = asyncio.Event()

    def run(self) -> None:
        """Live through the whole test."""
        give_own(self.load_test, self.order.own)
        asyncio.set_event_loop(self.loop)
        self.pump.hooks.extend(self.load_test.hooks)
        self.pump.on_error = self.hook_failed
        self.pump.on_forgotten = self.forgotten
        debug_listeners.append(self.records.debug)
        abort_listeners.append(lambda reason: self.channel.send("abort", reason=str(reason)))
        for each in feeds:
            each.share((self.order.block.first - 1) % self.order.block.step, self.order.block.step)
        self.loop.add_reader(self.channel.fileno(), self.told)
        Watch(self)
        self.channel.send("ready", index=self.order.index)
        try:
            self.loop.run_until_complete(self.finished.wait())
        finally:
            self.records.close()
        self.channel.send("done", index=self.order.index)

    def told(self) -> None:
        """Hear the supervisor. When it has gone, so has everybody who would read what is counted here."""
        try:
            message = self.channel.receive()
        except EOFError:
            self.records.close()
            os._exit(1)
        if message.kind == "start":
            self.records.begin(self.order.t0_ns or message.fields["t0_ns"])
            self.begin(self.spawnings[0], message.fields["t0_ns"])
        elif message.kind == "add":
            self.spawnings.append(Spawning(Block(**message.fields["block"])))
            self.begin(self.spawnings[-1], message.fields["t0_ns"])
        elif message.kind == "drop":
            task = self.loop.create_task(self.drop(Block(**message.fields["block"])))
            self.drops.add(task)
            task.add_done_callback(self.drops.discard)
        elif message.kind == "decrease":
            self.begin_decrease(message.fields["t0_ns"])
        elif message.kind == "throttle":
            self.pump.throttle(message.fields["rate"])
        elif message.kind == "stop":
            self.stopper = self.loop.create_task(self.stop())

    def begin(self, spawning: Spawning, t0_ns: int) -> None:
        """Start the users of a block, each when it is due."""
        task = self.loop.create_task(self.spawn(spawning, t0_ns))
        self.spawners.add(task)

    async def spawn(self, spawning: Spawning, t0_ns: int) -> None:
        """Start user i at T0 + (i - 1) / hatch_rate, in whichever engine it lives.

        Users that were at work elsewhere come back at the same rate from now on, not all at once.
        """
        began_ns = pause_ns = time.monotonic_ns()
        is_late = began_ns - t0_ns > LATE_NS
        classes = [(roster.cls.weight, roster.cls.fixed_count) for roster in self.rosters]
        wanted, block = self.order.plan, spawning.block
        layout, rate = plan.layout(classes, wanted.users), wanted.hatch_rate
        for turn, (number, place) in enumerate(zip(block.numbers(), block.places(), strict=True)):
            due_ns = t0_ns + int(plan.due(number, rate) * 1e9)
            if is_late:
                due_ns = max(due_ns, began_ns + int(turn * block.step / rate * 1e9))
            if not due_ns <= (left_ns := time.monotonic_ns()) < pause_ns:
                await self.pump.wait_until_ns(due_ns)
                now_ns = time.monotonic_ns()
                pause_ns = now_ns + max(HATCHING_NS, now_ns - left_ns)
            if self.is_stopping:
                return
            if self.is_decreasing:
                break
            if spawning.wants(number):
                self.hatch(number, self.rosters[layout[place]])
            if (turn + 1) % USERS_BETWEEN_FREEZES == 0:
                await self.freeze()
        await self.freeze()
        self.finish_when_empty()

    async def freeze(self) -> None:
        """Let those who have hatched begin; from then on the collector looks at nothing of what there is now."""
        await self.pump.wait_until_ns(0)
        gc.freeze()

    def hatch(self, number: int, roster: Roster) -> None:
        try:
            user = roster.cls()
        except Exception as error:
            self.show(f"{roster.name} cannot be made", error)
            self.channel.send("abort", reason=f"{roster.name} cannot be made: {describe(error)}")
            return
        user.number, user.run_seed, user.shared = number, self.order.seed, self.order.shared
        user.seed_luck(self.order.seed, number)
        self.tell("launching", number, roster)
        life = Life(self, roster, user)
        task = life.task = self.loop.create_task(life.run())
        self.lives[task] = life
        task.add_done_callback(lambda task: self.left(task, roster))
        self.arena.users_started += 1
        self.arena.users_running += 1

    def left(self, task: asyncio.Task[None], roster: Roster) -> None:
        """A user has gone. An exception here is a fault of gaggle's, not the load test's: that one was counted."""
        number = self.lives.pop(task).user.number
        self.arena.users_running -= 1
        self.arena.users_exited += 1
        self.tell("exiting", number, roster)
        if not task.cancelled() and (error := task.exception()):
            self.show(f"user {number} of {roster.name} broke", error)
        self.finish_when_empty()

    def finish_when_empty(self) -> None:
        busy = any(not task.done() and task is not asyncio.current_task() for task in self.spawners)
        # Who had to give users away may be given others.
        may_finish = not (busy or self.spawnings[0].unwanted)
        if not self.lives and (self.is_stopping or may_finish):
            self.finished.set()

    def begin_decrease(self, t0_ns: int) -> None:
        """Let users go one by one from `t0_ns` on, those with the highest numbers first; no more come."""
        self.is_decreasing = True
        self.decrease = self.loop.create_task(self.let_go(t0_ns))

    async def let_go(self, t0_ns: int) -> None:
        for life in sorted(self.lives.values(), key=lambda life: -life.user.number):
            await self.pump.wait_until_ns(t0_ns + int(self.order.plan.leave_after(life.user.number) * 1e9))
            life.retire()
        self.finish_when_empty()

    async def stop(self) -> None:
        """Let users finish their present task, for so long; then cut it. `on_stop` gets as long again: see Life.

        Those that wait for the throttle leave at once: what they wait for has not begun.
        """
        self.is_stopping = True
        self.pump.stop_waiting()
        self.cut_throttled()
        if self.lives:
            await asyncio.wait(list(self.lives), timeout=self.stop_timeout)
        while self.lives:
            for task, life in self.lives.items():
                if not life.is_leaving:
                    task.cancel()
            await asyncio.wait(list(self.lives), timeout=CANCEL_AGAIN_SECONDS)
        self.finished.set()

    def cut_throttled(self) -> None:
        """Cut the tasks that wait for the throttle, or will; what users do at their leave may wait."""
        lives = {id(life.user): life for life in self.lives.values()}
        waiting = self.pump.throttled()
        self.pump.on_wait = lambda user: lives[id(user)].cut() if id(user) in lives else None
        for user in waiting:
            self.pump.on_wait(user)

    async def drop(self, block: Block) -> None:
        """Let those users of a block that are here leave as at the stop, and say when the last one has."""
        numbers = block.numbers()
        for spawning in self.spawnings:
            spawning.unwanted.append(numbers)
        leaving = {task: life for task, life in self.lives.items() if life.user.number in numbers}
        for task, life in leaving.items():
            life.user.stop()
            if life.is_resting:
                task.cancel()
        if leaving:
            await asyncio.wait(leaving, timeout=self.stop_timeout)
        while alive := [task for task in leaving if not task.done()]:
            for task in alive:
                if not leaving[task].is_leaving:
                    task.cancel()
            await asyncio.wait(alive, timeout=CANCEL_AGAIN_SECONDS)
        self.channel.send("dropped", block=asdict(block))

    def tell(self, event: str, number: int, roster: Roster) -> None:
        if self.order.tells_of_users:
            self.channel.send("user", event=event, number=number, name=roster.name)

    def records_lost(self, kind: str, count: int, why: str) -> None:
        self.channel.send("lost", log=f"{kind} log {self.order.records.files[kind][0]}", count=count, why=why)

    def task_failed(self, name: str, duty: Duty, error: BaseException) -> None:
        self.show(f"task {duty.task.name} of {name} failed", error)

    def wait_failed(self, name: str, error: BaseException) -> None:
        self.show(f"wait_time of {name} failed, it waits a second instead", error)

    def forgotten(self, what: str) -> None:
        if self.is_new(what):
            self.channel.send("forgotten", what=what)

    def hook_failed(self, hook: Any, error: BaseException) -> None:
        self.show(f"@on_request {getattr(hook, '__name__', hook)} failed", error)

    def show(self, what: str, error: BaseException) -> None:
        """Send a traceback, the first time that this error comes from this place."""
        frames = traceback.extract_tb(error.__traceback__)
        key = f"{what} {type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else what
        if self.is_new(key):
            text = "".join(traceback.format_exception(error))
            self.channel.send("traceback", key=key, what=what, text=text[-LONGEST_TRACEBACK:])

    def is_new(self, what: str) -> bool:
        """Whether it was not shown yet, and may be. From now on it was."""
        is_new = what not in self.shown and len(self.shown) < MOST_SHOWN
        if is_new:
            self.shown.add(what)
        return is_new


class Watch:
    """Names the task that holds the loop. The supervisor sees in the arena that a turn is long, and signals."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.named: set[str] = set()
        self.duties: dict[CodeType, tuple[str, str]] = {
            duty.task.function.__code__: (roster.name, duty.task.name)
            for roster in engine.rosters
            for duty in (*roster.starts, *roster.tasks, *roster.stops)
            if hasattr(duty.task.function, "__code__")
        }
        signal.signal(BLOCKED_SIGNAL, self.look)

    def look(self, number: int, frame: FrameType | None) -> None:
        """Runs between two steps of whatever blocks; or of a later turn, where the signal came after the long one."""
        if time.monotonic_ns() - self.engine.arena.turn_started_ns <= BLOCKED_NS:
            return
        place = owner = None
        while frame is not None:
            if place is None and is_of_load_test(frame.f_code.co_filename):
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            owner = owner or self.duties.get(frame.f_code)
            frame = frame.f_back
        if place is None:
            return
        who = "task {1} of {0}".format(*owner) if owner else "the load test"
        if who not in self.named:
            self.named.add(who)
            self.engine.channel.send("blocked", who=who, place=place)


def become_engine(seed: int) -> None:
    """Make a forked process a world of its own: its own luck, no collector runs over what it shares with its parent."""
    # Forked engines inherit one random state: without this they all draw the same numbers.
    random.seed(seed)
    gc.enable()


def run(arena: Arena, channel: Channel, load_test: LoadTest, order: Order) -> None:
    """Be engine `order.index`, and end with it."""
    become_engine(order.seed * 1_000_003 + order.index)
    Engine(arena, channel, load_test, order).run()


def give_own(load_test: LoadTest, values: dict[str, Any]) -> None:
    """Let every user of this process have the load test's own options."""
    if load_test.own is not None:
        User.own = made(load_test.own, values)


def run_errand(channel: Channel, load_test: LoadTest, name: str, settings: dict[str, Any], own: dict[str, Any]) -> None:
    """Run what `@test_start` or `@test_stop` marks, in a process of its own; send back what the last one returned."""
    give_own(load_test, own)
    jobs = load_test.test_starts if name == "test_start" else load_test.test_stops
    pump = Pump(Arena.create(), Settings(**settings))
    loop = asyncio.SelectorEventLoop(pump)
    pump.attach(loop)
    asyncio.set_event_loop(loop)
    try:
        channel.send("errand", value=sendable(loop.run_until_complete(run_jobs(jobs))))
    except LoadTestError as error:
        channel.send("errand", error=str(error), text="")
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(error))
        channel.send("errand", error=f"{type(error).__name__}: {error}", text=text[-LONGEST_TRACEBACK:])


def sendable(value: Any) -> Any:
    """Return it, where it can be told to every engine. Raises LoadTestError."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise LoadTestError(f"what it returns is sent to every engine as JSON: {error}") from None
    return value


async def run_jobs(jobs: tuple[Callable[..., Awaitable[Any]], ...]) -> Any:
    """Run them one after the other. One that takes an argument gets a user of its own."""
    value = None
    for job in jobs:
        arguments = (User(),) if inspect.signature(job).parameters else ()
        found = await job(*arguments)
        value = found if found is not None else value
    return value


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
