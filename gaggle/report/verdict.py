"""What must be read before any number: whether to believe them, what did not hold, what failed most and since when.

Nothing if all is well, and nothing was asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from gaggle import units
from gaggle.metrics import OTHER
from gaggle.report import change
from gaggle.report.model import Incident, Judgement, Report, counted, named
from gaggle.report.overview import moment, unfinished
from gaggle.report.tables import Page

INCIDENTS_SHOWN = 20  # a worker that comes and goes for hours must not push the numbers off the screen


def section(report: Report, page: Page) -> list[str]:
    """Return why the numbers may be wrong, what happened and what was cut; empty when there is nothing to say."""
    parts = (_nothing, _doubts, _thresholds, _baseline, _worst, _incidents, _unfinished)
    lines = [line for part in parts for line in part(report, page)]
    return ["", " === VERDICT ===", page.rule(), *lines, page.rule()] if lines else []


def _nothing(report: Report, page: Page) -> Iterator[str]:
    if not report.nothing_succeeded:
        return
    requests, tasks = (sum(row.count for row in rows) for rows in (report.snapshot.requests(), report.snapshot.tasks()))
    if requests or tasks:
        failed = counted(requests, "request") if requests else counted(tasks, "task")
        yield f" Nothing succeeded: {failed} made, none without a failure."
    else:
        yield " Nothing was measured: no request and no task came to an end."


def _doubts(report: Report, page: Page) -> Iterator[str]:
    doubts = report.doubts
    if doubts:
        yield " Do not trust these numbers:"
    for doubt in doubts:
        yield from page.wrapped(doubt, "  - ", "    ")


def _thresholds(report: Report, page: Page) -> Iterator[str]:
    if report.thresholds:
        yield f" Thresholds: {thresholds_in_all(report)}"
    for judgement in report.thresholds:
        mark = "ok  " if judgement.holds else "FAIL"
        yield from page.wrapped(f"{units.printable(judgement.text)}: {judged(judgement)}", f"  {mark} ", "       ")


def thresholds_in_all(report: Report) -> str:
    """Return how many thresholds there are and whether they hold: `2 of 3 did not hold.`"""
    crossed = sum(not judgement.holds for judgement in report.thresholds)
    total = len(report.thresholds)
    if crossed:
        return f"{crossed} of {total} did not hold."
    return f"all {total} hold." if total > 1 else "it holds."


def judged(judgement: Judgement) -> str:
    """Return what was found: `it was 340 ms (first crossed at 2022-05-19 22:40:31)`."""
    since = f" (first crossed at {moment(judgement.crossed)})" if judgement.crossed is not None else ""
    return f"{units.printable(judgement.said)}{since}"


def _baseline(report: Report, page: Page) -> Iterator[str]:
    if text := change.sentence(report):
        yield from page.wrapped(text, " ", " ")


def _worst(report: Report, page: Page) -> Iterator[str]:
    if text := worst(report):
        yield from page.wrapped(text, " ", " ")


def worst(report: Report) -> str:
    """Return what failed most, how often and since when; empty if nothing failed."""
    errors = report.errors()
    if not errors:
        return ""
    first = errors[0]
    row = report.snapshot.rows.get(first.key)
    is_share = row is not None and row.count >= first.count  # errors from before the reset would be more than all
    share = f" of {units.thousands(row.count)} ({units.percent(first.count, row.count)})" if row and is_share else ""
    what = named(first.key) + ("" if first.text == OTHER else f": {first.text}")
    return (
        f"Failed most: {units.printable(what)}, {units.thousands(first.count)}{share}, "
        f"first at {moment(first.first)}, last at {moment(first.last)}."
    )


def _incidents(report: Report, page: Page) -> Iterator[str]:
    if report.incidents:
        yield " Incidents:"
    for incident in report.incidents[:INCIDENTS_SHOWN]:
        yield from page.wrapped(_incident(incident), "  - ", "    ")
    if (more := len(report.incidents) - INCIDENTS_SHOWN) > 0:
        yield f"  - and {units.thousands(more)} more: the JSON report has them all"


def _incident(incident: Incident) -> str:
    return f"{moment(incident.at)} {incident.kind}: {units.printable(incident.text)}"


def _unfinished(report: Report, page: Page) -> Iterator[str]:
    if cut := unfinished(report):
        yield from page.wrapped(f"Unfinished: {cut}; they count neither as success nor as failure.", " ", " ")
