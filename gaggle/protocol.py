"""What manager and workers say to each other: messages, their order, their bytes. No sockets, no clocks."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gaggle.errors import ProtocolError
from gaggle.plan import Block

VERSION = b"gaggle/1"

# A peer that knows the token may still be broken: what it sends is bounded.
Text = Annotated[str, msgspec.Meta(max_length=4_000)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Data = Annotated[bytes, msgspec.Meta(max_length=1_000_000)]


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The root of all messages: immutable, named by their class on the wire."""


# Worker -> manager.


class Hello(Message, frozen=True):
    """The first word of every session. `node` is the worker's own name for itself, the same over all its sessions.

    `epoch` is the one it lives in, 0 for none; `boot` and `cores` tell whether two workers share a machine.
    """

    node: Name
    host: Name
    pid: Number
    hash: Name
    engines: Number
    boot: Name
    cores: Annotated[tuple[Number, ...], msgspec.Meta(max_length=8_192)]  # the most that Linux can have
    epoch: Number = 0


class Fetch(Message, frozen=True):
    """In place of a Hello, from a worker that was started without a load test: send me this part of yours."""

    part: Number


class Ready(Message, frozen=True):
    """The users of this epoch are prepared: waiting for the go-ahead."""

    epoch: Number


class Beat(Message, frozen=True):
    """Every second. `clock_ns` is the worker's CLOCK_BOOTTIME when it was sent, `wall` its unix time."""

    seq: Number
    epoch: Number
    clock_ns: Number
    wall: float
    users: Number = 0
    cpu: float = 0.0
    lag_us: Number = 0


class Delta(Message, frozen=True):
    """What was counted from `began` to `ended` (unix seconds): part of a packed snapshot. Each number counts once."""

    number: Number
    part: Number
    parts: Number
    epoch: Number
    began: float
    ended: float
    data: Data


class Trouble(Message, frozen=True):
    """Something on the worker that the reader of the report must know."""

    at: float
    kind: Name
    text: Text


class Interrupted(Message, frozen=True):
    """Somebody pressed Ctrl-C on the worker: all of the gaggle stops."""


class Leaving(Message, frozen=True):
    """The worker was told to go (SIGTERM): it drains, others take its users."""


class Stopped(Message, frozen=True):
    """No user of this epoch runs any more; `last` is the number of the delta that holds the rest of its counts."""

    epoch: Number
    last: Number


class Failed(Message, frozen=True):
    """The worker cannot do what it was assigned."""

    reason: Text


class Bye(Message, frozen=True):
    """The last word of a session that ends as it should."""


# Manager -> worker.


class Welcome(Message, frozen=True):
    """`worker` is its number (from 1) of `workers`; 0 is a spare, which waits.

    `epoch` is what the manager believes it lives in: a worker that believes otherwise lets go of its users. `lease` and
    `beat` are seconds: how long it may run without an answer, and how often it asks.
    """

    worker: Number
    workers: Number
    epoch: Number
    lease: float
    beat: float


class Refused(Message, frozen=True):
    """The manager does not want this worker; there is no use in trying again."""

    reason: Text


class Piece(Message, frozen=True):
    """A part of the load test as parcel.py packs it. `digest` is of the whole: of another load test it is another."""

    digest: Name
    part: Number
    parts: Number
    data: Data


class Assign(Message, frozen=True):
    """The worker's users. `options` are those that lead; `shared` is what @test_start returned.

    `worker` is the number it has from now on: a spare gets its own with its first users.
    """

    epoch: Number
    blocks: tuple[Block, ...]
    users: Number
    hatch_rate: float
    seed: Number
    options: dict[str, Any]
    shared: Any = None
    worker: Number = 0


class Go(Message, frozen=True):
    """Start: `t0_ns` is the manager's CLOCK_BOOTTIME at which user 1 is due."""

    epoch: Number
    t0_ns: Number


class More(Message, frozen=True):
    """Users of a worker that was lost, to be started now and at the hatch rate, under the epoch that the worker has."""

    epoch: Number
    blocks: tuple[Block, ...]


class Lease(Message, frozen=True):
    """The answer to beat `seq`: users of `epoch` may run for one lease from the moment *before* that beat was sent.

    `clock_ns` is the manager's CLOCK_BOOTTIME when the beat came: the worker reckons its offset from it.
    """

    seq: Number
    epoch: Number
    clock_ns: Number


class Ack(Message, frozen=True):
    """Delta `number` is counted, and on disk where a state file is kept."""

    number: Number


class Stop(Message, frozen=True):
    """Let the users leave."""

    reason: Name


class Exit(Message, frozen=True):
    """Everything is counted: end."""


WORKER_SAYS = Hello | Fetch | Ready | Beat | Delta | Trouble | Interrupted | Leaving | Stopped | Failed | Bye
MANAGER_SAYS = Welcome | Refused | Piece | Assign | Go | More | Lease | Ack | Stop | Exit

