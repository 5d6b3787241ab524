"""What a client and a scripted server say to each other: good, odd and hostile exchanges. A table, no tests."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import brotli
from answers import ANSWERS, CHUNKED, EMPTY, NOTHING, OK, OPEN, SHORT, TEN, chunks
from scripted import BODY, CLOSE, CUT, PEEK, RESET, SHUT, WAIT, Script


class Call(NamedTuple):
    """One request of the client."""

    method: str = "GET"
    path: str = "/"
    options: Mapping[str, Any] = {}
    streamed: bool = False


class Exchange(NamedTuple):
    """`calls`, one after the other, of one user at a server that plays `scripts` (see scripted.Stage).

    After them the user asks once more, which shows what has become of the connection. `settings` are those of the
    engine that are not as usual. `tls`: it is worth a run over TLS as well. `breaks_off`: the client stops sending when
    it sees the answer; how much was out by then is chance.
    """

    name: str
    scripts: tuple[Script, ...] = ()
    calls: tuple[Call, ...] = (Call(),)
    routes: Mapping[str, Script] = {}
    reads: str = "all"
    tls: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    breaks_off: bool = False


SOON = {"timeout": 0.8}  # for what must come to a timeout
PAUSE = 0.01
HI = b"Content-Length: 2\r\n\r\nhi"


def get(path: str = "/", **options: Any) -> tuple[Call, ...]:
    return (Call("GET", path, options),)


def post(path: str = "/", **options: Any) -> tuple[Call, ...]:
    return (Call("POST", path, {"data": b"body"} | options),)


def ok(body: bytes = b"hi", *fields: bytes) -> bytes:
    """Return a 200 with a length."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return OK + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def bytewise(data: bytes) -> Script:
    return [data[i : i + 1] for i in range(len(data))]


# Every answer of the table, as one piece.


def tabled() -> Iterator[Exchange]:
    for row in ANSWERS:
        ends = [CLOSE] if row.outcome in (OPEN, SHORT, NOTHING) else []
        sent = [row.data] if row.data else []
        yield Exchange(row.reason, ((*sent, *ends),), (Call(row.method),), tls=row.reason in OVER_TLS)


OVER_TLS = {
    "a length",
    "no length",
    "a body of 100 KB",
    "chunks",
    "a trailer",
    "it closes",
    "HTTP/1.0 without a length",
    "extra bytes behind a length",
    "a HEAD has no body",
    "a 100 before it",
    "something else",
    "two lengths",
    "nothing",
    "half a head",
    "a body without its last byte",
    "half a chunk",
}

# Pieces.

BIG = bytes(range(256)) * 4_096  # 1 MiB
GZIPPED = gzip.compress(b"goose " * 500, mtime=0)

PIECES = [
    Exchange("one byte at a time: a length", (bytewise(ok(b"goose" * 20)),), tls=True),
    Exchange("one byte at a time: chunks", (bytewise(CHUNKED + chunks(b"goose", b"x" * 20)),), tls=True),
    Exchange("one byte at a time: no length", ((*bytewise(OK + b"\r\ngoose"), CLOSE),)),
    Exchange("one byte at a time: a 103 and folds", (bytewise(b"HTTP/1.1 103 x\r\nA: b\r\n\r\n" + ok(b"hi", b"X: a\r\n b")),)),
    Exchange("one byte at a time: gzip", (bytewise(ok(gzip.compress(b"goose"), b"Content-Encoding: gzip")),)),
    Exchange("chunks of one byte", ((CHUNKED + chunks(*bytewise(b"goose" * 400)),),), tls=True),
    Exchange("chunks of one byte, one at a time", ((CHUNKED, *(b"1\r\n%c\r\n" % byte for byte in b"goose" * 40), b"0\r\n\r\n"),)),
    Exchange("1 MiB with a length", ((ok(BIG),),), tls=True),
    Exchange("1 MiB in one chunk", ((CHUNKED + chunks(BIG),),)),
    Exchange("1 MiB in pieces of 1,000", ((OK + b"Content-Length: 1048576\r\n\r\n", *(BIG[i : i + 1_000] for i in range(0, len(BIG), 1_000))),)),
    Exchange("1 MiB without a length", ((OK + b"\r\n", BIG, CLOSE),), tls=True),
    Exchange("1 MiB of chunks of 1,000", ((CHUNKED + chunks(*(BIG[i : i + 1_000] for i in range(0, len(BIG), 1_000))),),), tls=True),
    Exchange("a slow status line", ((b"HTTP/1.", PAUSE, b"1 200 OK\r", PAUSE, b"\n" + EMPTY),)),
    Exchange("a slow head", ((OK, PAUSE, b"X: y", PAUSE, b"\r\nContent-Length: 2\r\n", PAUSE, b"\r", PAUSE, b"\nhi"),), tls=True),
    Exchange("a slow fold", ((OK + b"X: y\r\n", PAUSE, b" z\r\n", PAUSE, HI),)),
    Exchange("a slow body", ((OK + b"Content-Length: 4\r\n\r\n", PAUSE, b"ho", PAUSE, b"nk"),), tls=True),
    Exchange("slow chunks", ((CHUNKED, PAUSE, b"2", PAUSE, b"\r\nh", PAUSE, b"i\r", PAUSE, b"\n0\r\n", PAUSE, b"\r\n"),)),
    Exchange("a slow 100", ((b"HTTP/1.1 100 x\r\n\r\n", PAUSE, OK + HI),)),
    Exchange("a slow end", ((OK + b"\r\nhi", PAUSE, CLOSE),), tls=True),
    Exchange("a slow compressed body", ((OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIPPED), PAUSE, GZIPPED[:9], PAUSE, GZIPPED[9:]),)),
]  # fmt: skip

