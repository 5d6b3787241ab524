"""`gaggle report`: reports that were written as JSON, read again and written in other formats, or as one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gaggle import thresholds
from gaggle.errors import GaggleError, InvalidOption
from gaggle.judge import Judge
from gaggle.options import report_name
from gaggle.report import load
from gaggle.report.merging import merged
from gaggle.report.model import Judgement, Report

HELP = """\
Usage: gaggle report FILE.json... [OPTIONS]

Read reports that a run wrote as JSON, add them up if there are several
(exactly: the histograms are in them), and write the result in other formats;
without --report-file it is printed.

      --report-file FILE      Write a report, in the format of its suffix; - is
                              stdout; may be repeated
      --threshold RULE        Demand something, such as 'p(95)<200ms', instead
                              of what the run demanded; exit with 3 otherwise;
                              may be repeated
      --baseline FILE         Say what changed since this report, and whether
                              chance alone could have done it
  -h, --help                  Print this help and exit
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # of the files to write
    thresholds: tuple[str, ...] = ()
    baseline: str | None = None
    is_help: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Raise where argparse would print and exit."""
        raise InvalidOption("gaggle report", "", f"{message[:1].upper()}{message[1:]}: see gaggle report --help.")


def parse(argv: Sequence[str]) -> Asked:
    """Return what the words after `gaggle report` ask for. Raises InvalidOption."""
    parser = _Parser(prog="gaggle report", add_help=False, allow_abbrev=False)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--report-file", action="append", default=[])
    parser.add_argument("--threshold", action="append", default=[])
    parser.add_argument("--baseline")
    parser.add_argument("-h", "--help", action="store_true")
    found = parser.parse_intermixed_args(argv)
    if found.help:
        return Asked(is_help=True)
    if not found.files:
        raise InvalidOption("gaggle report", "", "It needs a report: gaggle report run.json --report-file run.md")
    for option, check in (("report_file", report_name), ("threshold", thresholds.checked)):
        for text in getattr(found, option):
            flag = "--" + option.replace("_", "-")
            try:
                check(text)
            except ValueError as error:
                raise InvalidOption(flag, text, f"The {flag} option {error}.") from None
    return Asked(tuple(found.files), tuple(found.report_file), tuple(found.threshold), found.baseline)


def made(asked: Asked) -> Report:
    """Return the report that was asked for. Raises GaggleError for a file that cannot be read."""
    reports = [read(name) for name in asked.files]
    report = merged(reports)
    before = read(asked.baseline) if asked.baseline else None
    if before is not None and asked.baseline:
        report = against(report, before, asked.baseline)
    if asked.thresholds:
        judge = Judge(asked.thresholds, before)
        return replace(report, thresholds=judge.verdict(report.snapshot, report.duration))
    return report if len(reports) == 1 else replace(report, thresholds=tuple(judged_again(report, reports)))


def against(report: Report, before: Report, file: str) -> Report:
    """Return the report with what changed since an earlier one."""
    from gaggle.comparing import compared  # numpy takes a while to load, and few ask for it

    return replace(report, baseline=compared(report, before, file))


def read(name: str) -> Report:
    """Return the report in a file. Raises GaggleError."""
    try:
        return load.read(name)
    except ValueError as error:
        raise GaggleError(f"{name} can not be read: {error}") from error


def judged_again(report: Report, reports: Sequence[Report]) -> list[Judgement]:
    """Return what became of the runs' thresholds, measured over all of them together.

    A window is part of one run: it holds if it held in each.
    """
    before: dict[str, list[Judgement]] = {}
    for each in reports:
        for judgement in each.thresholds:
            before.setdefault(judgement.text, []).append(judgement)
    found: list[Judgement] = []
    for text, judgements in before.items():
        if thresholds.parse(text).window:
            found.append(next((item for item in judgements if not item.holds), judgements[0]))
        else:
            found += Judge([text]).verdict(report.snapshot, report.duration)
    return found
