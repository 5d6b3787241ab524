"""What a user asks for is what the server gets: method, URL, headers, credentials. What cannot be sent is refused."""

from __future__ import annotations

import pytest
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import User

# Methods.


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"])
def test_a_method_of_the_client_is_the_method_of_the_request(
    engine: EngineLoop, user: User, server: Server, method: str
) -> None:
    response = engine.run(getattr(user, method.lower())("/echo"))

    assert (response.status, response.method) == (200, method)
    assert server.seen(f"{method} /echo") == 1 == engine.row(f"{method} /echo").answered


@pytest.mark.parametrize("written", ["PURGE", "purge", "GET", "get", "HEAD", "POST", "M-SEARCH"])
def test_any_method_can_be_requested_and_counts_in_upper_case(
    engine: EngineLoop, user: User, server: Server, written: str
) -> None:
    response = engine.run(user.request(written, "/echo"))

    assert (response.status, response.method) == (200, written.upper())
    assert server.seen(f"{written.upper()} /echo") == 1


@pytest.mark.parametrize(
    ("method", "length", "reason"),
    [
        ("GET", None, "a GET has no body"),
        ("DELETE", None, "nor has a DELETE"),
        ("OPTIONS", None, "nor has an OPTIONS"),
        (
            "POST",
            "0",
            "where a body is expected, its absence is said (RFC 9110, 8.6): some servers answer 411 otherwise",
        ),
        ("PUT", "0", "as for POST"),
        ("PATCH", "0", "as for POST"),
    ],
)
def test_a_request_without_a_body_says_so_where_one_is_expected(
    engine: EngineLoop, user: User, method: str, length: str | None, reason: str
) -> None:
    echoed = Echoed(engine.run(user.request(method, "/echo")))

    assert echoed.headers.get("content-length") == length, reason
    assert "content-type" not in echoed.headers


def test_methods_that_take_turns_on_one_connection_leave_nothing_to_each_other(engine: EngineLoop, user: User) -> None:
    """libcurl's handle remembers verb, body and custom method of its last request."""

    async def take_turns() -> list[tuple[str, bytes, str | None]]:
        calls = [
            *(user.post("/echo", data="body"), user.get("/echo"), user.head("/echo"), user.get("/echo")),
            *(user.put("/echo", json=[1]), user.delete("/echo"), user.post("/echo"), user.request("PURGE", "/echo")),
            *(user.patch("/echo", data=iter([b"a", b"b"])), user.get("/echo"), user.options("/echo")),
        ]
        seen = []
        for call in calls:
            response = await call
            if response.method != "HEAD":
                echoed = Echoed(response)
                seen.append((echoed.method, echoed.body, echoed.headers.get("content-type")))
        return seen

    engine.run(user.get("/echo"))  # so that all that follow may share a handle

    assert engine.run(take_turns()) == [
        *(("POST", b"body", None), ("GET", b"", None), ("GET", b"", None)),
        *(("PUT", b"[1]", "application/json"), ("DELETE", b"", None), ("POST", b"", None), ("PURGE", b"", None)),
        *(("PATCH", b"ab", None), ("GET", b"", None), ("OPTIONS", b"", None)),
    ]


# URLs.

PARAMS = [
    ("/echo", {"a": 1, "b": "x y"}, "/echo?a=1&b=x+y"),
    ("/echo", [("a", 1), ("a", 2)], "/echo?a=1&a=2"),
    ("/echo", {"a": [1, 2]}, "/echo?a=1&a=2"),
    ("/echo?z=0", {"a": "é&="}, "/echo?z=0&a=%C3%A9%26%3D"),
    ("/echo", {"a": None}, "/echo"),
    ("/echo", {"a": True, "b": 0.5}, "/echo?a=true&b=0.5"),
    ("/echo", "a=1&b", "/echo?a=1&b"),
    ("/echo", {}, "/echo"),
    ("/echo#top", {"a": 1}, "/echo?a=1"),
]


@pytest.mark.parametrize(("url", "params", "target"), PARAMS)
def test_params_are_appended_to_the_query(
    engine: EngineLoop, user: User, url: str, params: object, target: str
) -> None:
    assert Echoed(engine.run(user.get(url, params=params))).target == target
    assert engine.names() == ["GET /echo"]


@pytest.mark.parametrize(
    ("url", "target", "reason"),
    [
        ("/echo", "/echo", "a path"),
        ("echo", "/echo", "a path from where the host's URL ends"),
        ("/echo?q=a b", "/echo?q=a%20b", "a space is encoded"),
        ("/echo?q=%41", "/echo?q=%41", "what is encoded stays"),
        ("/echo?q=ü", "/echo?q=%C3%BC", "as UTF-8"),
        ("/a/../echo?x#y", "/echo?x", "dot segments go, a fragment stays at home"),
        ("  /echo ", "/echo", "copied with spaces"),
        ("?q=1", "/?q=1", "a query alone"),
        ("", "/", "nothing at all"),
    ],
)
def test_a_url_is_joined_to_the_host(engine: EngineLoop, user: User, url: str, target: str, reason: str) -> None:
    async def ask() -> str:
        response = await user.get(url)
        return str(response.url)

    assert engine.run(ask()).removeprefix(str(user.host).rstrip("/")) == target, reason


