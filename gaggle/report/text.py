"""The report that a person reads at the end of a test: the sections and columns of Goose, and what may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, starmap

from gaggle import units
from gaggle._core import KIND_REQUEST, KIND_TASK, Histogram
from gaggle.meters import Meter
from gaggle.metrics import AGGREGATED, OTHER, ErrorRow, Row
from gaggle.report import change, model, overview, verdict
from gaggle.report.model import PERCENTILES, WHOLE, Report, named
from gaggle.report.tables import BAR, Column, Line, Page, packed, right

Entries = list[tuple[str, Row | None]]  # a name, and what the cells beside it are about; None is a heading
Cells = Callable[[Row], tuple[str, ...]]

UNKNOWN = "-"  # nothing was measured, or too little to tell

TASK_COUNTS = (Column("# times run", 13), Column("# fails", 14), Column("task/s", 8), Column("fail/s", 7))
REQUEST_COUNTS = (Column("# reqs", 13), Column("# fails", 14), Column("req/s", 8), Column("fail/s", 7))
TIMES = (Column("Avg (ms)", 11), Column("Min", 10), Column("Max", 11), Column("Median", 10))
# No bars between these: with them, seven would not fit into the 80 columns of a terminal.
SHARES = tuple(
    Column(f"{share / 100:g}%", width) for share, width in zip(PERCENTILES, (6, 6, 6, 6, 7, 7, 7), strict=True)
)
STATUSES = (Column("Status codes", 51),)
CHECKS = (Column("# times", 13), Column("# fails", 14), Column("Passed", 18))
COUNTS = (Column("Sum", 13), Column("# times", 14), Column("sum/s", 8), Column("Avg", 7))
GAUGES = (Column("# times", 8), Column("Avg", 8), Column("Min", 7), Column("Max", 8), Column("Last", 8))

ERRORS_SHOWN = 50
COUNT = 11

RESPONSE_TITLE = "Response time (ms) that this share of the requests did not exceed:"
FIRST_BYTE_TITLE = "Time to the first byte (ms) that this share of the requests did not exceed:"
FIRST_BYTE_US = 1_000  # bodies that take less than this, or a tenth of the time, are not worth a second table
OTHER_ERRORS = "kinds of errors that found no room"
OTHER_NOTE = f" {OTHER}: everything whose name found no room; give requests a name= or a template."


def render(report: Report) -> str:
    """Return the whole report, with a newline at its end. Sections that have nothing to say are left out."""
    middle = (tasks, requests, percentiles, change.section, statuses, meters, errors)
    return _joined(report, (verdict.section, *middle, overview.section))


def render_running(report: Report) -> str:
    """Return what is worth reading while the test runs: the counts and the times so far."""
    return _joined(report, (tasks, requests, meters))


def _joined(report: Report, sections: Iterable[Callable[[Report, Page], list[str]]]) -> str:
    own = (key.name for key in report.snapshot.meters)
    page = Page.of(chain((name for name, _ in [*task_entries(report), *request_entries(report)]), own))
    return "".join(f"{line}\n" for section in sections for line in section(report, page))


@dataclass(frozen=True, slots=True)
class Subject:
    """What the tables of a section are about: its rows, and their sum if there is more than one."""

    entries: Entries
    total: Row | None

    @classmethod
    def of(cls, report: Report, kind: int, entries: Entries) -> Subject:
        """Return `entries` with the sum of all rows of the kind."""
        rows = sum(row is not None for _, row in entries)
        return cls(entries, report.snapshot.total(kind) if rows > 1 else None)

    def draw(self, page: Page, columns: tuple[Column, ...], cells: Cells, title: str = "", gap: str = BAR) -> list[str]:
        """Return a table in which each row has the `cells` of its own."""
        lines = [Line(name, cells(row) if row else ()) for name, row in self.entries]
        totals = [Line(AGGREGATED, cells(self.total))] if self.total else []
        return page.table(columns, lines, totals, title, gap)


def task_entries(report: Report) -> Entries:
    """Return a heading a user class and under it a row a task, both numbered from 1."""
    entries: Entries = []
    for number, (name, rows) in enumerate(report.tasks(), 1):
        entries.append((f"{number}: {name or OTHER}", None))
        entries.extend((f"  {place}: {row.key.name}", row) for place, row in enumerate(rows, 1))
    return entries


def request_entries(report: Report) -> Entries:
    """Return a row a request, by method and name."""
    return [(named(row.key), row) for row in report.snapshot.requests()]


def tasks(report: Report, page: Page) -> list[str]:
    """Return the section of the tasks: how often, how many failed, how long."""
    subject = Subject.of(report, KIND_TASK, task_entries(report))
    return _metrics("PER TASK METRICS", subject, TASK_COUNTS, report.duration, page)


def requests(report: Report, page: Page) -> list[str]:
    """Return the section of the requests: how often, how many failed, how long."""
    subject = Subject.of(report, KIND_REQUEST, request_entries(report))
    return _metrics("PER REQUEST METRICS", subject, REQUEST_COUNTS, report.duration, page)


def _metrics(title: str, subject: Subject, counts: tuple[Column, ...], duration: float, page: Page) -> list[str]:
    if not subject.entries:
        return []
    tables = subject.draw(page, counts, partial(counts_of, duration)) + subject.draw(page, TIMES, times_of)
    note = [OTHER_NOTE] if any(row and row.key.name == OTHER for _, row in subject.entries) else []
    return ["", f" === {title} ===", *tables, *note]


def counts_of(duration: float, row: Row) -> tuple[str, ...]:
    """Return the cells of TASK_COUNTS and REQUEST_COUNTS."""
    fails = f"{units.thousands(row.failures)} ({units.percent(row.failures, row.count)})"
    return units.thousands(row.count), fails, _rate(row.count, duration), _rate(row.failures, duration)


def _rate(count: int, duration: float) -> str:
    return units.rate(count / duration) if duration > 0 else UNKNOWN


def times_of(row: Row) -> tuple[str, ...]:
    """Return the cells of TIMES."""
    if not row.times:
        return (UNKNOWN,) * len(TIMES)
    return tuple(map(units.milliseconds, (row.mean_us, *model.extremes(row), model.percentile_us(row, PERCENTILES[0]))))


def percentiles(report: Report, page: Page) -> list[str]:
    """Return how the response times are spread, and those to the first byte where they tell something else."""
    subject = Subject.of(report, KIND_REQUEST, request_entries(report))
    if not subject.entries:
        return []
    drawn = subject.draw(page, SHARES, shares_of, RESPONSE_TITLE, gap=" ")
    if any(row and _body_takes_time(row) for _, row in subject.entries):
        drawn += subject.draw(page, SHARES, first_byte_shares_of, FIRST_BYTE_TITLE, gap=" ")
    return drawn


def shares_of(row: Row) -> tuple[str, ...]:
    """Return the cells of SHARES for the response time, `-` for what so few requests cannot tell."""
    return _shares(row.times, partial(model.percentile_us, row))


def first_byte_shares_of(row: Row) -> tuple[str, ...]:
    """Return the cells of SHARES for the time to the first byte."""
    return _shares(row.first_byte, lambda percentile: row.first_byte.percentile(percentile / WHOLE))


def _shares(histogram: Histogram, value_us: Callable[[int], int]) -> tuple[str, ...]:
    return tuple(
        units.milliseconds(value_us(percentile)) if model.is_known(percentile, histogram.total) else UNKNOWN
        for percentile in PERCENTILES
    )


def _body_takes_time(row: Row) -> bool:
    first, last = row.first_byte.percentile(0.5), row.times.percentile(0.5)
    return bool(row.first_byte) and last - first > max(FIRST_BYTE_US, last // 10)


def statuses(report: Report, page: Page) -> list[str]:
    """Return how often each status code came, in ascending order."""
    subject = Subject.of(report, KIND_REQUEST, request_entries(report))
    if not subject.entries or not report.show_statuses:
        return []
    lines = [line for name, row in subject.entries if row for line in _status_lines(name, row)]
    return page.table(STATUSES, lines, list(_status_lines(AGGREGATED, subject.total)) if subject.total else [])


def _status_lines(name: str, row: Row) -> Iterator[Line]:
    """Yield the row, on as many lines as its codes need."""
    codes = [(model.status_name(code), row.statuses[code]) for code in sorted(row.statuses)]
    codes.append(("no response", row.broken))
    items = [f"{units.thousands(count)} [{code}]" for code, count in codes if count]
    for number, cell in enumerate(packed(items or [UNKNOWN], STATUSES[0].width)):
        yield Line("" if number else name, (cell,))


def meters(report: Report, page: Page) -> list[str]:
    """Return what the load test counted itself: checks, counts and gauges, a table each."""
    lines: list[str] = []
    for title, columns, rows in meter_tables(report):
        lines += page.table(columns, list(starmap(Line, rows)), [], title)
    return ["", " === CUSTOM METRICS ===", *lines] if lines else []


def meter_tables(report: Report) -> Iterator[tuple[str, Sequence[Column], list[tuple[str, tuple[str, ...]]]]]:
    """Yield the title, columns and rows (name, cells) of what the load test counted itself, where there is any."""
    snapshot = report.snapshot
    tables = (
        ("Checks", CHECKS, check_cells, snapshot.checks()),
        ("Counts", COUNTS, partial(count_cells, report.duration), snapshot.counts()),
        ("Gauges", GAUGES, gauge_cells, snapshot.gauges()),
    )
    for title, columns, cells, found in tables:
        if found:
            yield title, columns, [(name, cells(meter)) for name, meter in found]


def check_cells(meter: Meter) -> tuple[str, ...]:
    """Return the cells of CHECKS."""
    fails = f"{units.thousands(meter.failed)} ({units.percent(meter.failed, meter.samples)})"
    return units.thousands(meter.samples), fails, units.percent(meter.passed, meter.samples)


def count_cells(duration: float, meter: Meter) -> tuple[str, ...]:
    """Return the cells of COUNTS."""
    per_second = units.rate(meter.sum / duration) if duration > 0 else UNKNOWN
    return units.number(meter.sum), units.thousands(meter.samples), per_second, units.number(meter.mean)


def gauge_cells(meter: Meter) -> tuple[str, ...]:
    """Return the cells of GAUGES."""
    ends = (UNKNOWN if end is None else units.number(end) for end in (meter.lowest, meter.highest))
    return units.thousands(meter.samples), units.number(meter.mean), *ends, units.number(meter.last)


def errors(report: Report, page: Page) -> list[str]:
    """Return what went wrong and how often, the most frequent first."""
    found = report.errors()
    if not found or not report.show_errors:
        return []
    head = [page.rule(), f" {right('Count', COUNT)} | Error", page.rule()]
    rows = [line for row in found[:ERRORS_SHOWN] for line in _error_lines(row, page)]
    return ["", " === ERRORS ===", *head, *rows, *_unshown(found[ERRORS_SHOWN:])]


def _error_lines(row: ErrorRow, page: Page) -> list[str]:
    text = units.printable(f"{named(row.key)}: {OTHER_ERRORS if row.text == OTHER else row.text}")
    count = right(units.thousands(row.count), COUNT)
    return page.wrapped(text, f" {count} | ", " " * (COUNT + 1) + " | ")


def _unshown(rest: list[ErrorRow]) -> list[str]:
    if not rest:
        return []
    kinds = model.counted(len(rest), "rarer kind")
    return [f" {right(units.thousands(sum(row.count for row in rest)), COUNT)} | {kinds}: the JSON report has them all"]
