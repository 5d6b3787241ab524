"""The report as JSON, for programs: plain data, every key always there, no NaN. Times are microseconds if they say so.

docs/report.schema.json has the exact shape. gaggle.report.load makes a Report of it again, from which every other
format can be made and runs can be merged; nothing that a reader of the JSON can work out is left out for that.

    schema          1; it grows by keys alone, any other change raises it
    gaggle          {"gaggle": version, "libcurl": version, "python": version, ...}
    load_test, users, seed, hosts, notes, classes [{"name", "tasks": [name]}], options {name: value}
    show            {"status_codes": bool, "errors": bool}: the tables that a person wants to see
    duration_s      seconds that were measured; a rate is a count divided by it
    verdict         {"nothing_succeeded": bool, "doubts": [text, ...]}; no doubts: the numbers can be believed
    requests        [row], each with "method" and "name"; by method and name, as are
    tasks           [row], each with "user" and "name"; in the load test's order, also those that never ran
    users_by_class  [row], each with "user": what was counted for the class; its times are whole lives of users
    totals          {"requests": row, "tasks": row}, the sums of the above
    counted         {"users_running", "users_started", "users_exited", "names_lost", "errors_lost"}
    thresholds      [{"text", "holds", "value", "said", "missing", "crossed"}]; "said" is the value for people,
                    "missing" that nothing was measured, "crossed" when it first was (or null)
    baseline        null, or what changed since an earlier run: {"file", "started", "duration", "users", "differing",
                    "gone", "new", "changes": [{"method", "name", "what", "before", "after", "change", "low", "high",
                    "chance", "is_clear"}]}; "what" is rate, failures, mean, p50, p95 or p99
    checks          [{"name", "times", "passed", "failed"}]; of the load test's own, by name, as are
    counts          [{"name", "times", "sum"}]; how often self.count was called, and what it adds up to
    gauges          [{"name", "times", "sum", "mean", "min", "max", "last", "last_at"}]
    errors          [{"kind": "request" | "task" | "user", "method", "user", "name", "text", "count", "first", "last"}],
                    the most frequent first; "method" is empty unless a request's, "user" unless a task's
    incidents       [{"at", "kind", "text"}]
    phases          [{"action", "started", "stopped", "users_from", "users_to"}]
    engines         [{"index", "cpu_seconds", "wall_seconds", "requests", "worker", "busy"}]; busy is the share of
                    a core, worker 0 where there is no gaggle
    lag             times: how long responses waited for gaggle itself
    series          {"measured_from", "whole": stretches, "named": stretches}: what was counted when. Each has "edges",
                    the moments at which stretches begin, and the end of the last one; "kept", those that stay; "step",
                    the seconds that a stretch should be long; and "rows", a list of columns: "method", "name", "at"
                    (numbers of stretches), count, failures, bytes_in, bytes_out, times; of the whole lag, users, busy

    row     started, answered, broken, failed, forgiven, unfinished, hops, resent, bytes_in, bytes_out, sum_us;
            count (answered + broken), failures (failed - forgiven), statuses {"200": n, "other": n},
            response_time and first_byte: times
    times   count, mean_us, min_us, max_us, p50_us, p75_us, p95_us, p98_us, p99_us, p99_9_us, p99_99_us: numbers, or
            null if nothing was measured; histogram: base64 of a compressed HdrHistogram V2, which any HDR tool reads

Percentiles are given for any count; those with count * (1 - p) < 1 are no more than the maximum. Times at which
something happened (first, last, at, started, stopped) are unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from gaggle import metrics
from gaggle._core import KIND_REQUEST, KIND_TASK, KIND_USER, Histogram
from gaggle.counts import SUMS, Counts
from gaggle.grid import Grid
from gaggle.meters import Meter
from gaggle.metrics import NUMBERS, ErrorRow, Key, Row
from gaggle.report.distribution import encoded
from gaggle.report.model import PERCENTILES, WHOLE, EngineHealth, Report, extremes, status_name
from gaggle.series import Series

SCHEMA = 1
COUNTERS = (*metrics.COUNTERS, "count", "failures")
COLUMNS: dict[str, Callable[[Counts], Any]] = {
    **{name: attrgetter(name) for name in SUMS},
    "times": lambda counts: _packed(counts.times),
}
COLUMNS_OF_WHOLE: dict[str, Callable[[Counts], Any]] = {
    "lag": lambda counts: _packed(counts.lag),
    "users": attrgetter("users"),
    "busy": attrgetter("busy"),
}
KINDS = {KIND_REQUEST: "request", KIND_TASK: "task", KIND_USER: "user"}

Data = dict[str, Any]


def render(report: Report) -> str:
    """Return the report as JSON in ASCII, with a newline at its end. Raises ValueError if a number is not finite."""
    found = data(report)
    series = _lines(found.pop("series"))
    return f'{json.dumps(found, indent=2, allow_nan=False)[:-2]},\n  "series": {series}\n}}\n'


def _lines(series: Data) -> str:
    """Return the series as JSON with a row a line: numbers by the thousand, which nobody reads one below the other."""
    head = f'{{\n    "measured_from": {json.dumps(series["measured_from"], allow_nan=False)}'
    grids = [f'"{name}": {_grid_lines(series[name])}' for name in ("whole", "named")]
    return ",\n    ".join([head, *grids]) + "\n  }"


def _grid_lines(grid: Data) -> str:
    head = json.dumps({name: value for name, value in grid.items() if name != "rows"}, allow_nan=False)[:-1]
    rows = ",\n      ".join(json.dumps(row, allow_nan=False) for row in grid["rows"])
    return f'{head}, "rows": [\n      {rows}]}}' if rows else f'{head}, "rows": []}}'


def data(report: Report) -> Data:
    """Return the report as lists, dicts, texts and numbers, in the shape that the module describes."""
    return {
        "schema": SCHEMA,
        "gaggle": report.versions,
        "load_test": report.load_test,
        "users": report.users,
        "seed": report.seed,
        "hosts": list(report.hosts),
        "notes": list(report.notes),
        "classes": [{"name": known.name, "tasks": list(known.tasks)} for known in report.classes],
        "options": report.options,
        "show": {"status_codes": report.show_statuses, "errors": report.show_errors},
        "duration_s": report.duration,
        "verdict": {"nothing_succeeded": report.nothing_succeeded, "doubts": report.doubts},
        "thresholds": [asdict(threshold) for threshold in report.thresholds],
        "baseline": report.baseline and asdict(report.baseline),
        **_rows(report),
        "counted": {name: getattr(report.snapshot, name) for name in NUMBERS},
        **_meters(report),
        "errors": [_error(row) for row in report.errors()],
        "incidents": [asdict(incident) for incident in report.incidents],
        "phases": [asdict(phase) for phase in report.phases],
        "engines": [_engine(engine) for engine in report.engines],
        "lag": _times(report.snapshot.lag),
        "series": _series(report.series),
    }


def _rows(report: Report) -> Data:
    total = report.snapshot.total
    return {
        "requests": [{"method": row.key.label, "name": row.key.name} | _row(row) for row in report.snapshot.requests()],
        "tasks": [{"user": user, "name": row.key.name} | _row(row) for user, rows in report.tasks() for row in rows],
        "users_by_class": [{"user": row.key.name} | _row(row) for row in report.snapshot.users()],
        "totals": {"requests": _row(total(KIND_REQUEST)), "tasks": _row(total(KIND_TASK))},
    }


def _meters(report: Report) -> Data:
    snapshot = report.snapshot
    return {
        "checks": [_meter(name, meter) | _verdicts(meter) for name, meter in snapshot.checks()],
        "counts": [_meter(name, meter) | {"sum": meter.sum} for name, meter in snapshot.counts()],
        "gauges": [_meter(name, meter) | _values(meter) for name, meter in snapshot.gauges()],
    }


def _meter(name: str, meter: Meter) -> Data:
    return {"name": name, "times": meter.samples}


def _verdicts(meter: Meter) -> Data:
    return {"passed": meter.passed, "failed": meter.failed}


def _values(meter: Meter) -> Data:
    ends = {"min": meter.lowest, "max": meter.highest}
    return {"sum": meter.sum, "mean": meter.mean, **ends, "last": meter.last, "last_at": meter.last_us / 1e6}


def _row(row: Row) -> Data:
    return {
        **{name: getattr(row, name) for name in COUNTERS},
        "statuses": {status_name(code): row.statuses[code] for code in sorted(row.statuses)},
        "response_time": _times(row.times, row.mean_us, extremes(row)),
        "first_byte": _times(row.first_byte),
    }


def _times(times: Histogram, mean: float | None = None, ends: tuple[int, int] | None = None) -> Data:
    """Return what a histogram says; `mean` and `ends` (us) are given where they are known more exactly."""
    least, greatest = ends or (times.minimum(), times.maximum())
    values: Data = {
        "mean_us": times.mean() if mean is None else mean,
        "min_us": least,
        "max_us": greatest,
        **{percentile_key(share): min(times.percentile(share / WHOLE), greatest) for share in PERCENTILES},
    }
    known = {key: value if times else None for key, value in values.items()}
    return {"count": times.total, **known, "histogram": encoded(times)}


def percentile_key(share: int) -> str:
    """Return `p99_9_us` for 9990, a share in hundredths of a percent."""
    return f"p{share / 100:g}_us".replace(".", "_")


def _error(row: ErrorRow) -> Data:
    names = {"method": "", "user": ""} | {"method" if row.key.kind == KIND_REQUEST else "user": row.key.label}
    seen = {"text": row.text, "count": row.count, "first": row.first, "last": row.last}
    return {"kind": KINDS[row.key.kind], **names, "name": row.key.name, **seen}


def _engine(engine: EngineHealth) -> Data:
    return asdict(engine) | {"busy": engine.busy}


def _series(series: Series) -> Data:
    return {
        "measured_from": series.measured_from,
        "whole": _stretches(series.whole, of_whole=True),
        "named": _stretches(series.named, of_whole=False),
    }


def _stretches(grid: Grid, of_whole: bool) -> Data:
    columns = COLUMNS | COLUMNS_OF_WHOLE if of_whole else COLUMNS
    rows: dict[Key, Data] = {key: {"at": []} | {name: [] for name in columns} for key in sorted(grid.numbers)}
    for place, key, counts in grid.cells():
        rows[key]["at"].append(place)
        for name, column in columns.items():
            rows[key][name].append(column(counts))
    named = [{"method": key.label, "name": key.name} | row for key, row in rows.items()]
    return {"edges": grid.edges, "kept": sorted(grid.kept), "step": grid.step, "rows": named}


def _packed(times: Histogram) -> str:
    return encoded(times) if times else ""
