"""Log lines: their form, who sees which, and readers that go away."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaggle import logs
from gaggle.errors import InvalidOption
from gaggle.options import Options

PACKAGE = Path(logs.__file__).parent.parent
EACH = [
    (logging.ERROR, "ERROR"),
    (logging.WARNING, "WARN"),
    (logging.INFO, "INFO"),
    (logging.DEBUG, "DEBUG"),
    (logs.TRACE, "TRACE"),
]


@pytest.fixture(autouse=True)
def no_logs_left_open():
    yield
    logs.close()
    logs.prefix("")


def levels(text):
    """Return the levels of the lines that say `hello`."""
    return [match[1] for match in re.finditer(r"^\d\d:\d\d:\d\d \[ *(\w+)\] hello$", text, re.MULTILINE)]


def say_hello():
    for level, _ in EACH:
        logs.LOGGER.log(level, "hello")


SCREENS = [
    ({}, ["ERROR", "WARN"]),
    ({"verbose": 1}, ["ERROR", "WARN", "INFO"]),
    ({"verbose": 2}, ["ERROR", "WARN", "INFO", "DEBUG"]),
    ({"verbose": 3}, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]),
    ({"verbose": 9}, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]),
    ({"quiet": 1}, ["ERROR"]),
    ({"quiet": 2}, []),
    ({"quiet": 9}, []),
]


@pytest.mark.parametrize(("options", "shown"), SCREENS)
def test_the_screen_shows_what_was_asked_for(options, shown, capsys):
    logs.setup(Options(**options))

    say_hello()

    assert levels(capsys.readouterr().err) == shown


FILES = [
    (0, ["ERROR", "WARN"]),
    (1, ["ERROR", "WARN", "INFO"]),
    (2, ["ERROR", "WARN", "INFO", "DEBUG"]),
    (3, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]),
]


@pytest.mark.parametrize(("log_level", "written"), FILES)
def test_the_file_has_a_level_of_its_own(log_level, written, tmp_path, capsys):
    path = tmp_path / "goose.log"
    logs.setup(Options(log_file=str(path), log_level=log_level, quiet=2))

    say_hello()

    assert levels(path.read_text()) == written
    assert capsys.readouterr().err == ""


def test_the_first_lines_are_those_of_the_seed(capsys):
    logs.setup(Options(verbose=1))

    lines = capsys.readouterr().err.splitlines()

    assert [line[8:] for line in lines] == [
        " [ INFO] Output verbosity level: INFO",
        " [ INFO] Logfile verbosity level: WARN",
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", lines[0][:8])


def test_the_log_file_is_announced(tmp_path, capsys):
    logs.setup(Options(verbose=2, log_level=1, log_file=str(tmp_path / "goose.log")))

    lines = capsys.readouterr().err.splitlines()

    assert [line[17:] for line in lines] == [
        "Output verbosity level: DEBUG",
        "Logfile verbosity level: INFO",
        f"Writing to log file: {tmp_path}/goose.log",
    ]


def test_a_log_file_is_appended_to(tmp_path):
    path = tmp_path / "goose.log"
    path.write_text("earlier\n")

    logs.setup(Options(log_file=str(path))).warning("hello")

    assert path.read_text().startswith("earlier\n")
    assert levels(path.read_text()) == ["WARN"]


def test_a_second_setup_replaces_the_first(tmp_path, capsys):
    logs.setup(Options(log_file=str(tmp_path / "first.log")))
    logs.setup(Options(log_file=str(tmp_path / "second.log"))).warning("hello")

    assert levels(capsys.readouterr().err) == ["WARN"]
    assert levels((tmp_path / "first.log").read_text()) == []
    assert levels((tmp_path / "second.log").read_text()) == ["WARN"]


UNWRITABLE = [
    ({"log_file": "--log-file"}, "--log-file"),
    ({"log_file": "GAGGLE_LOG_FILE"}, "GAGGLE_LOG_FILE"),
    ({}, "--log-file"),
]


@pytest.mark.parametrize(("sources", "option"), UNWRITABLE)
def test_a_log_file_that_cannot_be_written_is_an_invalid_option(sources, option, tmp_path):
    with pytest.raises(InvalidOption) as caught:
        logs.setup(Options(log_file=str(tmp_path)), sources)

    assert caught.value.option == option
    assert caught.value.detail == "The log file can not be written: Is a directory."


def test_a_prefix_goes_before_every_message(capsys):
    logger = logs.setup(Options())

    logs.prefix("[2] ")
    logger.warning("launching user %d from %s...", 1, "AnonBrowsingUser")

    assert capsys.readouterr().err.endswith(" [ WARN] [2] launching user 1 from AnonBrowsingUser...\n")


def test_what_a_server_says_does_not_reach_the_terminal_raw(capsys):
    logs.setup(Options()).warning("reason: %s", "\x1b[2Jnice\r\u202e")

    assert capsys.readouterr().err.endswith("reason: \\x1b[2Jnice\\r\\u202e\n")


def test_a_traceback_follows_on_lines_of_its_own(capsys):
    logger = logs.setup(Options())

    try:
        raise KeyError("token")
    except KeyError:
        logger.exception("task failed")

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("[ERROR] task failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'token'"


def test_a_warning_is_given_once_a_key(capsys):
    logs.setup(Options())

    for key in ("a", "b", "a"):
        logs.warn_once(key, "hello")

    assert levels(capsys.readouterr().err) == ["WARN", "WARN"]


def test_trace_is_shown_at_vvv(capsys):
    logs.setup(Options(verbose=3))

    logs.trace("user %d waits", 3)

    assert capsys.readouterr().err.endswith(" [TRACE] user 3 waits\n")


def test_arguments_that_do_not_fit_are_no_reason_to_end(capsys):
    logs.setup(Options()).warning("%d users", "many")

    assert "not all arguments" not in capsys.readouterr().out


def test_a_closed_stderr_is_no_reason_to_end(monkeypatch):
    logger = logs.setup(Options())
    closed = os.fdopen(os.dup(2), "w")
    closed.close()

    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        logger.warning("hello")
        logger.warning("%d users", "many")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told_once_on_the_screen(capsys):
    logger = logs.setup(Options(log_file="/dev/full"))

    for _ in range(3):
        logger.warning("hello")

    text = capsys.readouterr().err
    assert levels(text) == ["WARN"] * 3
    assert text.count("log file /dev/full: No space left on device: lines are lost") == 1


SPEAKER = """
import sys
from gaggle import logs
from gaggle.options import Options
logger = logs.setup(Options())
sys.stdin.read()
for _ in range(100):
    logger.warning("hello")
print("done")
"""


def speaker(**streams):
    environ = os.environ | {"PYTHONPATH": str(PACKAGE)}
    return subprocess.Popen(
        [sys.executable, "-c", SPEAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, **streams
    )


def test_a_reader_that_goes_away_does_not_change_the_exit_code():
    process = speaker(stderr=subprocess.PIPE)
    process.stderr.close()

    out, _ = process.communicate(timeout=30)

    assert (out, process.returncode) == (b"done\n", 0)


def test_a_stderr_that_was_never_open_does_not_change_the_exit_code():
    process = speaker(preexec_fn=lambda: os.close(2))

    out, _ = process.communicate(timeout=30)

    assert (out, process.returncode) == (b"done\n", 0)
