"""Connections of a user: kept alive, at most six to a host, first come first served, through proxies, and let go of."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest
from bare import Listener, Scripted, plain, read_head
from in_process import EngineLoop, MakeEngineLoop
from processes import eventually
from sites import Server

from gaggle import User


def test_requests_one_after_the_other_share_a_connection(engine: EngineLoop, user: User, server: Server) -> None:
    async def browse() -> None:
        for path in ("/", "/text?n=100000", "/status/404", "/redirect/1", "/post", "/chunked", "/gzip", "/status/204"):
            await user.get(path)

    engine.run(browse())

    assert server.seen().opened == 1


def test_each_user_has_connections_of_its_own(engine: EngineLoop, server: Server) -> None:
    users = [engine.user() for _ in range(10)]

    async def visit(number: int, user: User) -> list[int]:
        return [(await user.get(f"/tag?user=u{number}")).json()["connection"] for _ in range(5)]

    async def visit_all() -> list[list[int]]:
        return await asyncio.gather(*(visit(number, user) for number, user in enumerate(users)))

    found = engine.run(visit_all())

    assert len({numbers[0] for numbers in found}) == 10
    assert all(len(set(numbers)) == 1 for numbers in found)
    assert all(len(connection["users"]) == 1 for connection in server.seen().connections)


def test_a_connection_that_the_server_closes_is_replaced(engine: EngineLoop, user: User, server: Server) -> None:
    async def browse() -> list[int]:
        return [(await user.get(path)).status for path in ("/close", "/", "/until-close", "/", "/close", "/close")]

    assert engine.run(browse()) == [200] * 6
    assert server.seen().opened == 4
    assert engine.errors() == {}


def test_a_connection_that_was_closed_while_idle_costs_no_request(
    engine: EngineLoop, user: User, server: Server
) -> None:
    async def browse() -> list[int]:
        found = []
        for wait_ms in (0, 2, 5, 10, 20):
            found.append((await user.get("/close-idle?ms=5")).status)
            await asyncio.sleep(wait_ms / 1000)
            found.append((await user.post("/post", data="x")).status)
        return found

    assert engine.run(browse()) == [200] * 10
    rows = engine.row("GET /close-idle"), engine.row("POST /post")
    assert sum(row.answered for row in rows) == 10
    assert 10 <= server.seen().total <= 10 + sum(row.resent for row in rows)


def test_a_connection_that_ended_with_its_answer_is_not_used_again(engine_loop: MakeEngineLoop, lane: str) -> None:
    """Answer and end were seen at once, where the loop was held up, and the next request was sent all the same."""
    with Scripted(plain(b"hello")) as listener:
        engine = engine_loop(listener.url)
        user = engine.user()

        async def browse() -> list[int]:
            busy = asyncio.create_task(hold_up())
            try:
                return [(await user.get("/")).status for _ in range(8)]
            finally:
                busy.cancel()

        async def hold_up() -> None:
            while True:
                time.sleep(0.03)
                await asyncio.sleep(0)

        assert engine.run(browse()) == [200] * 8
        # libcurl does not look at a connection that it has just used: it sends again.
        assert lane == "libcurl" or engine.row("GET /").resent == 0


# At most six to a host.


@pytest.mark.parametrize("requests", [7, 20, 60])
def test_six_connections_serve_any_number_of_requests_at_once(
    engine: EngineLoop, user: User, server: Server, requests: int
) -> None:
    async def at_once() -> list[int]:
        found = await asyncio.gather(*(user.get(f"/slow?ms=20&n={number}") for number in range(requests)))
        return [int(response.url.partition("n=")[2]) for response in found]

    assert engine.run(at_once()) == list(range(requests))
    seen = server.seen()
    assert (seen["/slow"], seen.max_open, seen.opened, seen.aborted) == (requests, 6, 6, 0)
    assert engine.row("GET /slow").answered == requests


def test_who_waits_for_a_connection_is_served_in_turn(engine: EngineLoop, user: User) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        await user.get("/slow?ms=10")
        order.append(number)

    async def at_once() -> None:
        await asyncio.gather(*(ask(number) for number in range(30)))

    engine.run(at_once())

    # Six are at work at a time; the server decides who of them is answered first. Last in, first out: 23 places.
    assert sorted(order) == list(range(30))
    assert all(abs(place - number) < 12 for place, number in enumerate(order)), order


def test_the_time_in_the_queue_is_part_of_the_response_time(engine: EngineLoop, user: User) -> None:
    async def at_once() -> list[float]:
        found = await asyncio.gather(*(user.get("/slow?ms=100") for _ in range(12)))
        return [response.elapsed for response in found]

    times = engine.run(at_once())

    assert max(times[:6]) < min(times[6:])
    assert min(times[6:]) >= 0.2


def test_every_host_and_every_user_has_six_of_its_own(engine: EngineLoop, server: Server) -> None:
    users = [engine.user() for _ in range(2)]
    hosts = [server.url, server.url.replace("127.0.0.1", "localhost")]

    async def at_once() -> None:
        calls = [user.get(f"{host}/slow?ms=100") for user in users for host in hosts for _ in range(10)]
        await asyncio.gather(*calls)

    engine.run(at_once())

    assert (server.seen().max_open, server.seen().opened) == (24, 24)


def test_redirects_keep_to_six_connections_too(engine: EngineLoop, user: User, server: Server) -> None:
    """Twenty requests, all of which are sent on to a second host."""
    elsewhere = server.url.replace("127.0.0.1", "localhost")

    async def at_once() -> list[int]:
        calls = [user.get(f"/redirect-to?url={elsewhere}/slow%3Fms=30") for _ in range(20)]
        return [response.status for response in await asyncio.gather(*calls)]

    assert engine.run(at_once()) == [200] * 20
    assert server.seen("/slow") == 20
    assert server.seen().max_open <= 12
    assert server.seen().opened <= 12


def test_a_request_that_gives_up_makes_room_for_the_next(engine: EngineLoop, user: User, server: Server) -> None:
    async def crowd() -> list[int]:
        stalled = [asyncio.ensure_future(user.get("/stall")) for _ in range(6)]
        waiting = [asyncio.ensure_future(user.get("/")) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert server_saw_nothing_of(waiting)
        stalled[0].cancel()
        found = [(await each).status for each in waiting]
        for each in stalled[1:]:
            each.cancel()
        return found

    def server_saw_nothing_of(waiting: list[asyncio.Future[object]]) -> bool:
        return not any(each.done() for each in waiting)

    assert engine.run(crowd()) == [200] * 3
    assert server.seen("/") == 3
    assert engine.row("GET /stall").unfinished == 6


def test_many_waiting_requests_cost_little(engine: EngineLoop, user: User) -> None:
    async def at_once() -> int:
        return len(await asyncio.gather(*(user.get("/") for _ in range(2_000))))

    assert engine.run(at_once(), seconds=20) == 2_000


def test_failures_in_a_crowd_leave_nobody_waiting(engine: EngineLoop, user: User) -> None:
    paths = ["/close-silently", "/reset", "/half", "/garbage", "/", "/close", "/stall-body"] * 6

    async def at_once() -> int:
        return len(await asyncio.gather(*(user.get(path, timeout=0.3) for path in paths)))

    assert engine.run(at_once()) == len(paths)
    assert user.in_flight == 0


# How long a connection is kept.


def test_without_keepalive_every_request_has_a_connection(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop(keepalive=False)
    user = engine.user()

    async def browse() -> None:
        for _ in range(5):
            await user.get("/")
        await asyncio.gather(*(user.get("/") for _ in range(10)))

    engine.run(browse())

    assert (server.seen("/"), server.seen().opened) == (15, 15)
    assert len(server.seen().connections) == 15


@pytest.mark.parametrize(("age", "opened"), [(0.0, 1), (60.0, 1), (0.3, 2)])
def test_a_connection_that_is_too_old_is_replaced(
    engine_loop: MakeEngineLoop, server: Server, age: float, opened: int
) -> None:
    engine = engine_loop(max_connection_age=age)
    user = engine.user()

    async def browse() -> None:
        for wait in (0.0, 1.2 if opened > 1 else 0.05):
            await asyncio.sleep(wait)
            await user.get("/")

    engine.run(browse())

    assert server.seen().opened == opened


def test_a_user_that_leaves_closes_its_connections(engine: EngineLoop, user: User, server: Server) -> None:
    def sockets() -> int:
        return sum("socket:" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if is_open(fd))

    def is_open(fd: str) -> bool:
        return os.path.lexists(f"/proc/self/fd/{fd}")

    async def crowd() -> None:
        await asyncio.gather(*(user.get("/slow?ms=20") for _ in range(6)))

    before = sockets()
    engine.run(crowd())
    during = sockets()
    user.forget()

    assert during >= before + 6
    assert eventually(lambda: sockets() <= before)
    assert server.seen().aborted == 0


def test_what_a_server_sends_unasked_is_not_taken_for_an_answer(engine_loop: MakeEngineLoop) -> None:
    def unasked(connection: socket.socket) -> None:
        while read_head(connection):
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
                + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            )

    with Listener(unasked) as listener:
        engine = engine_loop(listener.url)
        user = engine.user()
        texts = [engine.run(user.get("/")).text for _ in range(3)]

        assert texts == ["good"] * 3
