"""Reports of runs that never were."""

from __future__ import annotations

from dataclasses import replace

from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, KIND_TASK
from gaggle.judge import Judge
from gaggle.meters import Meter
from gaggle.metrics import Key, Row, Snapshot
from gaggle.report.model import EngineHealth, Phase, Report, ReportClass
from gaggle.series import Series

T0 = 1_653_000_000.0


def row(kind, label, name, *ms, failed=0):
    made = Row(Key(kind, label, name), started=len(ms), answered=len(ms), failed=failed, statuses={200: len(ms)})
    for each in ms:
        made.times.record(round(each * 1_000))
    made.sum_us, made.bytes_in = round(sum(ms) * 1_000), 10 * len(ms)
    made.minimum_us, made.maximum_us = round(min(ms) * 1_000), round(max(ms) * 1_000)
    return made


def make_report(*names, start=T0, seconds=30, ms=(3, 70, 71.3), label="GET"):
    """Return a report of a run of so many seconds, in which each name was requested at each of them."""
    series, total = Series(start), Snapshot()
    for second in range(seconds):
        delta = Snapshot({each.key: each for each in (row(KIND_REQUEST, label, name, *ms) for name in names)})
        series.extend(start + second + 1, users=4, busy=0.25)
        series.put(start + second, start + second + 1, delta)
        total.merge(delta)
    for name in names:
        task = row(KIND_TASK, label, name, 80, failed=1)
        total.rows[task.key] = task
        for kind in (KIND_CHECK, KIND_COUNT, KIND_GAUGE):
            last, last_us = (-1.5, 1_653_000_000_000_001) if kind == KIND_GAUGE else (0.0, 0)
            ends = (-1.5, 4.0) if kind == KIND_GAUGE else (None, None)
            total.meters[Key(kind, "", name)] = Meter(7, int(kind == KIND_CHECK), 0, *ends, last, last_us)
    report = Report(
        total,
        float(seconds),
        classes=(ReportClass(label, tuple(names)),),
        phases=(Phase("Maintaining", start, start + seconds, 4, 4),),
        hosts=("http://127.0.0.1:8080/",),
        engines=(EngineHealth(0, 3.0, float(seconds), 90),),
        versions={"gaggle": "0.1.0", "libcurl": "8.14.1", "python": "3.11.7"},
        seed=7,
        users=4,
        load_test="shop.py",
        series=series,
        options={"users": 4, "threshold": ["max<1s"]},
    )
    return replace(report, thresholds=Judge(["max<71ms", "rate>1/s", "p(50){gone}<1s"]).verdict(total, seconds))
