"""The logs of a run: each record once, from several engines, and a run that goes on when its logs cannot."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import eventually
from runs import Gaggle, Result
from sites import Server

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")
VISITOR = """
    class Visitor(User):
        @on_start
        async def come(self):
            await self.get("/text")

        @task(2)
        async def look(self):
            await self.get("/status/{code}", code=self.random.choice([200, 500]))

        @task(name="break")
        async def broken(self):
            if self.number % 2:
                raise KeyError("x")
            self.log_debug("odd", headers={"X-A": "b"}, body="nothing")
            self.passes = getattr(self, "passes", 0) + 1
            if self.passes > 2:
                self.stop()
"""
LOGS = ("--request-log", "r", "--task-log", "t", "--pass-log", "p", "--error-log", "e", "--debug-log", "d")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines_so_far(path: Path) -> list[dict[str, Any]]:
    """As `lines`, of a file that is being written: the kernel shows a write page by page."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def test_every_request_task_pass_and_error_is_in_its_log_once(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    logs = [word if word.startswith("--") else str(tmp_path / word) for word in LOGS]

    result = run_gaggle(VISITOR, "-u", 8, "--engines", 2, "-t", "1s", *ALL_AT_ONCE, *logs)

    assert result.returncode == 0, result
    requests, tasks, passes, errors, debug = (lines(tmp_path / name) for name in "rtped")
    rows = {row.name: row for row in result.requests}
    assert Counter(line["name"] for line in requests) == {name: row["count"] for name, row in rows.items()}
    assert len(requests) == sum(server.seen().requests.values())
    assert Counter(line["name"] for line in errors) == {"/status/{code}": rows["/status/{code}"].failures}
    done = Counter((line["task"], line["success"]) for line in tasks)
    assert done["look", True] == result.task("Visitor", "look")["count"]
    assert done["break", False] == result.task("Visitor", "break").failures
    assert done["come", True] == 8
    assert len(passes) == result.report["users_by_class"][0]["count"]
    assert Counter(line["tag"] for line in debug)["500 Internal Server Error"] == len(errors)
    assert {line["user"] for line in requests} == set(range(1, 9))
    assert all(0 <= line["elapsed_us"] < 60_000_000 for line in requests)
    assert {line["error"] for line in tasks if not line["success"]} == {"KeyError: 'x' (loadtest.py:14)"}


def test_logs_begin_anew_and_are_announced(run_gaggle: RunGaggle, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("of an earlier run\n" * 1000)

    result = run_gaggle(VISITOR, "-u", 2, "-t", "1s", "-v", *ALL_AT_ONCE, "-R", path, "--request-format", "csv")

    assert f"[ INFO] writing request log to: {path}" in result.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert len(rows) == sum(server.seen().requests.values())
    assert rows[0]["user_class"] == "Visitor"


def test_stdout_is_the_logs_alone(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(VISITOR, "-u", 2, "-t", "2s", "--hatch-rate", 1000, "--request-log", "-")

    assert result.returncode == 0, result
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(found) == sum(server.seen().requests.values())
    assert "resetting metrics" in result.stderr
    assert "=== PER REQUEST METRICS ===" in result.stderr


def test_a_full_disk_is_an_incident_and_costs_the_run_nothing(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path
) -> None:
    result = run_gaggle(
        VISITOR, "-u", 4, "--engines", 2, "-t", "1s", *ALL_AT_ONCE, "-R", "/dev/full", "-T", tmp_path / "t"
    )

    assert result.returncode == 0, result
    assert result.stderr.count("request log /dev/full: No space left on device: records are lost") == 1
    [(_, text)] = result.incidents
    logged = sum(server.seen().requests.values())
    assert text == f"request log /dev/full: {logged:,} records are lost"
    assert len(lines(tmp_path / "t")) > 8


def test_a_log_that_cannot_be_written_is_refused_before_the_start(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(VISITOR, "-u", 4, "--error-log", "/dev/full", "--error-format", "csv")

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        'Error: InvalidOption { option: "--error-log", value: "/dev/full", '
        'detail: "The error log can not be written: No space left on device." }'
    )
    assert sum(server.seen().requests.values()) == 0


def test_an_engine_that_is_killed_loses_at_most_its_last_second(
    start_gaggle: StartGaggle, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    source = """
        class Visitor(User):
            wait_time = constant(0.05)

            @task
            async def look(self):
                await self.get("/text")
    """
    gaggle = start_gaggle(source, "-u", 4, "--engines", 1, *ALL_AT_ONCE, "--request-log", path)
    eventually(lambda: len(lines_so_far(path)) > 40, timeout=20)
    before = lines_so_far(path)

    os.kill(gaggle.engines()[0], signal.SIGKILL)
    eventually(lambda: len(lines_so_far(path)) > len(before) + 40, timeout=20, what="the new engine logs as well")
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    after = lines(path)
    assert after[: len(before)] == before
    assert sum(server.seen().requests.values()) >= len(after)
    elapsed = [line["elapsed_us"] for line in after]
    assert max(elapsed[len(before) :]) > max(elapsed[: len(before)]), "the new engine goes on with the same clock"
    assert result.incidents[0][0] == "engine"
