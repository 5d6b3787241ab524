"""What a task can read of a response: status, headers, body, text, JSON, times; and how much of it is kept."""

from __future__ import annotations

import pytest
from bare import plain
from in_process import EngineLoop, MakeEngineLoop, ask
from sites import Server

from gaggle import Headers, RequestError, User


def test_a_response_tells_what_came(engine: EngineLoop, user: User, server: Server) -> None:
    response = engine.run(user.get("/json?a=1", name="data"))

    assert (response.status, response.status_code, response.reason) == (200, 200, "OK")
    assert (response.ok, response.error, response.fault) == (True, None, None)
    assert (response.method, response.name, response.url) == ("GET", "data", f"{server.url}/json?a=1")
    assert response.body == response.content == b'{"a": "1"}'
    assert response.text == '{"a": "1"}'
    assert response.json() == {"a": "1"}
    assert response.json(parse_int=str, object_pairs_hook=list) == [("a", "1")]
    assert (response.history, response.http_version, response.dropped) == ([], "1.1", 0)
    assert response.raise_for_status() is response
    assert repr(response) == f"<Response GET {server.url}/json?a=1 200>"


def test_headers_of_a_response_are_a_mapping_in_any_case(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/cookies/set?a=1&b=2"))

    assert isinstance(response.headers, Headers)
    assert response.headers["content-TYPE"] == "text/plain; charset=utf-8"
    assert response.headers.get("X-None", "none") == "none"
    assert "Set-Cookie" in response.headers
    assert response.headers.get_all("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    with pytest.raises(KeyError, match="x-none"):
        response.headers["x-none"]


def test_many_and_long_headers_are_read(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/headers?n=300&size=500"))

    assert len([name for name in response.headers if name.startswith("x-")]) == 300
    assert response.headers["x-300"] == "v" * 500


def test_the_times_of_a_response_are_seconds_from_the_call(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/chunked?n=300&piece=100&ms=50"))

    row = engine.row("GET /chunked")
    assert 0 < response.first_byte < response.elapsed
    assert 0.15 <= response.elapsed < 10
    assert response.elapsed - response.first_byte >= 0.1, "the head came first, the body later"
    assert row.maximum_us == pytest.approx(response.elapsed * 1e6, abs=2)
    assert row.first_byte.maximum() == pytest.approx(response.first_byte * 1e6, rel=0.01)


def test_a_response_with_a_bad_status_raises_only_when_it_is_told_to(
    engine: EngineLoop, user: User, server: Server
) -> None:
    response = engine.run(user.get("/status/404"))

    with pytest.raises(RequestError, match=f"GET {server.url}/status/404: 404 Not Found") as raised:
        response.raise_for_status()
    assert raised.value.response is response
    response.succeed()
    assert response.raise_for_status() is response


def test_a_response_that_never_came_can_be_asked_everything(engine: EngineLoop, user: User, server: Server) -> None:
    response = engine.run(user.get("/close-silently"))

    assert (response.status, response.status_code, response.reason, response.ok) == (0, 0, "", False)
    assert response.error == response.fault == "closed without an answer"
    assert (response.body, response.text, len(response.headers), response.history) == (b"", "", 0, [])
    assert (response.first_byte, response.http_version) == (0, "")
    assert response.elapsed > 0
    assert response.url == f"{server.url}/close-silently"
    assert repr(response) == f"<Response GET {server.url}/close-silently closed without an answer>"
    with pytest.raises(RequestError, match="closed without an answer"):
        response.raise_for_status()
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


# Text.

TEXTS = [
    ("text/plain; charset=utf-8", "grüße".encode(), "grüße", "as it says"),
    ("text/plain; charset=iso-8859-1", b"gr\xfc\xdfe", "grüße", "as it says"),
    ('text/html; charset="windows-1252"', b"\x80", "€", "in quotes"),
    ("text/html; CHARSET=KOI8-R; q=1", "гусь".encode("koi8-r"), "гусь", "in capitals, with more behind it"),
    ("text/html;charset=utf-16", "goose".encode("utf-16"), "goose", "with its byte order mark"),
    ("text/plain", "grüße".encode(), "grüße", "UTF-8 where it says nothing"),
    ("application/json", "grüße".encode(), "grüße", "UTF-8 where it says nothing"),
    ("text/plain", b"gr\xfcn", "gr\N{REPLACEMENT CHARACTER}n", "what is no UTF-8 is replaced"),
    ("text/plain; charset=ascii", b"gr\xfcn", "gr\N{REPLACEMENT CHARACTER}n", "what does not decode is replaced"),
    ("text/plain; charset=gooselike", "grüße".encode(), "grüße", "UTF-8 for what nobody knows"),
    ("text/plain; charset=hex", b"goose", "goose", "not a charset, though Python has a codec of that name"),
    ("text/plain; charset=idna", b"goose", "goose", "a codec that does not know how to replace"),
    ("text/plain; charset=undefined", b"goose", "goose", "a codec that only raises"),
    ("text/plain; charset=", b"goose", "goose", "nothing"),
]


@pytest.mark.parametrize(("content_type", "body", "text", "reason"), TEXTS)
def test_text_is_decoded_by_its_charset(
    engine_loop: MakeEngineLoop, content_type: str, body: bytes, text: str, reason: str
) -> None:
    response = ask(engine_loop, plain(body, content_type))

    assert response.text == text, reason
    assert response.body == body


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_in_any_unicode_encoding(engine_loop: MakeEngineLoop, encoding: str) -> None:
    assert ask(engine_loop, plain('{"ü": 1}'.encode(encoding))).json() == {"ü": 1}


# Heads of all kinds.

HEADS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "OK", "1.1"),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", "1.1"),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, "", "1.1"),
    (b"HTTP/1.1 404 Nicht gefunden\r\nContent-Length: 0\r\n\r\n", 404, "Nicht gefunden", "1.1"),
    (b"HTTP/1.1 404 Gef\xfcllt\r\nContent-Length: 0\r\n\r\n", 404, "Gef\xfcllt", "1.1"),
    (b"HTTP/1.0 200 OK\r\n\r\n", 200, "OK", "1.0"),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200, "OK", "1.1"),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
        201,
        "Created",
        "1.1",
    ),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 204 No Content\r\n\r\n", 204, "No Content", "1.1"),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "Not Modified", "1.1"),
]


