"""What may be in a message, whoever sent it: anything else is a ProtocolError, and nothing else is raised."""

from __future__ import annotations

import os

import msgspec
import pytest
from hostile import Hostile, of_managers, of_workers

from gaggle.errors import ProtocolError
from gaggle.protocol import VERSION, Hello, Message, Welcome, decode_manager, decode_worker, encode

HELLO = Hello("n", "h", 1, "hash", 1, "boot", (0, 1))


def hello_with(**fields: object) -> list[bytes]:
    return [VERSION, msgspec.msgpack.encode(msgspec.to_builtins(HELLO) | fields)]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        pytest.param([VERSION, b"\xff" * 9], "cannot be understood", id="rubbish"),
        pytest.param([VERSION, encode(HELLO)[1].replace(b"cores", b"c\xf2res")], "cannot be", id="a field's name"),
        pytest.param([VERSION, encode(HELLO)[1].replace(b"hash", b"h\xf2sh")], "cannot be", id="no UTF-8"),
        pytest.param([VERSION, b"\x91" * 50_000], "nested|cannot be", id="nested"),
        pytest.param(hello_with(cores=(1,) * 9_000), "length <= 8192", id="more cores than there can be"),
        pytest.param(hello_with(pid=-1), ">= 0", id="a negative number"),
        pytest.param(hello_with(more=1), "unknown field", id="a field too many"),
        pytest.param([VERSION], "1 frames", id="a frame too few"),
        pytest.param([b"gaggle/9", b""], "speaks gaggle/9", id="another version"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(frames: list[bytes], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        decode_worker(frames)


@pytest.mark.parametrize("lease", [float("inf"), float("nan"), -1.0])
def test_no_time_is_infinite_or_less_than_nothing(lease: float) -> None:
    """A worker could not make nanoseconds of it."""
    with pytest.raises(ProtocolError, match="Expected `float`"):
        decode_manager(encode(Welcome(1, 1, 1, lease, 1.0)))


@pytest.mark.parametrize("message", [*of_workers("hash"), *of_managers()], ids=lambda message: type(message).__name__)
def test_what_was_said_is_what_is_heard(message: Message) -> None:
    decode = decode_worker if message in of_workers("hash") else decode_manager

    assert decode(encode(message)) == message


def test_whatever_is_said_is_a_message_or_refused() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    worker, manager = of_workers("hash"), of_managers()
    for decode, ours, theirs in ((decode_worker, worker, manager), (decode_manager, manager, worker)):
        hostile, understood = Hostile(seed, ours, theirs), 0
        for _ in range(1_500):
            try:
                decode(hostile.message())
            except ProtocolError:
                continue
            understood += 1

        assert 100 < understood < 1_400
