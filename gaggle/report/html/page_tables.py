"""The tables of the page: each cell has the text that a person reads, and the number that it is sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gaggle import units
from gaggle._core import KIND_REQUEST, KIND_TASK
from gaggle.metrics import AGGREGATED, OTHER, Row
from gaggle.report import change, model, overview, verdict
from gaggle.report.model import PERCENTILES, Change, Report, named
from gaggle.report.text import ERRORS_SHOWN, OTHER_ERRORS, UNKNOWN, counts_of, meter_tables, shares_of, times_of

ROWS_SHOWN = 2_000
TIMES = ("Avg (ms)", "Min", "Max", *(f"{share / 100:g}%" for share in PERCENTILES))


class Column(NamedTuple):
    """The header of a column."""

    title: str
    is_text: bool = False


class Cell(NamedTuple):
    """What stands in a cell; `value` sorts, None where the text does; `style` is good, bad or warn."""

    text: str
    value: float | None = None
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page, with a row for all together if there are several."""

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] = ()
    notes: Sequence[str] = ()


def tables(report: Report) -> list[Table]:
    """Return all of them that have rows."""
    parts = (_thresholds, _changes, _requests, _statuses, _errors, _tasks, _meters)
    return [table for part in parts for table in part(report) if table.rows]


def _thresholds(report: Report) -> Iterator[Table]:
    rows = [
        (
            Cell(item.text),
            Cell("holds", 1, "good") if item.holds else Cell("does not hold", 0, "bad"),
            Cell(verdict.judged(item)),
        )
        for item in report.thresholds
    ]
    yield Table("thresholds", "Thresholds", (Column("Threshold"), Column("Result"), Column("Found", True)), rows)


def _changes(report: Report) -> Iterator[Table]:
    if report.baseline is None:
        return
    columns = (Column("Name"), *map(Column, change.TITLES.values()))
    rows = [(Cell(name), *map(_change, changes)) for name, changes in change.rows(report.baseline)]
    facts = (*change.facts(report.baseline), change.FOOT)
    yield Table("changes", "Change since the baseline", columns, rows, notes=facts)


def _change(found: Change | None) -> Cell:
    style = "" if found is None or not found.is_clear else "bad" if found.is_worse else "good"
    return Cell(change.cell(found), found.change if found is not None else None, style)


def _requests(report: Report) -> Iterator[Table]:
    rows = [(named(row.key), row) for row in report.snapshot.requests()]
    yield _counted(report, "Requests", "req/s", rows, report.snapshot.total(KIND_REQUEST))


def _tasks(report: Report) -> Iterator[Table]:
    rows = [(f"{user} {row.key.name}".strip(), row) for user, rows in report.tasks() for row in rows]
    yield _counted(report, "Tasks", "task/s", rows, report.snapshot.total(KIND_TASK))


def _counted(report: Report, title: str, rate: str, rows: Sequence[tuple[str, Row]], total: Row) -> Table:
    columns = [Column("Name"), *map(Column, ("Count", "Failures", rate, "fail/s", *TIMES))]
    made = [[Cell(name), *_cells(report, row)] for name, row in rows[:ROWS_SHOWN]]
    whole = [Cell(AGGREGATED), *_cells(report, total)] if len(rows) > 1 else ()
    more = len(rows) - ROWS_SHOWN
    notes = [f"{units.thousands(more)} more are in the JSON report."] if more > 0 else []
    return Table(title.lower(), title, columns, made, whole, notes)


def _cells(report: Report, row: Row) -> Iterator[Cell]:
    duration = report.duration if report.duration > 0 else 1.0
    counts = (row.count, row.failures, row.count / duration, row.failures / duration)
    yield from _sorted_by(counts, counts_of(report.duration, row), bad=1 if row.failures else None)
    least, greatest = model.extremes(row)
    times = (row.mean_us, least, greatest, *(model.percentile_us(row, share) for share in PERCENTILES))
    yield from _sorted_by(times, (*times_of(row)[:3], *shares_of(row)))


def _sorted_by(values: Iterable[float], texts: Iterable[str], bad: int | None = None) -> Iterator[Cell]:
    """Yield the cells of some texts. What is not known is sorted below all."""
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        yield Cell(text, -1 if text == UNKNOWN else round(value, 3), "bad" if place == bad else "")


def _statuses(report: Report) -> Iterator[Table]:
    if not report.show_statuses:
        return
    rows = report.snapshot.requests()[:ROWS_SHOWN]
    codes = sorted({code for row in rows for code in row.statuses})
    broken = any(row.broken for row in rows)
    titles = (*map(model.status_name, codes), *(("no response",) if broken else ()))
    made = []
    for row in rows if titles else ():
        counts = [*(row.statuses.get(code, 0) for code in codes), *([row.broken] if broken else [])]
        made.append([Cell(named(row.key)), *(Cell(units.thousands(count) if count else "", count) for count in counts)])
    yield Table("statuses", "Status codes", [Column("Name"), *map(Column, titles)], made)


def _errors(report: Report) -> Iterator[Table]:
    if not report.show_errors:
        return
    found = report.errors()
    columns = (Column("Error"), Column("Count"), Column("First"), Column("Last"))
    rows = [
        (
            Cell(f"{named(row.key)}: {OTHER_ERRORS if row.text == OTHER else row.text}"),
            Cell(units.thousands(row.count), row.count),
            Cell(overview.moment(row.first), row.first),
            Cell(overview.moment(row.last), row.last),
        )
        for row in found[:ERRORS_SHOWN]
    ]
    more = len(found) - ERRORS_SHOWN
    notes = [f"{units.thousands(more)} rarer kinds are in the JSON report."] if more > 0 else []
    yield Table("errors", "Errors", columns, rows, notes=notes)


def _meters(report: Report) -> Iterator[Table]:
    for title, columns, rows in meter_tables(report):
        made = [(Cell(name), *map(Cell, cells)) for name, cells in rows[:ROWS_SHOWN]]
        yield Table(title.lower(), title, [Column("Name"), *(Column(column.title) for column in columns)], made)
