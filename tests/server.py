"""A web server that misbehaves on demand and keeps exact books, so that tests can hold a report against it.

    python tests/server.py [--port 0] [--cert FILE --key FILE] [--with-parent]

It prints `server on http://127.0.0.1:PORT`. A request is counted at the moment it has been read whole, before anything
is answered; GET /seen tells what was counted, POST /reset-seen starts over. Neither counts itself or its connection.
What else it answers is in `endpoints.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import socket
import ssl
import struct
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

from endpoints import ANSWERS, DEEDS, Answer, BadRequest, Deed, Request, as_json, text

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD_LIMIT = 256 * 1024  # of a request's head: well above what any client under test should send

Handler = TypeVar("Handler")


def cases() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


@dataclass
class Visit:
    """What one connection was used for."""

    requests: int = 0
    users: set[str] = field(default_factory=set)


@dataclass
class Log:
    """The books, from a reset to the next one; a request that was open at a reset stays in the old ones."""

    requests: Counter[str] = field(default_factory=Counter)  # by "GET /path", without the query
    cases: defaultdict[str, Counter[str]] = field(default_factory=cases)  # by the header X-Case, then as above
    visits: defaultdict[int, Visit] = field(default_factory=lambda: defaultdict(Visit))  # by connection
    opened: int = 0
    aborted: int = 0  # connections that the client reset, or closed while a request was being sent or answered
    refused: int = 0  # what was no request at all
    body_bytes: int = 0  # in the bodies of requests
    open: int = 0
    max_open: int = 0

    def begin(self, request: Request, connection: int) -> None:
        """Count a request that has been read whole."""
        name = f"{request.method} {request.path}"
        self.requests[name] += 1
        if case := request.header("x-case"):
            self.cases[case][name] += 1
        visit = self.visits[connection]
        visit.requests += 1
        if user := request.user:
            visit.users.add(user)
        self.body_bytes += len(request.body)
        self.open += 1
        self.max_open = max(self.max_open, self.open)

    def as_dict(self) -> dict[str, Any]:
        visits = [{"id": i, "requests": v.requests, "users": sorted(v.users)} for i, v in self.visits.items()]
        plain = ("opened", "aborted", "refused", "body_bytes", "open", "max_open", "requests", "cases")
        return {name: getattr(self, name) for name in plain} | {"connections": visits}


class Incoming:
    """What has come and was not read yet. `until` and `exactly` are generators that wait (yield) until it is there."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def until(self, mark: bytes, limit: int = HEAD_LIMIT) -> Generator[None, None, bytes]:
        """Return what comes up to and with `mark`. Raises BadRequest when it is longer than `limit`."""
        searched = 0
        while (at := self.buffer.find(mark, searched)) < 0 and len(self.buffer) <= limit:
            searched = max(0, len(self.buffer) - len(mark) + 1)
            yield
        if not 0 <= at <= limit:
            raise BadRequest("the head of the request is too long")
        return self.take(at + len(mark))

    def exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self.buffer) < size:
            yield
        return self.take(size)

    def take(self, size: int) -> bytes:
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken


def read_request(incoming: Incoming, connection: Connection) -> Generator[None, None, Request]:
    """Return the next request of `connection`, whole. Raises BadRequest."""
    request = Request.parse((yield from incoming.until(b"\r\n\r\n")))
    if request.header("expect").lower() == "100-continue":
        connection.write(CONTINUE)
    if "chunked" in request.header("transfer-encoding").lower():
        request.body = yield from read_chunks(incoming)
    elif length := request.header("content-length"):
        if not length.isdigit():
            raise BadRequest(f"Content-Length: {length}")
        request.body = yield from incoming.exactly(int(length))
    return request


def read_chunks(incoming: Incoming) -> Generator[None, None, bytes]:
    """Return a chunked body, without extensions and trailer. Raises BadRequest."""
    body = bytearray()
    while size := chunk_size((yield from incoming.until(b"\r\n"))):
        body += yield from incoming.exactly(size)
        if (yield from incoming.exactly(2)) != b"\r\n":
            raise BadRequest("a chunk is longer than it says")
    while (yield from incoming.until(b"\r\n")) != b"\r\n":  # the trailer
        pass
    return bytes(body)


def chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError as error:
        raise BadRequest(f"not the size of a chunk: {line[:80]!r}") from error


