"""What a type checker says about a load test: checked by `ci/lint`, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, assert_type

import gaggle
from gaggle import (
    Headers,
    Response,
    User,
    between,
    constant,
    feed,
    on_request,
    on_start,
    on_stop,
    pacing,
    sequence,
    task,
    test_start,
    test_stop,
)
from gaggle.report.model import Report

rows = feed("rows.csv", once=True)


async def pieces() -> AsyncIterator[bytes]:
    yield b"honk"


@test_start
async def sign_up() -> dict[str, str]:
    return {"token": "secret"}


@test_stop
async def clean_up(user: User) -> None:
    await user.post("/cleanup", json={"token": user.shared["token"]})


@on_request
def look_at(response: Response) -> None:
    assert_type(response.elapsed, float)


class Visitor(User):
    weight = 4
    fixed_count = 2
    session = "pass"
    host = "http://127.0.0.1:8080/"
    headers = {"Accept": "text/html"}
    wait_time = between(1, 3)

    @on_start(name="login")
    async def log_in(self) -> None:
        self.headers["Authorization"] = "Bearer x"
        self.headers.update({"X-Number": str(self.number)})
        self.cookies.set("session", "1")
        assert_type(self.cookies["session"], str)

    @on_stop
    async def log_out(self) -> None:
        await self.post("/logout")

    @task
    async def requests(self) -> None:
        assert_type(await self.get("/"), Response)
        assert_type(await self.client.head("/"), Response)
        assert_type(await self.options("/", timeout=0.5), Response)
        assert_type(await self.get("/node/{id}", id=self.random.randint(1, 9)), Response)
        assert_type(
            await self.get("/", name="front", params={"page": 1, "tag": ["a", "b"]}, expect=(200, 404)), Response
        )
        assert_type(
            await self.get("/", headers={"X-Goose": "honk", "User-Agent": None}, allow_redirects=False), Response
        )
        assert_type(await self.post("/form", {"name": "goose", "age": 3}), Response)
        assert_type(await self.post("/form", data=[("tag", "a"), ("tag", "b")], auth=("user", "password")), Response)
        assert_type(await self.put("/raw", data=b"bytes", expect=201), Response)
        assert_type(await self.patch("/stream", data=pieces()), Response)
        assert_type(await self.post("/upload", files={"file": ("goose.txt", b"honk", "text/plain")}), Response)
        assert_type(await self.delete("/thing", json={"id": 1}, auth="token", http_version="2"), Response)
        assert_type(await self.request("PURGE", "/", follow_redirects=False), Response)

    @task(3, name="an answer")
    async def answers(self) -> None:
        response = await self.get("/")
        assert_type(response.status, int)
        assert_type(response.status_code, int)
        assert_type(response.ok, bool)
        assert_type(response.reason, str)
        assert_type(response.error, str | None)
        assert_type(response.headers, Headers)
        assert_type(response.headers["content-type"], str)
        assert_type(response.headers.get("etag"), str | None)
        assert_type(response.body, bytes)
        assert_type(response.content, bytes)
        assert_type(response.text, str)
        assert_type(response.json(), Any)
        assert_type(response.url, str)
        assert_type(response.history, list[Response])
        assert_type(response.raise_for_status(), Response)
        response.fail("no goose")
        response.succeed()

    @task(2)
    async def asyncio_takes_it(self) -> None:
        under_way = asyncio.create_task(self.get("/a"))
        assert_type(await under_way, Response)
        first, second = await asyncio.gather(self.get("/b"), self.get("/c"))
        assert_type(first, Response)
        assert_type(second, Response)
        assert_type(await asyncio.wait_for(self.get("/d"), 1), Response)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.get("/e"))
        async with asyncio.timeout(1):
            await self.get("/f")
        for earliest in asyncio.as_completed([self.get("/g"), self.get("/h")]):
            assert_type(await earliest, Response)

    @task
    async def streams(self) -> None:
        async with await self.get("/stream", stream=True) as response:
            async for piece in response:
                assert_type(piece, bytes)
            assert_type(await response.read(), bytes)

    @task
    async def other_things(self) -> None:
        assert_type(rows.next(), Any)
        self.record("SQL", "select", 0.003, error=None)
        await self.pause(0.5)
        await self.wait()
        if self.chance() < 0.1:
            self.stop()
        gaggle.abort("enough")


@sequence
class Steps(Visitor):
    wait_time = constant(2)

    @task
    async def step(self) -> None:
        await self.get("/")


class Own(User):
    wait_time = pacing(1)

    @task
    async def step(self) -> None:
        await self.get("/")


class Waits(Own):
    @on_start
    async def begin(self) -> None:
        assert_type(self.host, str | None)

    def wait_time(self) -> float:
        return self.random.expovariate(1)


def in_a_script() -> None:
    assert_type(gaggle.run("loadtest.py", users=8, run_time="10s"), Report)
    assert_type(gaggle.run(Visitor, Steps, users=8), Report)
