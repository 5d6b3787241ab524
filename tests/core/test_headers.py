"""The headers of a response: a mapping over the bytes that came, however a server wrote them."""

from __future__ import annotations

import email.parser
import email.policy
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaggle._core import Headers

RAW = (
    b"Date: Mon, 23 Nov 2026 07:52:39 GMT\r\n"
    b"Content-Type: text/html; charset=UTF-8\r\n"
    b"Set-Cookie: a=1; Expires=Mon, 01 Jan 2029 00:00:00 GMT\r\n"
    b"Cache-Control: no-cache\r\n"
    b"set-cookie: b=2\r\n"
    b"cache-control: private\r\n"
    b"Content-Length: 12\r\n"
    b"\r\n"
)


@pytest.fixture
def headers() -> Headers:
    return Headers(RAW)


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE", "cOntent-tyPe"])
def test_a_name_has_no_case(headers: Headers, name: str) -> None:
    assert headers[name] == "text/html; charset=UTF-8"
    assert headers.get(name) == "text/html; charset=UTF-8"
    assert headers.get_all(name) == ["text/html; charset=UTF-8"]
    assert name in headers


@pytest.mark.parametrize("name", ["content", "content-type2", "x-content-type", "", ":", "content-type:", "ä", "\r\n"])
def test_a_name_is_there_as_a_whole_or_not_at_all(headers: Headers, name: str) -> None:
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get(name, "else") == "else"
    assert headers.get_all(name) == []
    with pytest.raises(KeyError):
        headers[name]


def test_several_fields_of_a_name_are_joined_or_listed(headers: Headers) -> None:
    assert headers["cache-control"] == "no-cache, private"
    assert headers.get_all("set-cookie") == ["a=1; Expires=Mon, 01 Jan 2029 00:00:00 GMT", "b=2"]


def test_headers_are_a_mapping_in_the_order_of_arrival(headers: Headers) -> None:
    names = ["date", "content-type", "set-cookie", "cache-control", "content-length"]

    assert isinstance(headers, Mapping)
    assert list(headers) == names == list(headers.keys())
    assert len(headers) == 5
    assert dict(headers) == {name: headers[name] for name in names} == dict(headers.items())
    assert list(headers.values()) == [headers[name] for name in names]
    assert [name for name, _ in headers.multi_items()] == [
        "Date",
        "Content-Type",
        "Set-Cookie",
        "Cache-Control",
        "set-cookie",
        "cache-control",
        "Content-Length",
    ]


def test_headers_show_what_came() -> None:
    headers = Headers(b"Content-Type: text/html\r\nX: \r\n")

    assert repr(headers) == "Headers([('Content-Type', 'text/html'), ('X', '')])"
    assert headers.raw == b"Content-Type: text/html\r\nX: \r\n"


def test_headers_equal_a_mapping_whatever_its_case() -> None:
    headers = Headers(b"A: 1\nB: 2\nA: 3\n")

    assert headers == {"a": "1, 3", "B": "2"}
    assert headers == Headers(b"b: 2\r\na: 1, 3\r\n")
    assert headers != {"a": "1"}
    assert headers != Headers(b"a: 1\n")
    assert headers != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(headers)


def test_headers_cannot_be_changed(headers: Headers) -> None:
    with pytest.raises(TypeError):
        headers["a"] = "b"  # type: ignore[index]
    with pytest.raises(AttributeError):
        headers.raw = b""  # type: ignore[misc]


def test_a_name_may_be_a_kind_of_str() -> None:
    class Name(str):
        __slots__ = ()

    assert Headers(b"a: b")[Name("A")] == "b"


@pytest.mark.parametrize(
    ("raw", "expected", "reason"),
    [
        (b"", [], "nothing"),
        (b"\r\n", [], "only the end"),
        (b"a: b", [("a", "b")], "no end of line"),
        (b"a: b\r\n", [("a", "b")], "CRLF"),
        (b"a: b\nc: d\n", [("a", "b"), ("c", "d")], "LF alone"),
        (b"a: b\r\nc: d\n\n", [("a", "b"), ("c", "d")], "both"),
        (b"a:b\r\n", [("a", "b")], "no space after the colon"),
        (b"a: \t b \t \r\n", [("a", "b")], "white space around the value"),
        (b"a \t: b\r\n", [("a", "b")], "white space before the colon"),
        (b"a:\r\nb:  \r\n", [("a", ""), ("b", "")], "no value"),
        (b"a: b: c\r\n", [("a", "b: c")], "a colon in the value"),
        (b"a: b c\r\n", [("a", "b c")], "a space in the value"),
        (b"a: b\r\n  c\r\n\td\r\n", [("a", "b c d")], "folded lines, RFC 9112 section 5.2"),
        (b"a: b\n c\nd: e\n", [("a", "b c"), ("d", "e")], "folded with LF"),
        (b"a:\r\n b\r\n", [("a", "b")], "folded at once"),
        (b"a: b\r\n \r\nc: d\r\n", [("a", "b"), ("c", "d")], "folded into nothing"),
        (b" a: b\r\nc: d\r\n", [("c", "d")], "a fold of nothing"),
        (b"HTTP/1.1 200 OK\r\na: b\r\n", [("a", "b")], "a line without a colon"),
        (b"a\r\n b: c\r\nd: e\r\n", [("d", "e")], "a name over two lines"),
        (b": b\r\na: c\r\n", [("a", "c")], "a line without a name"),
        (b"a: \xc3\xa4\r\n", [("a", "ä")], "UTF-8"),
        (b"a: \xe4\r\n", [("a", "ä")], "Latin-1"),
        (b"\xc3\xa4: b\r\n", [("ä", "b")], "a name in UTF-8"),
        (b"a: b\0c\r\n", [("a", "b\0c")], "a NUL"),
        (b"a: b\rc\r\n", [("a", "b\rc")], "a CR alone ends no line"),
    ],
)
def test_lines_are_read_as_servers_write_them(raw: bytes, expected: list[tuple[str, str]], reason: str) -> None:
    headers = Headers(raw)

    assert headers.multi_items() == expected, reason
    assert [headers[name] for name, _ in expected] == [value for _, value in expected], reason


TOKENS = st.text(st.sampled_from("abcXYZ019!#$%&'*+-.^_`|~"), min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=12))
def test_fields_are_found_as_the_standard_library_finds_them(fields: list[tuple[str, str]]) -> None:
    raw = "".join(f"{name}: {value}\r\n" for name, value in fields)
    oracle = email.parser.Parser(policy=email.policy.HTTP).parsestr("".join(f"{n}: {v}\n" for n, v in fields) + "\n")

    headers = Headers(raw.encode())

    assert headers.multi_items() == fields
    for name, _ in fields:
        assert headers.get_all(name.swapcase()) == [value for other, value in fields if other.lower() == name.lower()]
        assert (name in headers) is (name in oracle)


def test_no_bytes_make_reading_raise() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    words = [b"a", b"B", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc3\xa4", b"content-type"]

    for _ in range(20_000):
        headers = Headers(b"".join(chance.choices(words, k=chance.randrange(20))))

        items = headers.multi_items()
        assert len(headers) == len({name.lower() for name, _ in items}) == len(list(headers))
        assert all(name in headers for name, _ in items if name.isascii())
