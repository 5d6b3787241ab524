"""A JSON report read again: the Report it was made of, from which every other format can be made."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from gaggle import metrics
from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, KIND_TASK, KIND_USER, Histogram
from gaggle.counts import SUMS, Counts
from gaggle.grid import Grid
from gaggle.meters import MILLION, Meter
from gaggle.metrics import NUMBERS, ErrorRow, Key, Row, Snapshot
from gaggle.report.json_report import KINDS, SCHEMA, Data
from gaggle.report.model import (
    STATUS_OTHER,
    Change,
    Comparison,
    EngineHealth,
    Incident,
    Judgement,
    Phase,
    Report,
    ReportClass,
)
from gaggle.series import MOST, MOST_NAMED, Series

KIND_OF = {word: kind for kind, word in KINDS.items()}
T = TypeVar("T")


def load(text: str) -> Report:
    """Return the report that `text` was rendered from. Raises ValueError with what is wrong, for anything else."""
    try:
        data = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON report: {error}") from None
    if not isinstance(data, dict) or "schema" not in data or "gaggle" not in data:
        raise ValueError("not a JSON report of gaggle: it has no schema")
    if data["schema"] != SCHEMA:
        raise ValueError(f"a report of schema {data['schema']}, this gaggle reads schema {SCHEMA}")
    try:
        return _report(data)
    except KeyError as error:
        raise ValueError(f"not a whole report: {error.args[0]!r} is missing") from None
    except (TypeError, AttributeError, ValueError, OverflowError, binascii.Error) as error:
        raise ValueError(f"not a report as gaggle writes it: {error}") from None


def read(name: str) -> Report:
    """Return the report in a file. Raises ValueError with what is wrong, also with the file."""
    try:
        return load(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror) from error


def _report(data: Data) -> Report:
    return Report(
        snapshot=_snapshot(data),
        duration=_number(data["duration_s"]),
        classes=tuple(ReportClass(item["name"], tuple(map(str, item["tasks"]))) for item in data["classes"]),
        phases=_each(Phase, data["phases"]),
        hosts=tuple(map(str, data["hosts"])),
        incidents=_each(Incident, data["incidents"]),
        engines=_each(EngineHealth, data["engines"]),
        versions={str(name): str(version) for name, version in data["gaggle"].items()},
        seed=_whole(data["seed"]),
        users=_whole(data["users"]),
        load_test=str(data["load_test"]),
        show_statuses=bool(data["show"]["status_codes"]),
        show_errors=bool(data["show"]["errors"]),
        notes=tuple(map(str, data["notes"])),
        series=_series(data["series"]),
        thresholds=_each(Judgement, data["thresholds"]),
        options=dict(data["options"]),
        baseline=_comparison(data.get("baseline")),  # a later key of the schema
    )


def _comparison(data: Data | None) -> Comparison | None:
    if data is None:
        return None
    differing, gone, new = (tuple(map(_text, data[name])) for name in ("differing", "gone", "new"))
    changes = _each(Change, data["changes"])
    file, started, duration = _text(data["file"]), _number(data["started"]), _number(data["duration"])
    return Comparison(file, started, duration, _whole(data["users"]), differing, gone, new, changes)


# Plain things.


def _each(make: Callable[..., T], items: list[Data]) -> tuple[T, ...]:
    """Return a dataclass made of each item; keys that it does not have are of a later gaggle, or worked out."""
    known = {each.name: str(each.type) for each in fields(make)}  # type: ignore[arg-type]
    return tuple(make(**{name: _checked(item[name], kind) for name, kind in known.items()}) for item in items)


def _checked(value: Any, kind: str) -> Any:
    """Return a value of the kind that a dataclass says a field has."""
    return None if value is None and "None" in kind else CHECKS[kind.partition(" ")[0]](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        raise TypeError(f"{value!r} is no number")
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {"str": _text, "int": _whole, "float": _number, "bool": bool}


# What was counted.


def _snapshot(data: Data) -> Snapshot:
    rows = [*_rows(data["requests"], KIND_REQUEST, "method"), *_rows(data["tasks"], KIND_TASK, "user")]
    rows += _rows([{**item, "name": item["user"], "user": ""} for item in data["users_by_class"]], KIND_USER, "user")
    errors = [_error(item) for item in data["errors"]]
    return Snapshot(
        {row.key: row for row in rows if not row.idle},  # a task that never ran is in the list, and no row
        {(error.key, error.text): error for error in errors},
        _histogram(data["lag"]["histogram"]),
        *(_whole(data["counted"][name]) for name in NUMBERS),
        meters=dict(_meters(data)),
    )


def _meters(data: Data) -> Iterator[tuple[Key, Meter]]:
    for item in data["checks"]:
        yield _own(KIND_CHECK, item), Meter(_whole(item["times"]), _whole(item["failed"]))
    for item in data["counts"]:
        yield _own(KIND_COUNT, item), Meter(_whole(item["times"]), millionths=_millionths(item))
    for item in data["gauges"]:
        lowest, highest = (None if item[name] is None else float(_number(item[name])) for name in ("min", "max"))
        last, last_us = float(_number(item["last"])), round(_number(item["last_at"]) * 1e6)
        meter = Meter(_whole(item["times"]), 0, _millionths(item), lowest, highest, last, last_us)
        yield _own(KIND_GAUGE, item), meter


def _own(kind: int, item: Data) -> Key:
    return Key(kind, "", _text(item["name"]))


def _millionths(item: Data) -> int:
    total = _number(item["sum"])
    return total * MILLION if isinstance(total, int) else round(total * MILLION)


def _rows(items: list[Data], kind: int, label: str) -> Iterator[Row]:
    for item in items:
        times = item["response_time"]
        counts = (_whole(item[name]) for name in metrics.COUNTERS)
        numbers = (*counts, _whole(times["min_us"] or 0), _whole(times["max_us"] or 0))
        yield Row(
            Key(kind, _text(item[label]), _text(item["name"])),
            *numbers,
            statuses={_code(code): _whole(count) for code, count in item["statuses"].items()},
            times=_histogram(times["histogram"]),
            first_byte=_histogram(item["first_byte"]["histogram"]),
        )


def _code(text: str) -> int:
    return STATUS_OTHER if text == "other" else int(text)


def _error(item: Data) -> ErrorRow:
    label = item["method"] if item["kind"] == "request" else item["user"]
    key = Key(KIND_OF[item["kind"]], _text(label), _text(item["name"]))
    return ErrorRow(key, _text(item["text"]), _whole(item["count"]), _number(item["first"]), _number(item["last"]))


def _histogram(text: str) -> Histogram:
    return Histogram.decode(base64.b64decode(text, validate=True))


# The series.


def _series(data: Data) -> Series:
    series = Series(0.0)
    series.whole, series.named = _grid(data["whole"], MOST), _grid(data["named"], MOST_NAMED)
    series.measured_from = _number(data["measured_from"])
    return series


def _grid(data: Data, most: int) -> Grid:
    edges = [_number(edge) for edge in data["edges"]]
    if not edges or edges != sorted(edges):
        raise ValueError("the edges of a series must rise")
    grid = Grid(0.0, most)
    grid.kept, grid.step = set(map(_number, data["kept"])), _number(data["step"])
    grid.lay(edges)
    for row in data["rows"]:
        key = Key(KIND_REQUEST, _text(row["method"]), _text(row["name"]))
        for place, counts in _cells(row, len(grid)):
            grid.add(place, key, counts.packed())
    grid.pack()
    return grid


def _cells(row: Data, stretches: int) -> Iterator[tuple[int, Counts]]:
    """Yield the stretches of a row; columns that it does not have are empty."""
    places = row["at"]
    columns = [[_whole(value) for value in row[name]] for name in SUMS]
    times, lags = ([*map(_times, row.get(name, [""] * len(places)))] for name in ("times", "lag"))
    users, busy = row.get("users", [0] * len(places)), row.get("busy", [0.0] * len(places))
    for place, *values in zip(places, *columns, times, lags, users, busy, strict=True):
        if not 0 <= place < stretches:
            raise ValueError(f"a series of {stretches} stretches has none of number {place}")
        yield place, Counts(*values)


def _times(text: str) -> Histogram:
    return _histogram(text) if text else Histogram()
