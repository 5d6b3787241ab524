"""The screen while a test runs, on a terminal of its own, as a person sees it."""

from __future__ import annotations

import json
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from processes import PATIENCE
from sites import Server
from terminal import Terminal

Open = Callable[..., Terminal]

VISITOR = """
    from gaggle import *

    class Visitor(User):
        wait_time = constant(0.02)

        @task
        async def visit(self):
            await self.get("/")
            await self.get("/status/503", name={name!r})
"""


@pytest.fixture
def opened(tmp_path: Path, server: Server) -> Iterator[Open]:
    """Return what opens a terminal with gaggle in it."""
    terminals: list[Terminal] = []

    def start(*options: object, name: str = "broken", **more: Any) -> Terminal:
        (tmp_path / "shop.py").write_text(dedent(VISITOR.format(name=name)))
        command = [sys.executable, "-m", "gaggle", "shop.py", "--host", server.url, *map(str, options)]
        terminals.append(Terminal(command, tmp_path, **more))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_a_run_is_seen_while_it_goes_on_and_q_stops_it(opened: Open) -> None:
    terminal = opened("-u", 3, "-r", 100, "-t", "10m")

    text = terminal.wait(lambda text: "running" in text and "GET broken" in text)
    assert "gaggle  shop.py  http://127.0.0.1:" in text
    assert "of 00:10:00" in text
    assert "3 of 3 users, running" in text
    assert "(100%)" in text
    assert "GET broken: 503 Service Unavailable" in text
    assert "q stops" in text
    terminal.press("q")

    assert terminal.finish() == 0
    assert "caught ctrl-c, stopping..." in terminal.written.decode()
    assert "PER REQUEST METRICS" in terminal.written.decode()
    assert "q stops" not in terminal.text, "the screen is gone, the report is there"
    assert termios.tcgetattr(terminal.other) == terminal.before, "the terminal is as it was"


def test_it_fits_into_a_terminal_that_gets_smaller(opened: Open) -> None:
    terminal = opened("-u", 3, "-r", 100)
    terminal.wait(lambda text: "running" in text)

    terminal.resize(60, 16)
    text = terminal.wait(lambda text: "running" in text and max(map(len, text.splitlines())) <= 60)
    terminal.press("\x03")

    assert "all together" in text
    assert terminal.finish() == 0


def test_log_lines_stand_above_it(opened: Open) -> None:
    terminal = opened("-u", 3, "-r", 2, "-v")

    text = terminal.wait(lambda text: "exiting" in text or ("launching user 3" in text and "q stops" in text))

    lines = text.splitlines()
    log, screen = (next(place for place, line in enumerate(lines) if word in line) for word in ("launching", "q stops"))
    assert log < screen
    terminal.press("q")
    assert terminal.finish() == 0


def test_a_hostile_name_moves_no_cursor_and_colours_nothing(opened: Open) -> None:
    terminal = opened("-u", 1, name="\x1b[2J\x1b[31mred [bold]x[/bold] \u202egnp")

    text = terminal.wait(lambda text: "bold" in text)

    assert "[bold]x[/bold]" in text
    assert b"\x1b[2J" not in terminal.written
    terminal.press("q")
    terminal.finish()


def test_a_terminal_that_hangs_up_ends_no_load_test(opened: Open, tmp_path: Path) -> None:
    terminal = opened("-u", 1, "-t", "6s", "--report-file", "report.json", ignores=[signal.SIGHUP])
    terminal.wait(lambda text: "running" in text)

    terminal.hang_up()

    terminal.process.wait(30 * PATIENCE)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["duration_s"] > 4


@pytest.mark.parametrize("option", ["--no-live", "-q", "--no-metrics"])
def test_there_is_none_where_it_is_not_wanted(opened: Open, option: str) -> None:
    terminal = opened("-u", 1, "-t", "1.5s", option)

    assert terminal.finish() == 0
    assert b"q stops" not in terminal.written
    assert b"\x1b[" not in terminal.written
