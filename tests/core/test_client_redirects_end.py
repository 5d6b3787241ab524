"""Where redirects end, and what must not follow them: cookies and credentials of another host."""

from __future__ import annotations

from bare import Scripted
from echoed import Echoed, elsewhere, to
from in_process import EngineLoop, MakeEngineLoop
from processes import PATIENCE
from sites import Server

from gaggle import User

SLOW = f"/slow?ms={5000 * PATIENCE:.0f}"

# The end.


def test_ten_redirects_are_followed_and_not_an_eleventh(engine: EngineLoop, user: User, server: Server) -> None:
    ten = engine.run(user.get("/redirect/10", name="ten"))
    eleven = engine.run(user.get("/redirect/11", name="eleven"))

    assert (ten.status, len(ten.history)) == (200, 10)
    assert (eleven.status, eleven.error, len(eleven.history)) == (0, "too many redirects", 11)
    assert (engine.row("GET eleven").hops, engine.row("GET eleven").broken) == (10, 1)
    assert server.seen("/redirect/0") == 1
    assert server.seen().total == 11 + 11


def test_a_loop_ends(engine: EngineLoop, user: User, server: Server) -> None:
    response = engine.run(user.get("/redirect-loop"))

    assert (response.error, engine.errors()) == ("too many redirects", {"too many redirects": 1})
    assert server.seen("/redirect-loop") == 11


def test_the_timeout_is_for_all_hops_together(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop()
    user = engine.user()

    response = engine.run(user.get(to(f"/slow?ms=200&then={to(SLOW)}"), timeout=0.5 * PATIENCE))
    late = engine.run(user.get(to(to(SLOW)), timeout=0.3 * PATIENCE))

    assert (response.status, late.error) == (200, "timeout")
    assert 0.3 <= late.elapsed / PATIENCE < 3
    assert [hop.status for hop in late.history] == [302, 302]


# Cookies and credentials.


def test_cookies_of_a_hop_are_sent_on_the_next_one(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/redirect/2"))
    after = engine.run(user.get("/cookies"))

    assert after.text == "hop2=1; hop1=1"
    assert [hop.headers["set-cookie"] for hop in response.history] == ["hop2=1; Path=/", "hop1=1; Path=/"]


def test_another_host_gets_neither_credentials_nor_cookies(engine: EngineLoop, user: User, server: Server) -> None:
    user.headers["Authorization"] = "Bearer of-the-user"
    user.headers["X-Plain"] = "1"
    user.cookies.set("secret", "1", domain="127.0.0.1")

    there = Echoed(engine.run(user.get(to(f"{elsewhere(server)}/echo"), headers={"Cookie": "mine=1"})))
    again = Echoed(engine.run(user.get(to(f"{elsewhere(server)}/echo"), auth=("alice", "secret"))))
    back = Echoed(engine.run(user.get(to(elsewhere(server) + to(f"{server.url}/echo")))))
    here = Echoed(engine.run(user.get(to(f"{server.url}/echo"))))

    assert not {"authorization", "cookie"} & there.headers.keys()
    assert not {"authorization", "cookie"} & again.headers.keys()
    assert "authorization" not in back.headers, "once they were left behind, they stay there"
    assert back.headers["cookie"] == "secret=1", "the jar knows whose it is"
    assert (here.headers["authorization"], here.headers["cookie"]) == ("Bearer of-the-user", "secret=1")
    assert there.headers["x-plain"] == "1"


def test_another_port_is_another_host_for_credentials_but_not_for_cookies(engine: EngineLoop, user: User) -> None:
    """As RFC 6265, section 1, has it to its regret."""
    user.cookies.set("mine", "1", domain="127.0.0.1")

    with Scripted(b"HTTP/1.1 204 No Content\r\n\r\n") as listener:
        engine.run(user.get(to(f"{listener.url}/"), auth="token"))

    assert b"Cookie: mine=1" in listener.heads[0]
    assert b"Authorization" not in listener.heads[0]


def test_a_cookie_that_another_host_sets_is_for_that_host(engine: EngineLoop, user: User, server: Server) -> None:
    engine.run(user.get(to(f"{elsewhere(server)}/cookies/set?there=1")))

    assert engine.run(user.get("/cookies")).text == ""
    assert engine.run(user.get(f"{elsewhere(server)}/cookies")).text == "there=1"


def test_a_login_that_redirects_works_as_in_a_browser(engine: EngineLoop, user: User, server: Server) -> None:
    """POST, a cookie on the way, and a GET of the next page with it."""
    answer = (
        b"HTTP/1.1 302 Found\r\nSet-Cookie: session=abc; Path=/; HttpOnly\r\nLocation: "
        + server.url.encode()
        + b"/echo\r\nContent-Length: 0\r\n\r\n"
    )
    with Scripted(answer) as listener:
        response = engine.run(user.post(f"{listener.url}/login", data={"name": "alice"}))

    echoed = Echoed(response)
    assert (echoed.method, echoed.body, echoed.headers["cookie"]) == ("GET", b"", "session=abc")
    assert [hop.status for hop in response.history] == [302]


def test_bodies_of_redirects_can_be_read_from_the_history(engine: EngineLoop, user: User) -> None:
    answers = (
        b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 6\r\n\r\nmoved\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhere!\n",
    )
    with Scripted(*answers) as listener:
        response = engine.run(user.get(listener.url))

    assert (response.history[0].text, response.text) == ("moved\n", "here!\n")
