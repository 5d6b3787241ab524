"""Answers as servers send them, byte by byte, and what an HTTP/1.1 client has to make of each. A table, no tests.

The codec reads each of them alone (core/test_http1.py), both lanes read them from a socket (core/test_lanes.py), and
the fuzzer begins with them (fuzz/). Where the RFCs leave a choice, what libcurl chooses is right.
"""

from __future__ import annotations

from typing import NamedTuple

COMPLETE = "complete"
OPEN = "complete when the connection ends"
SHORT = "cut short when the connection ends"
NOTHING = "nothing came of it"
NOT_HTTP = "not HTTP"
BAD_BYTES = "bad bytes"
BAD_ENCODING = "bad transfer encoding"
TOO_MANY = "too many fields, or too long"


class Answer(NamedTuple):
    """What comes after one request, and what it means. `keeps`: the connection may serve another request."""

    reason: str
    data: bytes
    outcome: str = COMPLETE
    status: int = 200
    body: bytes = b""
    keeps: bool = True
    extra: int = 0  # bytes at the end of `data` that belong to nothing
    method: str = "GET"


OK = b"HTTP/1.1 200 OK\r\n"
TEN = b"HTTP/1.0 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BIGGEST = 2**63 - 1


def lengths(*values: bytes) -> bytes:
    """Return the head of a 200 with a Content-Length for each of `values`, as they are."""
    return OK + b"".join(b"Content-Length:" + value + b"\r\n" for value in values) + b"\r\n"


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def refused(outcome: str, *rows: tuple[str, bytes]) -> list[Answer]:
    return [Answer(reason, data, outcome, status=0, keeps=False) for reason, data in rows]


PLAIN = [
    Answer("a length", OK + b"Content-Length: 2\r\n\r\nhi", body=b"hi"),
    Answer("a length of nothing", OK + EMPTY),
    Answer("a body of one byte", OK + b"Content-Length: 1\r\n\r\n\0", body=b"\0"),
    Answer("a body with line ends in it", OK + b"Content-Length: 8\r\n\r\n\r\n\r\nHTTP", body=b"\r\n\r\nHTTP"),
    Answer("a body of 100 KB", OK + b"Content-Length: 100000\r\n\r\n" + b"goose" * 20_000, body=b"goose" * 20_000),
    Answer("a length of a hundred noughts", OK + b"Content-Length: " + b"0" * 100 + b"2\r\n\r\nhi", body=b"hi"),
    Answer("no length", OK + b"\r\nhi", OPEN, body=b"hi", keeps=False),
    Answer("no length, and nothing comes", OK + b"\r\n", OPEN, keeps=False),
    Answer("no reason", b"HTTP/1.1 200\r\n" + EMPTY),
    Answer("an empty reason", b"HTTP/1.1 200 \r\n" + EMPTY),
    Answer("a reason of many words", b"HTTP/1.1 200 it is all right\r\n" + EMPTY),
    Answer("a reason in no charset", b"HTTP/1.1 200 \xff\xfe\r\n" + EMPTY),
    Answer("a reason without a space before it", b"HTTP/1.1 200OK\r\n" + EMPTY),
    Answer("a tab for the space", b"HTTP/1.1\t404\tGone fishing\r\n" + EMPTY, status=404),
    Answer("a fourth digit belongs to the reason", b"HTTP/1.1 2000\r\n" + EMPTY),
    Answer("a status nobody knows", b"HTTP/1.1 799 x\r\n" + EMPTY, status=799),
    Answer("an error", b"HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad", status=503, body=b"bad"),
    Answer("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", body=b"hi"),
    Answer("line ends of both kinds", b"HTTP/1.1 200 OK\nContent-Length: 2\r\nX: y\n\r\nhi", body=b"hi"),
    Answer("extra bytes behind a length", OK + b"Content-Length: 2\r\n\r\nhiHTTP/1.1 404 x\r\n", body=b"hi", extra=16),
    Answer("extra bytes behind no body", OK + EMPTY + b"hi", extra=2),
    Answer("an extra line end", OK + EMPTY + b"\r\n", extra=2),
]

