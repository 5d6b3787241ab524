"""The report as CSV (RFC 4180, UTF-8): a line a request, task, user class, own meter, error, threshold and change.

The columns are always the same; those that say nothing about a line are empty. Times are milliseconds, without
thousands commas; percentiles that too few samples cannot tell are empty. Names cannot become formulas: escaping.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, KIND_TASK
from gaggle.meters import Meter
from gaggle.metrics import AGGREGATED, ErrorRow, Key, Row
from gaggle.report import model
from gaggle.report.escaping import spreadsheet
from gaggle.report.json_report import KINDS
from gaggle.report.model import PERCENTILES, Change, Judgement, Report, status_name

COUNTERS = ("count", "failures", "unfinished")
METERS = {KIND_CHECK: "check", KIND_COUNT: "count", KIND_GAUGE: "gauge"}
SHARES = {share: f"p{share / 100:g}_ms" for share in PERCENTILES}
OWN = ("sum", "mean", "min", "max", "last")  # of the load test's own counts and gauges
CHANGE = ("before", "after", "change", "change_low", "change_high", "clear")  # since the baseline; times are ms
COLUMNS = (
    *("line", "label", "name", "text", *COUNTERS, "per_second", "failures_per_second"),
    *("mean_ms", "min_ms", "max_ms", *SHARES.values(), "bytes_in", "bytes_out", "statuses", "holds"),
    *OWN,
    *CHANGE,
)


def render(report: Report) -> str:
    """Return the whole report, with CRLF at the end of each line."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(_lines(report))
    return file.getvalue()


def _lines(report: Report) -> Iterator[dict[str, Any]]:
    snapshot = report.snapshot
    rows = snapshot.requests() + [row for _, rows in report.tasks() for row in rows] + snapshot.users()
    yield from (_row(row, KINDS[row.key.kind], report.duration) for row in rows)
    for kind in (KIND_REQUEST, KIND_TASK):
        if any(row.key.kind == kind for row in rows):
            yield _row(snapshot.total(kind), f"all {KINDS[kind]}s", report.duration)
    yield from (_meter(key, meter, report.duration) for key, meter in sorted(snapshot.meters.items()))
    yield from map(_error, report.errors())
    yield from map(_threshold, report.thresholds)
    yield from map(_change, report.baseline.changes if report.baseline else ())


def _row(row: Row, line: str, duration: float) -> dict[str, Any]:
    rates = {"per_second": row.count / duration, "failures_per_second": row.failures / duration} if duration > 0 else {}
    statuses = [f"{row.statuses[code]} x {status_name(code)}" for code in sorted(row.statuses)]
    return {
        "line": line,
        "label": spreadsheet(row.key.label),
        "name": "" if row.key.name == AGGREGATED else spreadsheet(row.key.name),
        **{name: getattr(row, name) for name in COUNTERS},
        **{name: f"{rate:.3f}" for name, rate in rates.items()},
        **_times(row),
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "statuses": "; ".join(statuses),
    }


def _times(row: Row) -> dict[str, str]:
    if not row.times:
        return {}
    least, greatest = model.extremes(row)
    known = {
        name: model.percentile_us(row, share)
        for share, name in SHARES.items()
        if model.is_known(share, row.times.total)
    }
    values = {"mean_ms": row.mean_us, "min_ms": least, "max_ms": greatest, **known}
    return {name: f"{us / 1_000:.3f}" for name, us in values.items()}


def _meter(key: Key, meter: Meter, duration: float) -> dict[str, Any]:
    line: dict[str, Any] = {"line": METERS[key.kind], "name": spreadsheet(key.name), "count": meter.samples}
    if key.kind == KIND_CHECK:
        return line | {"failures": meter.failed}
    if key.kind == KIND_COUNT:
        return line | {"sum": meter.sum} | ({"per_second": f"{meter.sum / duration:.3f}"} if duration > 0 else {})
    return line | dict(zip(OWN, (meter.sum, meter.mean, meter.lowest, meter.highest, meter.last), strict=True))


def _error(row: ErrorRow) -> dict[str, Any]:
    return {
        "line": "error",
        "label": spreadsheet(row.key.label),
        "name": spreadsheet(row.key.name),
        "text": spreadsheet(row.text),
        "count": row.count,
    }


def _threshold(judgement: Judgement) -> dict[str, Any]:
    return {
        "line": "threshold",
        "name": spreadsheet(judgement.text),
        "text": spreadsheet(judgement.said),
        "holds": "yes" if judgement.holds else "no",
    }


def _change(change: Change) -> dict[str, Any]:
    per = 1 if change.what in ("rate", "failures") else 1_000
    ends = (change.before / per, change.after / per)
    values = dict(zip(CHANGE[:-1], (*ends, change.change, change.low, change.high), strict=True))
    return {
        "line": "change",
        "label": spreadsheet(change.method),
        "name": spreadsheet(change.name),
        "text": change.what,
        **{name: f"{value:.6g}" for name, value in values.items() if value is not None},
        "clear": "yes" if change.is_clear else "no",
    }
