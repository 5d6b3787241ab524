"""One run of the command `gaggle`, and what its JSON report says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from processes import Process, children_of


class Row(dict[str, Any]):
    """A row of the report, its columns as attributes: row.started, row.statuses."""

    def __getattr__(self, column: str) -> Any:
        try:
            return self[column]
        except KeyError:
            raise AttributeError(f"the row has no {column!r}: {dict(self)}") from None


@dataclass(frozen=True)
class Result:
    """How a run ended. `report` is the JSON report; it raises AssertionError when none was written."""

    returncode: int
    stdout: str
    stderr: str
    report_file: Path

    @cached_property
    def report(self) -> dict[str, Any]:
        assert self.report_file.exists(), f"no report was written:\n{self}"
        parsed: dict[str, Any] = json.loads(self.report_file.read_text())
        return parsed

    @property
    def requests(self) -> list[Row]:
        return [Row(row) for row in self.report["requests"]]

    @property
    def tasks(self) -> list[Row]:
        return [Row(row) for row in self.report["tasks"]]

    @property
    def incidents(self) -> list[tuple[str, str]]:
        """Kind and text of each."""
        return [(incident["kind"], incident["text"]) for incident in self.report["incidents"]]

    def request(self, name: str) -> Row:
        """Return the row of "GET /path". Raises AssertionError with the names of all rows when there is none."""
        rows = {f"{row.method} {row.name}": row for row in self.requests}
        assert name in rows, f"no row {name!r} in {list(rows)}\n{self.stderr}"
        return rows[name]

    def task(self, user: str, name: str) -> Row:
        """Return the row of a task of a user class. Raises AssertionError as `request`."""
        rows = {(row.user, row.name): row for row in self.tasks}
        assert (user, name) in rows, f"no row {(user, name)} in {list(rows)}\n{self.stderr}"
        return rows[user, name]

    def total(self, column: str) -> int:
        """Return the sum of a column over all requests."""
        return sum(row[column] for row in self.requests)

    def __str__(self) -> str:
        return f"exit code {self.returncode}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Gaggle(Process):
    """`gaggle` at work on a load test."""

    def __init__(self, load_test: Path, *arguments: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.report_file = folder / "report.json"
        self.report_file.unlink(missing_ok=True)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "gaggle",
            load_test,
            *arguments,
            "--report-file",
            self.report_file,
        ]
        super().__init__(command, folder, clean_environment() | dict(env or {}))

    def launchers(self) -> list[int]:
        """Return the pids of the launcher, and of what else the supervisor has started."""
        return self.children()

    def engines(self) -> list[int]:
        """Return the pids of what the launcher has forked."""
        return [engine for launcher in self.launchers() for engine in children_of(launcher)]

    def finish(self, timeout: float = 60.0) -> Result:
        """Wait for the end of the run. Raises AssertionError when it takes longer, or leaves a process behind."""
        code = self.wait(timeout)
        left = self.survivors()
        assert not left, f"{self} left behind {left}:\n{self.output()}"
        return Result(code, self.output("stdout"), self.output("stderr"), self.report_file)


def clean_environment() -> dict[str, str]:
    """Return our environment without the options of gaggle that may stand in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAGGLE_")}
    return kept | {"PYTHONFAULTHANDLER": "1"}  # a crash of the core prints where it was


def assert_accounts(row: Mapping[str, Any], logged: int) -> None:
    """Hold a row of the report against the number of its requests that the server has logged, redirects included.

    What the server has seen lies between what was answered and what was sent; where nothing was cut, they are equal.
    """
    answered, sent = row["answered"] + row["hops"], row["started"] + row["hops"]
    assert answered <= logged <= sent + row["resent"], f"{logged} logged, but {dict(row)}"
    if not (row["unfinished"] or row["broken"] or row["resent"]):
        assert logged == answered == sent, f"{logged} logged, nothing was cut, but {dict(row)}"
