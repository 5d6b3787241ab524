"""A ZeroMQ socket that an asyncio loop serves, what is set on all of ours, and the events that tell how one fares."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence

import zmq
from zmq.utils import z85

from gaggle.errors import FeatureNotEnabled

LONGEST = 1024**2  # bytes of a frame as it travels; a peer that sends a longer one is cut off
MAX_FRAME = LONGEST - 64  # bytes that may be in it: encrypting adds 33
LAST_SECONDS = 1.0  # what a last message may take: the linger of a transport that says goodbye
HANDSHAKE_SECONDS = 5.0  # then a peer that has not said who it is is cut off
BATCH = 200  # messages a turn of the loop: some milliseconds, after which signals and timers have theirs
DRAIN_SECONDS = 0.5  # a flood must not hold the loop for ever
MOST_SOCKETS = 16_384  # of a process, three for each session; libzmq's 1,023 end a simulation of 1,000 workers

Socket = zmq.Socket[bytes]

OPTIONS = {
    zmq.LINGER: 0,
    zmq.MAXMSGSIZE: LONGEST,
    zmq.HANDSHAKE_IVL: int(HANDSHAKE_SECONDS * 1000),
    # Messages a peer, each way. A worker sends a few a second: so many are waiting only when the other side stands
    # still, and then it is better to know than to fill the memory (64 MiB a peer at the worst, beside TCP's buffers).
    zmq.SNDHWM: 64,
    zmq.RCVHWM: 64,
    # A cable that was cut is found in 25 s by a side that listens, and in 30 s by one that sends (TCP's own: 15 min).
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 30_000,
}

_monitors = itertools.count()


class _Home:
    """The context of this process, in which all its sockets live."""

    context: zmq.Context[Socket] | None = None
    pid = 0


def context() -> zmq.Context[Socket]:
    """Return the context of this process, made when first used; its threads do not follow a fork, so neither may it."""
    if _Home.context is None or _Home.context.closed or _Home.pid != os.getpid():
        _Home.context, _Home.pid = zmq.Context(), os.getpid()
        _Home.context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)
    return _Home.context


@atexit.register
def finish() -> None:
    """Return when the last messages of closed transports have left, or their linger is over. Ends those still open.

    A thread sends them. pyzmq waits for it only where the interpreter, as it ends, comes to free the context.
    """
    if _Home.context is not None and _Home.pid == os.getpid():
        _Home.context.destroy()
        _Home.context = None


def new_socket(kind: int, options: Mapping[zmq.SocketOption, int]) -> Socket:
    """Return a socket of this process with OPTIONS and `options` set."""
    socket = context().socket(kind)
    for name, value in {**OPTIONS, **options}.items():
        socket.setsockopt(name, value)
    return socket


def public_key(secret: bytes) -> bytes:
    """Return the public CURVE key of a secret one, both 32 bytes. Raises FeatureNotEnabled."""
    if not zmq.has("curve"):
        raise FeatureNotEnabled("gaggle", "This ZeroMQ was built without CURVE: install pyzmq from a wheel.")
    return z85.decode(zmq.curve_public(z85.encode(secret)))


def endpoint(host: str, port: int) -> str:
    """Return an address as ZeroMQ writes it: `tcp://[::1]:5115`."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def bound_port(socket: Socket) -> int:
    """Return the port that a socket was bound to last."""
    where = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(where, bytes)
    return int(where.rpartition(b":")[2])


class Wire:
    """A socket whose messages go to `take`, in the loop in which it was made.

    The descriptor of a ZeroMQ socket tells that something has changed, and tells it once: so each time it is readable
    everything is received, and after each sending, which may swallow the news, we look whether there is something.
    """

    def __init__(self, socket: Socket, take: Callable[[list[bytes]], None]) -> None:
        self.socket, self.take = socket, take
        self.loop = asyncio.get_running_loop()
        self.is_closed = self.is_due = False
        self.descriptor = int(socket.getsockopt(zmq.FD))
        self.loop.add_reader(self.descriptor, self._readable)
        self._look_again()  # what has come before the descriptor was watched

    def send(self, frames: Sequence[bytes]) -> bool:
        """Queue a message of at least one frame; return False when the queue is full or leads to nobody.

        Raises ValueError for a frame that the other side would not take.
        """
        if max(map(len, frames)) > MAX_FRAME:
            raise ValueError(f"a frame has at most {MAX_FRAME:,} bytes, not {max(map(len, frames)):,}")
        if self.is_closed:
            return False
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            self._look_again()
        return True

    def drain(self) -> None:
        """Take everything that has arrived, without a turn of the loop between."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._receive() and time.monotonic() < deadline:
            pass

    def close(self, linger: float = 0.0) -> None:
        """Take and send nothing more; what is queued has `linger` seconds to leave, while the process lives."""
        if not self.is_closed:
            self.is_closed = True
            self.loop.remove_reader(self.descriptor)
            self.socket.close(int(linger * 1000))

    def _readable(self) -> None:
        self.is_due = False
        self._receive()

    def _receive(self) -> bool:
        """Take at most BATCH messages; return whether there may be more. Also when `take` raises, none is forgotten."""
        try:
            for _ in range(BATCH):
                if self.is_closed:
                    return False
                self.take(self.socket.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            return False
        finally:
            self._look_again()
        return True

    def _look_again(self) -> None:
        if not self.is_closed and not self.is_due and int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self.is_due = True
            self.loop.call_soon(self._readable)


class Monitor:
    """What befalls a socket: `heard` is called with each event (a zmq.EVENT_*) and its value."""

    def __init__(self, socket: Socket, events: int, heard: Callable[[int, int], None]) -> None:
        self.watched, self.heard = socket, heard
        name = f"inproc://gaggle-monitor-{next(_monitors)}"
        socket.monitor(name, events)
        # Without a limit: ZeroMQ's thread would wait for us at a full queue, and closing the socket for the thread.
        listener = new_socket(zmq.PAIR, {zmq.RCVHWM: 0})
        listener.connect(name)
        self.wire = Wire(listener, self._take)

    def close(self) -> None:
        """Hear nothing more. Before the socket is closed."""
        if not self.wire.is_closed:
            self.watched.monitor(None, 0)
            self.wire.close()

    def _take(self, frames: list[bytes]) -> None:
        event, value = struct.unpack("=HI", frames[0])
        self.heard(event, value)
