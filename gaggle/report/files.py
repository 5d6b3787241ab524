"""The files of a report: each in the format of its name, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gaggle.errors import GaggleError
from gaggle.options import STEP_SUMMARY, is_stdout, report_suffix
from gaggle.report import render
from gaggle.report.model import Report


def write_files(report: Report, names: Sequence[str], say: Callable[[str], object]) -> None:
    """Write the report to each file; `say` prints what is for stdout. Raises GaggleError, after it tried them all."""
    failed = []
    for name in names:
        text = render(report, report_suffix(name))
        try:
            if is_stdout(name):
                say(text)
            elif name == os.environ.get(STEP_SUMMARY):
                append(Path(name), text)
            else:
                write(Path(name), text)
        except OSError as error:
            failed.append(f"the report {name} could not be written: {error.strerror}")
    if failed:
        raise GaggleError("; ".join(failed))


def write(path: Path, text: str) -> None:
    """Write a file under another name first. Raises OSError."""
    unfinished = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def append(path: Path, text: str) -> None:
    """Add to a file that other steps of a job write to as well. Raises OSError."""
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
