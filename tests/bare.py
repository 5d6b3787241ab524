"""Bare sockets for tests: servers that do one strange thing, and a proxy. Each is threads of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

SECONDS = 20.0  # after which a thread gives up on its socket

Handler = Callable[[socket.socket], object]


class Listener:
    """A TCP server on a free port: `handle(socket)` is called in a thread of its own for each connection."""

    def __init__(self, handle: Handler) -> None:
        self.handle = handle
        self.accepted = 0
        self.sockets: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                connection.settimeout(SECONDS)
                self.sockets.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.handle(connection)

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for connection in self.sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def read_head(connection: socket.socket) -> bytes:
    """Return what comes up to the empty line, and perhaps more; b"" when the other side closes first."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := connection.recv(65_536)):
            return b""
        head += data
    return head


def plain(body: bytes, content_type: str = "text/plain") -> bytes:
    """Return a whole answer with this body."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Scripted(Listener):
    """Sends one of `answers` after the other on each connection, each to a request without a body, and closes it.

    `heads` are the requests.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.heads: list[bytes] = []
        super().__init__(self.play)

    def play(self, connection: socket.socket) -> None:
        for answer in self.answers:
            if not (head := read_head(connection)):
                return
            self.heads.append(head)
            connection.sendall(answer)


class Proxy(Listener):
    """An HTTP proxy. `heads` is what it was asked for: "CONNECT 127.0.0.1:80 HTTP/1.1" or "GET http://... HTTP/1.1"."""

    def __init__(self, refuses: bool = False) -> None:
        self.heads: list[bytes] = []
        self.refuses = refuses
        super().__init__(self.relay)

    @property
    def lines(self) -> list[str]:
        return [head.split(b"\r\n")[0].decode() for head in self.heads]

    def relay(self, client: socket.socket) -> None:
        while head := read_head(client):
            self.heads.append(head)
            method, target, _ = head.split(b"\r\n")[0].split()
            if self.refuses:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            elif method == b"CONNECT":
                self.tunnel(client, target)
                return
            else:
                self.forward(client, head, target)

    def tunnel(self, client: socket.socket, target: bytes) -> None:
        with connected(target) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\nSet-Cookie: proxy=1\r\n\r\n")
            back = threading.Thread(target=pour, args=(server, client), daemon=True)
            back.start()
            pour(client, server)
            back.join(SECONDS)

    def forward(self, client: socket.socket, head: bytes, target: bytes) -> None:
        origin, _, path = target.removeprefix(b"http://").partition(b"/")
        with connected(origin) as server:
            server.sendall(closing(head.replace(target, b"/" + path, 1)))
            answer = b"".join(iter(lambda: server.recv(65_536), b""))
        client.sendall(closing(answer))
        client.shutdown(socket.SHUT_WR)


def closing(message: bytes) -> bytes:
    """Return a request or an answer that says that it is the last one."""
    return message.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def connected(address: bytes) -> socket.socket:
    host, _, port = address.decode().rpartition(":")
    return socket.create_connection((host, int(port)), SECONDS)


def pour(source: socket.socket, target: socket.socket) -> None:
    """Send on what comes until it ends."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