# What may arrive from a worker, by the state in which the manager has it, and the state that follows.
FROM_WORKER: dict[str, dict[type[Message], str]] = {
    "new": {Hello: "greeted", Fetch: "new"},
    # It holds no users. Words of an epoch that was taken away may still be on their way.
    "greeted": {Beat: "greeted", Delta: "greeted", Interrupted: "greeted", Leaving: "greeted", Trouble: "greeted",
                Ready: "greeted", Stopped: "greeted", Failed: "gone", Bye: "gone"},
    "preparing": {Beat: "preparing", Delta: "preparing", Interrupted: "preparing", Leaving: "stopping",
                  Trouble: "preparing", Ready: "ready", Stopped: "stopped", Failed: "gone", Bye: "gone"},
    "ready": {Beat: "ready", Delta: "ready", Interrupted: "ready", Leaving: "stopping", Trouble: "ready",
              Ready: "ready", Stopped: "stopped", Failed: "gone", Bye: "gone"},
    "running": {Beat: "running", Delta: "running", Interrupted: "running", Leaving: "stopping", Trouble: "running",
                Ready: "running", Stopped: "stopped", Failed: "gone", Bye: "gone"},
    "stopping": {Beat: "stopping", Delta: "stopping", Interrupted: "stopping", Leaving: "stopping",
                 Trouble: "stopping", Ready: "stopping", Stopped: "stopped", Failed: "gone", Bye: "gone"},
    "stopped": {Beat: "stopped", Delta: "stopped", Interrupted: "stopped", Leaving: "stopped", Trouble: "stopped",
                Ready: "stopped", Stopped: "stopped", Bye: "gone"},
    "gone": {},
}  # fmt: skip

# What may arrive from the manager, by the worker's own state.
FROM_MANAGER: dict[str, dict[type[Message], str]] = {
    "fetching": {Piece: "fetching", Refused: "ended"},
    "greeting": {Welcome: "waiting", Refused: "ended", Exit: "ended"},
    "waiting": {Assign: "preparing", Go: "waiting", More: "waiting", Lease: "waiting", Ack: "waiting",
                Stop: "waiting",
                Exit: "ended"},
    "preparing": {Assign: "preparing", More: "preparing", Lease: "preparing", Ack: "preparing",
                Stop: "stopping", Exit: "ended"},
    "ready": {Assign: "preparing", Go: "running", More: "ready", Lease: "ready", Ack: "ready",
                Stop: "stopping", Exit: "ended"},
    "running": {Assign: "preparing", Go: "running", More: "running", Lease: "running", Ack: "running",
                Stop: "stopping", Exit: "ended"},
    "stopping": {Assign: "preparing", Go: "stopping", More: "stopping", Lease: "stopping", Ack: "stopping",
                Stop: "stopping", Exit: "ended"},
    "stopped": {Assign: "preparing", Go: "stopped", More: "stopped", Lease: "stopped", Ack: "stopped",
                Stop: "stopped",
                Exit: "ended"},
    "ended": {},
}  # fmt: skip

_ENCODER = msgspec.msgpack.Encoder()
_WORKER_DECODER = msgspec.msgpack.Decoder(WORKER_SAYS)
_MANAGER_DECODER = msgspec.msgpack.Decoder(MANAGER_SAYS)


def advance(table: dict[str, dict[type[Message], str]], state: str, message: Message) -> str:
    """Return the state that `message` leads to. Raises ProtocolError if it may not come now."""
    after = table[state].get(type(message))
    if after is None:
        raise ProtocolError(f"{type(message).__name__} from a peer that is {state}")
    return after


def encode(message: Message) -> list[bytes]:
    """Return the frames of a message: the version, which is looked at before anything is parsed, and the message."""
    return [VERSION, _ENCODER.encode(message)]


def decode_worker(frames: list[bytes]) -> Message:
    """Return what a worker said. Raises ProtocolError."""
    return _decode(_WORKER_DECODER, "worker", "manager", frames)


def decode_manager(frames: list[bytes]) -> Message:
    """Return what the manager said. Raises ProtocolError."""
    return _decode(_MANAGER_DECODER, "manager", "worker", frames)


def _decode(decoder: msgspec.msgpack.Decoder[Any], speaker: str, listener: str, frames: list[bytes]) -> Message:
    if len(frames) != 2:
        raise ProtocolError(f"a message of {len(frames)} frames from the {speaker}, there are 2")
    if frames[0] != VERSION:
        theirs = frames[0][:20].decode("ascii", "backslashreplace")
        raise ProtocolError(
            f"the {speaker} speaks {theirs}, this {listener} {VERSION.decode()}: install the same version on both"
        )
    try:
        return decoder.decode(frames[1])  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the {speaker} said something that cannot be understood: {error}") from None
    except RecursionError:
        raise ProtocolError(f"the {speaker} said something that is nested too deeply") from None
