"""Where a manager stands: everything that another one must know to take up its test, as data."""

from __future__ import annotations

from typing import Any

import msgspec

from gaggle.ledger import Ledger, Share
from gaggle.manager import Manager, Move, Node
from gaggle.plan import Block
from gaggle.protocol import Hello, Work
from gaggle.report.model import Incident

MAGIC = b"gaggle-state/1\n"  # another version is no test of ours


class NodeState(msgspec.Struct, frozen=True):
    """A worker, as `manager.Node` has it."""

    hello: Hello
    number: int
    state: str
    epoch: int
    blocks: tuple[Block, ...]
    next_delta: int
    is_leaving: bool
    has_worked: bool
    was_lost: bool
    has_ended: bool
    health: tuple[Work, ...]


class Lead(msgspec.Struct, frozen=True):
    """Where the state machine stands: what `manager.Manager` has beside its terms."""

    state: str
    t0_ns: int
    epoch: int
    unassigned: tuple[Block, ...]
    moves: tuple[Move, ...]
    interrupter: str
    nodes: tuple[NodeState, ...]


class Standing(msgspec.Struct, frozen=True):
    """A test. `options` are those that lead; times end in _ns (CLOCK_BOOTTIME of `boot`) or are unix seconds."""

    test: str
    hash: str
    token: bytes
    port: int
    boot: str
    saved_at: float
    options: dict[str, Any]
    seed: int
    shared: Any
    lead: Lead
    began_at: float
    halted_at: float
    was_canceled: bool
    was_reset: bool
    is_incomplete: bool
    incidents: tuple[Incident, ...]
    notes: tuple[str, ...]
    total: bytes
    ramp: bytes
    shares: dict[str, tuple[tuple[float, float, int], ...]]


_DECODER = msgspec.msgpack.Decoder(Standing)


def pack(standing: Standing) -> bytes:
    return MAGIC + msgspec.msgpack.encode(standing)


def unpack(data: bytes) -> Standing:
    """Raises ValueError for anything but what `pack` of this version makes."""
    if not data.startswith(MAGIC):
        raise ValueError("it holds no test of this version of gaggle")
    try:
        return _DECODER.decode(data[len(MAGIC) :])
    except msgspec.MsgspecError as error:
        raise ValueError(f"it holds no test that can be read: {error}") from None


def lead_of(manager: Manager) -> Lead:
    """Return where a manager stands, when it has nothing more to say and no news."""
    return Lead(
        manager.state,
        manager.t0_ns,
        manager.newest_epoch,
        tuple(manager.unassigned),
        tuple(manager.moves),
        manager.interrupter.hello.node if manager.interrupter else "",
        tuple(
            NodeState(
                node.hello,
                node.number,
                node.state,
                node.epoch,
                tuple(node.blocks),
                node.next_delta,
                node.is_leaving,
                node.has_worked,
                node.was_lost,
                node.has_ended,
                node.health,
            )
            for node in manager.nodes.values()
        ),
    )


def take_up(manager: Manager, lead: Lead, now_ns: int) -> None:
    """Let a new manager go on where another one has stood.

    When it last granted a lease is not known, and need not be: that was before now. So from now on nobody's users are
    given away for as long as if it had been now. Who waits for the go-ahead will say again that it is ready.
    """
    manager.state, manager.t0_ns, manager.newest_epoch = lead.state, lead.t0_ns, lead.epoch
    manager.unassigned, manager.moves = list(lead.unassigned), list(lead.moves)
    for known in lead.nodes:
        manager.nodes[known.hello.node] = Node(
            known.hello,
            number=known.number,
            state="preparing" if known.state == "ready" else known.state,
            epoch=known.epoch,
            blocks=list(known.blocks),
            heard_ns=now_ns,
            answered_ns=now_ns,
            health=known.health,
            next_delta=known.next_delta,
            acknowledged=known.next_delta - 1,
            is_leaving=known.is_leaving,
            has_worked=known.has_worked,
            was_lost=known.was_lost,
            has_ended=known.has_ended,
        )
    manager.interrupter = manager.nodes.get(lead.interrupter)
    manager.resumed(now_ns)


def shares_of(ledger: Ledger) -> dict[str, tuple[tuple[float, float, int], ...]]:
    return {name: tuple(share.last) for name, share in ledger.shares.items()}


def fill(ledger: Ledger, standing: Standing) -> None:
    """Put the counts of a test into a new ledger. Raises ValueError."""
    ledger.counted.add(standing.total)
    ledger.ramp.add(standing.ramp)
    for name, last in standing.shares.items():
        ledger.shares[name] = Share()
        ledger.shares[name].last.extend(last)