@pytest.mark.parametrize(("answer", "status", "reason", "version"), HEADS)
def test_status_reason_and_version_are_those_of_the_last_head(
    engine_loop: MakeEngineLoop, answer: bytes, status: int, reason: str, version: str
) -> None:
    response = ask(engine_loop, answer)

    assert (response.status, response.reason, response.http_version) == (status, reason, version)
    assert (response.body, response.error) == (b"", None)
    assert "link" not in response.headers, "of the hints before it"


def test_an_answer_without_a_length_ends_with_the_connection(engine: EngineLoop, user: User, server: Server) -> None:
    responses = [engine.run(user.get("/until-close?n=70000")) for _ in range(2)]

    assert [len(response.body) for response in responses] == [70_000] * 2
    assert server.seen().opened == 2


def test_chunks_are_put_together_and_their_trailer_is_no_header(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/chunked?n=100000&piece=9999"))

    assert response.body == b"x" * 100_000
    assert "x-sum" not in response.headers


def test_an_answer_to_a_head_has_no_body_whatever_it_says(engine: EngineLoop, user: User, server: Server) -> None:
    responses = [engine.run(user.head("/bytes?n=5000")) for _ in range(2)]

    assert [(response.status, response.body) for response in responses] == [(200, b"")] * 2
    assert responses[0].headers["content-length"] == "5000"
    assert server.seen().opened == 1, "and the connection can be used again"
