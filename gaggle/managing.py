"""The manager's process: sockets, clock, launcher, signals and the report, around a `Manager`."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import fields
from typing import Any

from gaggle import parcel
from gaggle.errors import LoadTestError, ProtocolError
from gaggle.joining import Token, address_for_others, join_command, remove_token, write_token
from gaggle.logs import LOGGER
from gaggle.manager import Counted, Ended, Happened, Line, Manager, Shipment, Started, Terms
from gaggle.metrics import Snapshot
from gaggle.options import SPECS, Options, Role
from gaggle.policy import versions
from gaggle.protocol import decode_worker, encode
from gaggle.report.model import Incident, Phase, Report, ReportClass
from gaggle.supervisor import Outcome, Supervisor, with_signals
from gaggle.transport import LAST_SECONDS, ManagerTransport

TICK_SECONDS = 0.05
REFUSALS_SHOWN = 20  # a port scan must not fill the log


class Managing:
    """Leads a gaggle from its options to its report. The supervisor lends it the launcher and the load test."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor, self.say = supervisor, supervisor.say
        self.total = Snapshot.empty()
        self.incidents: list[Incident] = []
        self.outcome = Outcome()
        self.recorder = supervisor.recorder
        self.ahead: dict[str, float] = {}  # by worker, seconds: what its wall clock lacks to ours, as far as is known
        self.began_at = self.stopped_at = 0.0
        self.signals = self.refusals = self.t0_ns = 0
        self.is_over = False

    async def run(self) -> Outcome:
        """Run the gaggle to its end."""
        supervisor = self.supervisor
        await supervisor.describe()
        try:
            supervisor.settle()
            LOGGER.info("initializing user states...")
            shipment = await self.shipment()
            self.manager = Manager(self.terms(await supervisor.prepare_shared(), shipment))
            self.open_door()
            with_signals(self.signalled)
            while not self.is_over:
                self.transport.drain()
                self.manager.tick(boot_ns())
                self.work_off()
                if self.recorder.is_due(self.now()):
                    self.note()
                await asyncio.sleep(TICK_SECONDS)
            if not self.outcome.was_interrupted:
                await self.finish()
        finally:
            self.close()
        return self.outcome

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
        )

    def open_door(self) -> None:
        """Listen, and say how others join."""
        options = self.supervisor.options
        self.token = None if options.open_gaggle else Token.make()
        self.transport = ManagerTransport(self.heard, self.refused)
        host, port = options.manager_bind_host, options.manager_bind_port
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
        self.say(f"Workers on this machine join by themselves; on another machine:\n  {command}\n")

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
                if not self.transport.send(peer, encode(message)):
                    self.manager.disconnected(peer)
            while self.manager.news:
                self.act(self.manager.news.pop(0))

    def act(self, news: Any) -> None:
        if isinstance(news, Line):
            (LOGGER.warning if news.level == "WARN" else LOGGER.info)("%s", news.text)
        elif isinstance(news, Counted):
            self.count(news)
        elif isinstance(news, Happened):
            self.incident(news.kind, news.text)
            self.outcome.is_incomplete |= news.lost
        elif isinstance(news, Started):
            self.t0_ns = news.t0_ns
            self.began_at = time.time() + (news.t0_ns - boot_ns()) / 1e9
            self.recorder.begin(self.began_at)
        elif isinstance(news, Ended):
            self.is_over = True

    def count(self, news: Counted) -> None:
        """Add what a worker has counted; only then may it forget it."""
        try:
            for part in news.parts:
                delta = Snapshot.unpack(part)
                self.total.merge(delta)
                if self.recorder.has_begun:
                    self.recorder.count(*self.stretch(news), delta)
        except ValueError as error:
            self.incident("loss", f"a worker sent counts that cannot be read: {error}")
            self.outcome.is_incomplete = True
        self.manager.acknowledge(news.node, news.number)

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
        self.recorder.tell(self.total, Snapshot.empty())

    def incident(self, kind: str, text: str) -> None:
        LOGGER.warning("%s", text)
        self.incidents.append(Incident(time.time(), kind, text))

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

    async def finish(self) -> None:
        """Run the load test's own stop and make the report."""
        self.stopped_at = time.time()
        self.recorder.turn(self.now(), 0)
        await self.supervisor.run_test_stop()
        self.incidents += self.supervisor.incidents
        self.outcome.report = self.report()

    def report(self) -> Report:
        supervisor = self.supervisor
        ramp_end = min(self.began_at + supervisor.plan.ramp_seconds, self.stopped_at)
        users = supervisor.options.users
        return Report(
            snapshot=self.total,
            duration=max(self.stopped_at - self.began_at, 0.0) if self.began_at else 0.0,
            classes=tuple(ReportClass(item["name"], tuple(item["rows"])) for item in supervisor.description["classes"]),
            phases=(
                Phase("Increasing", self.began_at, ramp_end, 0, users),
                Phase("Maintaining", ramp_end, self.stopped_at, users, users),
            ) if self.began_at else (),
            hosts=tuple(supervisor.hosts()),
            incidents=tuple(self.incidents),
            versions=versions(),
            seed=supervisor.seed,
            users=users,
            series=self.recorder.series,
            load_test=str(supervisor.parsed.file),
            show_statuses=not supervisor.options.no_status_codes,
            show_errors=not supervisor.options.no_error_summary,
        )  # fmt: skip

    def close(self) -> None:
        self.supervisor.crew.close()
        with suppress(AttributeError):
            self.transport.close(LAST_SECONDS)
            if self.token:
                remove_token(self.token, self.transport.port)


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def sent(options: Options) -> dict[str, Any]:
    """Return the options that lead, which workers follow."""
    names = [field.name for field in fields(options)]
    return {name: getattr(options, name) for name in names if SPECS[name].sent and SPECS[name].roles & Role.LEADS}
