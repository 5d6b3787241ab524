"""One load test on this machine: from the options to the report. A parent that waits, watches and counts."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gaggle import limits, logs, plan, telemetry
from gaggle.books import Books
from gaggle.channel import Message
from gaggle.choice import choose, chosen
from gaggle.crew import Crew, Hand, how_ended
from gaggle.engine import Order
from gaggle.errors import InvalidOption, LoadTestError
from gaggle.hearsay import Hearsay
from gaggle.holding import Holding
from gaggle.hosts import check_hosts, hosts, hosts_configured
from gaggle.judge import Judge
from gaggle.logs import LOGGER
from gaggle.metrics import Snapshot
from gaggle.options import Options, usable_cores
from gaggle.own import defaults_of, specs_of
from gaggle.plan import Block, Plan
from gaggle.policy import settings_of, versions
from gaggle.recorder import Recorder
from gaggle.records import Wanted
from gaggle.report.load import read
from gaggle.report.model import Incident, Phase, Report, ReportClass
from gaggle.report.text import render_running
from gaggle.rules import check, check_required, load_test_of, role_of, without_effect
from gaggle.sources import LOAD_TEST, Parsed, said, settled

TICK_SECONDS = 0.025  # short enough to catch a task that holds its engine for a tenth of a second
START_DELAY_NS = 20_000_000  # between the go and the first user: every engine has heard of it by then
STUCK_TICKS = 40  # an engine whose loop stands still so long after the stop will not end by itself
LAST_SECONDS = 5.0  # beyond twice the stop timeout
MOST_DEATHS = 5  # of one engine in DEATHS_SECONDS: what kills it would kill the next one too
DEATHS_SECONDS = 60.0


@dataclass(slots=True)
class Outcome:
    """How a load test ended. `report` is None when it never ran."""

    report: Report | None = None
    failure: str | None = None  # why the test could not run, or was aborted
    is_incomplete: bool = False  # something was lost and not made good
    was_interrupted: bool = False  # by a second Ctrl-C


class Supervisor:
    """Runs one load test."""

    def __init__(self, parsed: Parsed, only: tuple[str, ...] = (), say: Callable[[str], None] = LOGGER.info) -> None:
        """`only` names the classes whose users run, "" all; `say` tells the person what is not about a fault."""
        self.parsed, self.only, self.say = parsed, only, say
        self.outcome = Outcome()
        self.incidents: list[Incident] = []
        self.phases: list[Phase] = []
        self.books = Books()
        self.recorder = Recorder()
        self.deaths: dict[int, list[float]] = {}
        self.holding = Holding(Block(1, 1, 0, 0))
        self.on_dropped: Callable[[Block], None] = lambda block: None
        self.ended: list[Hand] = []  # engines that would not stop
        self.hearsay = Hearsay()
        self.ears: dict[str, Callable[[Hand, dict[str, Any]], None]] = {  # by what an engine says
            "ready": self.heard_ready,
            "done": self.heard_done,
            "user": self.heard_user,
            "dropped": self.heard_dropped,
            "abort": self.heard_abort,
            "traceback": self.hearsay.traceback,
            "blocked": self.hearsay.blocked,
            "forgotten": self.hearsay.forgotten,
            "lost": self.hearsay.lost_records,
        }
        self.lease_until_ns = 0  # CLOCK_BOOTTIME; 0 where nobody else could have the users
        self.stop_reason: str | None = None
        self.stopped_at = 0.0
        self.t0_ns = 0  # CLOCK_MONOTONIC at which user 1 of the test is due
        self.all_started = False
        self.is_running = False
        self.replacing: set[asyncio.Task[None]] = set()

    async def describe(self) -> dict[str, Any]:
        """Import the load test, settle the options, and return what is in it. Ends the launcher if that cannot be."""
        self.running = asyncio.current_task()
        file = load_test_of(self.parsed)
        role = role_of(self.parsed.options)
        check(self.parsed, usable_cores(), role)
        self.crew = Crew(self.heard, self.died, self.launcher_lost)
        try:
            self.description = await self.crew.load(str(file), self.only)
            own = self.description["own"]
            self.parsed = settled(self.parsed, specs_of(own), defaults_of(own), self.description["defaults"])
            self.options: Options = self.parsed.options
            self.own = dict(self.parsed.own)
            self.cautions = check(self.parsed, usable_cores(), role)
            self.records = Wanted.of(self.options)
            self.everything = self.description["classes"]
            self.choose()
            if any(self.parsed.sources.get(name, "").startswith(LOAD_TEST) for name in logs.OPTIONS):
                logs.setup(self.options, self.parsed.sources)
            for line in self.parsed.warnings:
                LOGGER.warning("%s", line)
            for line in without_effect(self.parsed, role):
                LOGGER.info("%s", line)
        except BaseException:
            self.crew.close()
            raise
        return self.description

    def choose(self) -> None:
        """Leave out the user classes and tasks that the options do not want."""
        classes = choose(self.everything, self.options, dict(self.parsed.sources))
        self.description = {**self.description, "classes": classes}

    async def run(self) -> Outcome:
        """Run the load test that was described, to its end."""
        self.running = asyncio.current_task()
        try:
            with_signals(self.signalled)
            self.prepare()
            await self.start()
            await self.watch()
            await self.finish()
        except asyncio.CancelledError:
            if not self.outcome.was_interrupted:
                raise
        finally:
            self.crew.close()
        return self.outcome

    # Before the start.

    def prepare(self) -> None:
        """Settle what the options leave open, say what a person should know before it starts."""
        options = self.options
        self.settle()
        self.begin_records()
        self.holding = Holding(plan.blocks(options.users, 1)[0])
        self.engines = min(options.engines or usable_cores(), options.users)
        limit = limits.raise_descriptors()
        cautions = [
            *self.cautions,
            *self.plan.warnings(),
            *limits.warnings(options.users, self.engines, len(self.hosts), limit, len(options.interface)),
        ]
        for line in cautions:
            LOGGER.warning("%s", line)

    def begin_records(self) -> None:
        """Make the files of the logs anew. Raises InvalidOption."""
        for kind, name, error in self.records.begin():
            if error is not None:
                source = self.parsed.sources.get(f"{kind}_log", f"--{kind}-log")
                raise InvalidOption(source, name, f"The {kind} log can not be written: {error.strerror}.")
            LOGGER.info("writing %s log to: %s", kind, name)

    def settle(self) -> None:
        """Settle what leads: seed, plan, policy; refuse what cannot be."""
        options = self.options
        self.seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
        self.plan = Plan.of(options)
        self.throttle = options.throttle_requests
        self.settings = settings_of(options)
        check_required(self.parsed)
        self.check_layout()
        check_hosts(options, self.classes)
        self.baseline = self.read_baseline()
        self.judge = Judge(options.threshold, self.baseline)
        if options.threshold:
            self.recorder.observers.append(self.judge)
        self.exporters = telemetry.opened(options, self.parsed.sources)
        self.recorder.observers += self.exporters
        LOGGER.info("hatch_rate = %g", self.plan.hatch_rate)
        LOGGER.info("seed = %d", self.seed)
        for line in hosts_configured(options, self.classes):
            LOGGER.info("%s", line)

    def read_baseline(self) -> Report | None:
        """Return the report of the run to compare with, if there is one. Raises InvalidOption."""
        name = self.options.baseline
        if name is None:
            return None
        try:
            return read(name)
        except ValueError as error:
            source = self.parsed.sources.get("baseline", "--baseline")
            raise InvalidOption(source, name, f"The baseline can not be read: {error}.") from error

    def check_layout(self) -> None:
        """Refuse users that no class may have."""
        weights = [(item["weight"], item["fixed_count"]) for item in self.classes]
        try:
            plan.layout(weights, self.options.users)
        except ValueError as error:
            raise InvalidOption("--users", self.options.users, f"The --users option does not fit: {error}.") from error

    @property
    def classes(self) -> list[dict[str, Any]]:
        """The user classes that take part, as loadtest.py describes them."""
        return self.description["classes"]  # type: ignore[no-any-return]

    @property
    def hosts(self) -> list[str]:
        return hosts(self.options, self.classes)

    async def start(self) -> None:
        """Run the load test's own start, fork the engines, and give the go."""
        LOGGER.info("initializing user states...")
        self.shared = await self.prepare_shared()
        await self.fork_engines()
        self.go(time.monotonic_ns() + START_DELAY_NS)
        self.recorder.begin(self.began_at)

    async def prepare_shared(self) -> Any:
        """Run the load test's own start; return what every user will have as `shared`."""
        if not self.description["has_test_start"]:
            return None
        LOGGER.info("running test_start")
        return await self.crew.errand("test_start", self.settings, self.own)

    async def fork_engines(self) -> None:
        """Fork all engines; they wait to be told when to begin."""
        for index in range(self.engines):
            await self.crew.fork(self.order(index))
        while self.ready < self.engines and self.crew.hands:
            await asyncio.sleep(TICK_SECONDS / 5)

    def go(self, t0_ns: int) -> None:
        """Let users begin: user 1 of the test is due at `t0_ns` of the monotonic clock."""
        self.t0_ns = t0_ns
        self.began_at = time.time() + (t0_ns - time.monotonic_ns()) / 1e9
        self.measured_from = self.phase_began = self.printed_at = self.began_at
        self.books.begin(self.crew.hands.values())
        self.is_running = True
        for hand in self.crew.hands.values():
            hand.start(t0_ns)

    ready = 0

    def order(self, index: int, is_replacement: bool = False) -> Order:
        return Order(
            index=index,
            engines=self.engines,
            block=self.holding.block.split(self.engines)[index],
            plan=self.plan,
            seed=self.seed,
            stop_timeout=self.options.stop_timeout,
            settings=self.settings,
            shared=self.shared,
            own=self.own,
            is_replacement=is_replacement,
            tells_of_users=LOGGER.isEnabledFor(logging.INFO),
            records=self.records,
            t0_ns=self.t0_ns if is_replacement else 0,
            chosen=chosen(self.classes),
            throttle=self.throttle_of(index),
        )

    exporters: Sequence[telemetry.Exporter] = ()
    baseline: Report | None = None  # the earlier run to compare with

    throttle = 0.0  # requests a second that this machine may start; 0: no limit

    def throttle_to(self, per_second: float) -> None:
        """Let so many requests begin a second on this machine from now on."""
        if per_second != self.throttle:
            self.throttle = per_second
            self.share_throttle()

    def share_throttle(self) -> None:
        for hand in self.crew.hands.values():
            hand.channel.send("throttle", rate=self.throttle_of(hand.index))

    def throttle_of(self, index: int) -> float:
        """Return an engine's share, in proportion to its users: where all have demand, all users have the same."""
        return self.throttle * self.holding.share(index, self.engines)

    # While it runs.

    async def watch(self) -> None:
        """Look at the engines until none is left, or those that are will not end."""
        while self.crew.hands or self.replacing:
            for hand in list(self.crew.hands.values()):
                hand.look()
            if not (self.all_started or self.stop_reason or self.replacing):
                self.see_whether_all_started()
            if not self.stop_reason:
                self.print_running_metrics()
                self.keep_to_the_plan()
            if self.stop_reason:
                self.end_the_stuck()
            if self.is_running and self.recorder.is_due(self.now()):  # a worker waits for the go-ahead first
                self.note()
            await asyncio.sleep(TICK_SECONDS)
        for text in self.hearsay.losses():
            self.incident("log", text)  # what was counted has nothing to do with it
        self.ended_at = time.time()

    def now(self) -> float:
        """Return the time of the run, unix seconds: it never goes back, whatever somebody does to the clock."""
        return self.began_at + (time.monotonic_ns() - self.t0_ns) / 1e9

    def note(self) -> None:
        """Once a second: note what was counted in it, and tell who looks on."""
        now, hands = self.now(), list(self.crew.hands.values())
        busy = self.books.busiest(hands, now - self.recorder.series.end)
        total = self.books.total(hands)
        self.recorder.note(now, total, busy)
        self.recorder.tell(total, self.books.baseline, self.stop_reason is not None)
        if self.judge.sentence and not self.stop_reason:
            self.incident("threshold", f"the test ends early: {self.judge.sentence}")
            self.stop("threshold")

    def keep_to_the_plan(self) -> None:
        """Let users go when it is time: one by one where the plan says so, and the rest at its end."""
        if self.is_past(self.plan.gone_at) and self.ends_by_itself:
            self.stop("run time")
        elif self.plan.decrease_rate and not self.is_decreasing and self.is_past(self.plan.stop_at):
            self.is_decreasing = True
            users = self.running_users()
            self.add_phase("Maintaining", users, users)
            LOGGER.info("letting users go, %g a second", self.plan.decrease_rate)
            self.crew.tell_all("decrease", t0_ns=self.t0_ns + int((self.plan.stop_at or 0.0) * 1e9))

    ends_by_itself = True
    is_decreasing = False

    def is_past(self, at: float | None) -> bool:
        """Whether a moment of the plan has come; None never does."""
        return self.is_running and at is not None and time.monotonic_ns() - self.t0_ns >= at * 1e9

    def print_running_metrics(self) -> None:
        """Print what was counted so far, when it is time."""
        every, now = self.options.running_metrics, time.time()
        if every and self.is_running and now >= self.printed_at + every:
            self.printed_at = now
            LOGGER.info("printing running metrics after %d seconds...", round(now - self.began_at))
            self.say(render_running(self.report_so_far()))

    def report_so_far(self) -> Report:
        """Return the report of a test that goes on."""
        snapshot = self.books.total(self.crew.hands.values()) - self.books.baseline
        return self.report(snapshot, time.time() - self.measured_from)

    def running_users(self) -> int:
        return sum(hand.arena.users_running for hand in self.crew.hands.values())

    def see_whether_all_started(self) -> None:
        """At the end of the ramp: a phase ends, and what was counted in it is set aside."""
        if not all(hand.arena.users_started >= hand.order.block.count for hand in self.crew.hands.values()):
            return
        self.crew.hear_out()  # of the last one that was launched
        self.all_started = True
        self.add_phase("Increasing", 0, self.holding.block.count)
        LOGGER.info("launched %s users...", self.holding.block.count)
        if self.may_reset and not (self.options.no_reset_metrics or self.plan.iterations):
            self.reset()

    def reset(self) -> None:
        """Begin to measure anew. Counters only grow: what they are now is remembered and taken away later."""
        self.books.reset(list(self.crew.hands.values()))
        self.recorder.reset(self.now(), self.books.baseline)
        self.measured_from = time.time()
        self.say(f"All {self.options.users} users hatched, resetting metrics (disable with --no-reset-metrics).\n")

    def add_phase(self, action: str, before: int, after: int) -> None:
        now = time.time()
        self.phases.append(Phase(action, self.phase_began, now, before, after))
        self.phase_began = now

    # The stop.

    may_reset = True

    # What a manager may ask, beside the start and the stop.

    def renew(self, block: Block) -> None:
        """Be ready for users again, after others have stopped here."""
        self.holding, self.ready, self.is_running, self.all_started = Holding(block), 0, False, False
        self.stop_reason, self.lease_until_ns, self.is_decreasing = None, 0, False
        self.engines = min(self.options.engines or usable_cores(), max(block.count, 1))

    def allow(self, until_ns: int) -> None:
        """Let users run until then (CLOCK_BOOTTIME): their engines end by themselves if nobody says otherwise."""
        self.lease_until_ns = until_ns
        for hand in self.crew.hands.values():
            hand.arena.lease_until_ns = until_ns

    def add(self, block: Block) -> None:
        """Start more users, which were at work elsewhere."""
        self.holding.added.append(block)
        self.share_throttle()
        for hand in self.crew.hands.values():
            if hand.is_ready:
                self.add_to(hand, block)

    def add_to(self, hand: Hand, block: Block) -> None:
        """Start an engine's part of these users."""
        part = block.split(self.engines)[hand.index]
        if part.count:
            hand.channel.send("add", block=asdict(part), t0_ns=self.t0_ns)

    def drop(self, block: Block) -> None:
        """Let the last users of one of our blocks leave; `on_dropped` is called when they have."""
        self.crew.tell_all("drop", block=asdict(block))
        self.have_left(self.holding.drop(block, self.crew.hands))

    def have_left(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.on_dropped(block)

    def kill_all(self) -> None:
        """End all engines now. What they counted is kept."""
        for hand in self.crew.hands.values():
            hand.is_done = True
            hand.kill()

    def stop(self, reason: str) -> None:
        """Ask every user to leave. What happens next is for the engines; the first reason stands."""
        if self.stop_reason or not self.is_running:
            self.stop_reason = self.stop_reason or reason
            return
        self.stop_reason, self.stopped_at = reason, time.monotonic()
        if not self.is_decreasing:
            running = self.running_users()
            action, before = ("Maintaining", running) if self.all_started else ("Increasing", 0)
            self.add_phase(action, before, running)
        self.books.end(self.crew.hands.values())
        LOGGER.info("stopping after %d seconds...", round(time.time() - self.began_at))
        LOGGER.info("waiting for users to exit")
        self.crew.tell_all("stop")

    def end_the_stuck(self) -> None:
        """Kill engines that cannot stop: their loop stands still, or their time is up twice over."""
        since = time.monotonic() - self.stopped_at
        for hand in list(self.crew.hands.values()):
            is_stuck = since > self.options.stop_timeout and hand.turn.looks > STUCK_TICKS
            if is_stuck or since > 2 * self.options.stop_timeout + LAST_SECONDS:
                hand.kill()
                if hand not in self.ended:
                    self.ended.append(hand)
                    why = "a task of it never awaits" if is_stuck else "a task of it does not end when it is cancelled"
                    self.incident("stuck", f"engine {hand.index} did not stop and was killed: {why}")

    def signalled(self, number: int) -> None:
        """The first Ctrl-C or SIGTERM asks users to leave; the second does not ask."""
        name = "ctrl-c" if number == signal.SIGINT else signal.Signals(number).name
        if self.is_running and not self.was_signalled:
            self.was_signalled = True
            LOGGER.warning("caught %s, stopping...", name)
            self.stop("signal")
            return
        how = "caught another %s, exiting immediately..." if self.is_running else "caught %s, exiting..."
        LOGGER.warning(how, name)
        self.outcome.was_interrupted = True
        if self.running:
            self.running.cancel()

    def interrupt(self) -> None:
        """As Ctrl-C, from another thread."""
        if self.running:
            self.running.get_loop().call_soon_threadsafe(self.signalled, signal.SIGINT)

    was_signalled = False
    running: asyncio.Task[Any] | None = None

    # What engines and the launcher say.

    def heard(self, hand: Hand, message: Message) -> None:
        self.ears[message.kind](hand, message.fields)

    def heard_ready(self, hand: Hand, fields: dict[str, Any]) -> None:
        self.ready += 1
        hand.is_ready = True
        if hand.order.is_replacement and self.is_running:  # else it waits for the go, as all do
            for block in self.holding.dropped:  # since it was ordered
                hand.channel.send("drop", block=asdict(block))
            hand.start(self.t0_ns)
            for block in self.holding.added:
                self.add_to(hand, block)
            if self.stop_reason:
                hand.channel.send("stop")

    def heard_done(self, hand: Hand, fields: dict[str, Any]) -> None:
        hand.is_done = True

    def heard_dropped(self, hand: Hand, fields: dict[str, Any]) -> None:
        self.have_left(self.holding.left(hand.pid, Block(**fields["block"])))

    def heard_user(self, hand: Hand, fields: dict[str, Any]) -> None:
        verb = "launching" if fields["event"] == "launching" else "exiting"
        LOGGER.info("%s user %d from %s...", verb, self.holding.own_number(fields["number"]), fields["name"])

    def heard_abort(self, hand: Hand, fields: dict[str, Any]) -> None:
        if self.outcome.failure is None:
            self.outcome.failure = f"aborted by the load test: {fields['reason']}"
            self.incident("abort", self.outcome.failure)
            self.stop("abort")

    def died(self, hand: Hand, status: int) -> None:
        """An engine has ended: as it should, or with its users, who then start again in a new one."""
        was_done = hand.is_done or hand in self.ended
        self.books.close(hand)
        self.have_left(self.holding.left(hand.pid))
        if was_done or (not self.is_running and self.stop_reason) or self.has_lapsed(status):
            return
        why = how_ended(status)
        hint = " (out of memory?)" if status == -signal.SIGKILL else ""
        if self.stop_reason or self.is_decreasing or not self.may_replace(hand.index):
            self.incident("loss", f"engine {hand.index} {why}{hint}; its users were not started again")
            self.outcome.is_incomplete = True
            return
        self.incident("engine", f"engine {hand.index} {why}{hint}; its users start again in a new engine")
        task = asyncio.ensure_future(self.replace(hand.index))
        self.replacing.add(task)
        task.add_done_callback(self.replacing.discard)

    def has_lapsed(self, status: int) -> bool:
        """Whether an engine has ended by itself because the lease is over: others may have its users by now."""
        is_over = 0 < self.lease_until_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return is_over and status == os.EX_TEMPFAIL  # CLOCK_LAPSED of core/clock.pxi

    def may_replace(self, index: int) -> bool:
        now = time.monotonic()
        recent = [at for at in self.deaths.get(index, []) if now - at < DEATHS_SECONDS]
        self.deaths[index] = [*recent, now]
        return len(recent) < MOST_DEATHS

    async def replace(self, index: int) -> None:
        with suppress(LoadTestError):  # the launcher has died as well: it is known, and an incident of its own
            if not self.stop_reason:
                hand = await self.crew.fork(self.order(index, is_replacement=True))
                self.books.cpu_before[hand.pid] = 0.0
                hand.arena.lease_until_ns = self.lease_until_ns

    def launcher_lost(self) -> None:
        """Without the launcher nothing can be started again, and its engines die with it."""
        if self.crew.is_closed:
            return
        if self.is_running:
            self.incident("loss", "the launcher died, and its engines with it")
            self.outcome.is_incomplete = True
            self.stop("launcher lost")
        for hand in self.crew.take_all():
            self.books.close(hand)

    def incident(self, kind: str, text: str) -> None:
        LOGGER.warning("%s", text)
        self.incidents.append(Incident(time.time(), kind, text))

    # The end.

    async def finish(self) -> None:
        """Run the load test's own stop and make the report."""
        if not self.stop_reason:
            self.stop("all users have left")
        users = self.phases[-1].users_to if self.phases else 0
        self.add_phase("Canceling" if self.was_signalled else "Decreasing", users, 0)
        self.recorder.note(self.now(), self.books.left)
        self.recorder.tell(self.books.left, self.books.baseline, is_stopping=True)
        await self.run_test_stop()
        self.outcome.report = self.report(self.books.measured(), max(self.ended_at - self.measured_from, 0.0))

    async def run_test_stop(self) -> None:
        if self.description["has_test_stop"]:
            LOGGER.info("running test_stop")
            try:
                await self.crew.errand("test_stop", self.settings, self.own)
            except LoadTestError as error:
                self.incident("test_stop", str(error).partition("\n")[0])

    def report(self, snapshot: Snapshot, wall: float) -> Report:
        """Return the report of what was counted in the `wall` seconds that were measured."""
        return self.report_of(
            snapshot,
            wall,
            phases=tuple(self.phases),
            incidents=tuple(self.incidents),
            engines=self.books.healths(self.engines, wall),
            series=self.recorder.series,
        )

    def report_of(self, snapshot: Snapshot, duration: float, **measured: Any) -> Report:
        """Return a report of this load test: what was `measured` in it, here or elsewhere, and what it was."""
        options = self.options
        return Report(
            snapshot=snapshot,
            duration=duration,
            classes=tuple(ReportClass(item["name"], tuple(item["rows"])) for item in self.classes),
            hosts=tuple(self.hosts),
            versions=versions(),
            seed=self.seed,
            users=options.users,
            thresholds=self.judge.verdict(snapshot, duration),
            options=said(self.parsed),
            load_test=str(self.parsed.file),
            show_statuses=not options.no_status_codes,
            show_errors=not options.no_error_summary,
            show_tasks=not options.no_task_metrics,
            **measured,
        )


def with_signals(handler: Callable[[int], None]) -> None:
    """Let SIGINT and SIGTERM call `handler`, where this thread may say so."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, handler, number)
        except (ValueError, RuntimeError):  # not the main thread: a notebook has handlers of its own
            return