FIELDS = [
    Answer("a name in any case", OK + b"cOnTeNt-LeNgTh:2\r\n\r\nhi", body=b"hi"),
    Answer("an empty value", OK + b"X-Empty:\r\n" + EMPTY),
    Answer("an empty name", OK + b": y\r\n" + EMPTY),
    Answer("blanks around a value", OK + b"Content-Length: \t 2 \t \r\n\r\nhi", body=b"hi"),
    Answer("a blank behind the name makes it another name", OK + b"Content-Length : 9\r\nContent-Length: 0\r\n\r\n"),
    Answer("a longer name is another name", OK + b"Content-Lengths: 9\r\nMy-Content-Length: 9\r\n" + EMPTY),
    Answer("a value in no charset", OK + b"X: \xe9\xff\r\n" + EMPTY),
    Answer("a value with colons", OK + b"X: a:b:c\r\n" + EMPTY),
    Answer("control characters in a value", OK + b"X: a\x01\x7f\x0bb\r\n" + EMPTY),
    Answer("the same name twice", OK + b"X: 1\r\nX: 2\r\n" + EMPTY),
    Answer("a folded value", OK + b"X: a\r\n b\r\n\tc\r\n" + EMPTY),
    Answer("a folded value with bare line feeds", OK + b"X: a\n b\n" + EMPTY),
    Answer("a fold of blanks only", OK + b"X: a\r\n \t \r\n b\r\n" + EMPTY),
    Answer("a value that begins on its second line", OK + b"X:\r\n  a\r\n" + EMPTY),
    Answer("a fold at the end of the head", OK + EMPTY[:-2] + b"X: a\r\n b\r\n\r\n"),
    Answer("a folded name", OK + b"X\r\n : a\r\n" + EMPTY),
    Answer("a folded length", OK + b"Content-Length:\r\n 2\r\n\r\nhi", body=b"hi"),
    Answer("a length with an empty fold", OK + b"Content-Length: 2\r\n \r\n\r\nhi", body=b"hi"),
    Answer("a folded coding", OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks(b"hi"), body=b"hi"),
    Answer("a folded close", OK + b"Connection: x,\r\n close\r\n" + EMPTY, keeps=False),
    Answer("a blank before the first field", OK + b" X: a\r\n" + EMPTY),
    Answer("as many fields as there may be", OK + b"X: y\r\n" * 4_999 + EMPTY),
    Answer("as long a line as there may be", OK + b"X: " + b"y" * 102_394 + b"\r\n" + EMPTY),
    Answer("as long a head as there may be", OK + b"X: " + b"y" * 999 + b"\r\n" + (b"X: " + b"y" * 995 + b"\r\n") * 305
           + b"X: " + b"y" * 1_153 + b"\r\n" + EMPTY),
]  # fmt: skip

