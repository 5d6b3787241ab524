"""A run from Python: `gaggle.run("loadtest.py", users=8)` in a script, a notebook or a pytest test."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gaggle import logs
from gaggle.errors import GaggleError, LoadTestError
from gaggle.options import flag
from gaggle.report.model import Report
from gaggle.sources import Parsed, parse
from gaggle.supervisor import Outcome, Supervisor
from gaggle.user import User


def run(target: str | Path | type[User], *others: type[User], **options: Any) -> Report:
    """Run a load test, a file or user classes, and return its Report.

    `options` are those of the command line: `users=8, run_time="30s", host="http://127.0.0.1:8080"`. Raises InvalidOption,
    and LoadTestError when the test cannot run or is aborted. Classes are imported again, by the processes that run them:
    they must stand in a file.
    """
    file, only = (str(target), ()) if isinstance(target, (str, Path)) else of_classes((target, *others))
    parsed = parse([file, *arguments(options)], {})
    logs.setup(parsed.options, parsed.sources)
    outcome = apart(lambda: one_run(parsed, only))
    if outcome.report is None or outcome.failure:
        raise LoadTestError(outcome.failure or "the load test was interrupted")
    return outcome.report


async def one_run(parsed: Parsed, only: tuple[str, ...]) -> Outcome:
    supervisor = Supervisor(parsed, only)
    await supervisor.describe()
    return await supervisor.run()


def of_classes(classes: tuple[type[User], ...]) -> tuple[str, tuple[str, ...]]:
    """Return the file that the classes stand in, and their names."""
    for cls in classes:
        if not (inspect.isclass(cls) and issubclass(cls, User)):
            raise LoadTestError(f"run() takes a file or classes that derive from gaggle.User, got {cls!r}")
        if "<locals>" in cls.__qualname__ or not getattr(inspect.getmodule(cls), "__file__", None):
            raise LoadTestError(f"{cls.__qualname__} cannot be imported by name: put it at the top of a .py file")
    files = {str(inspect.getmodule(cls).__file__) for cls in classes}  # type: ignore[union-attr]
    if len(files) > 1:
        raise LoadTestError(f"the classes of one run must stand in one file, these are in {', '.join(sorted(files))}")
    return files.pop(), tuple(cls.__name__ for cls in classes)


def arguments(options: dict[str, Any]) -> list[str]:
    """Return options given as keywords as a command line, so that they are checked as one."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [flag(name)] if each is True else [f"{flag(name)}={each}"]
    return words


def apart(make: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """Run a coroutine to its end, in a thread of its own where this one has a loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    found: list[Outcome | GaggleError] = []

    def work() -> None:
        try:
            found.append(asyncio.run(make()))
        except GaggleError as error:
            found.append(error)

    thread = threading.Thread(target=work, name="gaggle")
    thread.start()
    thread.join()
    if isinstance(found[0], GaggleError):
        raise found[0]
    return found[0]
