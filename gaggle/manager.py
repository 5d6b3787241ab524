"""The manager of a gaggle: who has which users, who is lost, which counts are in. No sockets, no clocks.

Moments are handed in, in ns of CLOCK_BOOTTIME. What is to be sent is in `outbox`, what the rest of the process must
know in `news`; whoever drives the manager empties both after each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from gaggle import plan, units
from gaggle.errors import ProtocolError
from gaggle.plan import Block, Plan
from gaggle.protocol import (
    FROM_WORKER,
    Ack,
    Assign,
    Beat,
    Bye,
    Delta,
    Exit,
    Failed,
    Fetch,
    Go,
    Hello,
    Interrupted,
    Lease,
    Leaving,
    Message,
    More,
    Piece,
    Ready,
    Refused,
    Stop,
    Stopped,
    Trouble,
    Welcome,
    advance,
)

SECOND_NS = 1_000_000_000
START_DELAY_NS = SECOND_NS // 2  # between the go-ahead and T0: every worker has heard of it by then
CLOCKS_DRIFT = 1.01  # how much faster our clock may run than a worker's while a lease lasts


@dataclass(frozen=True, slots=True)
class Shipment:
    """The load test, for workers that come without one."""

    digest: str
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the manager decides by. Times are seconds; a lease is `lease` long, `slack` is for engines to be ended."""

    plan: Plan
    expect: int
    hash: str
    options: dict[str, Any]
    shipment: Shipment | None = None
    seed: int = 0
    shared: Any = None
    no_hash_check: bool = False
    on_loss: str = "redistribute"  # or continue, or stop
    most_wait: float = 0.0  # for the expected workers, from the first one on; 0: without end
    least_workers: int = 0  # enough to start with when that is over; 0: all
    lease: float = 10.0
    beat: float = 1.0
    slack: float = 2.0
    stop_timeout: float = 30.0

    @property
    def give_away_ns(self) -> int:
        """How long after a beat was answered its sender's users may be given to others, whatever happened to it."""
        return int((CLOCKS_DRIFT * self.lease + self.slack) * SECOND_NS)


@dataclass(slots=True)
class Node:
    """One worker, over all its sessions. `peer` is its present one, None between two."""

    hello: Hello
    peer: bytes | None = None
    number: int = 0  # from 1, in the order of joining; 0 is a spare
    state: str = "greeted"
    epoch: int = 0  # that holds its users; 0: it holds none
    blocks: list[Block] = field(default_factory=list)
    heard_ns: int = 0  # when it last said anything
    answered_ns: int = 0  # when the last beat that got a lease came
    beat: Beat | None = None
    next_delta: int = 1
    acknowledged: int = 0
    parts: list[Delta] = field(default_factory=list)
    is_leaving: bool = False
    was_let_go: bool = False  # told to exit, in the present session

    @property
    def is_gone(self) -> bool:
        return self.state == "gone"


# News.


@dataclass(frozen=True, slots=True)
class Line:
    """A log line; the level is INFO or WARN."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A delta, whole, to be merged; once it is (and on disk, where that is wanted) call `acknowledge`."""

    node: str
    number: int
    parts: tuple[bytes, ...]
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Happened:
    """An incident for the report. `lost` says that it was not made good."""

    kind: str
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The go-ahead was given: user 1 is due at `t0_ns`."""

    t0_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Every worker is gone, or given up."""


News = Line | Counted | Happened | Started | Ended


