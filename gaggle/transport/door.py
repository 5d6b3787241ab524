"""Who may come in, and who was refused: the manager's ZAP handler, and what the events of its socket tell."""

from __future__ import annotations

import errno
import hmac
import logging
import socket
from collections.abc import Callable

import zmq

from gaggle.transport.wire import HANDSHAKE_SECONDS, Wire, new_socket

LOGGER = logging.getLogger("gaggle")
DOMAIN = b"gaggle"
ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # a name that libzmq looks for, ZeroMQ RFC 27
EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

STRANGE = "it does not speak our protocol"
WRONG_TOKEN = "its join token is not ours"
OTHER_MODE = "one of us was started with --open-gaggle, the other was not"
LEFT = "it left before it had said who it is"
SLOW = f"it did not say who it is within {HANDSHAKE_SECONDS:g} s"
UNKNOWN = "unknown address"  # of a peer that had gone before we could look

# Why a handshake failed, by the value of EVENT_HANDSHAKE_FAILED_PROTOCOL.
PROTOCOL_REASONS: dict[int, str] = {
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: WRONG_TOKEN,
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: OTHER_MODE,
}


class ZapHandler:
    """Tells libzmq whose CURVE key is welcome: one. Anything else, an error of ours included, is refused."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        listener = new_socket(zmq.REP, {})
        listener.bind(ZAP_ENDPOINT)
        self.wire = Wire(listener, self._take)

    def close(self) -> None:
        self.wire.close()

    def _take(self, request: list[bytes]) -> None:
        welcome = False
        try:
            welcome = self.is_welcome(request)
        except Exception:  # without an answer the handler would wait for ever to give it, and nobody could join
            LOGGER.exception("a worker could not be checked")
        status = (b"200", b"OK") if welcome else (b"400", b"no access")
        self.wire.send([b"1.0", b"".join(request[1:2]), *status, b"", b""])

    def is_welcome(self, request: list[bytes]) -> bool:
        """Return whether a request of RFC 27 comes from who has the key."""
        version, _request_id, domain, _address, _identity, mechanism, *credentials = request
        known = version == b"1.0" and domain == DOMAIN and mechanism == b"CURVE" and len(credentials) == 1
        return known and hmac.compare_digest(credentials[0], self.key)


class Arrivals:
    """Tells who was refused, from the events of a listening socket.

    They name a connection by its descriptor, and only when it comes and when it goes; why it was refused stands
    directly before that, and of a handshake that succeeded we do not know whose it was. So where somebody leaves
    without a reason while we are not sure that all others are in, nobody is accused.
    """

    def __init__(
        self,
        refused: Callable[[str, str], None],
        address_of: Callable[[int], str],
        later: Callable[[Callable[[int], None], int], object],
    ) -> None:
        self.refused, self.address_of, self.later = refused, address_of, later
        self.strangers: dict[int, str] = {}  # descriptor -> address, of those that may not be in
        self.welcomed = 0  # of the strangers, as far as we know
        self.unsure: set[int] = set()
        self.reason = ""

    def heard(self, event: int, value: int) -> None:
        """Take an event: a descriptor comes with ACCEPTED and DISCONNECTED, details with a failed handshake."""
        if event == zmq.EVENT_ACCEPTED:
            self._came(value)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.welcomed += 1
            self._count()
        elif event == zmq.EVENT_DISCONNECTED:
            self._went(value)
        else:
            self.reason = refusal(event, value)

    def _came(self, descriptor: int) -> None:
        """Note the address. It may be that of the next one, if this one has gone already: then we hear of it at once.

        libzmq tells that a connection ends before it closes the descriptor.
        """
        self.strangers[descriptor] = self.address_of(descriptor)
        self.unsure.add(descriptor)
        self.later(self.unsure.discard, descriptor)

    def _went(self, descriptor: int) -> None:
        reason, self.reason = self.reason, ""
        address = self.strangers.pop(descriptor, None)
        if address is not None and (reason or not self.welcomed):
            self.refused(UNKNOWN if descriptor in self.unsure else address, reason or STRANGE)
        self._count()

    def _count(self) -> None:
        if self.welcomed >= len(self.strangers):  # so it was all of them
            self.strangers.clear()
            self.welcomed = 0


def refusal(event: int, value: int) -> str:
    """Return why a handshake failed, by its event and the event's value."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return PROTOCOL_REASONS.get(value, STRANGE)
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return WRONG_TOKEN
    return SLOW if value == errno.EAGAIN else LEFT


def address_of(descriptor: int, port: int) -> str:
    """Return the address of who is connected to our `port` through a descriptor of libzmq's, or UNKNOWN.

    It may have closed the descriptor by now, and the number may be another connection's.
    """
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return UNKNOWN
    try:
        ours, theirs = borrowed.getsockname(), borrowed.getpeername()
    except OSError:
        return UNKNOWN
    finally:
        borrowed.detach()
    return str(theirs[0]).removeprefix("::ffff:") if ours[1:2] == (port,) else UNKNOWN
