"""A worker of a gaggle: what it says and does when the manager speaks, when time passes, when users stop.

No sockets and no clocks: moments are handed in, in ns of CLOCK_BOOTTIME. What is to be sent is in `outbox`, what is to
be done on this machine in `todo`; whoever drives the worker empties both after each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gaggle.errors import ProtocolError
from gaggle.plan import Block
from gaggle.protocol import (
    FROM_MANAGER,
    Ack,
    Assign,
    Beat,
    Bye,
    Delta,
    Exit,
    Failed,
    Fewer,
    Freed,
    Go,
    Health,
    Hello,
    Interrupted,
    Lease,
    Leaving,
    Message,
    More,
    Ready,
    Refused,
    Stop,
    Stopped,
    Trouble,
    Welcome,
    Work,
    advance,
)
from gaggle.units import SECOND_NS

NOBODY = Block(1, 1, 0, 0)
MOST_UNACKNOWLEDGED = 4  # frozen deltas: while the manager is slow, the next one covers more time
CLOCK_BEATS = 60  # that the offset is chosen from: clocks drift by a few ms a minute at worst


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fork engines for these users and let them wait; then call `prepared`."""

    assign: Assign


@dataclass(frozen=True, slots=True)
class Start:
    """Let the users begin: user 1 of the gaggle is due at `t0_ns` of this machine's clock.

    `more` are users beside those of the first block that was assigned.
    """

    t0_ns: int
    more: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Add:
    """Start these users too, from now on at the hatch rate."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Let these users leave; then call `freed`."""

    block: Block


@dataclass(frozen=True, slots=True)
class Allow:
    """Write into every arena: users may run until then, and start so many requests a second."""

    until_ns: int
    throttle: float = 0.0


