"""Cookies between a user's requests. What the jar itself does with them is in test_cookies.py."""

from __future__ import annotations

import asyncio

import pytest
from bare import Scripted
from echoed import Echoed
from in_process import EngineLoop
from sites import Server

from gaggle import User


def test_a_cookie_that_was_set_is_sent_from_then_on(engine: EngineLoop, user: User) -> None:
    engine.run(user.get("/cookies/set?a=1&b=2"))

    assert engine.run(user.get("/cookies")).text == "a=1; b=2"
    assert Echoed(engine.run(user.post("/echo", data="x"))).headers["cookie"] == "a=1; b=2"
    assert dict(user.cookies.items()) == {"a": "1", "b": "2"}


def test_a_cookie_is_replaced_and_deleted_by_the_server(engine: EngineLoop, user: User) -> None:
    for path in ("/cookies/set?a=1&b=2", "/cookies/set?a=3", "/cookies/delete?b"):
        engine.run(user.get(path))

    assert engine.run(user.get("/cookies")).text == "a=3"


def test_users_have_cookies_of_their_own(engine: EngineLoop) -> None:
    users = [engine.user() for _ in range(20)]

    async def each(number: int, user: User) -> str:
        await user.get(f"/cookies/set?user={number}")
        await user.get("/")
        return str((await user.get("/cookies")).text)

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(each(number, user) for number, user in enumerate(users)))

    assert engine.run(all_at_once()) == [f"user={number}" for number in range(20)]


def test_the_load_test_may_set_read_and_delete_cookies(engine: EngineLoop, user: User) -> None:
    user.cookies["own"] = "1"
    user.cookies.set("scoped", "2", domain="127.0.0.1", path="/cookies")
    user.cookies.set("foreign", "3", domain="elsewhere.example")

    assert engine.run(user.get("/cookies")).text == "scoped=2; own=1"
    assert "cookie" in Echoed(engine.run(user.get("/echo"))).headers

    del user.cookies["own"]
    user.cookies.delete("scoped")
    with pytest.raises(KeyError, match="own"):
        del user.cookies["own"]

    assert engine.run(user.get("/cookies")).text == ""
    user.cookies.clear()
    assert len(user.cookies) == 0


def test_a_cookie_header_of_a_request_stands_in_place_of_the_jar(engine: EngineLoop, user: User) -> None:
    engine.run(user.get("/cookies/set?a=1"))

    assert engine.run(user.get("/cookies", headers={"Cookie": "mine=1"})).text == "mine=1"
    assert engine.run(user.get("/cookies", headers={"cookie": None})).text == ""
    assert engine.run(user.get("/cookies")).text == "a=1", "which is still there"


def test_cookies_of_responses_that_failed_are_kept(engine: EngineLoop, user: User) -> None:
    with Scripted(b"HTTP/1.1 500 Oops\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n") as listener:
        engine.run(user.get(f"{listener.url}/"))

    assert dict(user.cookies.items()) == {"a": "1"}


def test_cookies_of_hints_before_the_answer_are_not_kept(engine: EngineLoop, user: User) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: hint=1\r\n\r\n"
    with Scripted(hints + b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n") as listener:
        engine.run(user.get(f"{listener.url}/"))

    assert dict(user.cookies.items()) == {"a": "1"}


@pytest.mark.parametrize("value", [b"caf\xe9", "café".encode(), b"\xff\xfe", b'"quoted; no"', b"a=b=c"])
def test_a_cookie_goes_back_byte_for_byte(engine: EngineLoop, user: User, value: bytes) -> None:
    """A browser does not know the encoding of a cookie, and sends what it was sent."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=%b; Path=/\r\nContent-Length: 0\r\n\r\n" % value
    with Scripted(answer, answer) as listener:
        for _ in range(2):
            engine.run(user.get(f"{listener.url}/"))

    assert b"\r\nCookie: a=%b\r\n" % value.partition(b";")[0] in listener.heads[1]


def test_secure_cookies_are_not_sent_in_the_clear_but_on_this_machine(engine: EngineLoop, user: User) -> None:
    """As browsers do: what is on a loopback address can be trusted as TLS is."""
    engine.run(user.get("/cookies/set?a=1&attributes=Path=/; Secure"))

    assert engine.run(user.get("/cookies")).text == "a=1"


def test_a_path_decides_what_is_sent_where(engine: EngineLoop, user: User) -> None:
    engine.run(user.get("/cookies/set?deep=1&attributes=Path=/cookies"))
    engine.run(user.get("/cookies/set?wide=1"))

    assert engine.run(user.get("/cookies")).text == "deep=1; wide=1"
    assert Echoed(engine.run(user.get("/echo"))).headers["cookie"] == "wide=1"


def test_a_user_that_is_forgotten_is_a_new_visitor(engine: EngineLoop, user: User, server: Server) -> None:
    async def visit_twice() -> list[str]:
        seen = []
        for _ in range(2):
            await user.get("/cookies/set?a=1")
            seen.append((await user.get("/tag")).text)
            user.forget()
        return seen

    first, second = engine.run(visit_twice())

    assert first != second, "another connection"
    assert len(user.cookies) == 0
    assert engine.run(user.get("/cookies")).text == ""
