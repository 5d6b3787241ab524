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
from gaggle.own import option, own_options
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
    from typing import NoReturn

    from gaggle.report.model import Report
    from gaggle.visit import Visit

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
    "main",
    "on_request",
    "on_start",
    "on_stop",
    "option",
    "own_options",
    "pacing",
    "run",
    "run_user",
    "sequence",
    "task",
    "test_start",
    "test_stop",
]


def run(target: str | Path | type[User], *others: type[User], **options: Any) -> Report:
    """Run a load test from Python: see `gaggle.session.run`, which is imported only when it is asked for."""
    from gaggle.session import run as run_now

    return run_now(target, *others, **options)


def main() -> NoReturn:
    """Do what `gaggle FILE` does, for the file that calls, with the arguments of this process; and exit.

    It stands under `if __name__ == "__main__":` at the end of a load test, for `python loadtest.py --users 8`.
    Raises LoadTestError where there is no such file, or that line is missing.
    """
    import sys

    from gaggle.cli import main as command
    from gaggle.loadtest import MODULE_NAME

    file = getattr(sys.modules["__main__"], "__file__", None)
    if MODULE_NAME in sys.modules:
        raise LoadTestError('main() is called by a load test that runs: put it under `if __name__ == "__main__":`')
    if file is None:
        raise LoadTestError("main() runs the file that it stands in, and there is none here: use gaggle.run()")
    command(file=file)


def run_user(cls: type[User], *, raises: bool = False, **options: Any) -> Visit:
    """Run each task of a user class once, in this process: see `gaggle.once.run_user`."""
    from gaggle.once import run_user as run_now

    return run_now(cls, raises=raises, **options)