@dataclass(frozen=True, slots=True)
class Halt:
    """Let the users leave; then call `stopped`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """The lease is over: end all engines now. What they counted is kept, and still goes to the manager."""


@dataclass(frozen=True, slots=True)
class End:
    """The session is over. `error` says why, where it is not as it should be."""

    error: str | None = None


Deed = Prepare | Start | Add | Drop | Allow | Halt | Kill | End


@dataclass(slots=True)
class Numbers:
    """What a beat tells of the worker."""

    users: int = 0
    wall: float = 0.0
    has_pending: bool = False  # counts that are in no delta yet: a worker that leaves waits for them


@dataclass(slots=True)
class Worker:
    """One worker, over all its sessions with the manager. `hello` is what it says first, but for the epoch."""

    hello: Hello
    state: str = "greeting"
    number: int = 0  # of this worker, from 1; 0 before it is welcomed, and for a spare
    epoch: int = 0
    lease_ns: int = 0
    beat_ns: int = SECOND_NS
    lease_until_ns: int = 0  # 0: no lease
    offset_ns: int = 0  # this clock minus the manager's
    round_trip_ns: int = 0  # of the beat that the offset comes from: the least of the last ones; 0: there is none
    test: str = ""  # that it takes part in
    outbox: list[Message] = field(default_factory=list)
    todo: list[Deed] = field(default_factory=list)
    is_connected: bool = False
    is_interrupted: bool = False
    is_leaving: bool = False
    _session_state: str = "waiting"  # to be resumed when the next session is welcomed
    _seq: int = 0
    _sent_ns: dict[int, int] = field(default_factory=dict)  # of beats without an answer
    _clock: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=CLOCK_BEATS))  # round trip, offset; ns
    _next_beat_ns: int = 0
    _last_delta: int = 0
    _unacknowledged: dict[int, list[Delta]] = field(default_factory=dict)
    _go: Go | None = None  # waits for the first lease
    _newest: int = 0  # of the epochs that there were
    _blocks: list[Block] = field(default_factory=list)
    _first: Block = NOBODY  # of them as they were assigned: the engines are forked for it
    _leaving: list[Block] = field(default_factory=list)  # that the manager wants for others
    _is_started: bool = False  # the users of this epoch

    # The session.

    def connected(self) -> None:
        """A session has begun. The manager learns which epoch lives here: after a lapse, none."""
        self.is_connected = True
        self._session_state, self.state = self.state, "greeting"
        self._sent_ns.clear()
        self._clock.clear()  # the manager's machine may have been started again
        self._next_beat_ns = 0
        self.outbox.append(msgspec.structs.replace(self.hello, epoch=self.epoch, test=self.test))

    def disconnected(self) -> None:
        """The session is gone. Users go on as long as the lease does."""
        self.is_connected = False
        if self.state == "greeting":
            self.state = self._session_state

    def hear(self, message: Message, now_ns: int) -> None:
        """Take what the manager said. Raises ProtocolError for what may not come now.

        After the end it is nobody's: the answer to a beat may come behind the Exit.
        """
        if self.state == "ended":
            return
        after = advance(FROM_MANAGER, self.state, message)
        HEARD[type(message)](self, message, now_ns)
        if type(message) not in OWN_STATE:
            self.state = after

    def heard_welcome(self, message: Welcome, now_ns: int) -> None:
        """Resume where the last session ended, or wait for users; say again what was not acknowledged."""
        self.number, self.lease_ns, self.beat_ns = message.worker, seconds(message.lease), seconds(message.beat)
        self.test = message.test
        self.state = self._session_state if self.epoch else "waiting"
        if message.epoch != self.epoch:
            self.disowned()
        for parts in self._unacknowledged.values():
            self.outbox.extend(parts)
        if self.state == "ready":
            self.outbox.append(Ready(self.epoch))
        elif self.state == "stopped":
            self.outbox.append(Stopped(self.epoch, self._last_delta))
        if self.is_interrupted:
            self.outbox.append(Interrupted())
        if self.is_leaving:
            self.outbox.append(Leaving())

    def heard_refused(self, message: Refused, now_ns: int) -> None:
        self.todo.append(End(f"the manager refused this worker: {message.reason}"))

    def heard_assign(self, message: Assign, now_ns: int) -> None:
        if message.epoch <= self._newest:
            raise ProtocolError(f"epoch {message.epoch} after epoch {self._newest}")
        if self.epoch and self.state != "stopped":
            self.lapse()  # the epoch before has been taken away
        self.epoch, self._newest, self.lease_until_ns, self._go = message.epoch, message.epoch, 0, None
        self._blocks, self._leaving, self._is_started = list(message.blocks), [], False
        self._first, self.number = message.blocks[0], message.worker or self.number
        self.todo.append(Prepare(message))

    def heard_go(self, message: Go, now_ns: int) -> None:
        """Start, if there is a lease; else with the first one. Said again after a session was lost."""
        if self.state == "ready" and message.epoch == self.epoch:
            self._go = message
            self._start_if_allowed(now_ns)

    def heard_more(self, message: More, now_ns: int) -> None:
        """Take users over, those that are not here yet: it is said again after a session was lost."""
        if message.epoch != self.epoch or self.state not in ("preparing", "ready", "running"):
            return
        new = tuple(block for block in message.blocks if self._holder(block) is None)
        self._blocks += new
        if new and self._is_started:
            self.todo.append(Add(new))

    def heard_fewer(self, message: Fewer, now_ns: int) -> None:
        """Let users go. Said again after a session was lost: those that have gone are told of once more."""
        if message.epoch != self.epoch or self.state not in ("ready", "running"):
            return
        for block in message.blocks:
            holder = self._holder(block)
            if holder is None:
                self._say(Freed(self.epoch, (block,)))
            elif holder not in self._leaving:
                self._part(holder, block)

    def _holder(self, block: Block) -> Block | None:
        """Return which block here has the users of `block`: all of them or none, as blocks are only ever divided."""
        return next((own for own in (*self._blocks, *self._leaving) if block.first in own.numbers()), None)

    def _part(self, holder: Block, block: Block) -> None:
        kept, gone = holder.parted(max(holder.count - block.count, 0))
        if gone != block:
            raise ProtocolError(f"users from {block.first} on are not the last ones of a block")
        self._blocks.remove(holder)
        self._blocks += [kept] if kept.count else []
        self._leaving.append(block)
        self.todo.append(Drop(block))

    def heard_lease(self, message: Lease, now_ns: int) -> None:
        """Count from the moment before the beat was sent: a slow answer makes the lease shorter, never longer."""
        sent_ns = self._sent_ns.pop(message.seq, None)
        if sent_ns is None:
            return
        self._reckon(sent_ns, message.clock_ns, now_ns)
        if 0 < self.lease_until_ns <= now_ns:
            self.lapse()  # too late: engines that have looked at the clock since have ended
            return
        until_ns = sent_ns + self.lease_ns
        if message.epoch != self.epoch and self.epoch:
            self.disowned()
        elif self.epoch and until_ns > self.lease_until_ns:
            self.lease_until_ns = until_ns
            self.todo.append(Allow(until_ns, message.throttle))
            self._start_if_allowed(now_ns)

    def heard_ack(self, message: Ack, now_ns: int) -> None:
        for number in [number for number in self._unacknowledged if number <= message.number]:
            del self._unacknowledged[number]

    def heard_stop(self, message: Stop, now_ns: int) -> None:
        if self.state in ("preparing", "ready", "running"):
            self.todo.append(Halt(message.reason))

    def heard_exit(self, message: Exit, now_ns: int) -> None:
        self.outbox.append(Bye())
        self.todo.append(End())

    def _reckon(self, sent_ns: int, manager_ns: int, now_ns: int) -> None:
        """Take the offset of the beat that travelled fastest: it errs by half its round trip at most (as in NTP)."""
        round_trip_ns = now_ns - sent_ns
        self._clock.append((round_trip_ns, sent_ns + round_trip_ns // 2 - manager_ns))
        self.round_trip_ns, self.offset_ns = min(self._clock)

    def _start_if_allowed(self, now_ns: int) -> None:
        if self._go is not None and self.state in ("ready", "running") and self._clock and now_ns < self.lease_until_ns:
            more = tuple(block for block in self._blocks if block.first not in self._first.numbers())
            self.todo.append(Start(self._go.t0_ns + self.offset_ns, more))
            self._go, self._is_started = None, True

    # Time.

    def tick(self, now_ns: int, numbers: Numbers) -> None:
        """Let a lease lapse, send a beat when it is due."""
        if self.lease_until_ns and now_ns >= self.lease_until_ns:
            self.lapse()
        if self.is_leaving and self.state in ("waiting", "stopped") and self.is_settled and not numbers.has_pending:
            self.retire()
        if self.is_connected and self.state not in ("greeting", "ended") and now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + self.beat_ns
            self._seq += 1
            self._sent_ns[self._seq] = now_ns
            self.outbox.append(
                Beat(self._seq, self.epoch, now_ns, numbers.wall, numbers.users, self.offset_ns, self.round_trip_ns)
            )

    def retire(self) -> None:
        """Go, now that all that was counted here is counted there."""
        self._say(Bye())
        self.state = "ended"
        self.todo.append(End())

    def lapse(self) -> None:
        """The manager was not heard for a lease: others may have the users by now. This epoch never resumes."""
        self.epoch = self.lease_until_ns = 0
        self._go = None
        self._session_state = "waiting"
        if self.state not in ("greeting", "ended"):
            self.state = "waiting"
        self.todo.append(Kill())

    def disowned(self) -> None:
        """The manager has given the users to others, or knows that they have stopped."""
        if self.state == "stopped":
            self.epoch = 0
        elif self.epoch:
            self.lapse()

    # What happens on this machine.

    def prepared(self) -> None:
        """The users are there and wait."""
        if self.state == "preparing":
            self.state = "ready"
            self._say(Ready(self.epoch))

    def failed(self, reason: str) -> None:
        """The users cannot be prepared."""
        self._say(Failed(reason[:4_000]))
        self.todo.append(End(reason))

    def may_freeze(self) -> bool:
        """Whether another delta may be made now; if not, the next one covers more time."""
        return len(self._unacknowledged) < MOST_UNACKNOWLEDGED

    def freeze(self, epoch: int, began: float, ended: float, parts: list[bytes], is_ramp: bool = False) -> None:
        """Send what was counted, and keep it until it is acknowledged."""
        self._last_delta += 1
        deltas = [
            Delta(self._last_delta, part, len(parts), epoch, began, ended, data, is_ramp)
            for part, data in enumerate(parts)
        ]
        self._unacknowledged[self._last_delta] = deltas
        for delta in deltas:
            self._say(delta)

    def stopped(self) -> None:
        """No user runs any more, and the last delta is frozen."""
        if self.state in ("preparing", "ready", "running", "stopping"):
            self.state, self.lease_until_ns = "stopped", 0
            self._say(Stopped(self.epoch, self._last_delta))

    def worked(self, engines: tuple[Work, ...]) -> None:
        """Say how hard the engines have worked."""
        self._say(Health(engines))

    def freed(self, block: Block) -> None:
        """The users of a block that was to be dropped have left."""
        if block in self._leaving:
            self._leaving.remove(block)
            self._say(Freed(self.epoch, (block,)))

    def trouble(self, at: float, kind: str, text: str) -> None:
        self._say(Trouble(at, kind[:200], text[:4_000]))

    def interrupt(self) -> None:
        """Ctrl-C here stops all of the gaggle."""
        if not self.is_interrupted:
            self.is_interrupted = True
            self._halt("interrupt", Interrupted())

    def leave(self) -> None:
        """SIGTERM: this worker drains and goes, the others take its users."""
        if not self.is_leaving:
            self.is_leaving = True
            self._halt("leaving", Leaving())

    def _halt(self, reason: str, word: Message) -> None:
        self._say(word)
        if self.state in ("preparing", "ready", "running"):
            self.state = "stopping"
            self.todo.append(Halt(reason))

    @property
    def is_settled(self) -> bool:
        """Whether the manager has acknowledged all that was counted here."""
        return not self._unacknowledged

    def _say(self, message: Message) -> None:
        """Send now, where there is a session; `heard_welcome` says again what must not be lost."""
        if self.is_connected and self.state != "greeting":
            self.outbox.append(message)


def seconds(value: float) -> int:
    return int(value * SECOND_NS)


# Messages after which the worker decides its state itself.
OWN_STATE = (Welcome,)
HEARD: dict[type[Message], Callable[[Worker, Any, int], None]] = {
    Welcome: Worker.heard_welcome,
    Refused: Worker.heard_refused,
    Assign: Worker.heard_assign,
    Go: Worker.heard_go,
    More: Worker.heard_more,
    Fewer: Worker.heard_fewer,
    Lease: Worker.heard_lease,
    Ack: Worker.heard_ack,
    Stop: Worker.heard_stop,
    Exit: Worker.heard_exit,
}
