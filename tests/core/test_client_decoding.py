"""Encoded bodies, and how much of a body is kept and counted."""

from __future__ import annotations

import tracemalloc

import pytest
from bare import plain
from in_process import EngineLoop, MakeEngineLoop, ask
from sites import Server

from gaggle import User

# Encoded bodies.


@pytest.mark.parametrize("path", ["/gzip?n=100000", "/deflate?n=100000", "/deflate?n=100000&raw=1", "/br?n=100000"])
def test_an_encoded_body_is_decoded(engine: EngineLoop, user: User, path: str) -> None:
    response = engine.run(user.get(path))

    assert len(response.body) == 100_000
    assert response.text.startswith("A goose, a gander")
    assert (response.ok, response.dropped) == (True, 0)


def test_an_encoding_may_be_asked_for_and_is_decoded_all_the_same(engine: EngineLoop, user: User) -> None:
    for accepted in ("gzip", None, ""):
        response = engine.run(user.get("/gzip?n=1000", headers={"Accept-Encoding": accepted}))

        assert len(response.body) == 1_000


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_where_there_is_no_body_there_is_nothing_to_decode(
    engine_loop: MakeEngineLoop, status: int, method: str
) -> None:
    answer = b"HTTP/1.1 %d X\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n" % status

    response = ask(engine_loop, answer, method.lower())

    assert (response.status, response.body, response.ok) == (status, b"", True)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", b"this is not gzip"), ("deflate", b"\xff" * 50), ("br", b"\xff" * 50)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_body_that_is_not_what_it_says_is_a_failure(engine_loop: MakeEngineLoop, encoding: str, body: bytes) -> None:
    answer = plain(body).replace(b"\r\n\r\n", b"\r\nContent-Encoding: %b\r\n\r\n" % encoding.encode(), 1)

    response = ask(engine_loop, answer)

    assert response.body == b""
    assert not response.ok
    assert response.fault.startswith("bad content encoding")


# How much is kept.


@pytest.mark.parametrize(
    ("path", "total"),
    [("/bytes?n=5000", 5_000), ("/chunked?n=5000", 5_000), ("/until-close?n=5000", 5_000), ("/gzip?n=5000", 5_000)],
)
def test_no_more_of_a_body_is_kept_than_allowed(
    engine_loop: MakeEngineLoop, server: Server, path: str, total: int
) -> None:
    engine = engine_loop(max_body=1_000)
    user = engine.user()

    responses = [engine.run(user.get(path)) for _ in range(2)]

    assert [len(response.body) for response in responses] == [1_000] * 2
    assert [response.dropped for response in responses] == [total - 1_000] * 2
    assert all(response.ok and response.status == 200 for response in responses)


def test_an_encoded_body_that_is_longer_than_allowed_is_cut_and_no_failure(engine_loop: MakeEngineLoop) -> None:
    engine = engine_loop(max_body=200)
    user = engine.user()

    response = engine.run(user.get("/br?n=5000"))  # of stored blocks: longer on the wire than it is

    assert (response.status, response.ok) == (200, True)
    assert 150 < len(response.body) <= 200
    assert response.text.startswith("A goose, a gander")
    assert response.dropped >= 4_800


def test_a_decompression_bomb_is_not_kept(engine: EngineLoop, user: User) -> None:
    """100 MB of zeros come as 100 KB: nobody reads them into memory."""
    tracemalloc.start()
    response = engine.run(user.get("/bomb?n=100000000"))
    kept = len(response.body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (response.status, response.ok) == (200, True)
    assert kept == 16 << 20
    assert response.dropped == 100_000_000 - (16 << 20)
    assert peak < 60 << 20
    assert engine.row("GET /bomb").bytes_in < 500_000, "what came over the wire"


def test_bytes_are_counted_as_they_are_on_the_wire(engine: EngineLoop, user: User) -> None:
    for path in ("/bytes?n=5000", "/gzip?n=5000", "/chunked?n=5000&piece=1000"):
        engine.run(user.get(path))

    assert 5_000 < engine.row("GET /bytes").bytes_in < 5_300
    assert 50 < engine.row("GET /gzip").bytes_in < 600
    assert 5_000 < engine.row("GET /chunked").bytes_in < 5_300
    assert 60 < engine.row("GET /bytes").bytes_out < 300


@pytest.mark.parametrize("size", [0, 10, 10_000, 1_000_000])
def test_bytes_of_a_body_are_counted_once(engine: EngineLoop, user: User, size: int) -> None:
    engine.run(user.post("/post", data=b"x" * size, name="whole"))
    engine.run(user.put("/post", data=iter([b"x" * size]), name="chunked"))

    assert size + 100 < engine.row("POST whole").bytes_out < size + 250
    assert size + 100 < engine.row("PUT chunked").bytes_out < size + 450