def test_a_host_with_a_path_is_where_relative_urls_start(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(f"{server.url}/shop/")
    user = engine.user()

    urls = [engine.run(user.get(url)).url for url in ("cart", "/cart", "../cart")]

    assert urls == [f"{server.url}/shop/cart", f"{server.url}/cart", f"{server.url}/cart"]


def test_a_user_can_be_sent_to_another_host(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop("")
    user = engine.user()
    assert user.host is None
    with pytest.raises(ValueError, match="it has no scheme"):
        user.get("/echo")

    user.host = server.url
    response = engine.run(user.get("/echo"))

    assert (response.status, user.host) == (200, f"{server.url}/")
    assert engine.names() == ["GET /echo"]


REFUSED_URLS = [
    ("ftp://127.0.0.1/", ValueError, "its scheme is 'ftp'"),
    ("file:///etc/passwd", ValueError, "its scheme is 'file'"),
    ("javascript:alert(1)", ValueError, "its scheme is 'javascript'"),
    ("http://", ValueError, "it has no host"),
    ("http://127.0.0.1:port/", ValueError, "the port must be a number"),
    ("http://127.0.0.1:0/", ValueError, "the port must be a number"),
    ("http://[::1/", ValueError, "no IPv6 address"),
    ("http://a b/", ValueError, "a character that no host name has"),
    ("/a\r\nX: y", ValueError, "control character"),
    ("/a\n", ValueError, "control character"),
    ("/a\0b", ValueError, "control character"),
    (None, TypeError, "takes a URL as str, got NoneType"),
    (b"/", TypeError, "takes a URL as str, got bytes"),
    (["/"], TypeError, "takes a URL as str, got list"),
]


@pytest.mark.parametrize(("url", "kind", "reason"), REFUSED_URLS)
def test_a_url_that_cannot_be_requested_is_refused_at_the_call(
    engine: EngineLoop, user: User, server: Server, url: object, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        user.get(url)

    assert engine.names() == []
    assert server.seen().opened == 0


# Options.

BAD_OPTIONS = [
    ({"timeuot": 5}, TypeError, "timeuot"),
    ({"allow_redirect": False}, TypeError, "allow_redirect"),
    ({"id": 5}, TypeError, "id"),
    ({"timeout": "soon"}, TypeError, "timeout"),
    ({"timeout": (1, 2)}, TypeError, "timeout"),
    ({"timeout": 0}, ValueError, "timeout"),
    ({"timeout": -1}, ValueError, "timeout"),
    ({"timeout": float("nan")}, ValueError, "timeout"),
    ({"expect": "404"}, TypeError, "expect"),
    ({"expect": 4.5}, TypeError, "expect"),
    ({"http_version": "4"}, ValueError, "http_version"),
    ({"data": 5}, TypeError, "data"),
    ({"data": [1, 2]}, TypeError, "data"),
    ({"data": "a", "json": {}}, TypeError, "json"),
    ({"json": {}, "files": {"a": b""}}, TypeError, "files"),
    ({"data": "a", "files": {"a": b""}}, TypeError, "data"),
    ({"json": {1, 2}}, TypeError, "JSON"),
    ({"files": 5}, TypeError, "files"),
    ({"params": 5}, TypeError, "params"),
    ({"headers": ["X"]}, TypeError, "headers"),
    ({"auth": 5}, TypeError, "auth"),
    ({"auth": ("alice",)}, TypeError, "auth"),
]


@pytest.mark.parametrize(("options", "kind", "word"), BAD_OPTIONS)
def test_an_option_that_makes_no_sense_is_refused_by_name_at_the_call(
    engine: EngineLoop, user: User, server: Server, options: dict[str, object], kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word):
        user.request("POST", "/echo", **options)

    assert engine.names() == []
    assert server.seen().opened == 0


def test_a_head_cannot_have_a_body(engine: EngineLoop, user: User) -> None:
    """libcurl would wait for the body of the answer, which never comes."""
    with pytest.raises(ValueError, match="HEAD"):
        user.head("/echo", json=[1])


@pytest.mark.parametrize(("seconds", "reason"), [(1e12, "31,000 years"), (float("inf"), "for ever"), (10**9, "an int")])
def test_a_timeout_may_be_as_long_as_one_likes(engine: EngineLoop, user: User, seconds: float, reason: str) -> None:
    assert engine.run(user.get("/slow?ms=30", timeout=seconds)).status == 200, reason


# A client belongs to an engine.


def test_a_user_cannot_be_made_outside_of_an_engine() -> None:
    with pytest.raises(RuntimeError, match="only inside an engine"):
        User()


def test_the_user_is_its_own_client(user: User) -> None:
    assert user.client is user
