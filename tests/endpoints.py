"""What the test server answers: ANSWERS (a request in, an answer out) and DEEDS (which take time, or the socket)."""

from __future__ import annotations

import asyncio
import base64
import email.parser
import email.policy
import hashlib
import json
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from server import Connection

TEXT = "A goose, a gander, and the gosling between them. "
MEGABYTE = 1 << 20


class BadRequest(Exception):
    """What came is not a request, or asks for what an endpoint cannot do."""


@dataclass
class Request:
    """One request, read whole. `path` is without the query, `headers` in the order of the wire."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @staticmethod
    def parse(head: bytes) -> Request:
        """Return the request that begins with `head` (up to and with the empty line). Raises BadRequest."""
        try:
            line, *fields = head[:-4].decode("latin-1").split("\r\n")
            method, target, version = line.split(" ")
            pairs = (text.split(":", 1) for text in fields)
            return Request(method, target, version, [(name, value.strip()) for name, value in pairs])
        except ValueError as error:
            raise BadRequest(f"not a request: {head[:200]!r}") from error

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def fields(self) -> dict[str, str]:
        """By lower-cased name; several of one name are joined."""
        fields: dict[str, str] = {}
        for name, value in self.headers:
            lower = name.lower()
            fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
        return fields

    def header(self, name: str) -> str:
        return self.fields.get(name, "")

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @cached_property
    def cookies(self) -> dict[str, str]:
        pairs = (pair.strip().partition("=") for pair in self.header("cookie").split(";"))
        return {name: value for name, _, value in pairs if name}

    @property
    def user(self) -> str:
        """Who it says it is: `?user=` or the cookie `user`."""
        return (self.query.get("user") if "user=" in self.target else self.cookies.get("user")) or ""

    def number(self, name: str, default: int) -> int:
        """Return the whole number `name` of the query. Raises BadRequest."""
        try:
            return int(self.query.get(name, default))
        except ValueError as error:
            raise BadRequest(f"{name} must be a whole number") from error

    @property
    def rest(self) -> str:
        """What follows the first part of the path: "404" of /status/404."""
        return unquote(self.path.split("/", 2)[2])

    @property
    def keeps_alive(self) -> bool:
        return self.version == "HTTP/1.1" and "close" not in self.header("connection").lower()


@dataclass
class Answer:
    """A final response; Content-Length is added where the status allows a body."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def encode(self, method: str = "GET") -> bytes:
        lines = [status_line(self.status), *(f"{name}: {value}" for name, value in self.headers)]
        bodiless = self.status in (204, 304) or self.status < 200
        if not bodiless:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if bodiless or method == "HEAD" else head + self.body


def status_line(status: int) -> str:
    try:
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP/1.1 {status} Unheard Of"


def text(body: str, *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status, body.encode(), [("Content-Type", "text/plain; charset=utf-8"), *headers])


def as_json(value: object, *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])


