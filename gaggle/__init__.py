"""gaggle: a load tester. Users are written in plain async Python and run at C speed on every core, on many machines."""

from __future__ import annotations

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

try:
    from gaggle._core import Client, Cookies, Headers, Response
except ModuleNotFoundError as error:
    if error.name != "gaggle._core":
        raise
    ways = "run `make` in the checkout, or `pip install gaggle-loadtest`"
    raise ImportError(f"gaggle's compiled core is missing: {ways}") from error

from gaggle.errors import GaggleError, LoadTestError, RequestError
from gaggle.user import (
    Feed,
    FeedEmpty,
    User,
    abort,
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

if TYPE_CHECKING:
    from pathlib import Path

    from gaggle.report.model import Report

__version__ = _version("gaggle-loadtest")

__all__ = [
    "Client",
    "Cookies",
    "Feed",
    "FeedEmpty",
    "GaggleError",
    "Headers",
    "LoadTestError",
    "RequestError",
    "Response",
    "User",
    "abort",
    "between",
    "constant",
    "feed",
    "on_request",
    "on_start",
    "on_stop",
    "pacing",
    "run",
    "sequence",
    "task",
    "test_start",
    "test_stop",
]


def run(target: str | Path | type[User], *others: type[User], **options: Any) -> Report:
    """Run a load test from Python: see `gaggle.session.run`, which is imported only when it is asked for."""
    from gaggle.session import run as run_now

    return run_now(target, *others, **options)
