"""The manager's process: sockets, clock, launcher, signals and the report, around a `Manager`."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gaggle import limits, manager, packing, parcel, units
from gaggle.boot import boot_id, boot_ns
from gaggle.errors import LoadTestError, ProtocolError
from gaggle.joining import Token, address_for_others, is_local, join_command, remove_token, write_token
from gaggle.keeping import Keeper
from gaggle.ledger import Ledger, healths
from gaggle.logs import LOGGER
from gaggle.manager import Manager
from gaggle.metrics import Snapshot
from gaggle.news import Counted, Ended, Halted, Happened, Line, Missing, Noted, Resumed, Started
from gaggle.protocol import Message, decode_worker, encode
from gaggle.recorder import Node
from gaggle.report.model import Incident, Phase, Report
from gaggle.report.text import render_running
from gaggle.resuming import earlier_test, file_of, led, sent
from gaggle.standing import Standing, lead_of, pack, shares_of, take_up
from gaggle.statefile import StateFile
from gaggle.supervisor import Outcome, Supervisor, with_signals
from gaggle.terms import Shipment, Terms
from gaggle.transport import LAST_SECONDS, ManagerTransport

TICK_SECONDS = 0.05
SILENT_SECONDS = 3.0  # of a worker, which should be heard every second
REFUSALS_SHOWN = 20  # a port scan must not fill the log


class Managing:
    """Leads a gaggle from its options to its report. The supervisor lends it the launcher and the load test."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor, self.say = supervisor, supervisor.say
        self.ledger = Ledger()
        self.incidents: list[Incident] = []
        self.notes: list[str] = []
        self.outcome = Outcome()
        self.recorder = supervisor.recorder
        self.ahead: dict[str, float] = {}  # by worker, seconds: what its wall clock lacks to ours, as far as is known
        self.began_at = self.halted_at = self.stopped_at = 0.0  # unix seconds
        self.was_reset = self.was_canceled = False
        self.signals = self.refusals = self.t0_ns = 0
        self.is_over = False
        self.file: StateFile | None = None
        self.keeper: Keeper | None = None
        self.before: Standing | None = None  # the test of a manager before us, which we take up
        self.away = 0.0  # seconds for which there was no manager

    async def run(self) -> Outcome:
        """Run the gaggle to its end."""
        supervisor = self.supervisor
        await supervisor.describe()
        try:
            self.open_file()
            supervisor.settle()
            LOGGER.info("initializing user states...")
            shared = self.before.shared if self.before else await supervisor.prepare_shared()
            self.manager = Manager(self.terms(shared, await self.shipment()))
            self.open_door()
            if self.before:
                self.take_up(self.before)
            if self.file:
                self.begin_to_keep(self.file)
            with_signals(self.signalled)
            while not self.is_over:
                self.tick()
                await asyncio.sleep(TICK_SECONDS)
            if self.keeper:
                await self.keeper.settle()
            if not self.outcome.was_interrupted:
                await self.finish()
            self.forget()
        finally:
            self.close()
        return self.outcome

    def tick(self) -> None:
        """Hear everybody before anybody is called silent."""
        self.transport.drain()
        self.manager.wall_ahead = time.time() - boot_ns() / 1e9
        self.manager.tick(boot_ns())
        if self.manager.state == "running" and not self.was_reset and time.time() >= self.resets_at:
            self.was_reset = True
            self.say(f"All {self.supervisor.options.users} users hatched, resetting metrics.\n")
        self.work_off()
        if self.keeper:
            self.keeper.tick(self.manager.state != "gathering")
        if self.recorder.is_due(self.now()):
            self.note()
        self.print_running_metrics()

    @property
    def resets_at(self) -> float:
        """When what was counted before is set aside, in unix seconds: each worker does so by itself."""
        supervisor = self.supervisor
        return self.began_at + supervisor.plan.ramp_seconds if supervisor.options.reset_metrics else float("inf")

    async def shipment(self) -> Shipment | None:
        """Return the load test for workers that come without one, if it is to be sent."""
        if not self.supervisor.options.ship:
            return None
        data = await self.supervisor.crew.parcel()
        return Shipment(parcel.digest_of(data), parcel.pieces_of(data))

    def terms(self, shared: Any, shipment: Shipment | None) -> Terms:
        options = self.supervisor.options
        return Terms(
            plan=self.supervisor.plan,
            expect=options.expect_workers,
            hash=self.supervisor.description["hash"],
            options={**sent(options), "own": self.supervisor.own},
            shipment=shipment,
            lease=options.lease,
            seed=self.supervisor.seed,
            shared=shared,
            no_hash_check=options.no_hash_check,
            on_loss=options.on_worker_loss,
            most_wait=options.expect_workers_max_wait,
            least_workers=options.min_workers,
            stop_timeout=options.stop_timeout,
            throttle=options.throttle_requests,
            test=self.before.test if self.before else secrets.token_hex(16),
            boot=boot_id(),
            rebalance=options.rebalance,
        )

    def open_door(self) -> None:
        """Listen, and say how others join."""
        options = self.supervisor.options
        self.token = None if options.open_gaggle else Token.make()
        if self.before and self.token:
            self.token = Token(self.before.token)
        limits.raise_descriptors()  # each worker has a connection
        self.transport = ManagerTransport(self.heard, self.refused)
        host, port = options.manager_bind_host, options.manager_bind_port
        if self.before and not port:
            port = self.before.port
        try:
            self.transport.bind(host, port, self.token.keys() if self.token else None)
        except OSError as error:
            raise LoadTestError(f"cannot listen on tcp://{host}:{port}: {error.strerror or error}") from error
        each, more = divmod(options.users, options.expect_workers)
        extra = f", assigning 1 extra to {more} workers" if more else ""
        where = f"tcp://{host}:{self.transport.port}"
        LOGGER.info("manager listening on %s, waiting for %d workers", where, options.expect_workers)
        LOGGER.info("each worker to start %d users%s", each, extra)
        if self.token is None:
            LOGGER.warning("the gaggle is open: whoever reaches port %d takes part in it", self.transport.port)
            return
        write_token(self.token, self.transport.port)
        file = None if options.ship else str(self.supervisor.parsed.file)
        command = join_command(self.token, file, address_for_others(host), self.transport.port)
        others = "or by" if is_local(host) else "on another machine"
        self.say(f"Workers on this machine join by themselves; {others}:\n  {command}\n")

    # What workers say.

    def heard(self, peer: bytes, frames: list[bytes]) -> None:
        """Take a message. A peer that says what it may not is refused; the gaggle goes on."""
        try:
            self.manager.hear(peer, decode_worker(frames), boot_ns())
        except ProtocolError as error:
            self.refused("a worker", str(error))
            self.manager.dismiss(peer, str(error))
        self.work_off()

    def refused(self, who: str, why: str) -> None:
        self.refusals += 1
        if self.refusals <= REFUSALS_SHOWN:
            LOGGER.warning("%s was refused: %s", who, why)

    def work_off(self) -> None:
        """Send what is to be sent, and act on what has happened."""
        while self.manager.outbox or self.manager.news:
            while self.manager.outbox:
                peer, message = self.manager.outbox.pop(0)
                (self.keeper.say if self.keeper else self.send)(peer, message)
            while self.manager.news:
                self.act(self.manager.news.pop(0))

    def send(self, peer: bytes, message: Message) -> None:
        if not self.transport.send(peer, encode(message)):
            self.manager.disconnected(peer)

    def act(self, news: Any) -> None:
        if isinstance(news, Line):
            (LOGGER.warning if news.level == "WARN" else LOGGER.info)("%s", news.text)
        elif isinstance(news, Counted):
            self.count(news)
        elif isinstance(news, Happened):
            self.incident(news.kind, news.text)
            self.outcome.is_incomplete |= news.lost
        elif isinstance(news, Noted):
            LOGGER.warning("%s", news.text)
            self.notes.append(news.text)
        elif isinstance(news, Missing):
            self.notes.append(self.ledger.missing(news.node, news.number, self.began_at, wall(news.until_ns)))
        elif isinstance(news, Resumed):
            self.tell_of_absence(news)
        elif isinstance(news, Started):
            self.t0_ns = news.t0_ns
            self.began_at = wall(news.t0_ns)
            self.recorder.begin(self.began_at)
        elif isinstance(news, Halted):
            self.halted_at, self.was_canceled = time.time(), news.reason in ("signal", "interrupt")
        elif isinstance(news, Ended):
            self.is_over = True

    def count(self, news: Counted) -> None:
        """Add what a worker has counted; only then may it forget it."""
        try:
            interval = self.recorder.interval(*self.stretch(news)) if self.recorder.has_begun else None
            self.ledger.add(news.node, news.parts, news.began, news.ended, news.is_ramp, interval)
        except ValueError as error:
            self.incident("loss", f"a worker sent counts that cannot be read: {error}")
            self.outcome.is_incomplete = True
        (self.keeper.count if self.keeper else self.manager.acknowledge)(news.node, news.number)

    def acknowledge(self, node: str, number: int) -> None:
        self.manager.acknowledge(node, number)
        self.work_off()

    def stretch(self, news: Counted) -> tuple[float, float]:
        """Return from when to when it was counted, by our clock.

        A worker's clock may be wrong. What it has just counted was on its way for next to no time, so the least that
        a delta's end ever was behind our clock is what theirs lacks.
        """
        behind = min(self.now() - news.ended, self.ahead.get(news.node, float("inf")))
        self.ahead[news.node] = behind
        return news.began + behind, news.ended + behind

    def now(self) -> float:
        """Return the time of the run, unix seconds: it never goes back, whatever somebody does to the clock."""
        return self.began_at + (boot_ns() - self.t0_ns) / 1e9

    def note(self) -> None:
        """Once a second: end it, and tell who looks on."""
        self.recorder.turn(self.now(), self.manager.users_running)
        self.tell()
        if (sentence := self.supervisor.judge.sentence) and self.manager.state == "running":
            self.incident("threshold", f"the test ends early: {sentence}")
            self.manager.stop("threshold", boot_ns())
            self.work_off()

    def tell(self) -> None:
        """Tell who looks on where the test stands. What a reset has set aside is counted anew here, if anybody does."""
        if self.recorder.observers:
            is_stopping = self.manager.state != "running"
            set_aside = Snapshot.read(self.ledger.ramp) if self.was_reset else Snapshot.empty()
            self.recorder.tell(self.ledger.measured(False), set_aside, is_stopping, self.workers())

    def workers(self) -> list[Node]:
        """Return how each worker that has a number stands, for who looks on."""
        nodes = sorted((node for node in self.manager.nodes.values() if node.number), key=lambda node: node.number)
        return [standing_of(node, boot_ns()) for node in nodes]

    def print_running_metrics(self) -> None:
        """Print what workers have told so far, when it is time."""
        every, now = self.supervisor.options.running_metrics, time.time()
        if every and self.began_at and now >= max(self.began_at, self.printed_at) + every:
            self.printed_at = now
            LOGGER.info("printing running metrics after %d seconds...", round(now - self.began_at))
            self.say(render_running(replace(self.report(), duration=now - self.began_at)))

    printed_at = 0.0

    def incident(self, kind: str, text: str) -> None:
        LOGGER.warning("%s", text)
        self.incidents.append(Incident(time.time(), kind, text))

    # The test on disk.

    def open_file(self) -> None:
        """Take the state file, and the test in it if we are to. Raises InvalidOption and LoadTestError."""
        self.file = file_of(self.supervisor)
        self.before = earlier_test(self.file, self.supervisor, self.ledger) if self.file else None
        if self.before:
            self.supervisor.options = replace(self.supervisor.options, seed=self.before.seed)

    def begin_to_keep(self, file: StateFile) -> None:
        """Write the test for the first time. Raises LoadTestError."""
        self.keeper = Keeper(file, self.standing, self.send, self.acknowledge, self.not_kept)
        try:
            file.write(self.standing())
        except OSError as error:
            raise LoadTestError(f"the state file {file.path} cannot be written: {error.strerror}") from None

    def take_up(self, before: Standing) -> None:
        """Go on where the manager before us has stood. On a machine that was started again, time is the wall's."""
        now = time.time()
        self.began_at, self.halted_at, self.away = before.began_at, before.halted_at, max(now - before.saved_at, 0.0)
        self.was_canceled, self.was_reset = before.was_canceled, before.was_reset
        self.outcome.is_incomplete = before.is_incomplete
        self.incidents, self.notes = list(before.incidents), list(before.notes)
        take_up(self.manager, before.lead, boot_ns())
        if before.boot != boot_id() and before.lead.t0_ns:
            self.manager.t0_ns = boot_ns() + int((before.began_at - now) * 1e9)
        self.t0_ns = self.manager.t0_ns
        if self.began_at:
            self.recorder.begin(self.began_at)
            self.notes.append("What was counted before the manager was away is in the totals, and not in the chart")
        LOGGER.info("taking up the test of %s, %.0f seconds later", clock(before.saved_at), self.away)
        if self.manager.state == "gathering":
            self.away = 0.0

    def tell_of_absence(self, news: Resumed) -> None:
        """Say in the report what it did to the load that there was no manager."""
        all_of_them = units.thousands(news.kept + news.ended)
        what = f"of {all_of_them} users {units.thousands(news.ended)} ended, and began again when their worker was back"
        load = what if news.ended else f"all {all_of_them} users went on"
        self.incident("manager", f"the manager was away for {self.away:.0f} seconds: {load}")

    def standing(self) -> bytes:
        """Return all that another manager must know."""
        supervisor = self.supervisor
        return pack(
            Standing(
                test=self.manager.terms.test,
                hash=supervisor.description["hash"],
                token=self.token.secret if self.token else b"",
                port=self.transport.port,
                boot=boot_id(),
                saved_at=time.time(),
                options=led(supervisor.options),
                seed=supervisor.seed,
                shared=self.manager.terms.shared,
                lead=lead_of(self.manager),
                began_at=self.began_at,
                halted_at=self.halted_at,
                was_canceled=self.was_canceled,
                was_reset=self.was_reset,
                is_incomplete=self.outcome.is_incomplete,
                incidents=tuple(self.incidents),
                notes=tuple(self.notes),
                total=packing.pack(Snapshot.read(self.ledger.counted)),
                ramp=packing.pack(Snapshot.read(self.ledger.ramp)),
                shares=shares_of(self.ledger),
            )
        )

    def not_kept(self, error: OSError) -> None:
        """The disk takes no more: go on without it, if nobody can take up what is on it by mistake."""
        assert self.file is not None
        self.incident("state", f"the state file {self.file.path} cannot be written any more: {error.strerror}")
        try:
            self.file.remove()
        except OSError:
            self.manager.stop("state", boot_ns())

    def forget(self) -> None:
        """The test has ended: nobody shall take it up."""
        if self.file:
            with suppress(OSError):
                self.file.remove()

    # The end.

    def signalled(self, number: int) -> None:
        name = "ctrl-c" if number == signal.SIGINT else signal.Signals(number).name
        self.signals += 1
        if self.signals == 1 and self.manager.state != "gathering":
            LOGGER.warning("caught %s, stopping...", name)
            LOGGER.info("stopping after %d seconds...", round(time.time() - self.began_at))
            self.manager.stop("signal", boot_ns())
            self.work_off()
            return
        how = "caught another %s, exiting immediately..." if self.signals > 1 else "caught %s, exiting..."
        LOGGER.warning(how, name)
        self.outcome.was_interrupted = self.is_over = True
        self.manager.abandon()
        self.work_off()
        if self.keeper:
            self.keeper.flush()

    async def finish(self) -> None:
        """Run the load test's own stop and make the report."""
        self.stopped_at = time.time()
        self.recorder.turn(self.now(), 0)
        self.tell()
        await self.supervisor.run_test_stop()
        self.incidents += self.supervisor.incidents
        self.outcome.report = self.report()

    def report(self) -> Report:
        supervisor = self.supervisor
        workers = [(node.number, node.health) for node in self.manager.nodes.values() if node.has_worked]
        since = self.resets_at if self.was_reset else self.began_at
        measured = self.ledger.measured(self.was_reset)
        duration = max(self.stopped_at - since, 0.0) if self.began_at else 0.0
        return supervisor.report_of(
            measured,
            duration,
            phases=tuple(self.phases()),
            incidents=tuple(self.incidents),
            engines=healths(workers),
            series=self.recorder.series,
            notes=tuple(self.notes),
        )

    def phases(self) -> Iterator[Phase]:
        """Yield how many users there were when, by the plan: what a loss did to them is among the incidents."""
        if not self.began_at:
            return
        plan, began, halted = self.supervisor.plan, self.began_at, self.halted_at or self.stopped_at or time.time()
        top, ramp_end = began + plan.ramp_seconds, min(began + plan.ramp_seconds, halted)
        users = plan.users if halted >= top else plan.users_at(halted - began)
        yield Phase("Increasing", began, ramp_end, 0, users)
        if halted >= top:
            yield Phase("Maintaining", ramp_end, halted, users, users)
        yield Phase("Canceling" if self.was_canceled else "Decreasing", halted, self.stopped_at, users, 0)

    def close(self) -> None:
        self.supervisor.crew.close()
        if self.file:
            self.file.close()
        with suppress(AttributeError):
            self.transport.close(LAST_SECONDS)
            if self.token:
                remove_token(self.token, self.transport.port)


def standing_of(worker: manager.Node, now_ns: int) -> Node:
    """Return how a worker stands: gone, silent for too long to be well, or at work."""
    name = f"{worker.number} {worker.hello.host}"
    silent = (now_ns - worker.heard_ns) / 1e9
    busy = max((engine.busy for engine in healths([(worker.number, worker.health)])), default=0.0)
    if worker.is_gone:
        return Node(name, 0, busy, "gone", is_troubled=not worker.has_ended)
    if silent > SILENT_SECONDS:
        return Node(name, worker.users, busy, f"silent for {silent:.0f} s", is_troubled=True)
    return Node(name, worker.users, busy, "working" if worker.users else "idle")


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def wall(at_ns: int) -> float:
    """Return a moment of CLOCK_BOOTTIME in unix seconds."""
    return time.time() + (at_ns - boot_ns()) / 1e9