def prose(size: int) -> str:
    return (TEXT * (size // len(TEXT) + 1))[:size]


# --- answers: a request in, an answer out


def hello(request: Request) -> Answer:
    return text("hello\n")


def n_bytes(request: Request) -> Answer:
    """?n= bytes, the same ones for the same n."""
    size = request.number("n", 1024)
    return Answer(200, (bytes(range(256)) * (size // 256 + 1))[:size], [("Content-Type", "application/octet-stream")])


def n_characters(request: Request) -> Answer:
    """?n= characters of prose in ?charset=, after ?start=."""
    charset = request.query.get("charset", "utf-8")
    body = (request.query.get("start", "") + prose(request.number("n", 1024))).encode(charset)
    return Answer(200, body, [("Content-Type", f"text/plain; charset={charset}")])


def json_echo(request: Request) -> Answer:
    """The JSON that was sent, or the query as an object."""
    if not request.body:
        return as_json(request.query)
    try:
        return as_json(json.loads(request.body))
    except ValueError as error:
        raise BadRequest("the body is not JSON") from error


def echo(request: Request) -> Answer:
    """Everything about the request; `body` is latin-1, so that each character is a byte."""
    return as_json(
        {
            "method": request.method,
            "target": request.target,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "body": request.body.decode("latin-1"),
        }
    )


def status(request: Request) -> Answer:
    """The status of the path: /status/404."""
    if not request.rest.isdigit() or not 200 <= int(request.rest) <= 999:
        raise BadRequest("a status is a number from 200 to 999")
    return text(f"status {request.rest}\n", status=int(request.rest))


def redirect(request: Request) -> Answer:
    """/redirect/N goes to N-1 and sets the cookie hopN; /redirect/0 is the end. ?absolute=1 sends a whole URL."""
    left = int(request.rest) if request.rest.isdigit() else 0
    if left == 0:
        return text("the end\n")
    target = f"/redirect/{left - 1}"
    if request.query.get("absolute"):
        target = f"http://{request.header('host')}{target}?absolute=1"
    return text("", ("Location", target), ("Set-Cookie", f"hop{left}=1; Path=/"), status=302)


def redirect_to(request: Request) -> Answer:
    """To ?url= with ?status= (302)."""
    return text("", ("Location", request.query.get("url", "/")), status=request.number("status", 302))


def redirect_loop(request: Request) -> Answer:
    return text("", ("Location", "/redirect-loop"), status=302)


def cookies(request: Request) -> Answer:
    """The Cookie field as it came."""
    return text(request.header("cookie"))


def set_cookies(request: Request) -> Answer:
    """/cookies/set?a=1&b=2 sets both; ?attributes=Path=/x; Secure is added to each."""
    given = dict(request.query)
    attributes = given.pop("attributes", "Path=/")
    return text("set\n", *(("Set-Cookie", f"{name}={value}; {attributes}") for name, value in given.items()))


def delete_cookies(request: Request) -> Answer:
    """/cookies/delete?a&b"""
    return text("deleted\n", *(("Set-Cookie", f"{name}=; Path=/; Max-Age=0") for name in request.query))


def gzipped(request: Request) -> Answer:
    return encoded("gzip", squeeze(prose(request.number("n", 1024)).encode(), 31))


def deflated(request: Request) -> Answer:
    """With zlib's header, as the RFC says; ?raw=1 without, as some servers do."""
    wbits = -15 if request.query.get("raw") else 15
    return encoded("deflate", squeeze(prose(request.number("n", 1024)).encode(), wbits))


def brotlied(request: Request) -> Answer:
    return encoded("br", brotli_stored(prose(request.number("n", 1024)).encode()))


def bomb(request: Request) -> Answer:
    """?n= zeros, gzipped to about a thousandth."""
    return encoded("gzip", gzipped_zeros(request.number("n", 100 * MEGABYTE)))


def encoded(encoding: str, body: bytes) -> Answer:
    return Answer(200, body, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Encoding", encoding)])


def squeeze(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


@lru_cache
def gzipped_zeros(size: int) -> bytes:
    """Return `size` zero bytes, gzipped a megabyte at a time: after a full flush the packed ones are all alike."""
    packer = zlib.compressobj(9, wbits=-15)
    whole = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(size // MEGABYTE):
        checksum = zlib.crc32(bytes(MEGABYTE), checksum)
    rest = bytes(size % MEGABYTE)
    trailer = struct.pack("<II", zlib.crc32(rest, checksum), size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + whole * (size // MEGABYTE) + squeeze(rest, -15) + trailer


def brotli_stored(data: bytes) -> bytes:
    """Return `data` as a brotli stream of uncompressed blocks (RFC 7932, 9.2): no package is needed to make it."""
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    window = 1  # the one bit, zero, that says WBITS = 16 stands only before the first block
    out = bytearray()
    for piece in pieces:
        bits = (len(piece) - 1) << 3 | 1 << 19  # ISLAST 0, MNIBBLES 0 (four), MLEN - 1, ISUNCOMPRESSED 1
        out += (bits << window).to_bytes(3, "little") + piece
        window = 0
    return bytes(out) + (b"\x06" if window else b"\x03")  # ISLAST 1, ISLASTEMPTY 1


def n_headers(request: Request) -> Answer:
    """?n= fields X-1, X-2, ... of ?size= characters."""
    value = "v" * request.number("size", 16)
    return text("many\n", *((f"X-{i}", value) for i in range(1, request.number("n", 10) + 1)))


def post(request: Request) -> Answer:
    return as_json({"bytes": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()})


def upload(request: Request) -> Answer:
    """The parts of a multipart body."""
    head = f"Content-Type: {request.header('content-type')}\r\n\r\n".encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    if not message.is_multipart():
        raise BadRequest("the body is not multipart")
    return as_json([describe_part(part) for part in message.iter_parts()])


def describe_part(part: Any) -> dict[str, object]:
    data = part.get_payload(decode=True)
    return {
        "name": part.get_param("name", header="content-disposition"),
        "filename": part.get_filename(),
        "type": part.get_content_type(),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def basic_auth(request: Request) -> Answer:
    """Wants ?user= (alice) and ?password= (secret)."""
    pair = f"{request.query.get('user', 'alice')}:{request.query.get('password', 'secret')}"
    if request.header("authorization") == f"Basic {base64.b64encode(pair.encode()).decode()}":
        return text("welcome\n")
    return text("who are you?\n", ("WWW-Authenticate", 'Basic realm="nest"'), status=401)


ANSWERS: dict[str, Callable[[Request], Answer]] = {
    "/": hello,
    "/basic-auth": basic_auth,
    "/bomb": bomb,
    "/br": brotlied,
    "/bytes": n_bytes,
    "/cookies": cookies,
    "/cookies/delete": delete_cookies,
    "/cookies/set": set_cookies,
    "/deflate": deflated,
    "/echo": echo,
    "/gzip": gzipped,
    "/headers": n_headers,
    "/json": json_echo,
    "/post": post,
    "/redirect-loop": redirect_loop,
    "/redirect-to": redirect_to,
    "/redirect/": redirect,
    "/status/": status,
    "/text": n_characters,
    "/upload": upload,
}


# --- deeds: what needs time, or the bare socket. None means that the deed has sent all there is to send.

Deed = Callable[[Request, "Connection"], Awaitable[Answer | None]]


async def slow(request: Request, connection: Connection) -> Answer:
    """Answers after ?ms=."""
    await pause(request)
    return text("at last\n")


async def stall(request: Request, connection: Connection) -> None:
    """Never answers."""
    await connection.gone.wait()


async def stall_body(request: Request, connection: Connection) -> None:
    """Announces ?n= bytes, sends half of them and no more."""
    connection.write(half_of(request.number("n", 1024)))
    await connection.gone.wait()


async def close(request: Request, connection: Connection) -> None:
    """Answers with `Connection: close` and does so."""
    connection.write(text("goodbye\n", ("Connection", "close")).encode(request.method))
    connection.close()


async def close_silently(request: Request, connection: Connection) -> None:
    """Closes instead of answering."""
    connection.close()


async def close_idle(request: Request, connection: Connection) -> Answer:
    """Answers as if the connection would stay, and closes it ?ms= later unless it is in use again."""
    asyncio.get_running_loop().call_later(request.number("ms", 0) / 1000, connection.close_if_idle, connection.requests)
    return text("see you\n")


async def reset(request: Request, connection: Connection) -> None:
    """Resets the connection (RST) instead of answering."""
    connection.reset()


async def garbage(request: Request, connection: Connection) -> None:
    """Sends what is not HTTP, and closes."""
    connection.write(b"\x00\x01\x02 this is not a response\r\n\r\nHONK\r\n")
    connection.close()


async def half(request: Request, connection: Connection) -> None:
    """Announces ?n= bytes, sends half of them, and closes."""
    connection.write(half_of(request.number("n", 1024)))
    connection.close()


def half_of(size: int) -> bytes:
    whole = Answer(200, b"x" * size).encode()
    return whole[: len(whole) - (size + 1) // 2]


async def chunked(request: Request, connection: Connection) -> None:
    """?n= bytes in chunks of ?piece=, with ?ms= between them, and a trailer."""
    size, piece = request.number("n", 1024), max(1, request.number("piece", 100))
    connection.write(f"{status_line(200)}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n".encode())
    for left in range(size, 0, -piece):
        part = b"x" * min(piece, left)
        await connection.send(b"%x\r\n%b\r\n" % (len(part), part))
        await pause(request)
    connection.write(f"0\r\nX-Sum: {size}\r\n\r\n".encode())


async def until_close(request: Request, connection: Connection) -> None:
    """?n= bytes without a length: the end of the connection is the end of the body."""
    head = f"{status_line(200)}\r\nContent-Type: text/plain\r\n\r\n".encode()
    connection.write(head + b"x" * request.number("n", 1024))
    connection.close()


async def hints(request: Request, connection: Connection) -> Answer:
    """103 Early Hints before the answer."""
    connection.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await asyncio.sleep(0)
    return text("hello after hints\n")


async def tag(request: Request, connection: Connection) -> Answer:
    """Tells the connection's number and the Cookie field; whoever has no cookie `tag` is given one with that number."""
    known = request.cookies.get("tag")
    seen = {"connection": connection.number, "cookie": request.header("cookie"), "tag": known}
    return as_json(seen) if known else as_json(seen, ("Set-Cookie", f"tag=c{connection.number}; Path=/"))


async def pause(request: Request) -> None:
    if wait_ms := request.number("ms", 0):
        await asyncio.sleep(wait_ms / 1000)


DEEDS: dict[str, Deed] = {
    "/chunked": chunked,
    "/close": close,
    "/close-idle": close_idle,
    "/close-silently": close_silently,
    "/garbage": garbage,
    "/half": half,
    "/hints": hints,
    "/reset": reset,
    "/slow": slow,
    "/stall": stall,
    "/stall-body": stall_body,
    "/tag": tag,
    "/until-close": until_close,
}
