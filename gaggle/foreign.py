"""Flags that Locust and Goose have and gaggle has not: the words that mean the same here, or what there is instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

LEVELS = {"DEBUG": ["-vv"], "INFO": ["-v"], "WARN": [], "WARNING": [], "ERROR": ["-q"], "CRITICAL": ["-q"]}


def _level(text: str) -> list[str]:
    if text.upper() not in LEVELS:
        raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return LEVELS[text.upper()]


class Foreign(NamedTuple):
    """A flag: what its value is called ("" for none), and what it says in words of gaggle (may raise ValueError)."""

    metavar: str
    means: Callable[[str], list[str]]


# Ours under another name.
RENAMED = {
    "--logfile": "--log-file",
    "--master": "--manager",
    "--master-host": "--manager-host",
    "--master-port": "--manager-port",
    "--master-bind-host": "--manager-bind-host",
    "--master-bind-port": "--manager-bind-port",
    "--processes": "--engines",
    "--enable-rebalancing": "--rebalance",
    "--scenarios-list": "--list",
}
TAKEN = {
    "-f": Foreign("FILE", lambda text: [text]),
    "--locustfile": Foreign("FILE", lambda text: [text]),
    "-L": Foreign("LEVEL", _level),
    "--loglevel": Foreign("LEVEL", _level),
    "--csv": Foreign("PREFIX", lambda text: ["--report-file", f"{text}.csv"]),
    "--headless": Foreign("", lambda _: []),
    "--autostart": Foreign("", lambda _: []),
    "--only-summary": Foreign("", lambda _: []),
}

_NO_CONTROLLER = "there are no controllers: nothing listens but a manager"
_NO_PAGE = "there is no web page to start a test from: it starts at once, and ends after --run-time or with Ctrl-C"
INSTEAD = {
    "--co-mitigation": "no times are made up: pacing() keeps a rhythm, and the report says how late gaggle itself was",
    "--test-plan": "--startup-time, --run-time and --decrease-time say how the load rises and falls",
    "--equal-weights": "leave `weight` out of the classes",
    "--csv-full-history": "the JSON report has the course of the test: --report-file run.json",
    "--reset-stats": "what was counted while users started is set aside, unless --no-reset-metrics is given",
    "--exit-code-on-error": "--threshold 'failures<1%' makes the exit code 3",
    **dict.fromkeys(("--no-telnet", "--telnet-host", "--telnet-port", "--no-autostart"), _NO_CONTROLLER),
    **dict.fromkeys(("--no-websocket", "--websocket-host", "--websocket-port"), _NO_CONTROLLER),
    **dict.fromkeys(("--web-host", "--web-port", "--web-base-path", "--web-login", "--class-picker"), _NO_PAGE),
}
