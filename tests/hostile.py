"""What a peer may say that knows the token and is broken, or means harm: rubbish, halves, replays, the wrong words.

Left out is what would do as it says, since who has the token is trusted: a Ctrl-C, a failure, counts in their order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from gaggle.plan import Block
from gaggle.protocol import (
    VERSION,
    Ack,
    Assign,
    Beat,
    Bye,
    Delta,
    Exit,
    Go,
    Hello,
    Lease,
    Leaving,
    Message,
    More,
    Ready,
    Refused,
    Stop,
    Stopped,
    Welcome,
    encode,
)

FAR = 5_000_000  # a number that is never due, so that no such delta counts
LONGEST = 1_000_000  # bytes: what a message of ours may have
LONG_SHARE = 0.005  # of the messages: they take a hundred times as long as others


def of_workers(hash: str) -> list[Message]:
    """Return what a worker may say, each in a form that would be right at some time."""
    return [
        Hello("stranger", "host", 1, hash, 1, "boot", (0, 1)),
        Ready(FAR),
        Beat(1, FAR, 1, 1.0),
        Beat(1, 0, 1, 1.0),
        Delta(FAR, 0, 1, 1, 1.0, 2.0, bytes(500)),
        Delta(1, 1, 2, 1, 1.0, 2.0, bytes(500)),
        Leaving(),
        Stopped(FAR, 1),
        Bye(),
    ]


def of_managers() -> list[Message]:
    """Return what a manager may say."""
    blocks = (Block(1, 2, 4, 0),)
    return [
        Welcome(1, 2, 0, 10.0, 1.0),
        Welcome(1, 2, FAR, 1e12, 1e12),
        Refused("no"),
        Assign(1, blocks, 8, 1.0, 1, {"host": "http://127.0.0.1:9"}),
        Go(1, 1),
        More(1, blocks),
        Lease(1, 1, 1),
        Ack(FAR),
        Stop("enough"),
        Exit(),
    ]


class Hostile:
    """Makes messages, each of them frames. Half of them are of `ours`, which whoever hears them also expects."""

    def __init__(self, seed: int, ours: Sequence[Message], theirs: Sequence[Message]) -> None:
        self.drawn = random.Random(seed)
        self.ours, self.theirs = ours, theirs
        self.last: list[bytes] = [b""]
        self.kinds: list[Callable[[], list[bytes]]] = [
            *(self.rubbish, self.framed, self.cut, self.mutated, self.mutated, self.in_wrong_order, self.replayed),
            *(self.of_the_other_side, self.another_version, self.nested, self.of_other_types),
        ]

    def message(self) -> list[bytes]:
        is_long = self.drawn.random() < LONG_SHARE
        self.last = self.long() if is_long else self.drawn.choice(self.kinds)()
        return self.last

    def valid(self) -> list[bytes]:
        return encode(self.drawn.choice(self.ours))

    def rubbish(self) -> list[bytes]:
        return [VERSION, self.drawn.randbytes(self.drawn.randrange(300))]

    def framed(self) -> list[bytes]:
        """Too few frames, or too many."""
        return [self.drawn.choice((b"", VERSION, b"x" * 100)) for _ in range(self.drawn.choice((1, 2, 3, 100)))]

    def cut(self) -> list[bytes]:
        version, body = self.valid()
        return [version, body[: self.drawn.randrange(len(body))]]

    def mutated(self) -> list[bytes]:
        version, body = self.valid()
        changed = bytearray(body)
        for _ in range(self.drawn.randint(1, 4)):
            changed[self.drawn.randrange(len(changed))] = self.drawn.randrange(256)
        return [version, bytes(changed)]

    def in_wrong_order(self) -> list[bytes]:
        return self.valid()

    def replayed(self) -> list[bytes]:
        return self.last

    def of_the_other_side(self) -> list[bytes]:
        return encode(self.drawn.choice(self.theirs))

    def another_version(self) -> list[bytes]:
        return [self.drawn.choice((b"gaggle/2", b"gaggle/", b"\xff" * 30, b"")), self.valid()[1]]

    def nested(self) -> list[bytes]:
        return [VERSION, b"\x91" * self.drawn.choice((50, 5_000))]

    def of_other_types(self) -> list[bytes]:
        """The right fields with what cannot be in them."""
        fields = msgspec.to_builtins(self.drawn.choice(self.ours))
        name = self.drawn.choice(list(fields))
        fields[name] = self.drawn.choice((None, -1, 2**63, "x" * 300, [], {}, [[]] * 50, float("nan"), b"", True))
        return [VERSION, msgspec.msgpack.encode(fields)]

    def long(self) -> list[bytes]:
        """As much as fits into a message."""
        hello = Hello("long", "h", 1, "x", 1, "b", tuple(range(100_000)))
        long = (encode(hello)[1], self.drawn.randbytes(LONGEST), b"\xda\xff\xff" + b"x" * 65_535)
        return [VERSION, self.drawn.choice(long)]
