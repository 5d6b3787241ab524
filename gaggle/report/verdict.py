"""What must be read before any number: whether to believe them, and what happened. Nothing if all is well."""

from __future__ import annotations

from collections.abc import Iterator

from gaggle import units
from gaggle.report.model import Incident, Report, counted
from gaggle.report.overview import moment, unfinished
from gaggle.report.tables import Page

INCIDENTS_SHOWN = 20  # a worker that comes and goes for hours must not push the numbers off the screen


def section(report: Report, page: Page) -> list[str]:
    """Return why the numbers may be wrong, what happened and what was cut; empty when there is nothing to say."""
    lines = [*_nothing(report, page), *_doubts(report, page), *_incidents(report, page), *_unfinished(report, page)]
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
