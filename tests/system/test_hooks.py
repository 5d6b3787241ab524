"""What runs around the tasks: before and after the test, before and after each user; and what users share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import lasting
from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

# Before and after the test.

SHARED = """
    @test_start
    async def begin(user):
        response = await user.get("/json?token=abc")
        return {"token": response.json()["token"], "list": [1, "ü", None, 0.5]}

    @test_stop
    async def end(user):
        await user.delete("/json")

    class Visitor(User):
        @task
        async def visit(self):
            assert self.shared["list"] == [1, "ü", None, 0.5]
            await self.get("/text", params={"token": self.shared["token"], "user": self.number})
            self.stop()
"""


def test_what_test_start_returns_is_shared_by_all_users_of_all_engines(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(SHARED, "-u", 6, "--engines", 3, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert result.task("Visitor", "visit").failures == 0
    seen = server.seen()
    assert (seen["GET /json"], seen["GET /text"], seen["DELETE /json"]) == (1, 6, 1)
    assert {f"{row.method} {row.name}" for row in result.requests} == {"GET /text"}, "only users' requests are counted"
    assert {user for each in seen.connections for user in each["users"]} == set("123456")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('no database')", ["@test_start failed: RuntimeError: no database", "loadtest.py"]),
        ("return {1, 2}", ["@test_start", "set", "JSON"]),
        ("import os; os._exit(3)", ["@test_start", "died"]),
        ("raise SystemExit('enough')", ["@test_start failed", "enough"]),
        ("abort('nothing to test')", ["nothing to test"]),
        ("return 'x' * 500_000", ["@test_start", "too"]),
        ("(await user.get('/status/500')).raise_for_status()", ["@test_start failed: RequestError", "500"]),
    ],
)
def test_a_test_start_that_fails_ends_the_test(
    run_gaggle: RunGaggle, server: Server, body: str, words: list[str]
) -> None:
    result = run_gaggle(
        f"""
        @test_start
        async def begin(user):
            {body}

        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/")
        """,
        *("-u", 2, "-t", 5, *ALL_AT_ONCE),
    )

    assert result.returncode == 1
    assert server.seen("GET /") == 0
    assert all(word in result.stderr for word in words), result


def test_test_stop_runs_after_the_last_user_also_when_the_test_is_stopped(
    run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(
        """
        @test_stop
        async def end(user):
            await user.post("/post", data="after")

        @test_stop
        async def fail():
            raise RuntimeError("cannot tidy up")

        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/slow?ms=20")

            async def on_stop(self):
                seen = (await self.get("/seen", name="look")).json()
                assert "POST /post" not in seen["requests"]
                await self.get("/text", name="on_stop")
        """,
        *("-u", 3, "-t", lasting(0.3), "--engines", 2, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert server.seen("POST /post") == 1
    assert result.request("GET on_stop").answered == 3
    assert any("cannot tidy up" in text for _, text in result.incidents)
    assert not [row for row in result.report["errors"] if row["kind"] == "task"], result.stderr


# Before and after each user.


def test_on_start_is_tried_again_after_the_wait_until_it_succeeds(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            wait_time = constant(0.1)
            tries = 0

            @on_start(name="login")
            async def login(self):
                self.tries += 1
                began = time.monotonic()
                if self.tries > 1:
                    assert began - self.last >= 0.1
                self.last = began
                response = await self.get("/status/200" if self.tries == 3 else "/status/503")
                response.raise_for_status()

            @task
            async def visit(self):
                await self.get("/text")
                self.stop()

            @on_stop(name="logout")
            async def logout(self):
                await self.delete("/json")
        """,
        *("-u", 2, *ALL_AT_ONCE),
    )

    login = result.task("Visitor", "login")
    assert (login.started, login.answered, login.failures) == (6, 6, 4)
    assert (result.task("Visitor", "visit").answered, result.task("Visitor", "logout").answered) == (2, 2)
    assert (server.seen("GET /text"), server.seen("DELETE /json")) == (2, 2)
    assert [row["name"] for row in result.report["tasks"]] == ["login", "visit", "logout"]
    assert result.request("GET login").statuses == {"200": 2, "503": 4}, "its requests have its name"


def test_a_user_that_never_gets_in_does_nothing_else(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            async def on_start(self):
                (await self.get("/status/503")).raise_for_status()

            @task
            async def visit(self):
                await self.get("/text")
        """,
        *("-u", 1, "-t", lasting(1.5), *ALL_AT_ONCE),
    )

    assert server.seen("GET /text") == 0
    assert server.seen("GET /status/503") >= 2
    assert result.task("Visitor", "on_start").failures == result.request("GET /status/503").answered
    assert result.returncode == 1, "nothing succeeded"
