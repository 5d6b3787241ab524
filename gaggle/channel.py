"""How the processes of one machine talk: one JSON object a datagram, with file descriptors beside it."""

from __future__ import annotations

import array
import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

# A datagram on a Unix socket must fit into the send buffer, whose default is 208 KiB.
LONGEST = 180_000
MOST_DESCRIPTORS = 4


@dataclass(frozen=True, slots=True)
class Message:
    """What one process tells another. `kind` says what it is; `fds` are the receiver's to close."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    fds: tuple[int, ...] = ()


class Channel:
    """One end of a pair of connected sockets. Raises OSError as sockets do, EOFError when the other end has gone."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def of_descriptor(cls, descriptor: int) -> Channel:
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, kind: str, /, *, fds: tuple[int, ...] = (), **fields: Any) -> None:
        """Send one message, waiting for room; a peer that has gone is not an error: its end is noticed elsewhere."""
        data = json.dumps([kind, fields], separators=(",", ":")).encode()
        if len(data) > LONGEST:
            raise ValueError(f"a message {kind!r} of {len(data):,} bytes is too long")
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.socket, [data], list(fds)) if fds else self.socket.send(data)

    def receive(self, flags: int = 0) -> Message:
        """Return the next message, waiting for it. Raises EOFError when none will come.

        With MSG_DONTWAIT among the `flags` it raises BlockingIOError when none is there.
        """
        data, fds = self._take(flags)
        if not data:
            raise EOFError("the other process has gone")
        kind, fields = json.loads(data)
        return Message(kind, fields, fds)

    def _take(self, flags: int) -> tuple[bytes, tuple[int, ...]]:
        size = array.array("i").itemsize * MOST_DESCRIPTORS
        try:
            data, ancillary, _, _ = self.socket.recvmsg(LONGEST, socket.CMSG_SPACE(size), flags)
        except ConnectionResetError:
            return b"", ()
        fds = array.array("i")
        for _, _, payload in ancillary:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        return data, tuple(fds)

    def close(self) -> None:
        self.socket.close()
