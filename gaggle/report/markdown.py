"""The report as Markdown: for a pull request, a wiki, or the summary of a job on GitHub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gaggle import units
from gaggle._core import KIND_REQUEST, KIND_TASK
from gaggle.metrics import AGGREGATED, OTHER, Row
from gaggle.report import change, model, overview, verdict
from gaggle.report.escaping import markdown as safe
from gaggle.report.model import PERCENTILES, Report, named
from gaggle.report.text import ERRORS_SHOWN, UNKNOWN, counts_of, meter_tables, shares_of, times_of
from gaggle.report.verdict import INCIDENTS_SHOWN

NAME = "Name"
COUNTS = ("# reqs", "# fails", "req/s", "fail/s")
TASK_COUNTS = ("# times run", "# fails", "task/s", "fail/s")
TIMES = ("Avg (ms)", "Min", "Max")
SHARES = tuple(f"{share / 100:g}%" for share in PERCENTILES)
ROWS_SHOWN = 500  # GitHub takes a summary of at most 1 MiB


def render(report: Report) -> str:
    """Return the whole report, with a newline at its end."""
    sections = (_head, _thresholds, _baseline, _requests, _tasks, _statuses, _meters, _errors, _incidents, _overview)
    return "\n".join(line for section in sections for line in section(report)) + "\n"


def _head(report: Report) -> Iterator[str]:
    """Yield whether it can be believed, whether the thresholds hold, what failed most and since when."""
    yield f"# Load test{f': {safe(report.load_test)}' if report.load_test else ''}"
    yield ""
    if report.nothing_succeeded:
        yield "- :x: **Nothing succeeded.**"
    yield from (f"- :warning: **Do not trust these numbers:** {safe(doubt, 500)}" for doubt in report.doubts)
    if not report.doubts:
        yield "- :white_check_mark: Nothing speaks against these numbers."
    if report.thresholds:
        mark = ":white_check_mark:" if all(judgement.holds for judgement in report.thresholds) else ":x:"
        yield f"- {mark} Thresholds: {verdict.thresholds_in_all(report)}"
    if text := change.sentence(report):
        yield f"- {safe(text, 500)}"
    if worst := verdict.worst(report):
        yield f"- :warning: {safe(worst, 500)}"
    if cut := overview.unfinished(report):
        yield f"- Unfinished: {cut}; they count neither as success nor as failure."


def _thresholds(report: Report) -> Iterator[str]:
    if report.thresholds:
        yield from _table(
            "Thresholds",
            ("Threshold", "Result", "Found"),
            (
                (safe(item.text), "holds" if item.holds else "**does not hold**", safe(verdict.judged(item), 200))
                for item in report.thresholds
            ),
        )


def _baseline(report: Report) -> Iterator[str]:
    if report.baseline is None:
        return
    yield from _table(
        "Change since the baseline",
        (NAME, *change.TITLES.values()),
        (
            (safe(name), *(safe(change.cell(each)) for each in changes))
            for name, changes in change.rows(report.baseline)
        ),
    )
    yield ""
    yield from (f"- {safe(fact, 300)}" for fact in (*change.facts(report.baseline), change.FOOT))


def _requests(report: Report) -> Iterator[str]:
    rows = report.snapshot.requests()
    if rows:
        total = report.snapshot.total(KIND_REQUEST)
        yield from _counted("Requests", COUNTS, [(named(row.key), row) for row in rows], total, report.duration)


def _tasks(report: Report) -> Iterator[str]:
    rows = [(f"{user} {row.key.name}".strip(), row) for user, rows in report.tasks() for row in rows]
    if rows:
        yield from _counted("Tasks", TASK_COUNTS, rows, report.snapshot.total(KIND_TASK), report.duration)


def _counted(
    title: str, counts: Sequence[str], rows: list[tuple[str, Row]], total: Row, duration: float
) -> Iterator[str]:
    shown = [(safe(name), row) for name, row in rows[:ROWS_SHOWN]]
    totals = [(f"**{AGGREGATED}**", total)] if len(rows) > 1 else []
    cells = ((name, *counts_of(duration, row), *times_of(row)[:3], *shares_of(row)) for name, row in shown + totals)
    yield from _table(title, (NAME, *counts, *TIMES, *SHARES), cells)
    if (more := len(rows) - ROWS_SHOWN) > 0:
        yield f"\n{units.thousands(more)} more are in the JSON report."


def _statuses(report: Report) -> Iterator[str]:
    rows = report.snapshot.requests()
    if rows and report.show_statuses:
        yield from _table(
            "Status codes", (NAME, "Codes"), ((safe(named(row.key)), _codes(row)) for row in rows[:ROWS_SHOWN])
        )


def _codes(row: Row) -> str:
    codes = [(model.status_name(code), row.statuses[code]) for code in sorted(row.statuses)]
    codes.append(("no response", row.broken))
    return ", ".join(f"{units.thousands(count)} × {code}" for code, count in codes if count) or UNKNOWN


def _meters(report: Report) -> Iterator[str]:
    for title, columns, rows in meter_tables(report):
        titles = (NAME, *(column.title for column in columns))
        yield from _table(title, titles, ((safe(name), *cells) for name, cells in rows[:ROWS_SHOWN]))


def _errors(report: Report) -> Iterator[str]:
    found = report.errors()
    if not found or not report.show_errors:
        return
    yield from _table(
        "Errors",
        ("Error", "Count", "First", "Last"),
        (
            (
                safe(named(row.key) + ("" if row.text == OTHER else f": {row.text}"), 300),
                units.thousands(row.count),
                overview.moment(row.first),
                overview.moment(row.last),
            )
            for row in found[:ERRORS_SHOWN]
        ),
    )
    if (more := len(found) - ERRORS_SHOWN) > 0:
        yield f"\n{units.thousands(more)} rarer kinds are in the JSON report."


def _incidents(report: Report) -> Iterator[str]:
    if not report.incidents:
        return
    yield from ("", "## Incidents", "")
    for incident in report.incidents[:INCIDENTS_SHOWN]:
        yield f"- {overview.moment(incident.at)} {safe(incident.kind)}: {safe(incident.text, 500)}"
    if (more := len(report.incidents) - INCIDENTS_SHOWN) > 0:
        yield f"- and {units.thousands(more)} more, in the JSON report"


def _overview(report: Report) -> Iterator[str]:
    yield from ("", "## Overview", "")
    for phase in report.phases:
        yield f"- {overview.phase_line(phase)}"
    yield from (f"- {safe(fact.removeprefix(' - '), 300)}" for fact in overview.facts(report))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"## {title}", "", _line(columns), _line([":--", *["--:"] * (len(columns) - 1)]))
    yield from map(_line, rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
