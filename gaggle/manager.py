"""The manager of a gaggle: who has which users, who is lost, which counts are in. No sockets, no clocks.

Moments are handed in, in ns of CLOCK_BOOTTIME. What is to be sent is in `outbox`, what the rest of the process must
know in `news`; whoever drives the manager empties both after each call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from gaggle import plan, units
from gaggle.errors import ProtocolError
from gaggle.news import Counted, Ended, Halted, Happened, Line, Missing, News, Noted, Resumed, Started
from gaggle.plan import Block
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
    Piece,
    Ready,
    Refused,
    Stop,
    Stopped,
    Trouble,
    Welcome,
    Work,
    advance,
)
from gaggle.terms import Terms
from gaggle.units import SECOND_NS

START_DELAY_NS = SECOND_NS // 2  # between the go-ahead and T0: every worker has heard of it by then
CLOCK_LIMIT = 0.010  # seconds: as late as gaggle itself may be before the report says so
CLOCK_BEATS = 10  # after which a worker knows its clock well enough to be judged by it


@dataclass(slots=True)
class Node:
    """One worker, over all its sessions. `peer` is its present one, None between two; `last_peer` is the newest."""

    hello: Hello
    peer: bytes | None = None
    last_peer: bytes = b""
    number: int = 0  # from 1, in the order of joining; 0 is a spare
    state: str = "greeted"
    epoch: int = 0  # that holds its users; 0: it holds none
    blocks: list[Block] = field(default_factory=list)
    heard_ns: int = 0  # when it last said anything
    answered_ns: int = 0  # when the last beat that got a lease came
    beat: Beat | None = None
    health: tuple[Work, ...] = ()
    next_delta: int = 1
    acknowledged: int = 0
    parts: list[Delta] = field(default_factory=list)
    is_leaving: bool = False
    was_let_go: bool = False  # told to exit, in the present session
    has_worked: bool = False  # has had users
    was_lost: bool = False  # with its users, as the report says
    has_ended: bool = False  # all that it had counted is in
    beats: int = 0
    is_judged: bool = False  # its clock was found wrong, and that was said

    @property
    def is_gone(self) -> bool:
        return self.state == "gone"

    @property
    def users(self) -> int:
        return sum(block.count for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Move:
    """Users on their way from one worker to another (their own names): the first has them until it says `Freed`."""

    block: Block
    source: str
    target: str


class Manager:
    """Leads one test."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.nodes: dict[str, Node] = {}  # by the worker's own name
        self.peers: dict[bytes, Node] = {}  # by the newest session of each, also when that has ended
        self.unassigned = plan.blocks(terms.plan.users, terms.expect)
        self.users_held = terms.plan.users  # by workers, as of the last tick
        self.state = "gathering"  # running, stopping, ended
        self.outbox: list[tuple[bytes, Message]] = []
        self.news: list[News] = []
        self.t0_ns = 0
        self.wall_ahead = 0.0  # unix time minus our clock, seconds: kept by who has clocks
        self.newest_epoch = 0
        self.moves: list[Move] = []
        self.interrupter: Node | None = None  # stopped all; it leaves first
        self._away: dict[str, int] = {}  # worker -> its users, of those that a manager before us has led
        self._kept = self._ended = 0  # of these users, so far
        self._first_ns = 0  # when the first worker joined
        self._stopped_ns = 0

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
        if node.peer is None and isinstance(message, Beat):
            self.hear_late(node, now_ns)
            return
        node.heard_ns = now_ns
        node.state = advance(FROM_WORKER, node.state, message)
        HEARD[type(message)](self, node, message, now_ns)

    def hear_late(self, node: Node, now_ns: int) -> None:
        """Take a beat that was on its way when its session ended: what came with it counts, but nothing is granted."""
        if now_ns >= node.heard_ns + self.terms.lease_ns:
            raise ProtocolError("a Beat from a worker that does not read what it is told")

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
        if hello.test not in ("", self.terms.test):
            self.dismiss(peer, "it belongs to another test: start it again (or the manager, with --resume)")
            return
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
        self.peers.pop(node.last_peer, None)
        node.parts = []
        keeps = bool(node.epoch) and hello.epoch == node.epoch
        if node.epoch and not keeps:
            self.take_back(node, now_ns)
        self.saw_again(node, keeps)
        self.attach(node, peer, now_ns)
        self.welcome(node)
        self.line("INFO", f"worker {node.number or node.hello.host} is back")
        self.remind(node, now_ns)

    def take_back(self, node: Node, now_ns: int) -> None:
        """A worker's users have ended: others get them, or itself anew where there are none, or all were alone."""
        if node.hello.node in self._away:
            self.unassigned += self.release(node)
        else:
            self.lose(node, "came back without its users", now_ns, is_back=True)

    def resumed(self, now_ns: int) -> None:
        """Go on where another manager has stood."""
        self._first_ns = self._stopped_ns = now_ns
        if self.state == "running":
            self._away = {name: node.users for name, node in self.nodes.items() if node.epoch}

    def saw_again(self, node: Node, keeps: bool) -> None:
        """Note what became of a worker's users while there was no manager; tell when that is known of all."""
        users = self._away.pop(node.hello.node, None)
        if users is None:
            return
        self._kept, self._ended = self._kept + users * keeps, self._ended + users * (not keeps)
        if not self._away:
            self.news.append(Resumed(self._kept, self._ended))

    def remind(self, node: Node, now_ns: int) -> None:
        """Say again what a lost session may have swallowed."""
        if not node.epoch:
            self.give_work(node, now_ns)
        elif node.state == "running":
            self.go(node, now_ns)
            self.say(node, More(node.epoch, tuple(node.blocks)))
            self.say_fewer(node)
        if self.state == "stopping":
            self.say(node, Stop("the test stops"))

    def free_number(self) -> int:
        taken = {node.number for node in self.nodes.values() if not node.is_gone}
        return next(number for number in count(1) if number not in taken)

    def attach(self, node: Node, peer: bytes, now_ns: int) -> None:
        node.peer = node.last_peer = peer
        node.was_let_go, node.heard_ns = False, now_ns
        self.peers[peer] = node

    def welcome(self, node: Node) -> None:
        terms = self.terms
        self.say(node, Welcome(node.number, terms.expect, node.epoch, terms.lease, terms.beat, terms.test))

    def warn_of_neighbours(self, node: Node) -> None:
        """Two workers on the same cores slow each other down, and the numbers of both."""
        for other in self.nodes.values():
            if other is node or not other.peer or other.hello.boot != node.hello.boot:
                continue
            if shared := set(other.hello.cores) & set(node.hello.cores):
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
        node.beat, node.beats = message, node.beats + 1
        self.judge_clock(node, message)
        if node.epoch and message.epoch == node.epoch:
            node.answered_ns = now_ns
        self.say(node, Lease(message.seq, node.epoch, now_ns, self.throttle_of(node)))
        if not node.epoch and not message.epoch:
            self.give_work(node, now_ns)

    @property
    def users_running(self) -> int:
        """How many users are at work in all workers, as they last said."""
        return sum(node.beat.users for node in self.nodes.values() if node.beat and node.epoch)

    def judge_clock(self, node: Node, beat: Beat) -> None:
        """Say, once a worker, that its users may start late, or that its times are not ours."""
        if node.beats < CLOCK_BEATS or node.is_judged or node.hello.boot == self.terms.boot:
            return
        error = beat.round_trip_ns / 2 / SECOND_NS
        skew = beat.wall - (beat.clock_ns - beat.offset_ns) / SECOND_NS - self.wall_ahead
        name = f"worker {node.number}" if node.number else f"spare {node.hello.host}"
        if error > CLOCK_LIMIT:
            node.is_judged = True
            self.news.append(Noted(f"{name} is {1000 * error:.0f} ms away: so much its users may start early or late"))
        if abs(skew) > CLOCK_LIMIT + error:
            node.is_judged = True
            order = "ahead of" if skew > 0 else "behind"
            self.news.append(
                Noted(f"the clock of {name} is {units.timespan(round(abs(skew), 3))} {order} the manager's")
            )

    def heard_health(self, node: Node, message: Health, now_ns: int) -> None:
        node.health = message.engines

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
            times = message.began, message.ended
            self.news.append(Counted(node.hello.node, message.number, parts, *times, message.is_ramp))

    def acknowledge(self, name: str, number: int) -> None:
        """A delta is merged, and on disk where that is wanted: its worker may forget it."""
        node = self.nodes[name]
        node.acknowledged = max(number, node.acknowledged)
        self.say(node, Ack(number))

    def heard_trouble(self, node: Node, message: Trouble, now_ns: int) -> None:
        self.news.append(Happened(message.kind, f"worker {node.number}: {message.text}", message.kind == "loss"))

    def heard_interrupted(self, node: Node, message: Interrupted, now_ns: int) -> None:
        if self.state in ("gathering", "running"):
            self.interrupter = node
        self.stop("interrupt", now_ns, but=node)

    def heard_leaving(self, node: Node, message: Leaving, now_ns: int) -> None:
        node.is_leaving = True

    def heard_stopped(self, node: Node, message: Stopped, now_ns: int) -> None:
        """Its users run no more: others may have them at once."""
        if message.epoch != node.epoch:
            return
        if node.is_leaving and self.state == "running":
            self.lose(node, "was told to leave", now_ns, is_announced=True)
        for move in self.moves_from(node):
            self.hand_over(move, now_ns)
        node.epoch, node.blocks = 0, []

    def heard_freed(self, node: Node, message: Freed, now_ns: int) -> None:
        """Users that others are to have run no more where they were."""
        if message.epoch == node.epoch:
            for move in self.moves_from(node):
                if move.block in message.blocks:
                    self.hand_over(move, now_ns)

    def heard_failed(self, node: Node, message: Failed, now_ns: int) -> None:
        self.lose(node, f"failed: {message.reason}", now_ns)
        node.has_ended = True
        self.detach(node)

    def heard_bye(self, node: Node, message: Bye, now_ns: int) -> None:
        if node.epoch:
            self.lose(node, "left", now_ns)
        self.line("INFO", f"worker {node.number} exited")
        node.has_ended = True
        self.detach(node)
        if node is self.interrupter:
            after = (now_ns - self.t0_ns) // SECOND_NS if self.t0_ns else 0
            self.line("INFO", f"worker went away, stopping gracefully after {after} seconds...")

    def detach(self, node: Node) -> None:
        node.state, node.peer = "gone", None
        self.peers.pop(node.last_peer, None)

    # Users.

    def assign(self, node: Node, blocks: list[Block], now_ns: int) -> None:
        """Give users to a worker that has none, under a new epoch."""
        self.newest_epoch += 1
        node.epoch, node.blocks, node.state, node.answered_ns = self.newest_epoch, blocks, "preparing", now_ns
        node.has_worked, node.was_lost = True, False
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

    def release(self, node: Node) -> list[Block]:
        """Take all users from a worker; return them."""
        moves = self.moves_from(node)
        self.moves = [move for move in self.moves if move not in moves]
        blocks = node.blocks + [move.block for move in moves]
        node.blocks, node.epoch, node.state = [], 0, "greeted"
        return blocks

    def lose(self, node: Node, why: str, now_ns: int, is_announced: bool = False, is_back: bool = False) -> None:
        """A worker's users are nobody's: give them to others, go on without them, or stop."""
        blocks = self.release(node)
        self.saw_again(node, keeps=False)
        if self.state == "gathering":
            self.unassigned = blocks + self.unassigned
            self.line("WARN", f"worker {node.number} {why} before the start")
            node.number = 0
        if self.state != "running":
            return
        node.was_lost = True
        users = sum(block.count for block in blocks)
        text = f"worker {node.number} {why} with {units.thousands(users)} users"
        is_given = self.terms.on_loss == "redistribute" and self.redistribute(blocks, now_ns, but=node)
        if is_given or (self.terms.on_loss == "redistribute" and is_back):
            who = "others have" if is_given else "it has"
            self.news.append(Happened("loss" if not is_announced else "leave", f"{text}: {who} them now"))
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

    # Users that move to a worker that has come while the test runs.

    def rebalance(self, now_ns: int) -> None:
        """Let the first spare have its share; the next one when all users have moved."""
        if not self.terms.rebalance or self.moves or self.unassigned or self._away:
            return
        donors = [node for node in self.nodes.values() if node.epoch and node.peer and node.state == "running"]
        spares = (node for node in self.nodes.values() if self.is_spare(node, now_ns))
        if donors and (spare := next(spares, None)):
            self.take_share(spare, donors)

    def take_share(self, spare: Node, donors: list[Node]) -> None:
        """Ask each that has more than its share for what is above it, of its last users."""
        users = sum(node.users for node in donors)
        wanted = users // (len(donors) + 1)
        donors = sorted(donors, key=lambda node: -node.users)
        for node, fair in zip(donors, plan.share(users - wanted, len(donors)), strict=True):
            count = min(max(node.users - fair, 0), wanted)
            node.blocks, cut = plan.cut(node.blocks, count)
            self.moves += [Move(block, node.hello.node, spare.hello.node) for block in cut]
            self.say_fewer(node)
            wanted -= count
        if self.moves:
            spare.number = spare.number or self.free_number()
            moving = sum(move.block.count for move in self.moves)
            text = f"worker {spare.number} has come while the test runs: {units.thousands(moving)} users move to it"
            self.news.append(Happened("rebalance", text))

    def moves_from(self, node: Node) -> list[Move]:
        return [move for move in self.moves if move.source == node.hello.node]

    def say_fewer(self, node: Node) -> None:
        if blocks := tuple(move.block for move in self.moves_from(node)):
            self.say(node, Fewer(node.epoch, blocks))

    def hand_over(self, move: Move, now_ns: int) -> None:
        """Give users that run nowhere now to whom they were meant for, or to others if it has gone since."""
        self.moves.remove(move)
        target = self.nodes.get(move.target)
        if self.state != "running":
            return
        if target is not None and target.peer and target.epoch and target.state in ("preparing", "ready", "running"):
            target.blocks.append(move.block)
            self.say(target, More(target.epoch, (move.block,)))
        elif target is not None and self.is_spare(target, now_ns):
            self.assign(target, [move.block], now_ns)
        elif not self.redistribute([move.block], now_ns):
            self.line("WARN", f"{units.thousands(move.block.count)} users have nowhere to go")

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
        if self.state == "gathering":
            self.start_if_complete(now_ns)
        elif self.state == "running" and self.is_over(now_ns):
            self.stop("run time", now_ns)
        elif self.state == "running" and not (self.unassigned or any(node.epoch for node in self.nodes.values())):
            self.stop("all users have left", now_ns)
        elif self.state == "running":
            self.rebalance(now_ns)
        elif self.state == "stopping":
            self.give_up_if_late(now_ns)
        if self.terms.throttle and self.state != "gathering":  # not at each beat: a thousand workers beat a second
            self.users_held = sum(node.users for node in self.nodes.values())
        self.finish_if_done(now_ns)

    def is_over(self, now_ns: int) -> bool:
        at = self.terms.plan.gone_at
        return at is not None and now_ns >= self.t0_ns + int(at * SECOND_NS)

    def throttle_of(self, node: Node) -> float:
        """Return how many requests a second a worker may start: its share by users, of which all have the same."""
        return self.terms.throttle * node.users / max(self.users_held, 1) if self.terms.throttle else 0.0

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
        self.say(node, Go(node.epoch, self.t0_ns))

    # The end.

    def stop(self, reason: str, now_ns: int, but: Node | None = None) -> None:
        """Let all users leave. `but` is the worker that asked for it: it stops already."""
        if self.state in ("stopping", "ended"):
            return
        self.state, self._stopped_ns = "stopping", now_ns
        self.news.append(Halted(reason))
        for node in self.nodes.values():
            if node.peer is not None and node is not but and not node.is_gone:
                self.say(node, Stop(reason))
                if node.state in ("preparing", "ready", "running"):
                    node.state = "stopping"

    def finish_if_done(self, now_ns: int) -> None:
        """When nobody has users and all that was counted is in, let everybody go; when all are gone, it is the end."""
        if self.state != "stopping" or any(node.epoch for node in self.nodes.values()):
            return
        first = self.interrupter
        waiting = [first] if first is not None and first.peer is not None else list(self.nodes.values())
        for node in waiting:
            if node.peer is not None and node.state in ("greeted", "stopped") and self.may_go(node):
                self.say(node, Exit())
                node.has_ended |= node.state == "stopped"
                node.state, node.was_let_go = "stopped", True
        if not any(self.may_say_more(node, now_ns) for node in self.nodes.values()):
            self.end(now_ns)

    def may_go(self, node: Node) -> bool:
        """Whether a worker's counts are in, for good; then it is told so, once a session."""
        return not node.was_let_go and node.acknowledged == node.next_delta - 1

    def may_say_more(self, node: Node, now_ns: int) -> bool:
        """Whether a worker may still bring counts. One that lives beats every second, or is back within a lease."""
        is_awaited = (node.peer is not None or node.has_worked) and not node.is_gone
        return is_awaited and now_ns < node.heard_ns + self.terms.give_away_ns

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
                self.detach(node)
        self.end(now_ns)

    def end(self, now_ns: int) -> None:
        if self.state != "ended":
            self.state = "ended"
            for node in [self.nodes[name] for name in self._away]:
                self.saw_again(node, keeps=False)
            for name, node in self.nodes.items():
                if node.has_worked and not node.has_ended:
                    self.tell_missing(name, node, now_ns)
            self.line("INFO", "all workers have exited")
            self.news.append(Ended())

    def tell_missing(self, name: str, node: Node, now_ns: int) -> None:
        """Say which counts never came; it is an incident of its own where nobody knew yet that the worker is lost."""
        self.news.append(Missing(name, node.number, min(now_ns, node.answered_ns + self.terms.lease_ns)))
        if not node.was_lost:
            text = f"worker {node.number} did not end: its last counts are missing"
            self.news.append(Happened("loss", text, lost=True))

    # Small things.

    def disconnected(self, peer: bytes) -> None:
        """A session takes no more. That alone proves nothing: its worker's users stay its own until its lease is over.

        What has come in it, and was not heard yet, still is.
        """
        node = self.peers.get(peer)
        if node is not None:
            node.peer = None

    def say(self, node: Node, message: Message) -> None:
        if node.peer is not None:
            self.outbox.append((node.peer, message))

    def line(self, level: str, text: str) -> None:
        self.news.append(Line(level, text))


HEARD: dict[type[Message], Callable[[Manager, Node, Any, int], None]] = {
    Ready: Manager.heard_ready,
    Beat: Manager.heard_beat,
    Delta: Manager.heard_delta,
    Health: Manager.heard_health,
    Trouble: Manager.heard_trouble,
    Interrupted: Manager.heard_interrupted,
    Leaving: Manager.heard_leaving,
    Stopped: Manager.heard_stopped,
    Freed: Manager.heard_freed,
    Failed: Manager.heard_failed,
    Bye: Manager.heard_bye,
}