# Ends.

CUTS = {
    "a length": ok(b"goose", b"X: y"),
    "chunks": CHUNKED + chunks(b"goo", b"se", end=b"0\r\nX: y\r\n\r\n"),
    "a 100": b"HTTP/1.1 100 x\r\n\r\n" + ok(b""),
    "no length": TEN + b"Content-Type: a\r\n\r\ngoose",
    "a fold": OK + b"X: a\r\n b\r\n" + EMPTY,
}
CUTS_OF_USED = {"a length": CUTS["a length"]}
RESETS = {"a length": CUTS["a length"], "chunks": CUTS["chunks"]}


def cuts() -> Iterator[Exchange]:
    """A connection that ends at every byte of an answer."""
    for name, data in CUTS.items():
        for at in range(len(data)):
            yield Exchange(f"{name} cut at {at:02}", ((*filter(None, [data[:at]]), CLOSE),))
    for name, data in CUTS_OF_USED.items():
        for at in range(len(data)):
            scripts = ((ok(b""),), (*filter(None, [data[:at]]), CLOSE))
            yield Exchange(f"{name} cut at {at:02} of a used connection", scripts, get() + get())
    for name, data in RESETS.items():
        for at in range(0, len(data), 3):
            yield Exchange(f"{name} reset at {at:02}", ((*filter(None, [data[:at]]), RESET),))
    for at in range(0, len(CUTS["chunks"]), 5):
        yield Exchange(
            f"chunks cut at {at:02} without a word", ((*filter(None, [CUTS["chunks"][:at]]), CUT),), tls=True
        )


