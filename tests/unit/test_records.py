"""The formats of the logs, read back by parsers that everybody has; which files they may be."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gaggle.errors import InvalidOption
from gaggle.options import LOG_FORMATS, Options
from gaggle.records import FIELDS, FORMATS, Wanted, convert, header_of, headers_of, probe
from gaggle.rules import check
from gaggle.sources import Parsed

csv.field_size_limit(1 << 30)

HOSTILE = [
    "plain",
    "",
    'a "quoted" name, with a comma',
    "two\nlines\r\nand a \rhalf",
    "a NUL \0 within",
    "backslash \\ and \\n",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\uff1d1+1",
    "grüße 你好 🪿",
    "line ends \x85 \u2028 \u2029 \x0b \x0c \x1c",
    "half a pair \ud83e and a kept byte \udcff",
    "\x1b[31mred\x07",
    "x" * 1_000_000,
]


def record(text: str) -> dict[str, Any]:
    return {"time": 1.5, "user": 3, "success": True, "none": None, "name": text, "headers": {text: text}}


@pytest.mark.parametrize("text", HOSTILE)
def test_json_is_one_line_a_record_and_says_the_same(text: str) -> None:
    line = FORMATS["json"](record(text)).decode()

    assert len(line.splitlines()) == 1
    assert line.endswith("\n")
    assert json.loads(line) == record(replaced(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_pretty_is_json_on_several_lines(text: str) -> None:
    written = FORMATS["pretty"](record(text)).decode()

    found, end = json.JSONDecoder().raw_decode(written)
    assert found == record(replaced(text))
    assert written[end:] == "\n"
    assert len(written.split("\n")) == 11


@pytest.mark.parametrize("text", HOSTILE)
def test_raw_is_a_dict_as_python_writes_it(text: str) -> None:
    line = FORMATS["raw"](record(text)).decode()

    assert len(line.splitlines()) == 1
    assert ast.literal_eval(line) == record(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_is_a_row_a_record_and_nothing_that_a_spreadsheet_computes(text: str) -> None:
    written = FORMATS["csv"](record(text)).decode()

    (row,) = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert row[:4] == ["1.5", "3", "true", ""]
    assert not row[4].startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    assert row[4].removeprefix("'") == replaced(text).replace("\0", "\\x00")
    assert json.loads(row[5]) == {replaced(text): replaced(text)}


def replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


@pytest.mark.parametrize("format", LOG_FORMATS)
def test_every_format_is_made_of_a_line_of_json(format: str) -> None:
    made = convert(format)

    assert (made is None) == (format == "json")
    assert made is None or made(b'{"a":1}') == FORMATS[format]({"a": 1})


def test_csv_begins_with_the_names_of_its_columns() -> None:
    assert header_of("pass", "csv") == b"time,elapsed_us,user,user_class,run_time_us\n"
    assert [header_of(kind, "json") for kind in FIELDS] == [b""] * 5


def test_headers_that_come_again_have_lines_of_their_own() -> None:
    assert headers_of([("a", "1"), ("b", 2), ("a", "3")]) == {"a": "1\n3", "b": "2"}
    assert headers_of({"a": 1}) == {"a": "1"}
    assert headers_of(None) == {}


# Which files.


def test_what_is_wanted_is_what_the_options_say() -> None:
    wanted = Wanted.of(Options(request_log="r", request_format="csv", debug_log="-", request_body=True))

    assert wanted == Wanted({"request": ("r", "csv"), "debug": ("-", "json")}, 1.0, True, True)
    assert wanted.has_stdout
    assert Wanted.of(Options()).files == {}


def test_a_file_begins_anew_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "pass.csv"
    path.write_text("of an earlier run\n")

    begun = list(Wanted({"pass": (str(path), "csv")}).begin())

    assert begun == [("pass", str(path), None)]
    assert path.read_bytes() == header_of("pass", "csv")


def test_a_device_that_is_full_is_told_of_at_the_start() -> None:
    ((kind, name, error),) = Wanted({"task": ("/dev/full", "csv")}).begin()

    assert (kind, name) == ("task", "/dev/full")
    assert error is not None
    assert error.strerror == "No space left on device"


def test_a_probe_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    probe(str(path))
    assert not path.exists()

    path.write_text("kept")
    probe(str(path))
    assert path.read_text() == "kept"


FAULTS = [
    ({"request_log": "/nowhere/r.log"}, "--request-log", "The request log can not be written: No such file"),
    ({"task_log": "."}, "--task-log", "The task log can not be written: Is a directory"),
    ({"request_format": "csv"}, "--request-format", "The --request-format option needs --request-log, too."),
    ({"request_body": True}, "--request-body", "The --request-body flag needs --request-log, too."),
    ({"task_log": "x", "pass_log": "./x"}, "--pass-log", "must not name the file of --task-log"),
    ({"log_file": "x", "debug_log": "x"}, "--debug-log", "must not name the file of --log-file"),
    ({"task_log": "-", "pass_log": "-"}, "--pass-log", "each log has a file of its own"),
]


@pytest.mark.parametrize(("options", "option", "words"), FAULTS)
def test_a_file_that_cannot_be_is_refused_before_the_start(options: dict[str, Any], option: str, words: str) -> None:
    sources = {name: f"--{name.replace('_', '-')}" for name in options}

    with pytest.raises(InvalidOption) as raised:
        check(Parsed(Options(**options), sources, None), cores=1)

    assert raised.value.option == option
    assert words in raised.value.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_must_not_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    path.touch(mode=0o400)

    with pytest.raises(InvalidOption, match="Permission denied"):
        check(Parsed(Options(request_log=str(path)), {}, None), cores=1)
