"""The manager's end: one socket for all workers, at a door that only they get through."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence

import zmq

from gaggle.joining import Keys
from gaggle.transport.door import DOMAIN, EVENTS, Arrivals, ZapHandler, address_of
from gaggle.transport.wire import Monitor, Wire, bound_port, endpoint, new_socket, public_key

OPTIONS = {
    zmq.ROUTER_MANDATORY: 1,  # by default a message to a worker that has gone, or does not read, is dropped in silence
    zmq.ROUTER_HANDOVER: 0,
    zmq.BACKLOG: 4_096,  # the kernel's own limit: a thousand workers may come at once
}
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # localhost has ::1 also on a machine without IPv6
NAME_BYTES = 5  # of a peer, as the socket makes them: a zero and a number


class ManagerTransport:
    """Hears and answers workers. A peer is known by a name that is its own as long as it is connected.

    `on_message(peer, frames)` is called only for peers whose handshake succeeded, `on_refused(address, reason)` for
    each that failed, be it a thousand times a second. One at a time in a process.
    """

    def __init__(
        self, on_message: Callable[[bytes, list[bytes]], None], on_refused: Callable[[str, str], None]
    ) -> None:
        self.on_message, self.on_refused = on_message, on_refused
        self.port = 0
        self.zap: ZapHandler | None = None
        self.socket = new_socket(zmq.ROUTER, OPTIONS)
        self.wire = Wire(self.socket, self._take)
        later = asyncio.get_running_loop().call_soon
        arrivals = Arrivals(on_refused, lambda descriptor: address_of(descriptor, self.port), later)
        self.monitor = Monitor(self.socket, EVENTS, arrivals.heard)

    def bind(self, host: str, port: int, keys: Keys | None) -> None:
        """Listen on all addresses that `host` has here; port 0 takes a free one. `keys` None lets everybody in.

        `port` then holds the port. Raises OSError, after which there is only `close`.
        """
        if keys is not None:
            self._lock(keys)
        self.port = port
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
        bound = [self._listen(address) for address in addresses]
        if not any(bound):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL), endpoint(host, port))

    def send(self, peer: bytes, frames: Sequence[bytes]) -> bool:
        """Queue a message; return False, and send nothing, when the peer has gone or its queue is full."""
        return self.wire.send([peer, *frames])

    def drain(self) -> None:
        """Hear at once everything that has arrived: before a timer says that somebody has been silent for too long."""
        self.wire.drain()

    def close(self, linger: float = 0.0) -> None:
        """Hear nothing more; what is queued has `linger` seconds to leave, while the process lives."""
        self.monitor.close()
        if self.zap:
            self.zap.close()
        self.wire.close(linger)

    def _lock(self, keys: Keys) -> None:
        self.zap = ZapHandler(public_key(keys.worker))
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.manager)
        self.socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it every key is welcome where no handler answers

    def _listen(self, address: str) -> bool:
        """Listen on an address; return whether it is one of this machine. Raises OSError."""
        where = endpoint(address, self.port)
        try:
            self.socket.setsockopt(zmq.IPV6, int(":" in address))
            self.socket.bind(where)
        except zmq.ZMQError as error:
            if error.errno in NOT_HERE:
                return False
            raise OSError(error.errno, os.strerror(error.errno or 0), where) from None
        self.port = bound_port(self.socket)
        return True

    def _take(self, message: list[bytes]) -> None:
        peer, *frames = message
        # A peer may bring a name of its own, which could be that of one who has just left: we know no such peers.
        if len(peer) == NAME_BYTES and peer[0] == 0:
            self.on_message(peer, frames)