class Manager:
    """Leads one test."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.nodes: dict[str, Node] = {}  # by the worker's own name
        self.peers: dict[bytes, Node] = {}
        self.unassigned = plan.blocks(terms.plan.users, terms.expect)
        self.state = "gathering"  # running, stopping, ended
        self.outbox: list[tuple[bytes, Message]] = []
        self.news: list[News] = []
        self.t0_ns = 0
        self._epoch = 0
        self._first_ns = 0  # when the first worker joined
        self._stopped_ns = 0
        self._interrupter: Node | None = None  # stopped all; it leaves first

    # What workers say.

    def hear(self, peer: bytes, message: Message, now_ns: int) -> None:
        """Take a message. Raises ProtocolError for what may not come now: the caller then calls `dismiss`."""
        if isinstance(message, Hello):
            self.greet(peer, message, now_ns)
            return
        if isinstance(message, Fetch) and peer not in self.peers:
            self.hand_out(peer, message.part)
            return
        node = self.peers.get(peer)
        if node is None:
            raise ProtocolError(f"{type(message).__name__} before a Hello")
        node.heard_ns = now_ns
        node.state = advance(FROM_WORKER, node.state, message)
        HEARD[type(message)](self, node, message, now_ns)

    def dismiss(self, peer: bytes, reason: str) -> None:
        """Refuse a session. What its worker holds stays its own until its lease is over."""
        self.outbox.append((peer, Refused(reason[:4_000])))
        node = self.peers.pop(peer, None)
        if node is not None:
            node.peer = None

    def greet(self, peer: bytes, hello: Hello, now_ns: int) -> None:
        """A session begins: of a new worker, or of one that was here before."""
        if peer in self.peers:
            raise ProtocolError("a second Hello in one session")
        if hello.hash != self.terms.hash and not self.may_differ(hello):
            self.dismiss(peer, "it runs a different load test: use the same files, or --no-hash-check on the manager")
            return
        node = self.nodes.get(hello.node)
        if node is None or node.is_gone:
            self.join(peer, hello, now_ns)
        else:
            self.rejoin(peer, node, hello, now_ns)

    def hand_out(self, peer: bytes, part: int) -> None:
        """Send a piece of the load test to a worker that came without one; it joins in a session of its own."""
        shipment = self.terms.shipment
        if shipment is None:
            self.dismiss(peer, "it has no load test: name its file, or start the manager with --ship")
        elif part >= len(shipment.pieces):
            raise ProtocolError(f"there is no piece {part} of the load test")
        else:
            if part == 0:
                self.line("INFO", "sending the load test to a worker")
            piece = Piece(shipment.digest, part, len(shipment.pieces), shipment.pieces[part])
            self.outbox.append((peer, piece))

    def may_differ(self, hello: Hello) -> bool:
        level = "ignoring" if self.terms.no_hash_check else "refusing it"
        self.line("WARN", f"worker {hello.host} is running a different load test, {level}")
        return self.terms.no_hash_check

    def join(self, peer: bytes, hello: Hello, now_ns: int) -> None:
        node = self.nodes[hello.node] = Node(hello)
        self.attach(node, peer, now_ns)
        self._first_ns = self._first_ns or now_ns
        if self.state == "gathering" and self.unassigned:
            node.number = self.free_number()
        self.welcome(node)
        if node.number:
            self.line("INFO", f"worker {node.number} of {self.terms.expect} connected")
            self.assign(node, [self.unassigned.pop(0)], now_ns)
        else:
            self.line("INFO", f"worker {hello.host} is a spare: {self.terms.expect} were expected, and are here")
        self.warn_of_neighbours(node)

    def rejoin(self, peer: bytes, node: Node, hello: Hello, now_ns: int) -> None:
        """A worker is back. It goes on with its users if it still has them, and they are still its own."""
        if node.peer is not None:
            self.peers.pop(node.peer, None)
            node.peer = None
        node.parts = []
        if node.epoch and hello.epoch != node.epoch:
            self.lose(node, "came back without its users", now_ns)
        self.attach(node, peer, now_ns)
        self.welcome(node)
        self.line("INFO", f"worker {node.number or node.hello.host} is back")
        self.remind(node, now_ns)

    def remind(self, node: Node, now_ns: int) -> None:
        """Say again what a lost session may have swallowed."""
        if not node.epoch:
            self.give_work(node, now_ns)
        elif node.state == "running":
            self.go(node, now_ns)
            self.say(node, More(node.epoch, tuple(node.blocks)))
        if self.state == "stopping":
            self.say(node, Stop("the test stops"))
            self.finish_if_done()

    def free_number(self) -> int:
        taken = {node.number for node in self.nodes.values() if not node.is_gone}
        return next(number for number in count(1) if number not in taken)

    def attach(self, node: Node, peer: bytes, now_ns: int) -> None:
        node.peer, node.was_let_go, node.heard_ns = peer, False, now_ns
        self.peers[peer] = node

    def welcome(self, node: Node) -> None:
        self.say(node, Welcome(node.number, self.terms.expect, node.epoch, self.terms.lease, self.terms.beat))

    def warn_of_neighbours(self, node: Node) -> None:
        """Two workers on the same cores slow each other down, and the numbers of both."""
        for other in self.nodes.values():
            shared = set(other.hello.cores) & set(node.hello.cores)
            if other is not node and other.peer and other.hello.boot == node.hello.boot and shared:
                self.line("WARN", f"workers {other.number} and {node.number} share {len(shared)} cores of one machine")

    def heard_ready(self, node: Node, message: Ready, now_ns: int) -> None:
        if message.epoch != node.epoch:
            return  # an epoch that was taken away
        if self.state == "gathering":
            self.start_if_complete(now_ns)
        elif self.state == "running" and node.state in ("ready", "running"):
            self.go(node, now_ns)

    def heard_beat(self, node: Node, message: Beat, now_ns: int) -> None:
        """Grant a lease to the epoch that holds users; a beat of any other epoch gets an answer, and no lease."""
        node.beat = message
        if node.epoch and message.epoch == node.epoch:
            node.answered_ns = now_ns
        self.say(node, Lease(message.seq, node.epoch, now_ns))
        if not node.epoch and not message.epoch:
            self.give_work(node, now_ns)

    @property
    def users_running(self) -> int:
        """How many users are at work in all workers, as they last said."""
        return sum(node.beat.users for node in self.nodes.values() if node.beat and node.epoch)

    def heard_delta(self, node: Node, message: Delta, now_ns: int) -> None:
        """Count each number once: what is old is acknowledged again, what is new is handed on when it is whole."""
        if message.number < node.next_delta:
            self.say(node, Ack(node.acknowledged))
            return
        if message.number > node.next_delta or message.part != len(node.parts) or message.parts <= message.part:
            raise ProtocolError(
                f"delta {message.number}.{message.part} where {node.next_delta}.{len(node.parts)} is due"
            )
        node.parts.append(message)
        if len(node.parts) == message.parts:
            node.next_delta += 1
            parts, node.parts = tuple(delta.data for delta in node.parts), []
            self.news.append(Counted(node.hello.node, message.number, parts, message.began, message.ended))

    def acknowledge(self, name: str, number: int) -> None:
        """A delta is merged, and on disk where that is wanted: its worker may forget it."""
        node = self.nodes[name]
        node.acknowledged = number
        self.say(node, Ack(number))
        self.finish_if_done()

    def heard_trouble(self, node: Node, message: Trouble, now_ns: int) -> None:
        self.news.append(Happened(message.kind, f"worker {node.number}: {message.text}", message.kind == "loss"))

    def heard_interrupted(self, node: Node, message: Interrupted, now_ns: int) -> None:
        if self.state in ("gathering", "running"):
            self._interrupter = node
        self.stop("interrupt", now_ns, but=node)

    def heard_leaving(self, node: Node, message: Leaving, now_ns: int) -> None:
        node.is_leaving = True

    def heard_stopped(self, node: Node, message: Stopped, now_ns: int) -> None:
        """Its users run no more: others may have them at once."""
        if message.epoch != node.epoch:
            return
        if node.is_leaving and self.state == "running":
            self.lose(node, "was told to leave", now_ns, is_announced=True)
        node.epoch, node.blocks = 0, []
        self.finish_if_done()

    def heard_failed(self, node: Node, message: Failed, now_ns: int) -> None:
        self.lose(node, f"failed: {message.reason}", now_ns)
        self.detach(node)
        self.finish_if_done()

    def heard_bye(self, node: Node, message: Bye, now_ns: int) -> None:
        if node.epoch:
            self.lose(node, "left", now_ns)
        self.line("INFO", f"worker {node.number} exited")
        self.detach(node)
        if node is self._interrupter:
            after = (now_ns - self.t0_ns) // SECOND_NS if self.t0_ns else 0
            self.line("INFO", f"worker went away, stopping gracefully after {after} seconds...")
        self.finish_if_done()

    def detach(self, node: Node) -> None:
        node.state = "gone"
        if node.peer is not None:
            self.peers.pop(node.peer, None)
            node.peer = None

    # Users.

    def assign(self, node: Node, blocks: list[Block], now_ns: int) -> None:
        """Give users to a worker that has none, under a new epoch."""
        self._epoch += 1
        node.epoch, node.blocks, node.state, node.answered_ns = self._epoch, blocks, "preparing", now_ns
        terms = self.terms
        users = sum(block.count for block in blocks)
        self.line("INFO", f"sending {units.thousands(users)} users to worker {node.number}")
        self.say(
            node,
            Assign(
                node.epoch,
                tuple(blocks),
                terms.plan.users,
                terms.plan.hatch_rate,
                terms.seed,
                terms.options,
                terms.shared,
                node.number,
            ),
        )

    def give_work(self, node: Node, now_ns: int) -> None:
        """Give a worker without users those that nobody has."""
        if self.unassigned and self.state in ("gathering", "running") and not node.is_leaving:
            node.number = node.number or self.free_number()
            blocks, self.unassigned = self.unassigned, []
            self.assign(node, blocks if self.state == "running" else blocks[:1], now_ns)
            self.unassigned = blocks[1:] if self.state == "gathering" else []

    def lose(self, node: Node, why: str, now_ns: int, is_announced: bool = False) -> None:
        """A worker's users are nobody's: give them to others, go on without them, or stop."""
        blocks, node.blocks, node.epoch, node.state = node.blocks, [], 0, "greeted"
        if self.state == "gathering":
            self.unassigned = blocks + self.unassigned
            self.line("WARN", f"worker {node.number} {why} before the start")
            node.number = 0
        if self.state != "running":
            return
        users = sum(block.count for block in blocks)
        text = f"worker {node.number} {why} with {units.thousands(users)} users"
        if self.terms.on_loss == "redistribute" and self.redistribute(blocks, now_ns, but=node):
            self.news.append(Happened("loss" if not is_announced else "leave", f"{text}: others have them now"))
        elif self.terms.on_loss == "stop":
            self.news.append(Happened("loss", f"{text}: the test stops", lost=True))
            self.stop("loss", now_ns)
        else:
            self.news.append(Happened("loss", f"{text}: the test goes on without them", lost=True))

    def redistribute(self, blocks: list[Block], now_ns: int, but: Node | None = None) -> bool:
        """Give blocks to a spare, else to all that run. Returns False when there is nobody but `but`, who had them."""
        spares = [node for node in self.nodes.values() if node is not but and self.is_spare(node, now_ns)]
        if spares:
            self.unassigned += blocks
            self.give_work(spares[0], now_ns)
            return True
        running = [node for node in self.nodes.values() if node.epoch and node.peer and node.state == "running"]
        if not running:
            self.unassigned += blocks
            return False
        for block in blocks:
            for node, part in zip(running, block.split(len(running)), strict=True):
                if part.count:
                    node.blocks.append(part)
                    self.say(node, More(node.epoch, (part,)))
        return True

    def is_spare(self, node: Node, now_ns: int) -> bool:
        """Whether a worker without users can have some: one that is silent may be as lost as the one that had them."""
        is_silent = now_ns - node.heard_ns >= int(self.terms.lease * SECOND_NS)
        return node.peer is not None and node.state == "greeted" and not (node.is_leaving or is_silent)

    # Time.

    def tick(self, now_ns: int) -> None:
        """See who is lost, and whether it is time to start or to stop."""
        for node in list(self.nodes.values()):
            if node.epoch and now_ns >= node.answered_ns + self.terms.give_away_ns:
                self.lose(node, f"was not heard for {self.terms.lease:g} seconds", now_ns)
                self.finish_if_done()
        if self.state == "gathering":
            self.start_if_complete(now_ns)
        elif self.state == "running" and self.is_over(now_ns):
            self.stop("run time", now_ns)
        elif self.state == "stopping":
            self.give_up_if_late(now_ns)

    def is_over(self, now_ns: int) -> bool:
        at = self.terms.plan.stop_at
        return at is not None and now_ns >= self.t0_ns + int(at * SECOND_NS)

    def start_if_complete(self, now_ns: int) -> None:
        """Give the go-ahead when all expected workers are ready, or those there suffice and the wait is over."""
        ready = [node for node in self.nodes.values() if node.state == "ready"]
        if len(ready) < self.terms.expect and not self.suffice(ready, now_ns):
            return
        self.state = "running"
        self.t0_ns = now_ns + START_DELAY_NS
        self.line("INFO", "gaggle distributed load test started")
        self.news.append(Started(self.t0_ns))
        for node in ready:
            self.go(node, now_ns)
        if self.unassigned:
            blocks, self.unassigned = self.unassigned, []
            self.redistribute(blocks, now_ns)

    def suffice(self, ready: list[Node], now_ns: int) -> bool:
        terms = self.terms
        waited = terms.most_wait and self._first_ns and now_ns - self._first_ns >= terms.most_wait * SECOND_NS
        return bool(waited and ready and len(ready) >= (terms.least_workers or terms.expect))

    def go(self, node: Node, now_ns: int) -> None:
        node.state = "running"
        self.say(node, Go(node.epoch, self.t0_ns if self.t0_ns > now_ns else now_ns))

    # The end.

    def stop(self, reason: str, now_ns: int, but: Node | None = None) -> None:
        """Let all users leave. `but` is the worker that asked for it: it stops already."""
        if self.state in ("stopping", "ended"):
            return
        self.state, self._stopped_ns = "stopping", now_ns
        for node in self.nodes.values():
            if node.peer is not None and node is not but and not node.is_gone:
                self.say(node, Stop(reason))
                if node.state in ("preparing", "ready", "running"):
                    node.state = "stopping"
        self.finish_if_done()

    def finish_if_done(self) -> None:
        """When nobody has users and all that was counted is in, let everybody go; when all are gone, it is the end."""
        if self.state != "stopping" or any(node.epoch for node in self.nodes.values()):
            return
        first = self._interrupter
        waiting = [first] if first is not None and first.peer is not None else list(self.nodes.values())
        for node in waiting:
            if node.peer is not None and node.state in ("greeted", "stopped") and not node.was_let_go:
                self.say(node, Exit())
                node.state, node.was_let_go = "stopped", True
        if not any(node.peer for node in self.nodes.values()):
            self.end()

    def abandon(self) -> None:
        """Let everybody go at once: there will be no report. Without a word workers would wait for us to come back."""
        for node in self.nodes.values():
            self.say(node, Exit())

    def give_up_if_late(self, now_ns: int) -> None:
        """Do not wait for ever for a worker that has not said its last word."""
        if now_ns < self._stopped_ns + int((2 * self.terms.stop_timeout + 10) * SECOND_NS) + self.terms.give_away_ns:
            return
        for node in self.nodes.values():
            if node.peer is not None:
                self.news.append(
                    Happened("loss", f"worker {node.number} did not end: its last counts are missing", lost=True)
                )
                self.detach(node)
        self.end()

    def end(self) -> None:
        if self.state != "ended":
            self.state = "ended"
            self.line("INFO", "all workers have exited")
            self.news.append(Ended())

    # Small things.

    def disconnected(self, peer: bytes) -> None:
        """A session is gone. That alone proves nothing: its worker's users stay its own until its lease is over."""
        node = self.peers.pop(peer, None)
        if node is not None:
            node.peer = None
        self.finish_if_done()

    def owners(self) -> Iterator[tuple[Node, Block]]:
        """Yield who has which users."""
        for node in self.nodes.values():
            for block in node.blocks:
                yield node, block

    def say(self, node: Node, message: Message) -> None:
        if node.peer is not None:
            self.outbox.append((node.peer, message))

    def line(self, level: str, text: str) -> None:
        self.news.append(Line(level, text))


HEARD: dict[type[Message], Callable[[Manager, Node, Any, int], None]] = {
    Ready: Manager.heard_ready,
    Beat: Manager.heard_beat,
    Delta: Manager.heard_delta,
    Trouble: Manager.heard_trouble,
    Interrupted: Manager.heard_interrupted,
    Leaving: Manager.heard_leaving,
    Stopped: Manager.heard_stopped,
    Failed: Manager.heard_failed,
    Bye: Manager.heard_bye,
}
