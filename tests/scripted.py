"""A server that plays a script: it sends just the bytes it is told, in just these pieces, and keeps what it heard."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import count

from bare import Listener


class Move(Enum):
    """What a server can do besides sending."""

    CLOSE = "end the connection properly"
    CUT = "end it without a word: over TLS that is no proper end"
    RESET = "end it with a reset"
    SHUT = "send no more, but read on"
    BODY = "read the body of the request"
    WAIT = "wait until the client ends the connection"
    PEEK = "wait until something has come, and leave it unread"


CLOSE, CUT, RESET, SHUT, BODY, WAIT, PEEK = Move
Step = bytes | float | Move  # bytes are sent in one piece, a number is a pause in seconds
Script = Sequence[Step]

LAST: Script = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain",)
LAST_UNREAD: Script = (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nagain", SHUT, WAIT)


@dataclass
class Heard:
    """One request as it came; `head` is one without its line ends, sorted but for its first line."""

    connection: int
    head: tuple[str, ...] = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.head[0].split(" ")[1].partition("?")[0]

    @property
    def size(self) -> int:
        """The length of the body; -1 for chunks."""
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in self.head)}
        return -1 if "transfer-encoding" in fields else int(fields.get("content-length", 0))


class Stage(Listener):
    """Plays `scripts`: the nth request gets the nth of them, after the last one LAST; a path in `routes` comes first.

    `reads` says what is read before a script begins: "all", "head" or "nothing". With a `context` it speaks TLS.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        routes: Mapping[str, Script] | None = None,
        reads: str = "all",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.scripts, self.routes, self.reads, self.context = list(scripts), routes or {}, reads, context
        self.heard: list[Heard] = []
        self.numbers = count()
        self.received = 0  # bytes
        self.under_way: list[Heard] = []  # whose scripts are being played
        super().__init__(self.play)
        if context:
            self.url = self.url.replace("http:", "https:")

    @property
    def is_quiet(self) -> bool:
        """Whether all scripts that have begun are at their end."""
        return not self.under_way

    def play(self, connection: socket.socket) -> None:
        number = next(self.numbers)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        with connection, suppress(OSError):
            while connection.fileno() >= 0 and (heard := self.listen(connection, number)) is not None:
                self.under_way.append(heard)
                try:
                    for step in self.next_script(heard):
                        perform(connection, step, heard)
                finally:
                    self.under_way.remove(heard)

    def listen(self, connection: socket.socket, number: int) -> Heard | None:
        """Read a request, as much as should be; None when there is none."""
        heard = Heard(number)
        if self.reads == "nothing":
            return heard
        head, heard.body = read_head(connection)
        if not head:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        heard.head = (first, *sorted(lines))
        if self.reads == "all":
            read_body(connection, heard)
        self.received += len(head) + 4 + len(heard.body)
        self.heard.append(heard)
        return heard

    def next_script(self, heard: Heard) -> Script:
        if heard.head and heard.path in self.routes:
            return self.routes[heard.path]
        return self.scripts.pop(0) if self.scripts else LAST if heard.head else LAST_UNREAD


def perform(connection: socket.socket, step: Step, heard: Heard) -> None:
    if isinstance(step, bytes):
        connection.sendall(step)
    elif isinstance(step, float):
        time.sleep(step)
    elif step is BODY:
        read_body(connection, heard)
    elif step is WAIT:
        while connection.recv(65_536):
            pass
    elif step is PEEK:
        connection.recv(1, socket.MSG_PEEK)
    elif step is SHUT:
        connection.shutdown(socket.SHUT_WR)
    else:
        end(connection, step)


def end(connection: socket.socket, how: Move) -> None:
    if how is RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how is CLOSE and isinstance(connection, ssl.SSLSocket):
        connection.setblocking(False)
        with suppress(OSError):  # it would wait for the client's word: ours is out
            connection.unwrap()
    connection.close()


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request without the empty line, and what came behind that; b"" when none comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65_536)):
            return b"", b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_body(connection: socket.socket, heard: Heard) -> None:
    """Read the rest of the body, chunks as they come; less of it when the client ends first."""
    while not (heard.body.endswith(b"0\r\n\r\n") if heard.size < 0 else len(heard.body) >= heard.size):
        if not (more := connection.recv(1 << 20)):
            return
        heard.body += more
