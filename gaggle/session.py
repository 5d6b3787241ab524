"""A run from Python: `gaggle.run("loadtest.py", users=8)` in a script, a notebook or a pytest test."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaggle import logs
from gaggle.errors import FeatureNotEnabled, LoadTestError
from gaggle.loadtest import MODULE_NAME
from gaggle.options import Role, usable_cores
from gaggle.report.files import write_files
from gaggle.report.model import Report
from gaggle.reporting import against
from gaggle.rules import check, role_of
from gaggle.sources import from_call
from gaggle.supervisor import Outcome, Supervisor
from gaggle.user import User


def run(target: str | Path | type[User], *others: type[User], **options: Any) -> Report:
    """Run a load test, a file or user classes, and return its Report.

    `options` are those of the command line: `users=8, run_time="30s", host="http://127.0.0.1:8080"`. Classes are
    imported again, by the processes that run them: they must stand in a file. Ctrl-C ends the run early, as it does on
    the command line. Raises InvalidOption, and LoadTestError when the test cannot run or is aborted.
    """
    if MODULE_NAME in sys.modules:
        raise LoadTestError('run() is called by a load test that runs: put it under `if __name__ == "__main__":`')
    file, only = (str(target), ()) if isinstance(target, (str, Path)) else of_classes((target, *others))
    parsed = from_call(Path(file), options)
    logs.setup(parsed.options, parsed.sources)
    outcome = finished(Supervisor(parsed, only))
    if outcome.report is None or outcome.failure or outcome.was_interrupted:
        raise LoadTestError(outcome.failure or "the load test was interrupted")
    return outcome.report


async def lead(supervisor: Supervisor) -> Outcome:
    """Run the test in the role that the options give this process. Raises GaggleError."""
    role = role_of(supervisor.parsed.options)
    if role is Role.STANDALONE:
        await supervisor.describe()
        return await supervisor.run()
    check(supervisor.parsed, usable_cores(), role)
    try:
        from gaggle.managing import Managing
        from gaggle.working import Working
    except FeatureNotEnabled as error:
        raise not_enabled(role) from error
    return await (Managing if role is Role.MANAGER else Working)(supervisor).run()


def not_enabled(role: Role) -> FeatureNotEnabled:
    mode = "manager" if role is Role.MANAGER else "worker"
    return FeatureNotEnabled("gaggle", f"Run `pip install 'gaggle-loadtest[gaggle]'` to start in {mode} mode.")


def print_plainly(text: str) -> None:
    """Print a report for stdout."""
    sys.stdout.write(text)


async def one_run(
    supervisor: Supervisor,
    show: Callable[[Report], None] | None = None,
    say: Callable[[str], object] = print_plainly,
) -> Outcome:
    """Run a load test from its import to the files of its report, which is first shown. Raises GaggleError.

    `say` prints a report that is to go to stdout.
    """
    try:
        outcome = await lead(supervisor)
    except asyncio.CancelledError:
        if not supervisor.outcome.was_interrupted:
            raise
        return supervisor.outcome
    finally:
        for exporter in supervisor.exporters:
            exporter.close()
    if outcome.report is not None and not outcome.was_interrupted:
        if supervisor.baseline is not None and supervisor.options.baseline is not None:
            outcome.report = against(outcome.report, supervisor.baseline, supervisor.options.baseline)
        if show:
            show(outcome.report)
        write_files(outcome.report, supervisor.options.report_file, say)
    return outcome


def of_classes(classes: tuple[type[User], ...]) -> tuple[str, tuple[str, ...]]:
    """Return the file that the classes stand in, and their names. Raises LoadTestError."""
    for cls in classes:
        if not (inspect.isclass(cls) and issubclass(cls, User)):
            raise LoadTestError(f"run() takes a file or classes that derive from gaggle.User, got {cls!r}")
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__ or file_of(cls) is None:
            raise LoadTestError(
                f"{cls.__qualname__} cannot be imported by name, as the processes that run it must: put it at the top "
                "of a .py file of its own, or give run() the file"
            )
    files = {str(file_of(cls)) for cls in classes}
    if len(files) > 1:
        raise LoadTestError(f"the classes of one run must stand in one file, these are in {', '.join(sorted(files))}")
    return files.pop(), tuple(cls.__name__ for cls in classes)


def file_of(cls: type[User]) -> str | None:
    return getattr(inspect.getmodule(cls), "__file__", None)


def finished(supervisor: Supervisor) -> Outcome:
    """Run to the end, in a thread of its own where this one has a loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(one_run(supervisor))
    with on_ctrl_c(supervisor.interrupt), ThreadPoolExecutor(1, "gaggle") as pool:
        return pool.submit(asyncio.run, one_run(supervisor)).result()


@contextmanager
def on_ctrl_c(action: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C do `action`, where this thread may say so: the one that runs the test hears of no signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