ENDS = [
    Exchange("an end after the answer", ((ok(), CLOSE),), tls=True),
    Exchange("a cut after the answer", ((ok(), CUT),), tls=True),
    Exchange("a reset after the answer", ((ok(), RESET),)),
    Exchange("half an end after the answer", ((ok(), SHUT, WAIT),)),
    Exchange("half an end without a length", ((OK + b"\r\nhi", SHUT, WAIT),)),
    Exchange("an end before the request was read", ((PEEK, CLOSE),), reads="nothing"),
    Exchange("a used connection ends with the request", ((ok(),), (CLOSE,)), get() + get(), tls=True),
    Exchange("a used connection is reset by the request", ((ok(),), (RESET,)), get() + get()),
    Exchange("a used connection is cut by the request", ((ok(),), (CUT,)), get() + get(), tls=True),
    Exchange("a used connection ends with a POST", ((ok(),), (CLOSE,)), get() + post()),
    Exchange("a used connection ends with a HEAD", ((ok(),), (CLOSE,)), (*get(), Call("HEAD"))),
    Exchange("two used connections end", ((ok(),), (CLOSE,), (CLOSE,)), get() + get()),
    Exchange("a used connection ends in the answer", ((ok(),), (OK, CLOSE)), get() + get(), tls=True),
    Exchange("a used connection ends after a 100", ((ok(),), (b"HTTP/1.1 100 x\r\n\r\n", CLOSE)), get() + get()),
    Exchange("a used connection serves many", ((ok(),),) * 5, get() * 5, tls=True),
    Exchange("a connection for each", ((ok(b"", b"Connection: close"), CLOSE),) * 3, get() * 3, tls=True),
    Exchange("a late answer", ((ok(), PAUSE, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n"),), tls=True),
    Exchange("a late answer and an end", ((ok(), PAUSE, b"HTTP/1.1 408 x\r\n" + EMPTY, CLOSE),), tls=True),
    Exchange("a late byte", ((ok(), PAUSE, b"\n"),)),
    Exchange("a late byte behind chunks", ((CHUNKED + chunks(b"hi"), PAUSE, b"\n"),)),
    Exchange("no answer", ((WAIT,),), get(**SOON), tls=True),
    Exchange("no answer to a used connection", ((ok(),), (WAIT,)), get() + get(**SOON)),
    Exchange("half a status line and no more", ((b"HTTP/1.1 2", WAIT),), get(**SOON)),
    Exchange("half a head and no more", ((OK, WAIT),), get(**SOON), tls=True),
    Exchange("half a body and no more", ((OK + b"Content-Length: 3\r\n\r\nhi", WAIT),), get(**SOON)),
    Exchange("half a chunk and no more", ((CHUNKED + b"3\r\nhi", WAIT),), get(**SOON)),
    Exchange("a 100 and no more", ((b"HTTP/1.1 100 x\r\n\r\n", WAIT),), get(**SOON)),
    Exchange("a 101 and no end", ((b"HTTP/1.1 101 x\r\n\r\nhonk", WAIT),), get(**SOON)),
    Exchange("no handshake", ((WAIT,),), get(**SOON), reads="nothing"),
]  # fmt: skip

# Redirects.


def to(status: int, place: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 %d x\r\nLocation: %b\r\n" % (status, place) + lines + b"Content-Length: 2\r\n\r\ngo"


def redirects() -> Iterator[Exchange]:
    for status in (300, 301, 302, 303, 304, 305, 307, 308):
        for call in (Call(), Call("HEAD"), *post(), Call("PUT", "/", {"json": [1]}), Call("DELETE")):
            answer = to(status, b"/there")
            answer = answer[:-2] if call.method == "HEAD" else answer
            answer = answer.partition(b"Content-")[0] + b"\r\n" if status == 304 else answer
            yield Exchange(
                f"a {status} of a {call.method}", ((answer,), (ok(b"" if call.method == "HEAD" else b"hi"),)), (call,)
            )


REDIRECTS = [
    Exchange("a redirect not followed", ((to(302, b"/there"),),), get(follow_redirects=False)),
    Exchange("a redirect to nowhere", ((b"HTTP/1.1 302 x\r\n" + EMPTY,),)),
    Exchange("a redirect to nothing", ((b"HTTP/1.1 302 x\r\nLocation:\r\n" + EMPTY,),)),
    Exchange("a redirect to the same twice", ((to(302, b"/there", b"Location: /there"),),)),
    Exchange("a redirect to another scheme", ((to(302, b"gopher://127.0.0.1/"),),)),
    Exchange("a redirect to a bad port", ((to(302, b"http://127.0.0.1:x/"),),)),
    Exchange("a redirect to control characters", ((to(302, b"/a\x01b"),),)),
    Exchange("a redirect to spaces and umlauts", ((to(302, "/a b/ü?ü#ü".encode()),),)),
    Exchange("a redirect to a name in no charset", ((to(302, b"/\xff\xfe"),),)),
    Exchange("a redirect to a query", ((to(302, b"?a=1"),),), get("/deep/path?b=2")),
    Exchange("a redirect to a sibling", ((to(302, b"there"),),), get("/deep/path")),
    Exchange("a redirect to a parent", ((to(302, b"../there"),),), get("/very/deep/path")),
    Exchange("a redirect to a fragment", ((to(302, b"#there"),),), get("/deep/path")),
    Exchange("a redirect without end", (), get("/"), {"/": (to(302, b"/"),)}),
    Exchange("ten redirects", tuple((to(302, b"/%d" % i),) for i in range(10))),
    Exchange("eleven redirects", tuple((to(302, b"/%d" % i),) for i in range(11))),
    Exchange("a redirect that closes", ((to(302, b"/there", b"Connection: close"), CLOSE),), tls=True),
    Exchange("a redirect without a length", ((b"HTTP/1.1 302 x\r\nLocation: /there\r\n\r\ngo", CLOSE),), tls=True),
    Exchange("a redirect in chunks", ((b"HTTP/1.1 302 x\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"go"),),)),
    Exchange("a redirect cut short", ((to(302, b"/there")[:-1], CLOSE),)),
    Exchange("a redirect, then nothing", ((to(302, b"/there"),), (CLOSE,)), tls=True),
    Exchange("a redirect, then a cut", ((to(302, b"/there"),), (OK, CLOSE))),
    Exchange("a redirect, then an error", ((to(302, b"/there"),), (b"HTTP/1.1 404 x\r\n" + EMPTY,))),
    Exchange("a redirect, then no answer", ((to(302, b"/there"),), (WAIT,)), get(**SOON)),
    Exchange("a redirect with a cookie", ((to(302, b"/there", b"Set-Cookie: a=b"),),), tls=True),
    Exchange("a redirect with a body that is encoded", ((to(302, b"/there", b"Content-Encoding: gzip"),),)),
    Exchange("a redirect that is no answer to a redirect", ((to(307, b"/a"),), (to(303, b"/b"),), (to(308, b"/c"),)), post()),
    Exchange("a redirect of what carries a secret", ((to(302, b"/there"),),), get(auth=("user", "password"))),
    Exchange("a redirect elsewhere", ((to(302, b"{elsewhere}/there"),),), get(headers={"X-Y": "z"})),
    Exchange("a redirect elsewhere of what carries a secret", ((to(302, b"{elsewhere}/there"),),), get(auth="token")),
    Exchange("a redirect elsewhere and back", ((to(302, b"{elsewhere}/there"),), (to(302, b"{here}/"),)), get(auth="token")),
    Exchange("a redirect elsewhere with cookies", ((to(302, b"{elsewhere}/there", b"Set-Cookie: a=b"),),)),
    Exchange("a redirect without its scheme", ((to(302, b"//{elsewhere_bare}/there"),),)),
    Exchange("a redirect with a user", ((to(302, b"http://user:password@{here_bare}/there"),),)),
    Exchange("a redirect of a stream", ((to(302, b"/there"),), (CHUNKED + chunks(b"go", b"ose"),)), (Call("GET", "/", {}, True),)),
    Exchange("a redirect of a body that is made while it is sent", ((to(303, b"/there"),),), post(data="{pieces}")),
    Exchange("a redirect with such a body", ((to(307, b"/there"),),), post(data="{pieces}")),
]  # fmt: skip

# Cookies.

SET_COOKIES = {
    "plain": (b"a=b",),
    "two": (b"a=b", b"c=d"),
    "the same twice": (b"a=b", b"a=c"),
    "two in one line": (b"a=b, c=d",),
    "no name": (b"=b",),
    "no value": (b"a=",),
    "no sign": (b"a",),
    "nothing": (b"",),
    "quotes": (b'a="b c; d"',),
    "blanks": (b" a = b ; Path = / ",),
    "a control character": (b"a=b\x01c",),
    "a tab": (b"a=b\tc",),
    "bytes in no charset": (b"a=\xff\xe9",),
    "umlauts": ("ä=ü".encode(),),
    "its path": (b"a=b; Path=/",),
    "a deep path": (b"a=b; Path=/deep",),
    "another path": (b"a=b; Path=/else",),
    "no path": (b"a=b; Path=",),
    "its domain": (b"a=b; Domain=127.0.0.1",),
    "another domain": (b"a=b; Domain=example.com",),
    "no domain": (b"a=b; Domain=",),
    "a max-age": (b"a=b; Max-Age=7200",),
    "a max-age of nothing": (b"a=b; Max-Age=0",),
    "a max-age below nothing": (b"a=b; Max-Age=-1",),
    "a max-age in words": (b"a=b; Max-Age=ten",),
    "expires": (b"a=b; Expires=Wed, 09 Jun 2100 10:18:14 GMT",),
    "expired": (b"a=b; Expires=Wed, 09 Jun 2010 10:18:14 GMT",),
    "expires at no time": (b"a=b; Expires=soon",),
    "max-age before expires": (b"a=b; Expires=Wed, 09 Jun 2010 10:18:14 GMT; Max-Age=7200",),
    "set and taken away": (b"a=b", b"a=; Max-Age=0"),
    "secure": (b"a=b; Secure",),
    "http only": (b"a=b; HttpOnly",),
    "same site": (b"a=b; SameSite=Strict",),
    "partitioned": (b"a=b; Secure; Partitioned",),
    "a secure prefix": (b"__Secure-a=b; Secure",),
    "a secure prefix that lies": (b"__Secure-a=b",),
    "a host prefix": (b"__Host-a=b; Secure; Path=/",),
    "a host prefix that lies": (b"__Host-a=b; Secure; Path=/deep",),
    "an attribute nobody knows": (b"a=b; Goose=Honk",),
    "all attributes": (b"a=b; Path=/; Domain=127.0.0.1; Max-Age=7200; Secure; HttpOnly; SameSite=Lax",),
    "as long as may be": (b"a=" + b"b" * 4_095,),
    "too long": (b"a=" + b"b" * 4_096,),
    "sixty": tuple(b"c%d=v" % i for i in range(60)),
    "folded": (b"a=b;\r\n Path=/deep",),
}


def cookies() -> Iterator[Exchange]:
    for name, lines in SET_COOKIES.items():
        fields = [b"Set-Cookie: " + line for line in lines]
        yield Exchange(
            f"a cookie: {name}",
            ((ok(b"hi", *fields),),),
            get("/deep/path") + get("/deep/other") + get(),
            tls=name == "secure",
        )


COOKIES = [
    Exchange("a cookie in lower case", ((ok(b"", b"set-cookie: a=b"),),)),
    Exchange("a cookie of a 103 is not kept", ((b"HTTP/1.1 103 x\r\nSet-Cookie: a=b\r\n\r\n" + ok(),),)),
    Exchange("a cookie in a trailer is not kept", ((CHUNKED + chunks(b"hi", end=b"0\r\nSet-Cookie: a=b\r\n\r\n"),),)),
    Exchange("a cookie of an error", ((b"HTTP/1.1 500 x\r\nSet-Cookie: a=b\r\n" + EMPTY,),)),
    Exchange("a cookie of a HEAD", ((OK + b"Set-Cookie: a=b\r\n" + EMPTY,),), (Call("HEAD"),)),
    Exchange("a cookie of an answer cut short", ((OK + b"Set-Cookie: a=b\r\nContent-Length: 5\r\n\r\nhi", CLOSE),)),
    Exchange("a cookie that is changed", ((ok(b"", b"Set-Cookie: a=b"),), (ok(b"", b"Set-Cookie: a=c"),)), get() * 3),
    Exchange("a cookie of one's own", ((ok(b"", b"Set-Cookie: a=b"),),), get() + get(headers={"Cookie": "x=y"})),
]  # fmt: skip

# Encodings.

TEXT = b"goose " * 200
DEFLATED = zlib.compress(TEXT)
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATED = RAW.compress(TEXT) + RAW.flush()
GZIP = gzip.compress(TEXT, mtime=0)
BROTLI = brotli.compress(TEXT)
BOMB = gzip.compress(bytes(3 << 20), mtime=0)

ENCODED: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", GZIP),
    "x-gzip": (b"x-gzip", GZIP),
    "gzip in capitals": (b"GZIP", GZIP),
    "deflate": (b"deflate", DEFLATED),
    "deflate without a head": (b"deflate", RAW_DEFLATED),
    "deflate without a head, and four bytes": (b"deflate", RAW_DEFLATED + b"1234"),
    "deflate without a head, and five bytes": (b"deflate", RAW_DEFLATED + b"12345"),
    "deflate that is gzip": (b"deflate", GZIP),
    "gzip that is deflate": (b"gzip", DEFLATED),
    "gzip that is deflate without a head": (b"gzip", RAW_DEFLATED),
    "br": (b"br", BROTLI),
    "identity": (b"identity", TEXT),
    "none": (b"none", TEXT),
    "nothing": (b"", TEXT),
    "a list with holes": (b", gzip ,", GZIP),
    "gzip, then br": (b"gzip, br", brotli.compress(GZIP)),
    "gzip twice": (b"gzip,gzip", gzip.compress(GZIP, mtime=0)),
    "identity, then gzip": (b"identity, gzip", GZIP),
    "five times": (b"identity, identity, identity, identity, gzip", GZIP),
    "six times": (b"identity, identity, identity, identity, identity, gzip", GZIP),
    "unknown": (b"goose", TEXT),
    "zstd": (b"zstd", TEXT),
    "compress": (b"compress", TEXT),
    "gzip, then unknown": (b"gzip, goose", GZIP),
    "gzip of nothing": (b"gzip", gzip.compress(b"")),
    "deflate of nothing": (b"deflate", zlib.compress(b"")),
    "br of nothing": (b"br", brotli.compress(b"")),
    "gzip without bytes": (b"gzip", b""),
    "unknown without bytes": (b"goose", b""),
    "gzip that is text": (b"gzip", TEXT),
    "deflate that is text": (b"deflate", TEXT),
    "br that is text": (b"br", TEXT),
    "gzip without its end": (b"gzip", GZIP[:-9]),
    "gzip without its last byte": (b"gzip", GZIP[:-1]),
    "gzip without its sum": (b"gzip", GZIP[:-8]),
    "gzip with a wrong sum": (b"gzip", GZIP[:-8] + b"12345678"),
    "gzip of one byte": (b"gzip", GZIP[:1]),
    "a head of gzip": (b"gzip", GZIP[:10]),
    "deflate without its end": (b"deflate", DEFLATED[:-6]),
    "deflate without its sum": (b"deflate", DEFLATED[:-4]),
    "deflate with a wrong sum": (b"deflate", DEFLATED[:-4] + b"1234"),
    "br without its end": (b"br", BROTLI[:-3]),
    "gzip broken in the middle": (b"gzip", GZIP[:20] + b"\xff\xff\xff" + GZIP[23:]),
    "gzip and more": (b"gzip", GZIP + b"more"),
    "gzip and zeros": (b"gzip", GZIP + bytes(8)),
    "gzip and gzip": (b"gzip", GZIP + GZIP),
    "deflate and more": (b"deflate", DEFLATED + b"more"),
    "br and more": (b"br", BROTLI + b"more"),
    "a bomb": (b"gzip", BOMB),
}


def encodings() -> Iterator[Exchange]:
    for name, (encoding, body) in ENCODED.items():
        yield Exchange(f"encoded: {name}", ((ok(body, b"Content-Encoding: " + encoding),),), tls=name == "gzip")


ENCODINGS = [
    Exchange("encoded: in chunks", ((OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(GZIP[:9], GZIP[9:]),),), tls=True),
    Exchange("encoded: without a length", ((OK + b"Content-Encoding: br\r\n\r\n" + BROTLI, CLOSE),)),
    Exchange("encoded: in two fields", ((ok(brotli.compress(GZIP), b"Content-Encoding: gzip", b"Content-Encoding: br"),),)),
    Exchange("encoded: cut short", ((ok(GZIP, b"Content-Encoding: gzip")[:-9], CLOSE),)),
    Exchange("encoded: a HEAD", ((OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n",),), (Call("HEAD"),)),
    Exchange("encoded: a 204", ((b"HTTP/1.1 204 x\r\nContent-Encoding: gzip\r\n\r\n",),)),
    Exchange("encoded: an error", ((ok(GZIP, b"Content-Encoding: gzip").replace(b"200 OK", b"404 x"),),)),
    Exchange("encoded: an answer to one who asked for none", ((ok(GZIP, b"Content-Encoding: gzip"),),), get(headers={"Accept-Encoding": "identity"})),
    Exchange("encoded: a stream", ((OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(GZIP[:9], GZIP[9:]),),), (Call("GET", "/", {}, True),)),
    Exchange("encoded: a stream of br", ((ok(BROTLI, b"Content-Encoding: br"),),), (Call("GET", "/", {}, True),)),
    Exchange("encoded: a big stream", ((ok(BOMB, b"Content-Encoding: gzip"),),), (Call("GET", "/", {}, True),)),
    Exchange("encoded: a broken stream", ((ok(GZIP[:20] + b"\xff" * 50, b"Content-Encoding: gzip"),),), (Call("GET", "/", {}, True),)),
]  # fmt: skip

# Requests.

REQUESTS = [
    *(Exchange(f"a {method}", ((ok(b"" if method == "HEAD" else b"hi"),),), (Call(method),)) for method in ("OPTIONS", "DELETE", "PATCH", "PURGE")),
    Exchange("a POST of nothing", calls=(Call("POST"),)),
    Exchange("a POST of bytes", calls=post(data=bytes(range(256))), tls=True),
    Exchange("a POST of a form", calls=post(data={"a": "b c", "ü": ["1", 2]})),
    Exchange("a POST of JSON", calls=(Call("POST", "/", {"json": {"a": [1, None]}}),), tls=True),
    Exchange("a PUT", calls=(Call("PUT", "/", {"data": "grüße"}),)),
    Exchange("a GET with a body", calls=get(data=b"body")),
    Exchange("a DELETE with a body", calls=(Call("DELETE", "/", {"json": {}}),)),
    Exchange("a POST of 1 MiB", calls=post(data=BIG), tls=True),
    Exchange("a POST of 1 MiB, read slowly", ((PAUSE, BODY, ok()),), post(data=BIG), reads="head", tls=True),
    Exchange("a POST of pieces", calls=post(data="{pieces}"), tls=True),
    Exchange("a POST with a type of its own", calls=post(headers={"Content-Type": "goose/wild"})),
    Exchange("a POST with a length of its own", calls=post(headers={"Content-Length": "4"})),
    Exchange("a POST with Expect", calls=post(headers={"Expect": "100-continue"}), scripts=((b"HTTP/1.1 100 x\r\n\r\n", BODY, ok()),), reads="head"),
    Exchange("a request with headers", calls=get(headers={"X-A": "b", "x-c": "d", "X-E": "", "X-U": "ü"})),
    Exchange("a request with a header taken away", calls=get(headers={"Accept": None, "User-Agent": None, "Accept-Encoding": None})),
    Exchange("a request with headers of libcurl's own", calls=get(headers={"Accept": "a/b", "accept-encoding": "gzip", "user-agent": "goose"})),
    Exchange("a request with a host of its own", calls=get(headers={"Host": "example.com"})),
    Exchange("a request that closes", calls=get(headers={"Connection": "close"})),
    Exchange("a request with a coding of its own", calls=post(headers={"Transfer-Encoding": "chunked"})),
    Exchange("a request that may be upgraded", calls=get(headers={"Connection": "Upgrade", "Upgrade": "goose"})),
    Exchange("a request with a password", calls=get(auth=("user", "pass:word")), tls=True),
    Exchange("a request with a token", calls=get(auth="token")),
    Exchange("a request with params", calls=get(params={"a": "b c", "d": ["1", "ü"]})),
    Exchange("a request of an odd path", calls=get("/a%2Fb/../c//d;e=f/ü?x=[1]&y={z}|\\^`\"<>#top")),
    Exchange("a request of a star", calls=(Call("OPTIONS", "*"),)),
    Exchange("an error with a body", ((b"HTTP/1.1 404 Not Found\r\n" + HI,),), tls=True),
    Exchange("an expected error", ((b"HTTP/1.1 404 Not Found\r\n" + HI,),), get(expect=404)),
    Exchange("an unexpected success", calls=get(expect=[404, 410])),
    *(Exchange(f"a status of {status}", ((b"HTTP/1.1 %d x\r\n" % status + HI,),)) for status in (201, 206, 226, 300, 400, 401, 407, 408, 416, 417, 418, 421, 425, 426, 429, 451, 500, 503, 511, 599, 600, 999)),
    Exchange("a challenge", ((b"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=a\r\n" + HI,),), get(auth=("a", "b"))),
    Exchange("a strange challenge", ((b"HTTP/1.1 401 x\r\nWWW-Authenticate: Digest nonce\r\nWWW-Authenticate: NTLM \xff\r\n" + HI,),)),
    Exchange("a range", ((b"HTTP/1.1 206 x\r\nContent-Range: bytes 5-6/100\r\n" + HI,),)),
    Exchange("a strict transport", ((ok(b"", b"Strict-Transport-Security: max-age=1", b'Alt-Svc: h3=":1"'),),)),
    Exchange("a proxy's challenge", ((b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=a\r\n" + HI,),)),
    Exchange("a time to come back", ((b"HTTP/1.1 503 x\r\nRetry-After: 3600\r\n" + HI,),)),
    Exchange("an upgrade that nobody asked for", ((ok(b"hi", b"Upgrade: h2c", b"Connection: Upgrade"),),)),
]  # fmt: skip

# Answers that do not wait for the request.

ERROR_THAT_CLOSES = b"HTTP/1.1 413 x\r\nConnection: close\r\n" + EMPTY

EARLY = [
    *(
        exchange._replace(reads="head", breaks_off=True)
        for exchange in (
            Exchange("an early error", ((b"HTTP/1.1 413 x\r\n" + EMPTY, BODY),), post(data=BIG * 8), tls=True),
            Exchange("an early error that closes", ((ERROR_THAT_CLOSES, WAIT),), post(data=BIG * 8), tls=True),
            Exchange(
                "an early error without a length", ((b"HTTP/1.1 413 x\r\n\r\nbig", SHUT, WAIT),), post(data=BIG * 8)
            ),
            Exchange("an early redirect", ((to(302, b"/there"), BODY),), post(data=BIG * 8)),
            Exchange(
                "an early success that closes", ((ok(b"", b"Connection: close"), WAIT),), post(data=BIG * 8), tls=True
            ),
            Exchange("an early success", ((ok(), BODY),), post(data=BIG * 8)),
            Exchange("an early end", ((PEEK, CLOSE),), post(data=BIG * 8)),
            Exchange("an early reset", ((RESET,),), post(data=BIG * 8)),
            Exchange(
                "an early answer and a reset", ((b"HTTP/1.1 413 x\r\n" + EMPTY, 0.05, RESET),), post(data=BIG * 8)
            ),
        )
    ),
    Exchange("an early 100", ((b"HTTP/1.1 100 x\r\n\r\n", BODY, ok()),), post(data=BIG), reads="head"),
    Exchange("an answer before the request", ((ok(b"hi", b"Connection: close"), WAIT),), reads="nothing"),
]

# Streams.

STREAM = (Call("GET", "/", {}, True),)
STREAMS = [
    Exchange("a stream with a length", ((ok(b"goose"),),), STREAM, tls=True),
    Exchange("a stream of nothing", ((ok(b""),),), STREAM),
    Exchange("a stream of chunks", ((CHUNKED + chunks(b"goo", b"se"),),), STREAM, tls=True),
    Exchange("a stream without a length", ((OK + b"\r\ngoose", CLOSE),), STREAM),
    Exchange("a stream of 1 MiB", ((ok(BIG),),), STREAM, tls=True),
    Exchange("a stream of 1 MiB without a length", ((OK + b"\r\n", BIG, CLOSE),), STREAM),
    Exchange("a slow stream", ((CHUNKED, PAUSE, chunks(b"goo", end=b""), PAUSE, chunks(b"se")),), STREAM),
    Exchange("a stream cut short", ((ok(b"goose")[:-1], CLOSE),), STREAM, tls=True),
    Exchange("a stream with a bad chunk", ((CHUNKED + chunks(b"goo", end=b"x"),),), STREAM),
    Exchange("a stream of an error", ((b"HTTP/1.1 500 x\r\n" + HI,),), STREAM),
    Exchange("a stream of a HEAD", ((OK + EMPTY,),), (Call("HEAD", "/", {}, True),)),
    Exchange("a stream of no answer", ((CLOSE,),), STREAM),
    Exchange("a stream of half a head", ((OK, CLOSE),), STREAM),
]  # fmt: skip

# Other settings.

SMALL = (("max_body", 10),)
SETTINGS = [
    Exchange("a body at the limit", ((ok(b"x" * 10),),), settings=SMALL),
    Exchange("a body beyond the limit", ((ok(b"x" * 11),),), settings=SMALL),
    Exchange("a body far beyond the limit", ((ok(BIG),),), settings=SMALL),
    Exchange("chunks beyond the limit", ((CHUNKED + chunks(b"goose", b"goose", b"goose"),),), settings=SMALL),
    Exchange("a compressed body at the limit", ((ok(gzip.compress(b"x" * 10)[:0] + brotli.compress(b""), b"Content-Encoding: br"),),), settings=SMALL),
    Exchange("a compressed body beyond the limit", ((ok(GZIP, b"Content-Encoding: gzip"),),), settings=(("max_body", 1_000),)),
    Exchange("a stream beyond the limit", ((ok(b"x" * 11),),), STREAM, settings=SMALL),
    Exchange("no connection is kept", ((ok(),),) * 3, get() * 3, tls=True, settings=(("keepalive", False),)),
    Exchange("connections are kept, but not this one", ((ok(b"", b"Connection: close"),),) * 3, get() * 3, settings=(("keepalive", False),)),
]  # fmt: skip

EXCHANGES = [
    *(*tabled(), *PIECES, *cuts(), *ENDS, *redirects(), *REDIRECTS, *cookies(), *COOKIES, *encodings(), *ENCODINGS),
    *(*REQUESTS, *EARLY, *STREAMS, *SETTINGS),
]
