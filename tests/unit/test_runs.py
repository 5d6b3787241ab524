"""How tests read a report: the accounts that it must keep, and rows that are found or named as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import Result, assert_accounts

COLUMNS = ("started", "answered", "broken", "unfinished", "hops", "resent")


@pytest.mark.parametrize(
    ("row", "logged"),
    [
        ((5, 5, 0, 0, 0, 0), 5),
        ((5, 5, 0, 0, 3, 0), 8),  # redirects reach the server, too
        ((5, 4, 0, 1, 0, 0), 4),  # cut before it was on the wire
        ((5, 4, 0, 1, 0, 0), 5),  # cut after it was
        ((5, 4, 1, 0, 0, 0), 4),  # broken: connection refused
        ((5, 5, 0, 0, 0, 2), 7),  # sent again, and the first sending had arrived
        ((5, 5, 0, 0, 0, 2), 5),  # and had not
    ],
)
def test_accounts_that_are_right(row: tuple[int, ...], logged: int) -> None:
    assert_accounts(dict(zip(COLUMNS, row, strict=True)), logged)


@pytest.mark.parametrize(
    ("row", "logged"),
    [
        ((5, 5, 0, 0, 0, 0), 4),  # answered, but never asked
        ((5, 5, 0, 0, 0, 0), 6),  # asked, but never counted
        ((5, 4, 0, 0, 0, 0), 5),  # one has vanished: nothing says that it was cut
        ((5, 4, 0, 1, 0, 0), 6),
        ((5, 4, 0, 1, 0, 0), 3),
        ((5, 5, 0, 0, 0, 2), 8),
    ],
)
def test_accounts_that_are_wrong(row: tuple[int, ...], logged: int) -> None:
    with pytest.raises(AssertionError, match=f"{logged} logged"):
        assert_accounts(dict(zip(COLUMNS, row, strict=True)), logged)


@pytest.fixture
def result(tmp_path: Path) -> Result:
    requests = [{"method": "GET", "name": "/", "count": 3}, {"method": "POST", "name": "/", "count": 4}]
    (tmp_path / "report.json").write_text(json.dumps({"requests": requests, "tasks": [{"user": "A", "name": "look"}]}))
    return Result(0, "out", "err", tmp_path / "report.json")


def test_rows_are_found_by_name(result: Result) -> None:
    assert (result.request("POST /").count, result.task("A", "look").user, result.total("count")) == (4, "A", 7)


def test_a_missing_row_is_named_with_those_that_are_there(result: Result) -> None:
    with pytest.raises(AssertionError, match=r"no row 'PUT /' in \['GET /', 'POST /'\]"):
        result.request("PUT /")


def test_a_missing_report_shows_what_was_printed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"no report was written:\nexit code 2\n--- stdout\nout\n--- stderr\nerr"):
        _ = Result(2, "out", "err", tmp_path / "none.json").report
