"""A worker's end: one socket, one session. Who wants another one makes another transport."""

from __future__ import annotations

import asyncio
import enum
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from gaggle.joining import Keys
from gaggle.transport.wire import HANDSHAKE_SECONDS, Monitor, Wire, endpoint, new_socket, public_key

CONNECT_SECONDS = 5.0  # for an address; then comes the next
SILENT_SECONDS = HANDSHAKE_SECONDS * 0.6  # a manager that refuses us does so much sooner, a stopped one later
GREETING_SECONDS = 2.0
GREETING = b"\xff" + bytes(7) + b"\x01\x7f"  # what ZeroMQ sends first to everybody, ZMTP 3 (RFC 23)

OPTIONS = {
    # Never by itself: a new connection would lose and reorder what was in the old one, without a word. Not -1, with
    # which libzmq throws away what has arrived and was not read yet when the other side closes (measured: all of it).
    # A week, to which it adds up to another one, must be less than 2^31 ms.
    zmq.RECONNECT_IVL: 7 * 86_400_000,
    zmq.CONNECT_TIMEOUT: int(CONNECT_SECONDS * 1000),
}
EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

Address = tuple[str, int]


class Reason(enum.Enum):
    """Why there is no session, from who has come the least far to who has come the furthest."""

    UNREACHABLE = "nothing listens there, or it cannot be reached"
    SILENT = "something listens there, but does not answer"
    STRANGER = "what listens there is not the manager of a gaggle"
    WANTS_TOKEN = "the manager wants a join token, and this worker was started with --open-gaggle"
    IS_OPEN = "the manager was started with --open-gaggle, and this worker was not"
    WRONG_TOKEN = "the manager has another join token"
    LOST = "the connection has ended"


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a session, or of the attempts to have one; in a log: `tcp://127.0.0.1:5115: nothing listens there`."""

    reason: Reason
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason.value}"


async def resolve(host: str, port: int) -> list[Address]:
    """Return all addresses of a host, in the order in which to try them. Raises OSError when it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((_with_scope(sockaddr), port) for *_, sockaddr in found))


def _with_scope(sockaddr: tuple[Any, ...]) -> str:
    """Return the address of what getaddrinfo found; that of a link names the link: `fe80::1%2`."""
    host = str(sockaddr[0])
    return f"{host}%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] else host


class WorkerTransport:
    """A session with a manager: `connect`, then `on_open`, messages, and once, unless we close it, `on_closed`."""

    def __init__(
        self,
        on_message: Callable[[list[bytes]], None],
        on_open: Callable[[], None],
        on_closed: Callable[[Closed], None],
    ) -> None:
        self.on_message, self.on_open, self.on_closed = on_message, on_open, on_closed
        self.loop = asyncio.get_running_loop()
        self.attempt: Attempt | None = None
        self.trying: asyncio.Task[None] | None = None
        self.is_closed = False

    def connect(self, addresses: Sequence[Address], keys: Keys | None) -> None:
        """Try the addresses in turn until one lets us in. `keys` None is for a manager that lets everybody in."""
        self.trying = self.loop.create_task(self._try(addresses, keys))

    def send(self, frames: Sequence[bytes]) -> bool:
        """Queue a message; return False when there is no session, or its queue is full."""
        return self.attempt is not None and self.attempt.is_open and self.attempt.wire.send(frames)

    def close(self, linger: float = 0.0) -> None:
        """End the session, and call back no more; what is queued has `linger` seconds to leave while we live."""
        self.is_closed = True
        if self.trying:
            self.trying.cancel()
        if self.attempt:
            self.attempt.close(linger)

    def _tell(self, end: Closed) -> None:
        if not self.is_closed:
            self.on_closed(end)

    async def _try(self, addresses: Sequence[Address], keys: Keys | None) -> None:
        """Hold the first session that an address gives, or give up; then say why, where we came the furthest."""
        ends = []
        for host, port in addresses:
            self.attempt = Attempt(host, port, keys, self.on_message, self.on_open)
            ends.append(Closed(await self.attempt.ended(), endpoint(host, port)))
            if ends[-1].reason is Reason.LOST:
                break
        order = list(Reason)
        furthest = max(ends, key=lambda end: order.index(end.reason), default=Closed(Reason.UNREACHABLE, "no address"))
        self.loop.call_soon(self._tell, furthest)  # from the loop, which reports what it raises


