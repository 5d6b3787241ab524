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
Difference = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Real = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]  # and so no NaN, nor anything infinite
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Rate = Seconds  # a second
Data = Annotated[bytes, msgspec.Meta(max_length=1_000_000)]


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The root of all messages: immutable, named by their class on the wire."""


# Worker -> manager.


class Hello(Message, frozen=True):
    """The first word of every session. `node` is the worker's own name for itself, the same over all its sessions.

    `epoch` is the one it lives in, 0 for none; `boot` and `cores` tell whether two workers share a machine; `test` is
    the one that it takes part in, "" before its first welcome.
    """

    node: Name
    host: Name
    pid: Number
    hash: Name
    engines: Number
    boot: Name
    cores: Annotated[tuple[Number, ...], msgspec.Meta(max_length=8_192)]  # the most that Linux can have
    epoch: Number = 0
    test: Name = ""


class Fetch(Message, frozen=True):
    """In place of a Hello, from a worker that was started without a load test: send me this part of yours."""

    part: Number


class Ready(Message, frozen=True):
    """The users of this epoch are prepared: waiting for the go-ahead."""

    epoch: Number


class Beat(Message, frozen=True):
    """Every second. `clock_ns` is the worker's CLOCK_BOOTTIME when it was sent, `wall` its unix time.

    `offset_ns` is what it takes its clock to be ahead of the manager's by, `round_trip_ns` that of the beat which told
    it so; 0 where none has been answered yet.
    """

    seq: Number
    epoch: Number
    clock_ns: Number
    wall: Real
    users: Number = 0
    offset_ns: Difference = 0
    round_trip_ns: Number = 0


class Delta(Message, frozen=True):
    """What was counted from `began` to `ended` (unix seconds): part of a packed snapshot. Each number counts once.

    `is_ramp` says that it was counted before the metrics' reset, where there is one.
    """

    number: Number
    part: Number
    parts: Number
    epoch: Number
    began: Real
    ended: Real
    data: Data
    is_ramp: bool = False


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How hard one engine has worked so far."""

    index: Number
    cpu_seconds: Seconds
    wall_seconds: Seconds
    requests: Number


class Health(Message, frozen=True):
    """How hard the worker's engines have worked since it began: the newest replaces those before it."""

    engines: Annotated[tuple[Work, ...], msgspec.Meta(max_length=1_024)]


class Trouble(Message, frozen=True):
    """Something on the worker that the reader of the report must know."""

    at: Real
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


class Freed(Message, frozen=True):
    """The users of these blocks, which the manager wants for others, run here no more."""

    epoch: Number
    blocks: tuple[Block, ...]


class Failed(Message, frozen=True):
    """The worker cannot do what it was assigned."""

    reason: Text


class Bye(Message, frozen=True):
    """The last word of a session that ends as it should."""


# Manager -> worker.


class Welcome(Message, frozen=True):
    """`worker` is its number (from 1) of `workers`; 0 is a spare, which waits.

    `epoch` is what the manager believes it lives in: a worker that believes otherwise lets go of its users. `lease` and
    `beat` are seconds: how long it may run without an answer, and how often it asks. `test` names the test: a worker
    that belongs to another one is of no use.
    """

    worker: Number
    workers: Number
    epoch: Number
    lease: Seconds
    beat: Seconds
    test: Name = ""


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
    hatch_rate: Rate
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


class Fewer(Message, frozen=True):
    """Let these users leave, each the last ones of a block, and say `Freed`: another worker is to have them."""

    epoch: Number
    blocks: tuple[Block, ...]


class Lease(Message, frozen=True):
    """The answer to beat `seq`: users of `epoch` may run for one lease from the moment *before* that beat was sent.

    `clock_ns` is the manager's CLOCK_BOOTTIME when the beat came: the worker reckons its offset from it. `throttle` is
    how many requests a second its users may start together, 0 for no limit.
    """

    seq: Number
    epoch: Number
    clock_ns: Number
    throttle: Rate = 0.0


class Ack(Message, frozen=True):
    """Delta `number` is counted, and on disk where a state file is kept."""

    number: Number


class Stop(Message, frozen=True):
    """Let the users leave."""

    reason: Name


class Exit(Message, frozen=True):
    """Everything is counted: end."""


WORKER_SAYS = (
    Hello | Fetch | Ready | Beat | Delta | Health | Trouble | Interrupted | Leaving | Stopped | Freed | Failed | Bye
)
MANAGER_SAYS = Welcome | Refused | Piece | Assign | Go | More | Fewer | Lease | Ack | Stop | Exit


def stay(state: str, *kinds: type[Message]) -> dict[type[Message], str]:
    """Return the rows of a table for what changes no state."""
    return dict.fromkeys(kinds, state)


# What may arrive from a worker, by the state in which the manager has it, and the state that follows.
TOLD = (Beat, Delta, Health, Freed, Interrupted, Trouble)
LAST: dict[type[Message], str] = {Failed: "gone", Bye: "gone"}
FROM_WORKER: dict[str, dict[type[Message], str]] = {
    "new": {Hello: "greeted", Fetch: "new"},
    # It holds no users. Words of an epoch that was taken away may still be on their way.
    "greeted": stay("greeted", *TOLD, Leaving, Ready, Stopped) | LAST,
    "preparing": stay("preparing", *TOLD) | {Leaving: "stopping", Ready: "ready", Stopped: "stopped"} | LAST,
    "ready": stay("ready", *TOLD, Ready) | {Leaving: "stopping", Stopped: "stopped"} | LAST,
    "running": stay("running", *TOLD, Ready) | {Leaving: "stopping", Stopped: "stopped"} | LAST,
    "stopping": stay("stopping", *TOLD, Leaving, Ready) | {Stopped: "stopped"} | LAST,
    "stopped": stay("stopped", *TOLD, Leaving, Ready, Stopped) | {Bye: "gone"},
    "gone": {},
}

# What may arrive from the manager, by the worker's own state.
GIVEN = (More, Fewer, Lease, Ack)
FROM_MANAGER: dict[str, dict[type[Message], str]] = {
    "greeting": {Welcome: "waiting", Refused: "ended", Exit: "ended"},
    "waiting": stay("waiting", *GIVEN, Go, Stop) | {Assign: "preparing", Exit: "ended"},
    "preparing": stay("preparing", *GIVEN) | {Assign: "preparing", Stop: "stopping", Exit: "ended"},
    "ready": stay("ready", *GIVEN) | {Assign: "preparing", Go: "running", Stop: "stopping", Exit: "ended"},
    "running": stay("running", *GIVEN, Go) | {Assign: "preparing", Stop: "stopping", Exit: "ended"},
    "stopping": stay("stopping", *GIVEN, Go, Stop) | {Assign: "preparing", Exit: "ended"},
    "stopped": stay("stopped", *GIVEN, Go, Stop) | {Assign: "preparing", Exit: "ended"},
    "fetching": {Piece: "fetching", Refused: "ended"},
    "ended": {},
}

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
