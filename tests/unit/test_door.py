"""Who was refused, from the events of a listening socket: everybody with a reason, and never one who was let in."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

zmq = pytest.importorskip("zmq", reason="a gaggle needs pyzmq: pip install 'gaggle-loadtest[gaggle]'")

from gaggle.transport.door import LEFT, OTHER_MODE, SLOW, STRANGE, UNKNOWN, WRONG_TOKEN, Arrivals, refusal  # noqa: E402

CAME, WENT, WELCOME = zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED
FAILED, PROTOCOL = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL

REASONS = [
    (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC, WRONG_TOKEN),
    (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH, OTHER_MODE),
    (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_UNEXPECTED_COMMAND, STRANGE),
    (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400, WRONG_TOKEN),
    (FAILED, errno.EAGAIN, SLOW),
    (FAILED, errno.ECONNRESET, LEFT),
    (FAILED, 0, LEFT),
]


@pytest.mark.parametrize(("event", "value", "reason"), REASONS)
def test_a_failed_handshake_has_a_reason(event, value, reason):
    assert refusal(event, value) == reason


STORIES = [
    # what happened, who was refused
    ("a stranger", [(CAME, 5), (WENT, 5)], [("at 5", STRANGE)]),
    ("one who leaves halfway", [(CAME, 5), (FAILED, 0), (WENT, 5)], [("at 5", LEFT)]),
    ("a worker", [(CAME, 5), (WELCOME, 0), (WENT, 5)], []),
    ("a stranger after a worker", [(CAME, 5), (WELCOME, 0), (CAME, 6), (WENT, 6), (WENT, 5)], [("at 6", STRANGE)]),
    ("the same descriptor again", [(CAME, 5), (WELCOME, 0), (WENT, 5), (CAME, 5), (WENT, 5)], [("at 5", STRANGE)]),
    ("two, and one is let in: which?", [(CAME, 5), (CAME, 6), (WELCOME, 0), (WENT, 5), (WENT, 6)], []),
    ("two, and one says why", [(CAME, 5), (CAME, 6), (WELCOME, 0), (FAILED, 0), (WENT, 6)], [("at 6", LEFT)]),
    ("one of whom we did not hear that it came", [(WENT, 5)], []),
]  # fmt: skip


@pytest.mark.parametrize(("story", "events", "refused"), STORIES)
def test_who_is_refused_is_named(story, events, refused):
    told = []
    arrivals = Arrivals(
        lambda *args: told.append(args), lambda number: f"at {number}", lambda call, number: call(number)
    )

    for event in events:
        arrivals.heard(*event)

    assert told == refused


class Kernel:
    """Connections come and go, and we hear of it later. The lowest free descriptor is taken first, as everywhere."""

    def __init__(self):
        self.table = {}  # descriptor -> (address, is welcome)
        self.events, self.calls, self.told, self.count = [], [], [], 0
        self.arrivals = Arrivals(
            lambda *args: self.told.append(args),
            lambda number: self.table.get(number, (UNKNOWN,))[0],
            lambda *call: self.calls.append(call),
        )

    def come(self, choice, welcome):
        number = next(number for number in range(10) if number not in self.table)
        self.count += 1
        self.table[number] = (f"{'worker' if welcome else 'stranger'} {self.count}", welcome)
        self.events.append((CAME, number))
        if welcome and choice % 2:
            self.events.append((WELCOME, 0))
            self.table[number] = (self.table[number][0], False)

    def go(self, choice):
        if not self.table:
            return
        number = sorted(self.table)[choice % len(self.table)]
        address, waits = self.table.pop(number)
        if waits:
            self.events.append((WELCOME, 0))
        if address.startswith("stranger") and choice % 3:
            self.events.append((FAILED, 0))
        self.events.append((WENT, number))

    def hear(self):
        for event in self.events:
            self.arrivals.heard(*event)
        for call, number in self.calls:
            call(number)
        self.events, self.calls = [], []


@given(st.lists(st.tuples(st.sampled_from(["worker", "stranger", "go", "hear"]), st.integers(0, 11)), max_size=80))
def test_nobody_who_was_let_in_is_ever_accused(steps):
    kernel = Kernel()

    for step, choice in steps:
        match step:
            case "go":
                kernel.go(choice)
            case "hear":
                kernel.hear()
            case _ if len(kernel.table) < 10:
                kernel.come(choice, step == "worker")
    kernel.hear()

    assert not [address for address, _ in kernel.told if address.startswith("worker")]
    assert len(kernel.arrivals.strangers) <= len(kernel.table)
    assert len(kernel.told) <= kernel.count
