"""Headers and credentials: those of the class, the user and the request; and what would break a request apart."""

from __future__ import annotations

import base64

import pytest
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import User

# Headers.


def test_headers_of_the_class_the_user_and_the_request_are_put_over_each_other(engine: EngineLoop) -> None:
    class Visitor(User):
        headers = {"X-Class": "1", "X-User": "1", "X-Request": "1"}

    user = engine.user(Visitor)
    user.headers["x-user"] = "2"
    user.headers["X-REQUEST"] = "2"

    echoed = Echoed(engine.run(user.get("/echo", headers={"X-request": 3})))
    after = Echoed(engine.run(user.get("/echo")))

    assert [echoed.headers[name] for name in ("x-class", "x-user", "x-request")] == ["1", "2", "3"]
    assert [after.headers[name] for name in ("x-class", "x-user", "x-request")] == ["1", "2", "2"]
    assert len(echoed.names) == len(echoed.headers), "each once"


def test_headers_that_every_request_has_can_be_replaced_and_left_out(engine: EngineLoop, user: User) -> None:
    plain = Echoed(engine.run(user.get("/echo")))
    replaced = Echoed(engine.run(user.get("/echo", headers={"user-agent": "Goose/1", "ACCEPT": "text/html", "X": ""})))
    without = Echoed(engine.run(user.get("/echo", headers={"User-Agent": None, "Accept": None})))

    assert plain.headers["user-agent"] == "gaggle"
    assert plain.headers["accept"] == "*/*"
    assert (replaced.headers["user-agent"], replaced.headers["accept"]) == ("Goose/1", "text/html")
    assert replaced.headers["x"] == ""
    assert not {"user-agent", "accept"} & without.headers.keys()


def test_a_header_is_sent_as_text_in_utf8(engine: EngineLoop, user: User) -> None:
    headers = {"X-Number": 5, "X-Words": "grüße", "X-Bytes": b"caf\xe9", "X-Spaces": "   "}

    echoed = Echoed(engine.run(user.get("/echo", headers=headers)))

    assert echoed.headers["x-number"] == "5"
    assert echoed.headers["x-words"].encode("latin-1").decode() == "grüße"
    assert echoed.headers["x-bytes"] == "café"
    assert echoed.headers["x-spaces"] == ""


@pytest.mark.parametrize("method", ["get", "post", "put"])
@pytest.mark.parametrize("userinfo", ["", "alice:secret@"])
def test_the_headers_of_one_user_are_never_sent_by_another(
    engine_loop: MakeEngineLoop, server: Server, method: str, userinfo: str
) -> None:
    """What is prepared for a request is kept for all users of a task: their headers must not be in it."""
    engine = engine_loop(server.url.replace("//", f"//{userinfo}"))
    users = [engine.user(number=number) for number in range(3)]
    for user in users[1:]:
        user.headers["X-User"] = str(user.number)

    seen = [Echoed(engine.run(getattr(user, method)("/echo"))).headers.get("x-user") for user in users * 2]
    users[1].headers["X-User"] = "new"
    new = Echoed(engine.run(getattr(users[1], method)("/echo"))).headers["x-user"]

    assert seen == [None, "1", "2"] * 2
    assert new == "new"


INJECTIONS = [
    {"headers": {"X": "a\r\nEvil: 1"}},
    {"headers": {"X": "a\nEvil: 1"}},
    {"headers": {"X": "a\rEvil: 1"}},
    {"headers": {"X": "a\0"}},
    {"headers": {"X": b"a\r\nEvil: 1"}},
    {"headers": {"X\r\nEvil": "1"}},
    {"headers": {"X: 1\r\nEvil": "1"}},
    {"headers": {"X:": "1"}},
    {"headers": {"": "1"}},
    {"headers": {" ": "1"}},
    {"headers": {"X Y": "1"}},
    {"headers": {"X\t": "1"}},
    {"headers": {"Xé": "1"}},
    {"auth": "token\r\nEvil: 1"},
]


@pytest.mark.parametrize("options", INJECTIONS)
def test_a_header_that_would_break_the_request_apart_is_refused(
    engine: EngineLoop, user: User, server: Server, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="header"):
        user.get("/echo", **options)
    with pytest.raises(ValueError, match="header"):
        user.headers.update(options.get("headers", {"X": "\n"}))

    assert engine.names() == []
    assert server.seen().opened == 0
    assert engine.run(user.get("/echo")).status == 200, "the user can go on"


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nEvil: 1\r\n\r\nGET", "GE T", "", "GET:", "GËT"])
def test_a_method_that_is_no_token_is_refused(engine: EngineLoop, user: User, server: Server, method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        user.request(method, "/echo")

    assert engine.names() == []
    assert server.seen().opened == 0


# Credentials.


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (("alice", "secret"), basic("alice:secret")),
        (["alice", "secret"], basic("alice:secret")),
        (("älice", "se:cret"), basic("älice:se:cret")),
        (("alice", ""), basic("alice:")),
        ("token", "Bearer token"),
    ],
)
def test_auth_is_basic_for_a_pair_and_bearer_for_a_token(
    engine: EngineLoop, user: User, auth: object, header: str
) -> None:
    assert Echoed(engine.run(user.get("/echo", auth=auth))).headers["authorization"] == header
    assert "authorization" not in Echoed(engine.run(user.get("/echo"))).headers


def test_the_server_lets_in_who_has_the_password(engine: EngineLoop, user: User) -> None:
    statuses = [engine.run(user.get("/basic-auth", auth=("alice", word))).status for word in ("secret", "wrong")]

    assert statuses == [200, 401]
    assert engine.errors() == {"401 Unauthorized": 1}


def test_a_url_may_hold_the_credentials(engine: EngineLoop, user: User, server: Server) -> None:
    url = server.url.replace("//", "//al%40ice:s%3Acret@") + "/echo"

    response = engine.run(user.get(url))
    overruled = engine.run(user.get(url, auth="token"))

    assert Echoed(response).headers["authorization"] == basic("al@ice:s:cret")
    assert Echoed(overruled).headers["authorization"] == "Bearer token"
    assert response.url == f"{server.url}/echo", "they are not repeated"
    assert engine.names() == ["GET /echo"]


def test_the_host_may_hold_the_credentials_for_all_its_requests(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(server.url.replace("//", "//alice:secret@"))
    user = engine.user()

    statuses = [engine.run(user.get("/basic-auth")).status for _ in range(2)]
    elsewhere = engine.run(user.get(server.url.replace("127.0.0.1", "localhost") + "/echo"))

    assert statuses == [200, 200]
    assert "authorization" not in Echoed(elsewhere).headers
