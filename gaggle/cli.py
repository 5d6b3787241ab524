"""The command: reads the options, runs the load test, prints the report. The only place that prints errors and exits."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaggle import logs
from gaggle.errors import FeatureNotEnabled, GaggleError, InvalidOption
from gaggle.options import Options
from gaggle.report import render
from gaggle.report.model import Report
from gaggle.sources import Parsed, parse
from gaggle.supervisor import Outcome, Supervisor, versions
from gaggle.usage import help_text

# Exit codes; docs/exit-codes.md has the same table for people.
FINE, FAILED, USAGE, UNTRUSTWORTHY, INCOMPLETE, INTERRUPTED = 0, 1, 2, 4, 5, 130


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    try:
        code = command(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except (InvalidOption, FeatureNotEnabled) as error:
        code = complain(f"Error: {error}", USAGE)
    except GaggleError as error:
        code = complain(f"Error: {error}", FAILED)
    except BrokenPipeError:
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    leave(code)


def leave(code: int) -> None:
    """Exit. A reader of stdout that has gone (`gaggle … | head`) is no reason for a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def complain(text: str, code: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


def command(argv: list[str]) -> int:
    parsed = parse(argv, os.environ)
    if parsed.options.help:
        print(help_text(), end="")
        return FINE
    if parsed.options.version:
        print("gaggle {gaggle}, libcurl {libcurl}, Python {python}".format(**versions()))
        return FINE
    if parsed.file is None:
        raise InvalidOption("FILE", "", "No load test is given, and there is no loadtest.py here: gaggle FILE.")
    logs.setup(parsed.options, parsed.sources)
    for line in parsed.warnings:
        logs.LOGGER.warning("%s", line)
    return asyncio.run(load_test(parsed))


async def load_test(parsed: Parsed) -> int:
    """Run the load test, or list what is in it."""
    supervisor = Supervisor(parsed)
    description = await supervisor.describe()
    if parsed.options.list:
        print(listing(description), end="")
        supervisor.crew.close()
        return FINE
    check_report_files(supervisor)
    outcome = await supervisor.run()
    if outcome.report is not None and not outcome.was_interrupted:
        publish(outcome.report, supervisor.options)
    return exit_code(outcome, supervisor.options)


def listing(description: dict[str, Any]) -> str:
    """Return what --list prints."""
    lines = ["Available tasks:"]
    for item in description["classes"]:
        lines.append(f" - {item['name']} (weight: {item['weight']})")
        lines += [f"    o {name} (weight: {weight})" for name, weight in item["tasks"]]
    return "\n".join(lines) + "\n"


def check_report_files(supervisor: Supervisor) -> None:
    """Refuse, before the test starts, a report that could not be written after it."""
    for name in supervisor.options.report_file:
        folder = Path(name).absolute().parent
        if not os.access(folder, os.W_OK) or Path(name).is_dir():
            supervisor.crew.close()
            raise InvalidOption("--report-file", name, f"The report can not be written: {folder} is no folder that may be written to.")


def publish(report: Report, options: Options) -> None:
    """Print the report and write the files asked for."""
    if not options.no_print_metrics:
        logs.LOGGER.info("printing metrics after %d seconds...", round(report.duration))
        print(render(report, ".txt"), end="", flush=True)
    for name in options.report_file:
        write(Path(name), render(report, Path(name).suffix))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: under another name first."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.absolute().parent, prefix=path.name, delete=False, encoding="utf-8") as file:
            file.write(text)
        os.chmod(file.name, 0o666 & ~current_umask())
        os.replace(file.name, path)
    except OSError as error:
        raise GaggleError(f"the report {path} could not be written: {error.strerror}") from error


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def exit_code(outcome: Outcome, options: Options) -> int:
    """Return the first code that applies."""
    if outcome.was_interrupted:
        return INTERRUPTED
    if outcome.failure is not None:
        return complain(f"Error: {outcome.failure}", FAILED)
    report = outcome.report
    if report is None or report.nothing_succeeded:
        return FAILED
    if outcome.is_incomplete:
        return INCOMPLETE
    return UNTRUSTWORTHY if options.strict and report.doubts else FINE
