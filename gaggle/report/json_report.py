"""The report as JSON, for programs: plain data, every key always there, no NaN. Times are microseconds if they say so.

    schema          1; it grows by keys alone, any other change raises it
    gaggle          {"gaggle": version, "libcurl": version, "python": version, ...}
    load_test, users, seed, hosts, notes
    duration_s      seconds that were measured; a rate is a count divided by it
    verdict         {"nothing_succeeded": bool, "doubts": [text, ...]}; no doubts: the numbers can be believed
    requests        [row], each with "method" and "name"; by method and name, as are
    tasks           [row], each with "user" and "name"; in the load test's order, also those that never ran
    users_by_class  [row], each with "user": what was counted for the class; its times are whole lives of users
    totals          {"requests": row, "tasks": row}, the sums of the above
    checks          [{"name", "times", "passed", "failed"}]; of the load test's own, by name, as are
    counts          [{"name", "times", "sum"}]; how often self.count was called, and what it adds up to
    gauges          [{"name", "times", "mean", "min", "max", "last", "last_at"}]
    errors          [{"kind": "request" | "task" | "user", "method", "user", "name", "text", "count", "first", "last"}],
                    the most frequent first; "method" is empty unless a request's, "user" unless a task's
    incidents       [{"at", "kind", "text"}]
    phases          [{"action", "started", "stopped", "users_from", "users_to"}]
    engines         [{"index", "cpu_seconds", "wall_seconds", "requests", "busy"}]; busy is the share of a core
    lag             times: how long responses waited for gaggle itself

    row     started, answered, broken, failed, forgiven, unfinished, hops, resent, bytes_in, bytes_out: the counters;
            count (answered + broken), failures (failed - forgiven), statuses {"200": n, "other": n},
            response_time and first_byte: times
    times   count, mean_us, min_us, max_us, p50_us, p75_us, p95_us, p98_us, p99_us, p99_9_us, p99_99_us: numbers, or
            null if nothing was measured; histogram: base64 of a compressed HdrHistogram V2, which any HDR tool reads

Percentiles are given for any count; those with count * (1 - p) < 1 are no more than the maximum. Times at which
something happened (first, last, at, started, stopped) are unix seconds.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

from gaggle._core import KIND_REQUEST, KIND_TASK, KIND_USER, Histogram
from gaggle.meters import Meter
from gaggle.metrics import ErrorRow, Row
from gaggle.report.model import PERCENTILES, WHOLE, EngineHealth, Report, extremes, status_name

SCHEMA = 1
COUNTERS = (
    *("started", "answered", "broken", "failed", "forgiven", "unfinished", "hops", "resent", "bytes_in", "bytes_out"),
    *("count", "failures"),
)
KINDS = {KIND_REQUEST: "request", KIND_TASK: "task", KIND_USER: "user"}

Data = dict[str, Any]


def render(report: Report) -> str:
    """Return the report as JSON in ASCII, with a newline at its end. Raises ValueError if a number is not finite."""
    return json.dumps(data(report), indent=2, allow_nan=False) + "\n"


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
        "duration_s": report.duration,
        "verdict": {"nothing_succeeded": report.nothing_succeeded, "doubts": report.doubts},
        **_rows(report),
        **_meters(report),
        "errors": [_error(row) for row in report.errors()],
        "incidents": [asdict(incident) for incident in report.incidents],
        "phases": [asdict(phase) for phase in report.phases],
        "engines": [_engine(engine) for engine in report.engines],
        "lag": _times(report.snapshot.lag),
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
    return {"mean": meter.mean, **ends, "last": meter.last, "last_at": meter.last_us / 1e6}


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
    return {"count": times.total, **known, "histogram": base64.b64encode(times.encode_compressed()).decode()}


def percentile_key(share: int) -> str:
    """Return `p99_9_us` for 9990, a share in hundredths of a percent."""
    return f"p{share / 100:g}_us".replace(".", "_")


def _error(row: ErrorRow) -> Data:
    names = {"method": "", "user": ""} | {"method" if row.key.kind == KIND_REQUEST else "user": row.key.label}
    seen = {"text": row.text, "count": row.count, "first": row.first, "last": row.last}
    return {"kind": KINDS[row.key.kind], **names, "name": row.key.name, **seen}


def _engine(engine: EngineHealth) -> Data:
    return asdict(engine) | {"busy": engine.busy}