class Connection(asyncio.Protocol):
    """One client: a request is read, then answered, then the next one is read."""

    def __init__(self, site: Site) -> None:
        self.site, self.number = site, next(site.numbers)
        self.incoming = Incoming()
        self.reader = read_request(self.incoming, self)
        self.requests = 0
        self.open: tuple[Request, Log | None] | None = None  # the request that is being answered, and where it counts
        self.deed: asyncio.Task[None] | None = None
        self.control = False  # it asks for the books, and is not in them
        self.ended = False  # by us
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.site.connections.add(self)
        self.log = self.site.log
        self.log.opened += 1

    def data_received(self, data: bytes) -> None:
        self.incoming.buffer += data
        self.advance()

    def advance(self) -> None:
        """Read and answer until more must come, or a deed needs time."""
        while not self.open and not self.transport.is_closing():
            try:
                next(self.reader)
                return
            except StopIteration as whole:
                self.reader = read_request(self.incoming, self)
                self.begin(whole.value)
            except BadRequest as error:
                self.site.log.refused += 1
                self.write(text(f"{error}\n", ("Connection", "close"), status=400).encode())
                self.close()

    def begin(self, request: Request) -> None:
        """Count `request` and answer it, or start the deed that does."""
        self.count(request)
        if deed := CONTROL.get(request.path) or endpoint(DEEDS, request.path):
            self.deed = asyncio.ensure_future(self.perform(deed, request))
            return
        handler = endpoint(ANSWERS, request.path)
        try:
            self.finish(handler(request) if handler else text("there is nothing here\n", status=404))
        except BadRequest as error:
            self.finish(text(f"{error}\n", status=400))

    def count(self, request: Request) -> None:
        if request.path in CONTROL:
            self.disown()
            self.open = request, None
            return
        self.open = request, self.site.log
        self.requests += 1
        self.site.log.begin(request, self.number)

    def disown(self) -> None:
        """This connection asks for the books: take it out of them."""
        if not self.control and self.log is self.site.log:
            self.log.opened -= 1
        self.control = True

    async def perform(self, deed: Deed, request: Request) -> None:
        try:
            answer = await deed(request, self)
        except BadRequest as error:
            answer = text(f"{error}\n", status=400)
        except Exception:
            traceback.print_exc()
            answer = text("the test server failed: see its stderr\n", status=500)
        self.finish(answer)
        self.advance()

    def finish(self, answer: Answer | None) -> None:
        """The request that is open has been answered; `answer` is sent if the deed has not done it."""
        assert self.open
        request, log = self.open
        if answer:
            self.transport.write(answer.encode(request.method))
        if not request.keeps_alive:
            self.close()
        self.open = self.deed = None
        if log:
            log.open -= 1

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client is slow to read."""
        self.transport.write(data)
        await self.writable.wait()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def close(self) -> None:
        self.ended = True
        self.transport.close()

    def close_if_idle(self, requests: int) -> None:
        """Close unless something has come since the connection had had `requests`."""
        if not self.open and self.requests == requests:
            self.close()

    def reset(self) -> None:
        self.ended = True
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def eof_received(self) -> None:
        """The client is done; None lets the transport close."""

    def connection_lost(self, error: Exception | None) -> None:
        self.site.connections.discard(self)
        self.gone.set()
        if self.deed:
            self.deed.cancel()
        if not self.control and not self.ended and (error or self.open or self.incoming.buffer):
            self.site.log.aborted += 1
        if self.open and self.open[1]:
            self.open[1].open -= 1
        self.open = None


class Site:
    """What all connections of this server share."""

    def __init__(self) -> None:
        self.log = Log()
        self.numbers: Iterator[int] = count(1)
        self.connections: set[Connection] = set()


async def seen(request: Request, connection: Connection) -> Answer:
    return as_json(connection.site.log.as_dict())


async def reset_seen(request: Request, connection: Connection) -> Answer:
    """Starts new books; with ?close=1 every other connection is dropped first, so that nothing old can be counted."""
    if request.query.get("close"):
        for other in connection.site.connections - {connection}:
            other.reset()
    connection.site.log = Log()
    return text("reset\n")


CONTROL: dict[str, Deed] = {"/reset-seen": reset_seen, "/seen": seen}


def endpoint(table: dict[str, Handler], path: str) -> Handler | None:
    """Return the handler of `path`, or of its first part ("/status/" of "/status/404")."""
    return table.get(path) or table.get(path[: path.find("/", 1) + 1])


# --- the process


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", help="a certificate chain: serve TLS")
    parser.add_argument("--key", help="its private key")
    parser.add_argument("--client-ca", help="ask for a certificate of these authorities")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    return parser.parse_args()


def tls(cert: str, key: str | None, client_ca: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def allow_many_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def ended(with_parent: bool) -> None:
    """Return at SIGTERM or SIGINT, or when the parent has closed our standard input (it died)."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        loop.add_reader(sys.stdin, stop.set)
    await stop.wait()


async def main() -> None:
    given = options()
    allow_many_descriptors()
    site = Site()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(site),
        given.host,
        given.port,
        ssl=tls(given.cert, given.key, given.client_ca) if given.cert else None,
        backlog=4096,  # thousands of users may connect at once
    )
    host, port = server.sockets[0].getsockname()[:2]
    print(f"server on {'https' if given.cert else 'http'}://{host}:{port}", flush=True)
    await ended(given.with_parent)


if __name__ == "__main__":
    asyncio.run(main())
