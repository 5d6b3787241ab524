"""What a user can do beside its requests: leave, end the test, take rows from a file, wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

# Ends.


def test_a_user_that_stops_finishes_its_task_and_leaves(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        @sequence
        class Visitor(User):
            rounds = 0

            @task
            async def first(self):
                self.rounds += 1
                if self.rounds == 3:
                    self.stop()
                await self.get("/text")

            @task
            async def second(self):
                await self.get("/json")
        """,
        *("-u", 4, *ALL_AT_ONCE),
    )

    assert result.returncode == 0
    assert (server.seen("/text"), server.seen("/json")) == (12, 8)
    [user] = result.report["users_by_class"]
    assert (user["started"], user["answered"], user["unfinished"]) == (12, 8, 4), "a pass that is cut short is none"


def test_a_load_test_can_abort_itself(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/text")
                if self.number == 2:
                    abort("the site is broken")
        """,
        *("-u", 4, "-t", 60, "--engines", 2, *ALL_AT_ONCE),
        timeout=30,
    )

    assert result.returncode == 1
    assert "Error: aborted by the load test: the site is broken" in result.stderr
    assert result.request("GET /text").answered == server.seen("/text") > 0, "there is a report all the same"
    assert [kind for kind, _ in result.incidents] == ["abort"]


# Rows for users.


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_a_feed_hands_out_each_row_once_over_all_engines(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path, suffix: str
) -> None:
    rows = [f"user{number}" for number in range(20)]
    text = {
        "csv": "name,age\n" + "".join(f"{name},1\n" for name in rows),
        "json": "[" + ",".join(f'{{"name": "{name}"}}' for name in rows) + "]",
        "jsonl": "".join(f'{{"name": "{name}"}}\n' for name in rows),
    }
    (tmp_path / f"people.{suffix}").write_text(text[suffix])

    result = run_gaggle(
        f"""
        people = feed("people.{suffix}", once=True)

        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/text", params={{"user": next(people)["name"]}})
        """,
        *("-u", 6, "--engines", 3, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    seen = Counter(user for each in server.seen().connections for user in each["users"])
    assert seen == Counter(rows)
    assert server.seen("/text") == 20
    assert result.task("Visitor", "visit").failures == 0, "a feed that is empty is no failure: the user leaves"


def test_a_feed_begins_anew_unless_it_is_for_once(run_gaggle: RunGaggle, server: Server, tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("path\n/text\n/json\n/echo\n")

    result = run_gaggle(
        """
        pages = feed("pages.csv")

        class Visitor(User):
            @task
            async def visit(self):
                for _ in range(6):
                    await self.get(pages.next()["path"])
                assert len(pages) == 3
                self.stop()
        """,
        *("-u", 1, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert [server.seen(path) for path in ("/text", "/json", "/echo")] == [2, 2, 2]


# Waits.


def test_users_wait_as_they_are_told(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Timed:
            @task
            async def visit(self):
                self.moments = [*getattr(self, "moments", []), time.monotonic()]
                await self.get("/slow?ms=50")
                if len(self.moments) == 4:
                    pauses = [later - sooner for sooner, later in zip(self.moments, self.moments[1:])]
                    assert all(self.low <= pause <= self.high for pause in pauses), (type(self).__name__, pauses)
                    self.stop()

        class Constant(Timed, User):
            wait_time, low, high = constant(0.1), 0.15, 2

        class Between(Timed, User):
            wait_time, low, high = between(0.1, 0.2), 0.15, 2

        class Pacing(Timed, User):
            wait_time, low, high = pacing(0.2), 0.195, 2

        class Late(Timed, User):
            wait_time, low, high = pacing(0.01), 0.05, 2

        class Own(Timed, User):
            low, high = 0.15, 2
            def wait_time(self):
                return 0.1

        class Nothing(Timed, User):
            low, high = 0.05, 2
        """,
        *("-u", 6, *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    names = ("Constant", "Between", "Pacing", "Late", "Own", "Nothing")
    assert [result.task(name, "visit").answered for name in names] == [4] * 6
    assert not [row for row in result.report["errors"] if row["kind"] == "task"], result.report["errors"]
    assert server.seen("/slow") == 24
    pacing, late = (result.task(name, "visit").response_time["max_us"] for name in ("Pacing", "Late"))
    assert min(pacing, late) >= 50_000


def test_a_wait_that_cannot_be_is_named_and_does_not_stop_the_user(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            visits = 0

            def wait_time(self):
                return "soon" if self.visits == 1 else 0.01

            @task
            async def visit(self):
                self.visits += 1
                await self.get("/text")
                if self.visits == 3:
                    self.stop()
        """,
        *("-u", 1, *ALL_AT_ONCE),
    )

    assert result.returncode == 0
    assert server.seen("/text") == 3
    assert "could not convert string to float: 'soon'" in result.stderr
