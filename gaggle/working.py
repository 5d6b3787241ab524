"""A worker's process: sockets, clock, engines and signals, around a `Worker`."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gaggle import logs, parcel
from gaggle.boot import boot_id, boot_ns
from gaggle.errors import InvalidOption, LoadTestError, ProtocolError
from gaggle.fetcher import Fetcher, Unpack
from gaggle.joining import NoToken, find_token
from gaggle.logs import LOGGER
from gaggle.metrics import Snapshot
from gaggle.options import usable_cores
from gaggle.packing import pack
from gaggle.plan import Block, Plan
from gaggle.policy import settings_of
from gaggle.protocol import Exit, Hello, Message, Stop, Welcome, Work, decode_manager, encode
from gaggle.sources import DEFAULT_FILE
from gaggle.supervisor import Outcome, Supervisor, with_signals
from gaggle.transport import LAST_SECONDS, Closed, Reason, WorkerTransport, resolve
from gaggle.worker import Add, Allow, Deed, Drop, End, Halt, Kill, Numbers, Prepare, Start, Worker

TICK_SECONDS = 0.05
HEALTH_SECONDS = 5.0
RETRY_SECONDS = 0.5
LARGEST_PART = 900_000  # of a delta: a message has at most 1 MiB
# What trying again does not mend.
HOPELESS = (Reason.STRANGER, Reason.WANTS_TOKEN, Reason.IS_OPEN, Reason.WRONG_TOKEN)


class Working:
    """Takes part in a gaggle until its manager lets it go."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.outcome = Outcome()
        self.told = Snapshot.empty()  # what the deltas so far add up to
        self.told_at, self.told_second = time.time(), 0
        self.session: WorkerTransport | None = None
        self.next_try = 0.0
        self.alone_since = time.monotonic()
        self.was_joined = self.was_told_to_stop = self.is_over = self.is_fetched = False
        self.speaker: Worker | Fetcher = Fetcher()
        self.signals = 0
        self.watching: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.troubles = 0  # incidents that the manager was told of
        self.ramp_until_ns = 0  # CLOCK_BOOTTIME at which what was counted is set aside; 0: not any more, or never
        self.worked = 0.0  # seconds for which users ran here, before those that run now
        self.working_since = 0.0  # monotonic; 0: none run
        self.health_due = 0.0

    async def run(self) -> Outcome:
        """Work until the end."""
        if not self.takes_load_test():
            await self.work()
            return self.outcome
        with TemporaryDirectory(prefix="gaggle-", ignore_cleanup_errors=True) as home:
            self.home = Path(home)
            await self.fetch()
            if not self.is_over:
                await self.work()
        return self.outcome

    async def work(self) -> None:
        """Import the load test, and serve the manager."""
        await self.supervisor.describe()
        options = self.supervisor.options
        try:
            with_signals(self.signalled)
            self.supervisor.begin_records()
            self.supervisor.may_reset = self.supervisor.ends_by_itself = False
            self.supervisor.on_dropped = self.dropped
            self.speaker = self.worker = Worker(self.hello(), state="waiting")
            LOGGER.info("worker connecting to manager at tcp://%s:%d", options.manager_host, options.manager_port)
            while not self.is_over:
                await self.keep_session()
                self.tick()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self.supervisor.crew.close()
            if self.session:
                self.session.close(LAST_SECONDS)

    # The load test, where it comes from the manager.

    def takes_load_test(self) -> bool:
        """Whether the manager's load test is to be run: none is given, or it was asked for. Raises InvalidOption."""
        parsed = self.supervisor.parsed
        if parsed.options.ship and parsed.file not in (None, DEFAULT_FILE):
            detail = f"With {parsed.sources['ship']} a worker runs the manager's load test: do not name another."
            raise InvalidOption("FILE", parsed.file, detail)
        if parsed.file is None and parsed.options.open_gaggle:
            detail = "No load test is given, and a worker of an open gaggle takes none from its manager: gaggle FILE."
            raise InvalidOption("FILE", "", detail)
        return parsed.file is None or parsed.options.ship

    async def fetch(self) -> None:
        """Take the manager's load test; it lives in a directory of its own until the end."""
        options = self.supervisor.options = self.supervisor.parsed.options
        with_signals(self.signalled)
        LOGGER.info("asking the manager at tcp://%s:%d for its load test", options.manager_host, options.manager_port)
        try:
            while not self.is_over and not self.is_fetched:
                await self.keep_session()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            if self.session:
                self.session.close()
            self.session, self.next_try, self.alone_since = None, 0.0, time.monotonic()

    def unpack(self, deed: Unpack) -> None:
        """Write the load test where only this user can read it."""
        try:
            file = parcel.write(deed.parcel, self.home)
        except LoadTestError as error:
            self.end(str(error))
            return
        self.supervisor.parsed = replace(self.supervisor.parsed, file=file)
        self.is_fetched = True
        LOGGER.info("received %s and %d more files", deed.parcel.load_test, len(deed.parcel.files) - 1)

    def hello(self) -> Hello:
        return Hello(
            node=secrets.token_hex(16),
            host=socket.gethostname()[:200],
            pid=os.getpid(),
            hash=self.supervisor.description["hash"],
            engines=self.supervisor.options.engines or usable_cores(),
            boot=boot_id(),
            cores=tuple(sorted(os.sched_getaffinity(0))),
        )

    # The session.

    async def keep_session(self) -> None:
        """Have a session, or try again to get one. Before the first one only --manager-timeout ends the trying."""
        options = self.supervisor.options
        if self.session is not None or time.monotonic() < self.next_try:
            return
        waited = time.monotonic() - self.alone_since
        if waited > (options.manager_grace if self.was_joined else options.manager_timeout or float("inf")):
            where = f"tcp://{options.manager_host}:{options.manager_port}"
            self.end(f"the manager at {where} was not heard for {waited:.0f} seconds")
            return
        self.next_try = time.monotonic() + RETRY_SECONDS
        try:
            keys = None if options.open_gaggle else find_token(options.manager_port, options.join_token_file)[0].keys()
            addresses = await resolve(options.manager_host, options.manager_port)
        except (NoToken, OSError) as error:
            logs.warn_once("alone", "waiting for the manager: %s", error)
            return
        self.session = WorkerTransport(self.heard, self.opened, self.closed)
        self.session.connect(addresses, keys)

    def opened(self) -> None:
        if isinstance(self.speaker, Worker):
            if not self.was_joined:
                LOGGER.info("waiting for instructions from manager")
            self.was_joined = True
        self.speaker.connected()
        self.work_off()

    def closed(self, closed: Closed) -> None:
        """The session has ended, or never came to be."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self.next_try = time.monotonic() + RETRY_SECONDS
        if self.is_over:
            return
        if closed.reason in HOPELESS:
            self.end(f"the manager does not let this worker in: {closed}")
            return
        if closed.reason is Reason.LOST:
            self.alone_since = time.monotonic()
            LOGGER.warning("the connection to the manager is lost: trying again")
        self.speaker.disconnected()

    def heard(self, frames: list[bytes]) -> None:
        try:
            message = decode_manager(frames)
            if isinstance(self.speaker, Worker):
                self.take_note(message)
            self.speaker.hear(message, boot_ns())
        except ProtocolError as error:
            self.end(str(error))
        self.work_off()

    def take_note(self, message: Message) -> None:
        """Tell the person what they should know of what the manager said, and freeze the last delta in time."""
        if isinstance(message, (Stop, Exit)) and not self.worker.is_interrupted:
            self.was_told_to_stop = True
            LOGGER.info("received EXIT command from manager")
        if isinstance(message, Welcome) and not message.worker and not message.epoch:
            LOGGER.info("this worker is a spare: %d were expected, and are there", message.workers)
        if isinstance(message, Exit):
            self.freeze()  # what users had begun when they were ended is in no delta yet

    def work_off(self) -> None:
        """Do what is to be done, send what is to be sent."""
        while self.speaker.todo:
            self.do(self.speaker.todo.pop(0))
        while self.speaker.outbox:
            message = self.speaker.outbox.pop(0)
            if self.session is None or not self.session.send(encode(message)):
                continue  # it is said again when there is a session

    # Time.

    def tick(self) -> None:
        self.worker.tick(boot_ns(), self.numbers())
        self.tell_troubles()
        if self.ramp_until_ns and boot_ns() >= self.ramp_until_ns:
            self.reset()
        if time.monotonic() >= self.health_due:
            self.tell_health()
        if self.second() != self.told_second and self.worker.may_freeze():
            self.freeze()
        self.work_off()

    def second(self) -> int:
        """Return the number of the test's present second: at its turn all workers send what they counted."""
        return (time.monotonic_ns() - self.supervisor.t0_ns) // 1_000_000_000

    def tell_troubles(self) -> None:
        """Tell the manager what a reader of the report must know; what happens between two sessions is told after."""
        if self.worker.is_connected and self.worker.state != "greeting":
            incidents = self.supervisor.incidents[self.troubles :]
            self.troubles += len(incidents)
            for incident in incidents:
                self.worker.trouble(incident.at, incident.kind, incident.text)

    def reset(self) -> None:
        """Set aside what was counted while users started, at the moment at which all workers do."""
        self.freeze()
        self.ramp_until_ns = 0
        for hand in self.supervisor.crew.hands.values():
            hand.arena.epoch += 1

    def tell_health(self) -> None:
        """Tell how hard the engines have worked so far."""
        self.health_due = time.monotonic() + HEALTH_SECONDS
        now = time.monotonic()
        seconds = self.worked + (now - self.working_since if self.working_since else 0.0)
        found = self.supervisor.books.so_far(self.supervisor.crew.hands.values())
        if seconds > 0:
            self.worker.worked(tuple(Work(index, cpu, seconds, made) for index, (cpu, made) in sorted(found.items())))

    def numbers(self) -> Numbers:
        hands = list(self.supervisor.crew.hands.values())
        return Numbers(
            users=sum(hand.arena.users_running for hand in hands),
            wall=time.time(),
            # This looks at all rows, which is too much for 20 times a second.
            has_pending=self.worker.is_leaving and not self.pending().idle,
        )

    def pending(self) -> Snapshot:
        return self.supervisor.books.total(self.supervisor.crew.hands.values()) - self.told

    def freeze(self) -> None:
        """Send what was counted since the last delta."""
        total = self.supervisor.books.total(self.supervisor.crew.hands.values())
        delta = total - self.told
        if not delta.idle:
            is_ramp = self.ramp_until_ns > 0
            self.worker.freeze(self.worker.epoch, self.told_at, time.time(), parts_of(delta), is_ramp)
            self.told = total
        self.told_at, self.told_second = time.time(), self.second()

    # What the manager wants done.

    def do(self, deed: Deed | Unpack) -> None:
        if isinstance(deed, Prepare):
            self.start_task(self.prepare(deed))
        elif isinstance(deed, Start):
            self.start(deed)
        elif isinstance(deed, Add):
            for block in deed.blocks:
                self.supervisor.add(block)
        elif isinstance(deed, Drop):
            LOGGER.info("%d users go to another worker", deed.block.count)
            self.supervisor.drop(deed.block)
        elif isinstance(deed, Allow):
            self.supervisor.throttle_to(deed.throttle)
            self.supervisor.allow(deed.until_ns)
        elif isinstance(deed, Halt):
            self.halt(deed.reason)
        elif isinstance(deed, Kill):
            LOGGER.warning("the manager was not heard in time: users are ended, others may have them by now")
            self.supervisor.kill_all()
        elif isinstance(deed, Unpack):
            self.unpack(deed)
        elif isinstance(deed, End):
            self.end(deed.error)

    def start_task(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def prepare(self, deed: Prepare) -> None:
        """Fork the engines for these users."""
        assign, supervisor = deed.assign, self.supervisor
        if self.watching:
            await self.watching  # engines of the last epoch are still ending
        LOGGER.info("initializing user states...")
        logs.prefix(f"[{self.worker.number}] ")
        options = {**assign.options, "users": assign.users, "hatch_rate": assign.hatch_rate}
        supervisor.own = options.pop("own", {})
        supervisor.options = replace(supervisor.options, **options)
        supervisor.seed, supervisor.shared = assign.seed, assign.shared
        supervisor.plan = Plan.of(supervisor.options)
        supervisor.settings = settings_of(supervisor.options)
        supervisor.renew(assign.blocks[0])
        try:
            supervisor.choose()
            await supervisor.fork_engines()
        except (LoadTestError, InvalidOption) as error:
            self.worker.failed(str(error))
            return
        if self.worker.epoch != assign.epoch:
            supervisor.kill_all()
            return
        LOGGER.info("initialized %d user states", sum(block.count for block in assign.blocks))
        LOGGER.info("waiting for go-ahead from manager")
        supervisor.allow(self.worker.lease_until_ns)
        self.watching = asyncio.ensure_future(self.watch(assign.epoch))
        self.worker.prepared()
        self.work_off()

    def start(self, deed: Start) -> None:
        rate = self.supervisor.plan.hatch_rate
        LOGGER.info("entering gaggle mode, starting load test")
        LOGGER.info("prepared to start 1 user every %.2f seconds", self.supervisor.holding.block.step / rate)
        self.supervisor.go(deed.t0_ns - boot_ns() + time.monotonic_ns())
        self.working_since = time.monotonic()
        ramp_until_ns = deed.t0_ns + int(self.supervisor.plan.ramp_seconds * 1e9)
        if self.supervisor.options.reset_metrics and ramp_until_ns > boot_ns():
            self.ramp_until_ns = ramp_until_ns
        for block in deed.more:
            self.supervisor.add(block)

    def dropped(self, block: Block) -> None:
        self.worker.freed(block)
        self.work_off()

    def halt(self, reason: str) -> None:
        if self.supervisor.is_running:
            self.supervisor.stop(reason)
        else:
            self.supervisor.kill_all()

    async def watch(self, epoch: int) -> None:
        """Look after the engines of an epoch; at their end, send the rest of what they counted."""
        await self.supervisor.watch()
        self.watching = None
        if self.working_since:
            self.worked, self.working_since = self.worked + time.monotonic() - self.working_since, 0.0
        self.tell_health()
        self.tick()  # engines may have seen before us that the lease is over
        self.freeze()
        if self.worker.epoch == epoch:
            if self.supervisor.stop_reason == "launcher lost":
                self.worker.failed("its launcher died")
            else:
                self.worker.stopped()
            self.work_off()

    # The end.

    def signalled(self, number: int) -> None:
        """Ctrl-C stops all of the gaggle, SIGTERM this worker."""
        self.signals += 1
        name = "ctrl-c" if number == signal.SIGINT else signal.Signals(number).name
        if self.signals > 1 or not self.was_joined:
            LOGGER.warning("caught %s, exiting...", name)
            self.outcome.was_interrupted = self.is_over = True
            return
        with logs.no_prefix():
            LOGGER.warning("caught %s, stopping...", name)
        (self.worker.interrupt if number == signal.SIGINT else self.worker.leave)()
        self.work_off()

    def end(self, error: str | None) -> None:
        self.is_over = True
        if error is None:
            LOGGER.info("manager went away")
        self.outcome.failure = self.outcome.failure or error


def parts_of(snapshot: Snapshot) -> list[bytes]:
    """Return a snapshot as packed snapshots that fit into a message each, and add up to it."""
    packed = pack(snapshot)
    if len(packed) <= LARGEST_PART or not snapshot.can_be_halved:
        return [packed]
    return [part for half in snapshot.halves() for part in parts_of(half)]
