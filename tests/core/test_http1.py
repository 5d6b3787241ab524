"""The codec of HTTP/1.1 answers, without a socket: bytes in any pieces go in, and what they mean comes out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import h11
import pytest
from answers import (
    ANSWERS,
    BAD_BYTES,
    BAD_ENCODING,
    COMPLETE,
    NOT_HTTP,
    NOTHING,
    OK,
    OPEN,
    SHORT,
    TOO_MANY,
    Answer,
    chunks,
    lengths,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gaggle._core import AnswerParser

MORE = 0
DONE = 1
AT_THE_END = {OPEN: DONE, SHORT: -18, NOTHING: -52}  # minus a CURLcode
AT_ONCE = {COMPLETE: DONE, NOT_HTTP: -8, BAD_BYTES: -56, BAD_ENCODING: -61, TOO_MANY: -100}

LONG = 20_000  # bytes from which on one byte at a time takes too long for a test


class Read(NamedTuple):
    """What a parser made of an answer, and of the end of the connection if that was still to come."""

    result: int
    used: int
    status: int
    head: bytes
    fields: list[tuple[str, str]]
    body: bytes
    keeps: bool


def read(pieces: Iterable[bytes], method: str = "GET") -> Read:
    parser = AnswerParser(method == "HEAD")
    result = used = 0
    for piece in pieces:
        result, taken = parser.feed(piece)
        assert taken <= len(piece)
        used += taken
        if result != MORE:
            break
        assert taken == len(piece), "it asks for more and has not used all"
    if result == MORE:
        result = parser.eof()
    fields = parser.fields.multi_items()
    return Read(result, used, parser.status, parser.head, fields, parser.body, parser.keeps)


def cut(data: bytes, luck: random.Random) -> Iterator[bytes]:
    """Yield `data` in pieces, most of them small."""
    start = 0
    while start < len(data):
        size = 1 + int(luck.paretovariate(0.7))
        yield data[start : start + size]
        start += size


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# The table.


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_an_answer_is_understood(answer: Answer) -> None:
    found = read([answer.data], answer.method)

    assert found.result == (AT_ONCE | AT_THE_END)[answer.outcome]
    if answer.outcome in (COMPLETE, OPEN):
        assert (found.status, found.body, found.keeps) == (answer.status, answer.body, answer.keeps)
        assert found.used == len(answer.data) - answer.extra


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_an_answer_means_the_same_in_any_pieces(answer: Answer) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    luck = random.Random(seed)
    whole = read([answer.data], answer.method)

    if len(answer.data) < LONG:
        assert understood(read(bytewise(answer.data), answer.method)) == understood(whole)
    for _ in range(20 if len(answer.data) < LONG else 3):
        assert understood(read(cut(answer.data, luck), answer.method)) == understood(whole)


@pytest.mark.parametrize("answer", [row for row in ANSWERS if len(row.data) < 500], ids=lambda answer: answer.reason)
def test_an_answer_means_the_same_wherever_it_is_cut_in_two(answer: Answer) -> None:
    whole = understood(read([answer.data], answer.method))

    for at in range(len(answer.data) + 1):
        assert understood(read([answer.data[:at], answer.data[at:]], answer.method)) == whole, at


@pytest.mark.parametrize(
    "answer", [row for row in ANSWERS if row.outcome == COMPLETE and not row.extra], ids=lambda answer: answer.reason
)
def test_what_follows_an_answer_is_left_alone(answer: Answer) -> None:
    for extra in (b"H", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 100):
        found = read([answer.data + extra], answer.method)

        assert (found.result, found.used) == (DONE, len(answer.data))
        assert found.body == answer.body


@pytest.mark.parametrize(
    "answer",
    [row for row in ANSWERS if row.outcome == COMPLETE and not row.extra and len(row.data) < 500],
    ids=lambda answer: answer.reason,
)
def test_every_beginning_of_an_answer_is_incomplete(answer: Answer) -> None:
    for size in range(len(answer.data)):
        parser = AnswerParser(answer.method == "HEAD")

        assert parser.feed(answer.data[:size]) == (MORE, size)
        assert not parser.keeps


def understood(found: Read) -> Read:
    """Leave out what nobody asks for after an error: how far it had come."""
    return found if found.result == DONE else found._replace(used=0, status=0, head=b"", fields=[], body=b"")


# What comes out.


def test_the_head_is_that_of_the_final_answer() -> None:
    found = read([b"HTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 404 Gone fishing\r\nX: y\r\nContent-Length: 0\r\n\r\n"])

    assert found.head == b"HTTP/1.1 404 Gone fishing\r\nX: y\r\nContent-Length: 0\r\n\r\n"
    assert found.fields == [("X", "y"), ("Content-Length", "0")]


@pytest.mark.parametrize(
    ("raw", "value", "reason"),
    [
        (b"X: a\r\n b\r\n", "a b", "a line end and a blank are a blank"),
        (b"X: a \t\r\n \t b\r\n", "a b", "all blanks around it are one"),
        (b"X: a\n b\n", "a b", "bare line feeds"),
        (b"X:\r\n a\r\n", "a", "nothing on the first line"),
        (b"X: a\r\n \r\n b\r\n", "a b", "nothing on the second line"),
        (b"X: a\r\n \r\n", "a", "nothing but a blank"),
        (b"X\r\n : a\r\n", "a", "a name and no value on the first line"),
        (b"X: a\r\n b: c\r\n", "a b: c", "what looks like a field"),
    ],
)
def test_a_folded_field_is_one_line_of_the_head(raw: bytes, value: str, reason: str) -> None:
    """As libcurl hands it over: RFC 9112, 5.2."""
    for pieces in ([OK + raw + b"A: b\r\n\r\n"], bytewise(OK + raw + b"A: b\r\n\r\n")):
        found = read(pieces)

        assert found.fields == [("X", value), ("A", "b")], reason
        assert found.head.count(b"\n") == 4


def test_a_body_is_kept_up_to_its_limit_and_counted_beyond() -> None:
    for data in (lengths(b"5") + b"goose", OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"g", b"oose")):
        for pieces in ([data], bytewise(data)):
            parser = AnswerParser(body_limit=3)
            for piece in pieces:
                result, _ = parser.feed(piece)

            assert (result, parser.body, parser.dropped, parser.keeps) == (DONE, b"goo", 2, True)


def test_an_answer_of_many_small_pieces_takes_linear_time() -> None:
    """A line of 100 KB and 30,000 folds, one byte at a time: a parser that begins each line again takes minutes."""
    long_line = OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n"
    folds = OK + b"X: a\r\n" + b" b\r\n" * 25_000 + b"\r\n"

    for data in (long_line, folds):
        parser = AnswerParser()
        for piece in bytewise(data):
            parser.feed(piece)

        assert parser.head.endswith(b"\r\n\r\n")


# The other oracle.

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAMES = st.text(TOKEN, min_size=1, max_size=20).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding", "connection", "location")
)
VALUES = st.binary(max_size=30).filter(
    lambda value: not set(value) & {0, 10, 11, 12, 13, 28, 29, 30, 31} and value == value.strip()
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=10)
BODIES = st.lists(st.binary(max_size=200), max_size=5)
REASONS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
STATUSES = st.integers(200, 599)
ENDS = st.sampled_from(["length", "chunks", "close"])
CONNECTIONS = st.sampled_from([None, "close", "keep-alive", "Close, x"])


class Message(NamedTuple):
    """A whole valid answer, and how it comes; `ends` says how its body does."""

    method: str
    data: bytes
    pieces: list[bytes]
    ends: str


@st.composite
def messages(draw: st.DrawFn) -> Message:
    method, status, ends, connection = (
        draw(st.sampled_from(["GET", "HEAD"])),
        draw(STATUSES),
        draw(ENDS),
        draw(CONNECTIONS),
    )
    fields, bodies, minor = draw(FIELDS), draw(BODIES), draw(st.sampled_from([0, 1, 1, 1]))
    if minor == 0 and ends == "chunks":
        ends = "length"
    if ends == "length":
        fields.insert(draw(st.integers(0, len(fields))), ("Content-Length", b"%d" % len(b"".join(bodies))))
    elif ends == "chunks":
        fields.insert(draw(st.integers(0, len(fields))), ("Transfer-Encoding", b"chunked"))
    if connection:
        fields.insert(draw(st.integers(0, len(fields))), ("Connection", connection.encode()))
    head = f"HTTP/1.{minor} {status} {draw(REASONS)}".encode() + b"\r\n"
    head += b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
    body = b"" if method == "HEAD" or status in (204, 304) else b"".join(bodies)
    if body or (ends == "chunks" and method != "HEAD" and status not in (204, 304)):
        body = chunks(*filter(None, bodies)) if ends == "chunks" else body
    data = head + body
    seed = draw(st.integers(0, 1 << 32))
    return Message(method, data, list(cut(data, random.Random(seed))), ends)


def read_by_h11(message: Message) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """Return status, fields, body, and whether the connection may be used again."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=message.method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(message.data)
    events = []
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            connection.receive_data(b"")  # the end of the connection
        else:
            events.append(event)
    response = events[0]
    assert isinstance(response, h11.Response)
    body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
    keeps = connection.their_state is h11.DONE and connection.our_state is h11.DONE
    return response.status_code, [(name.lower(), value) for name, value in response.headers], body, keeps


@given(messages())
@settings(max_examples=600, deadline=None)
def test_a_valid_answer_is_understood_as_by_h11(message: Message) -> None:
    status, fields, body, keeps = read_by_h11(message)

    for pieces in ([message.data], message.pieces):
        found = read(pieces, message.method)

        assert (found.result, found.used, found.status, found.body) == (DONE, len(message.data), status, body)
        assert [(name.lower().encode(), value) for name, value in found.fields] == [
            (name, text(value)) for name, value in fields
        ]
        if message.ends != "close" and not message.data.startswith(b"HTTP/1.0"):  # h11 never keeps such a connection
            assert found.keeps == keeps


def text(value: bytes) -> str:
    """As Headers reads it: UTF-8, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