CONNECTION = [
    Answer("it closes", OK + b"Connection: close\r\n" + EMPTY, keeps=False),
    Answer("in any case", OK + b"connection: CLOSE\r\n" + EMPTY, keeps=False),
    Answer("close in a list", OK + b"Connection: upgrade, close\r\n" + EMPTY, keeps=False),
    Answer("close in a list with holes", OK + b"Connection: x ,,close\r\n" + EMPTY, keeps=False),
    Answer("close in a list that begins with a hole", OK + b"Connection: ,close\r\n" + EMPTY, keeps=False),
    Answer("close before another word", OK + b"Connection: close, x\r\n" + EMPTY, keeps=False),
    Answer("close in the second field", OK + b"Connection: x\r\nConnection: close\r\n" + EMPTY, keeps=False),
    Answer("a word with close in it", OK + b"Connection: unclosed, closed\r\n" + EMPTY),
    Answer("close as the second word of an element", OK + b"Connection: do close\r\n" + EMPTY),
    Answer("keep-alive is nothing new", OK + b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n" + EMPTY),
    Answer("Proxy-Connection is for proxies", OK + b"Proxy-Connection: close\r\n" + EMPTY),
    Answer("close with a body", OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", body=b"hi", keeps=False),
    Answer("close with chunks", OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hi"),
           body=b"hi", keeps=False),
    Answer("close and no length", OK + b"Connection: close\r\n\r\nhi", OPEN, body=b"hi", keeps=False),
    Answer("keep-alive and no length", OK + b"Connection: keep-alive\r\n\r\nhi", OPEN, body=b"hi", keeps=False),
    Answer("close, and keep-alive in another field", OK + b"Connection: close\r\nConnection: keep-alive\r\n" + EMPTY,
           keeps=False),
    Answer("HTTP/1.0 closes", TEN + EMPTY, keeps=False),
    Answer("HTTP/1.0 with a body", TEN + b"Content-Length: 2\r\n\r\nhi", body=b"hi", keeps=False),
    Answer("HTTP/1.0 without a length", TEN + b"\r\nhi", OPEN, body=b"hi", keeps=False),
    Answer("HTTP/1.0 that keeps", TEN + b"Connection: keep-alive\r\n" + EMPTY),
    Answer("HTTP/1.0 that keeps, in any case", TEN + b"connection: Keep-Alive\r\n" + EMPTY),
    Answer("HTTP/1.0 that keeps, in a list", TEN + b"Connection: x, keep-alive\r\n" + EMPTY),
    Answer("HTTP/1.0 that says both", TEN + b"Connection: keep-alive, close\r\n" + EMPTY, keeps=False),
    Answer("HTTP/1.0 that changes its mind", TEN + b"Connection: close\r\nConnection: keep-alive\r\n" + EMPTY),
    Answer("HTTP/1.0 with chunks", TEN + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"hi"), body=b"hi",
           keeps=False),
    Answer("HTTP/1.0 that keeps without a length", TEN + b"Connection: keep-alive\r\n\r\nhi", OPEN, body=b"hi",
           keeps=False),
]  # fmt: skip

LENGTHS = [
    Answer("the same length twice", lengths(b"2", b" 2 ") + b"hi", body=b"hi"),
    Answer("the same length in a list", lengths(b" 2, 2,2") + b"hi", body=b"hi"),
    Answer("the same length, written differently", lengths(b"2", b"02") + b"hi", body=b"hi"),
    Answer("the biggest length", lengths(b"%d" % BIGGEST) + b"hi", SHORT, keeps=False),
    Answer("a length beyond all numbers", lengths(b"%d" % (BIGGEST + 1)) + b"hi", OPEN, body=b"hi", keeps=False),
    Answer("a length far beyond all numbers", lengths(b"9" * 100) + b"hi", OPEN, body=b"hi", keeps=False),
    Answer("a length, then one beyond all numbers", lengths(b"2", b"9" * 30) + b"hi", body=b"hi", keeps=False),
    Answer("a length in a list with one beyond", lengths(b"2, " + b"9" * 30) + b"hi", body=b"hi", keeps=False),
    Answer("a length beyond, and chunks", CHUNKED[:-2] + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + chunks(b"hi"),
           body=b"hi", keeps=False),
    *refused(
        NOT_HTTP,
        ("two lengths", lengths(b"2", b"3") + b"hi"),
        ("two lengths in a list", lengths(b"2, 3") + b"hi"),
        ("a length after nothing", lengths(b"0", b"2") + b"hi"),
        ("no digits in a length", lengths(b"") + b"hi"),
        ("a negative length", lengths(b"-2") + b"hi"),
        ("a length with a plus", lengths(b"+2") + b"hi"),
        ("a length in hex", lengths(b"0x2") + b"hi"),
        ("a length with a fraction", lengths(b"2.0") + b"hi"),
        ("a length of two words", lengths(b"2 2") + b"hi"),
        ("a length in quotes", lengths(b'"2"') + b"hi"),
        ("a list of lengths with a hole", lengths(b"2,,2") + b"hi"),
        ("a list of lengths with an open end", lengths(b"2,") + b"hi"),
        ("a folded length of two numbers", lengths(b"1\r\n 2") + b"hi"),
        ("a length after one beyond all numbers is looked at", lengths(b"9" * 30, b"-2") + b"hi"),
    ),
]  # fmt: skip

CODINGS = [
    Answer("chunks", CHUNKED + chunks(b"goose", b"x" * 17), body=b"goose" + b"x" * 17),
    Answer("chunks and nothing in them", CHUNKED + chunks()),
    Answer("sizes in capitals", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", body=b"0123456789"),
    Answer("a size with noughts before it", CHUNKED + b"00000000000000002\r\nhi\r\n0000\r\n\r\n", body=b"hi"),
    Answer("a size with an extension", CHUNKED + b'2;a=b;c="\r;"\r\nhi\r\n0;x\r\n\r\n', body=b"hi"),
    Answer("a size with blanks behind it", CHUNKED + b"2  \r\nhi\r\n0 \r\n\r\n", body=b"hi"),
    Answer("chunks with bare line feeds", CHUNKED + b"2\nhi\n0\n\n", body=b"hi"),
    Answer("carriage returns behind a chunk", CHUNKED + b"2\r\nhi\r\r\r\n0\r\n\r\n", body=b"hi"),
    Answer("chunks win over a length", OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hi"),
           body=b"hi"),
    Answer("chunks win over a length that comes later", CHUNKED[:-2] + b"Content-Length: 0\r\n\r\n" + chunks(b"hi"),
           body=b"hi"),
    Answer("a coding in any case", OK + b"transfer-encoding: CHUNKED\r\n\r\n" + chunks(b"hi"), body=b"hi"),
    Answer("a coding in a list with holes", OK + b"Transfer-Encoding: , chunked ,\r\n\r\n" + chunks(b"hi"), body=b"hi"),
    Answer("chunked twice is once", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks(b"hi"), body=b"hi"),
    Answer("chunked in two fields is once", CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"hi"),
           body=b"hi"),
    Answer("identity before chunked", OK + b"Transfer-Encoding: identity, chunked\r\n\r\n" + chunks(b"hi"), body=b"hi"),
    Answer("identity is a coding that only the close ends", OK + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nhi",
           OPEN, body=b"hi", keeps=False),
    Answer("identity, and a bad length behind it", OK + b"Transfer-Encoding: identity\r\nContent-Length: x\r\n\r\nhi", OPEN,
           body=b"hi", keeps=False),
    Answer("identity behind a length of nothing", OK + b"Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\nhi", OPEN,
           body=b"hi", keeps=False),
    Answer("identity, then chunked", OK + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hi"),
           body=b"hi", keeps=False),
    Answer("identity in another field", CHUNKED[:-2] + b"Transfer-Encoding: identity\r\n\r\n" + chunks(b"hi"),
           body=b"hi"),
    Answer("no coding at all", OK + b"Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nhi", OPEN, body=b"hi", keeps=False),
    Answer("a trailer", CHUNKED + chunks(b"hi", end=b"0\r\nX: y\r\n\r\n"), body=b"hi"),
    Answer("a trailer behind nothing", CHUNKED + chunks(end=b"0\r\nX: y\r\nZ: 1\r\n\r\n")),
    Answer("trailers mean nothing", CHUNKED + chunks(b"hi", end=b"0\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"),
           body=b"hi"),
    Answer("trailers with bare line feeds", CHUNKED + chunks(b"hi", end=b"0\nX: y\nZ: 1\n\n"), body=b"hi"),
    Answer("a trailer with a blank before it", CHUNKED + chunks(b"hi", end=b"0\r\nX: y\r\n Z: 1\r\n\r\n"), body=b"hi"),
    Answer("as long a trailer as there may be", CHUNKED + chunks(b"hi", end=b"0\r\nX: " + b"y" * 4_090 + b"\r\n\r\n"),
           body=b"hi"),
    Answer("as long trailers as there may be together", CHUNKED[:-2] + b"X: " + b"y" * 1_133 + b"\r\n\r\n"
           + chunks(b"hi", end=b"0\r\n" + (b"X: " + b"y" * 3_995 + b"\r\n") * 76 + b"X: " + b"y" * 2_010 + b"\r\n\r\n"),
           body=b"hi"),
    Answer("as many trailers as there may be", CHUNKED + chunks(b"hi", end=b"0\r\n" + b"X: y\r\n" * 4_999 + b"\r\n"),
           body=b"hi"),
    Answer("extra bytes behind chunks", CHUNKED + chunks(b"hi") + b"extra", body=b"hi", extra=5),
    *refused(
        BAD_ENCODING,
        ("a coding that nobody asked for", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(b"hi")),
        ("only such a coding", OK + b"Transfer-Encoding: gzip\r\n\r\nhi"),
        ("a coding nobody knows", OK + b"Transfer-Encoding: goose\r\n\r\nhi"),
        ("a word with chunked in it", OK + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nhi"),
        ("chunked with a parameter", OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + chunks(b"hi")),
        ("a coding behind chunked", OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + chunks(b"hi")),
        ("identity behind chunked", OK + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunks(b"hi")),
        ("a coding in another field", CHUNKED[:-2] + b"Transfer-Encoding: gzip\r\n\r\n" + chunks(b"hi")),
    ),
    *refused(
        BAD_BYTES,
        ("a size that is none", CHUNKED + b"g\r\nhi\r\n0\r\n\r\n"),
        ("an empty size", CHUNKED + b"\r\nhi\r\n0\r\n\r\n"),
        ("a blank before a size", CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n"),
        ("a negative size", CHUNKED + b"-2\r\nhi\r\n0\r\n\r\n"),
        ("a size in 0x", CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n"[1:]),
        ("a size of 18 digits", CHUNKED + b"000000000000000002\r\nhi\r\n0\r\n\r\n"),
        ("a size of 17 digits beyond all numbers", CHUNKED + b"11111111111111111\r\nhi\r\n0\r\n\r\n"),
        ("a size beyond all numbers", CHUNKED + b"8000000000000000\r\nhi"),
        ("a size of 64 bits", CHUNKED + b"ffffffffffffffff\r\nhi"),
        ("a chunk longer than its size", CHUNKED + b"2\r\nhix\r\n0\r\n\r\n"),
        ("a trailer with a CR in it", CHUNKED + chunks(end=b"0\r\nX: a\rb\r\n\r\n")),
        ("trailers too long together", CHUNKED + chunks(b"hi", end=b"0\r\n" + (b"X: " + b"y" * 4_000 + b"\r\n") * 80 + b"\r\n")),
        ("CRs in the last line end", CHUNKED + b"0\r\n\r\r\n"),
        ("a carriage return and no line feed", CHUNKED + b"0\r\n\rX: y\r\n"),
    ),
    *refused(
        NOT_HTTP,
        ("a trailer without a colon", CHUNKED + chunks(b"hi", end=b"0\r\nx\r\n\r\n")),
        ("a trailer with a NUL", CHUNKED + chunks(b"hi", end=b"0\r\nX: \0\r\n\r\n")),
        ("a folded trailer", CHUNKED[:-2] + b"A: b\r\n\r\n" + chunks(b"hi", end=b"0\r\nX: y\r\n z\r\n\r\n")),
        ("a trailer of blanks", CHUNKED[:-2] + b"A: b\r\n\r\n" + chunks(b"hi", end=b"0\r\n  \r\n\r\n")),
    ),
    *refused(
        TOO_MANY,
        ("a trailer too long", CHUNKED + chunks(b"hi", end=b"0\r\nX: " + b"y" * 4_091 + b"\r\n\r\n")),
        ("too many trailers", CHUNKED + chunks(b"hi", end=b"0\r\n" + b"X: y\r\n" * 5_000 + b"\r\n")),
    ),
    Answer("the biggest size", CHUNKED + b"7fffffffffffffff\r\nhi", SHORT, keeps=False),
]  # fmt: skip

WITHOUT_BODY = [
    Answer("a HEAD has no body", OK + b"Content-Length: 5\r\n\r\n", method="HEAD"),
    Answer("a HEAD has no chunks", CHUNKED, method="HEAD"),
    Answer("a HEAD without a length", OK + b"\r\n", method="HEAD"),
    Answer("a HEAD that closes", OK + b"Connection: close\r\n\r\n", method="HEAD", keeps=False),
    Answer("a HEAD with any coding", OK + b"Transfer-Encoding: goose\r\n\r\n", method="HEAD"),
    Answer("a HEAD with a length beyond all numbers", lengths(b"9" * 30), method="HEAD", keeps=False),
    Answer("a HEAD that is answered with a body", OK + b"Content-Length: 2\r\n\r\nhi", method="HEAD", extra=2),
    Answer("a HEAD of HTTP/1.0", TEN + b"Content-Length: 5\r\n\r\n", method="HEAD", keeps=False),
    Answer("a 204", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    Answer("a 204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", status=204),
    Answer("a 204 with any length", b"HTTP/1.1 204 x\r\nContent-Length: 1\r\nContent-Length: -2\r\n\r\n", status=204),
    Answer("a 204 with any coding", b"HTTP/1.1 204 x\r\nTransfer-Encoding: goose, chunked\r\n\r\n", status=204),
    Answer("a 204 with a body", b"HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nhi", status=204, extra=2),
    Answer("a 304", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n", status=304),
    Answer("a 304 that closes", b"HTTP/1.1 304 x\r\nConnection: close\r\n\r\n", status=304, keeps=False),
    Answer("a 205 has a body if it says so", b"HTTP/1.1 205 x\r\nContent-Length: 2\r\n\r\nhi", status=205, body=b"hi"),
    *[row._replace(method="HEAD") for row in refused(NOT_HTTP, ("a HEAD with two lengths", lengths(b"2", b"3")))],
]

INTERIM = [
    Answer("a 100 before it", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", body=b"hi"),
    Answer("a 103 with fields", b"HTTP/1.1 103 x\r\nLink: a\r\n\r\n" + OK + EMPTY),
    Answer("three of them", b"HTTP/1.1 100 x\r\n\r\n" * 3 + OK + EMPTY),
    Answer("a 100 with a length means nothing", b"HTTP/1.1 100 x\r\nContent-Length: 9\r\n\r\n" + OK + EMPTY),
    Answer("a 100 with a bad length", b"HTTP/1.1 100 x\r\nContent-Length: x\r\n\r\n" + OK + EMPTY),
    Answer("a 102 with a bad coding", b"HTTP/1.1 102 x\r\nTransfer-Encoding: x\r\n\r\n" + OK + EMPTY),
    Answer("a 100 with bare line feeds", b"HTTP/1.1 100\n\n" + OK + EMPTY),
    Answer("a 199", b"HTTP/1.1 199 x\r\n\r\n" + OK + EMPTY),
    Answer("a 100 that closes", b"HTTP/1.1 100 x\r\nConnection: close\r\n\r\n" + OK + EMPTY, keeps=False),
    Answer("a 100 before chunks", b"HTTP/1.1 100 x\r\n\r\n" + CHUNKED + chunks(b"hi"), body=b"hi"),
    Answer("a 100 of HTTP/1.0", b"HTTP/1.0 100 x\r\n\r\n" + OK + EMPTY, keeps=False),
    Answer("as many fields as there may be, in two heads", b"HTTP/1.1 100 x\r\n" + b"X: y\r\n" * 2_500 + b"\r\n"
           + OK + b"X: y\r\n" * 2_499 + EMPTY),
    Answer("a 101 is the end of HTTP", b"HTTP/1.1 101 x\r\nUpgrade: goose\r\n\r\nhonk", OPEN, status=101, body=b"honk",
           keeps=False),
    Answer("a 101 with a length", b"HTTP/1.1 101 x\r\nContent-Length: 0\r\n\r\nhonk", OPEN, status=101, body=b"honk",
           keeps=False),
    Answer("a 101 with chunks", b"HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\nhonk", OPEN, status=101,
           body=b"honk", keeps=False),
    Answer("a 100 alone", b"HTTP/1.1 100 x\r\n\r\n", NOTHING, status=0, keeps=False),
    Answer("a 100 and a beginning", b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200", NOTHING, status=0, keeps=False),
    Answer("a 100 and a half head", b"HTTP/1.1 100 x\r\n\r\n" + OK, SHORT, status=0, keeps=False),
    *refused(
        NOT_HTTP,
        ("a body behind a 100", b"HTTP/1.1 100 x\r\nContent-Length: 2\r\n\r\nhi" + OK + EMPTY),
        ("an empty line between heads", b"HTTP/1.1 100 x\r\n\r\n\r\n" + OK + EMPTY),
    ),
]  # fmt: skip

HOSTILE = [
    *refused(
        NOT_HTTP,
        ("something else", b"220 smtp.example ESMTP\r\n"),
        ("a body without a head", b"<html>goose</html>"),
        ("one byte of something else", b"\0"),
        ("the beginning of something else", b"HTTQ"),
        ("an empty line before", b"\r\n" + OK + EMPTY),
        ("a blank before", b" " + OK + EMPTY),
        ("nothing but HTTP/", b"HTTP/\r\n\r\n"),
        ("http/1.1", b"http/1.1 200 x\r\n" + EMPTY),
        ("HTTP/0.9", b"HTTP/0.9 200 x\r\n" + EMPTY),
        ("HTTP/1.2", b"HTTP/1.2 200 x\r\n" + EMPTY),
        ("HTTP/2", b"HTTP/2 200 x\r\n" + EMPTY),
        ("HTTP/11", b"HTTP/11 200 x\r\n" + EMPTY),
        ("another protocol", b"HTTPS/1.1 200 x\r\n" + EMPTY),
        ("two blanks before the status", b"HTTP/1.1  200 x\r\n" + EMPTY),
        ("a status of two digits", b"HTTP/1.1 20\r\n" + EMPTY),
        ("a status of two digits and a letter", b"HTTP/1.1 20x\r\n" + EMPTY),
        ("a negative status", b"HTTP/1.1 -20\r\n" + EMPTY),
        ("a status below 100", b"HTTP/1.1 099 x\r\n" + EMPTY),
        ("a status of 0", b"HTTP/1.1 000 x\r\n" + EMPTY),
        ("no status", b"HTTP/1.1\r\n" + EMPTY),
        ("a folded status line", b"HTTP/1.1\r\n 200 OK\r\n" + EMPTY),
        ("a fold behind the status line", OK + b" more\r\n" + EMPTY),
        ("a NUL in the status line", b"HTTP/1.1 200 \0\r\n" + EMPTY),
        ("a CR in the status line", b"HTTP/1.1 200 a\rb\r\n" + EMPTY),
        ("a field without a colon", OK + b"goose\r\n" + EMPTY),
        ("a NUL in a value", OK + b"X: a\0b\r\n" + EMPTY),
        ("a NUL in a name", OK + b"X\0Y: a\r\n" + EMPTY),
        ("a CR in a value", OK + b"X: a\rSet-Cookie: b=c\r\n" + EMPTY),
        ("a CR at the beginning of a line", OK + b"\rX: a\r\n" + EMPTY),
        ("a CR and nothing at the end of the head", OK + EMPTY[:-2] + b"\r \n"),
        ("a CR in a name", OK + b"X\rY: a\r\n" + EMPTY),
        ("a CR behind a value", OK + b"X: a\r\r\n" + EMPTY),
        ("a CR in a folded value", OK + b"X: a\r\n b\rc\r\n" + EMPTY),
        ("a CR before a fold", OK + b"X: a\r\r\n b\r\n" + EMPTY),
        ("a NUL in a folded value", OK + b"X: a\r\n \0\r\n" + EMPTY),
        ("two places to go to", OK + b"Location: /a\r\nLocation: /b\r\n" + EMPTY),
    ),
    *refused(
        TOO_MANY,
        ("too many fields", OK + b"X: y\r\n" * 5_000 + EMPTY),
        ("too many fields in two heads", b"HTTP/1.1 100 x\r\n" + b"X: y\r\n" * 2_500 + b"\r\n"
         + OK + b"X: y\r\n" * 2_501 + EMPTY),
        ("a line too long", OK + b"X: " + b"y" * 102_395 + b"\r\n" + EMPTY),
        ("a line without an end", OK + b"X: " + b"y" * 150_000),
        ("a status line without an end", b"HTTP/1.1 200 " + b"y" * 150_000),
        ("a folded line too long", OK + b"X: y" + b"\r\n " .join([b"y" * 999] * 110) + b"\r\n" + EMPTY),
    ),
    *refused(
        BAD_BYTES,
        ("a head too long", OK + (b"X: " + b"y" * 995 + b"\r\n") * 310 + EMPTY),
        ("a head too long by one", OK + b"X: " + b"y" * 999 + b"\r\n" + (b"X: " + b"y" * 995 + b"\r\n") * 305
         + b"X: " + b"y" * 1_154 + b"\r\n" + EMPTY),
        ("heads too long together", (b"HTTP/1.1 100 x\r\nX: " + b"y" * 50_000 + b"\r\n\r\n") * 7 + OK + EMPTY),
    ),
    Answer("a place to go to, folded and not", OK + b"Location: /a\r\n b\r\nLocation: /a b\r\n" + EMPTY),
    Answer("a place to go to, twice", OK + b"Location: /a\r\nLocation:  /a \r\nlocation:\r\n" + EMPTY),
]  # fmt: skip

CUT = [
    Answer("nothing", b"", NOTHING, status=0, keeps=False),
    Answer("a status line without its end", b"HTTP/1.1 200 OK", NOTHING, status=0, keeps=False),
    Answer("half a head", OK + b"Content-Length: 2\r\n", SHORT, status=0, keeps=False),
    Answer("a head without its last byte", OK + b"Content-Length: 0\r\n\r", SHORT, status=0, keeps=False),
    Answer("a body without its last byte", OK + b"Content-Length: 3\r\n\r\nhi", SHORT, body=b"hi", keeps=False),
    Answer("a body that does not come", OK + b"Content-Length: 3\r\n\r\n", SHORT, keeps=False),
    Answer("no chunk", CHUNKED, SHORT, keeps=False),
    Answer("half a size", CHUNKED + b"1", SHORT, keeps=False),
    Answer("half a chunk", CHUNKED + b"3\r\nhi", SHORT, body=b"hi", keeps=False),
    Answer("a chunk without its line end", CHUNKED + b"2\r\nhi", SHORT, body=b"hi", keeps=False),
    Answer("no last chunk", CHUNKED + b"2\r\nhi\r\n", SHORT, body=b"hi", keeps=False),
    Answer("a last chunk without its end", CHUNKED + b"0\r\n", SHORT, keeps=False),
    Answer("a last chunk with half its end", CHUNKED + b"0\r\n\r", SHORT, keeps=False),
    Answer("half a trailer", CHUNKED + b"0\r\nX: ", SHORT, keeps=False),
]

ANSWERS = [*PLAIN, *FIELDS, *CONNECTION, *LENGTHS, *CODINGS, *WITHOUT_BODY, *INTERIM, *HOSTILE, *CUT]