class Attempt:
    """One address, one socket, at most one connection."""

    def __init__(
        self,
        host: str,
        port: int,
        keys: Keys | None,
        on_message: Callable[[list[bytes]], None],
        on_open: Callable[[], None],
    ) -> None:
        self.host, self.port, self.keys = host, port, keys
        self.on_message, self.on_open = on_message, on_open
        self.loop = asyncio.get_running_loop()
        self.end: asyncio.Future[Reason | None] = self.loop.create_future()
        self.is_open = False
        self.verdict: Reason | None = Reason.UNREACHABLE  # what it was, should it end now; None: only a look will tell
        self.connected_at = 0.0
        self.socket = new_socket(zmq.DEALER, {**OPTIONS, zmq.IPV6: int(":" in host)})
        self.wire = Wire(self.socket, self._take)
        self.monitor = Monitor(self.socket, EVENTS, self._heard)
        # libzmq says nothing where it cannot make a socket at all, such as one for IPv6 on a machine without.
        self.patience = self.loop.call_later(CONNECT_SECONDS + HANDSHAKE_SECONDS + 1.0, self._end)
        self._connect()

    async def ended(self) -> Reason:
        """Return why it ended, when it has."""
        return await self.end or await look(self.host, self.port)

    def close(self, linger: float = 0.0) -> None:
        self.is_open = False
        self.patience.cancel()
        self.monitor.close()
        self.wire.close(linger)

    def _connect(self) -> None:
        if self.keys is not None:
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, public_key(self.keys.manager))
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key(self.keys.worker))
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.worker)
        try:
            self.socket.connect(endpoint(self.host, self.port))
        except zmq.ZMQError:  # an address that this machine does not have, such as one of a link that is gone
            self._end()

    def _heard(self, event: int, value: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self.verdict, self.connected_at = Reason.STRANGER, self.loop.time()
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._open()
        elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED):
            self.wire.drain()  # what the manager said last, such as why it leaves
            self._end()
        else:
            self.verdict = self._failure(event, value)

    def _failure(self, event: int, value: int) -> Reason | None:
        """Return why a handshake failed; None where it was cut off without a word."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return Reason.WRONG_TOKEN
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            is_other_mode = value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            return (Reason.IS_OPEN if self.keys else Reason.WANTS_TOKEN) if is_other_mode else Reason.STRANGER
        if value == errno.EAGAIN or self.loop.time() - self.connected_at > SILENT_SECONDS:
            return Reason.SILENT
        return None if self.keys else Reason.STRANGER

    def _take(self, frames: list[bytes]) -> None:
        self._open()  # the news of it comes another way, which may be slower
        self.on_message(frames)

    def _open(self) -> None:
        if not self.is_open and not self.end.done():
            self.is_open, self.verdict = True, Reason.LOST
            self.patience.cancel()
            self.on_open()

    def _end(self) -> None:
        self.close()
        if not self.end.done():
            self.end.set_result(self.verdict)


async def look(host: str, port: int) -> Reason:
    """Return why something has cut off our handshake: a manager greets everybody first, also who has a wrong token."""
    writer = None
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            return Reason.WRONG_TOKEN if await reader.readexactly(len(GREETING)) == GREETING else Reason.STRANGER
    except (TimeoutError, asyncio.IncompleteReadError, OSError):
        return Reason.STRANGER if writer else Reason.UNREACHABLE
    finally:
        if writer:
            writer.close()
