"""Redirects: where they lead, with which method, body, cookies and credentials; and where they end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from echoed import Echoed, to
from in_process import EngineLoop
from sites import Server

from gaggle import User


def test_redirects_are_followed_and_counted_as_one_request(engine: EngineLoop, user: User, server: Server) -> None:
    response = engine.run(user.get("/redirect/3?a=1"))

    assert (response.status, response.text, response.url) == (200, "the end\n", f"{server.url}/redirect/0")
    assert [(hop.status, hop.url.removeprefix(server.url)) for hop in response.history] == [
        (302, "/redirect/3?a=1"),
        (302, "/redirect/2"),
        (302, "/redirect/1"),
    ]
    assert response.history[0].headers["location"] == "/redirect/2"
    assert (response.name, engine.names()) == ("/redirect/3", ["GET /redirect/3"])
    row = engine.row("GET /redirect/3")
    assert (row.started, row.answered, row.hops, row.statuses) == (1, 1, 3, {200: 1})
    assert server.seen().total == 4 == row.answered + row.hops
    assert server.seen().opened == 1, "on one connection"


@pytest.mark.parametrize("options", [{"follow_redirects": False}, {"allow_redirects": False}])
def test_a_redirect_that_is_not_to_be_followed_is_the_response(
    engine: EngineLoop, user: User, server: Server, options: dict[str, bool]
) -> None:
    response = engine.run(user.get("/redirect/3", **options))

    assert (response.status, response.headers["location"], response.ok) == (302, "/redirect/2", True)
    assert (response.history, response.url) == ([], f"{server.url}/redirect/3")
    assert dict(user.cookies.items()) == {"hop3": "1"}, "its cookies are kept all the same"
    assert server.seen().total == 1
    assert engine.row("GET /redirect/3").statuses == {302: 1}


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_other_statuses_with_a_location_are_no_redirects(
    engine: EngineLoop, user: User, server: Server, status: int
) -> None:
    response = engine.run(user.get(to("/echo", status)))

    assert (response.status, response.ok) == (status, True)
    assert server.seen("/echo") == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_location_is_the_response(engine: EngineLoop, user: User, status: int) -> None:
    response = engine.run(user.get(f"/status/{status}"))

    assert (response.status, response.history, response.ok) == (status, [], True)


# Method and body: the table of the fetch standard, 4.4, steps 12 and 13.
RULES = [
    *[("GET", status, "GET") for status in (301, 302, 303, 307, 308)],
    *[("HEAD", status, "HEAD") for status in (301, 302, 303, 307, 308)],
    *[("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST")],
    *[("PUT", 301, "PUT"), ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("PUT", 307, "PUT"), ("PUT", 308, "PUT")],
    *[("DELETE", 301, "DELETE"), ("DELETE", 302, "DELETE"), ("DELETE", 303, "GET"), ("DELETE", 307, "DELETE")],
    *[("PATCH", 302, "PATCH"), ("PATCH", 303, "GET"), ("PURGE", 302, "PURGE"), ("PURGE", 303, "GET")],
]


@pytest.mark.parametrize(("method", "status", "after"), RULES)
def test_a_redirect_changes_the_method_as_in_a_browser(
    engine: EngineLoop, user: User, server: Server, method: str, status: int, after: str
) -> None:
    body = {} if method in ("GET", "HEAD") else {"json": {"a": 1}}

    response = engine.run(user.request(method, to("/echo", status), **body))

    assert server.seen(f"{after} /echo") == 1
    assert response.status == 200
    if method != "HEAD":
        echoed = Echoed(response)
        kept = after == method != "GET"
        assert echoed.body == (b'{"a":1}' if kept else b"")
        assert echoed.headers.get("content-type") == ("application/json" if kept else None)
        assert ("content-length" in echoed.headers) == kept
    assert engine.names() == [f"{method} /redirect-to"], "counted as what was asked for"


@pytest.mark.parametrize("statuses", [(302, 307), (307, 302), (303, 308)])
def test_what_became_a_get_stays_one(engine: EngineLoop, user: User, server: Server, statuses: tuple[int, int]) -> None:
    echoed = Echoed(engine.run(user.post(to(to("/echo", statuses[1]), statuses[0]), data="x")))

    assert (echoed.method, echoed.body) == ("GET", b"")


def pieces() -> Iterator[bytes]:
    yield from (b"a", b"b")


@pytest.mark.parametrize(
    ("method", "status", "after"),
    [
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("POST", 307, ""),
        ("PUT", 302, ""),
        ("PUT", 308, ""),
    ],
)
def test_a_streamed_body_is_sent_once(
    engine: EngineLoop, user: User, server: Server, method: str, status: int, after: str
) -> None:
    """It is gone: where the redirect wants it again, that is said, and no empty body is sent in its place."""
    response = engine.run(user.request(method, to("/echo", status), data=pieces()))

    assert server.seen("/echo") == (1 if after else 0)
    if after:
        assert Echoed(response).method == after
        assert "transfer-encoding" not in Echoed(response).headers
    else:
        assert (response.status, response.error) == (0, "streamed body cannot be sent again")


# Where a redirect leads.


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/echo?a=1", "/echo?a=1"),
        ("echo", "/echo"),
        ("?url=/echo", "/echo"),
        ("//HOST/echo", "/echo"),
        ("http://HOST/echo", "/echo"),
        ("HTTP://HOST/a/../echo", "/echo"),
        ("/echo?q=a b&u=ü", "/echo?q=a%20b&u=%C3%BC"),
        ("/echo#fragment", "/echo"),
        (" /echo ", "/echo"),
    ],
)
def test_a_location_is_joined_to_where_it_came_from(
    engine: EngineLoop, user: User, server: Server, location: str, target: str
) -> None:
    host = server.url.removeprefix("http://")

    response = engine.run(user.get(to(location.replace("HOST", host))))

    assert Echoed(response).target == target
    assert response.url == server.url + target


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("ftp://127.0.0.1/", "its scheme is 'ftp'"),
        ("javascript:alert(1)", "its scheme is 'javascript'"),
        ("http://", "it has no host"),
        ("http://127.0.0.1:99999/", "the port must be"),
    ],
)
def test_a_location_that_cannot_be_requested_is_an_error(
    engine: EngineLoop, user: User, location: str, reason: str
) -> None:
    response = engine.run(user.get(to(location)))

    assert response.status == 0
    assert response.error.startswith("bad redirect: ")
    assert reason in response.error
    assert [hop.status for hop in response.history] == [302], "the answer that led nowhere can be looked at"


def test_a_redirect_to_where_nobody_listens_is_an_error(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get(to("http://127.0.0.1:1/")))

    assert (response.status, response.error) == (0, "cannot connect: connection refused")
    assert len(response.history) == 1
    row = engine.row("GET /redirect-to")
    assert (row.started, row.answered, row.broken, row.hops) == (1, 0, 1, 1)
