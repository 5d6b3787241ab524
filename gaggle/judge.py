"""Whether the thresholds hold: measured each second while a test runs, and at its end. One word for all workers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TypeVar

from gaggle import thresholds, units
from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, KIND_TASK, KIND_USER
from gaggle.meters import Meter
from gaggle.metrics import AGGREGATED, Key, Row, Snapshot
from gaggle.recorder import Moment
from gaggle.report.model import Judgement, Report, extremes
from gaggle.thresholds import Of, Threshold, Unit

COUNTED: dict[Of, Callable[[Row], int]] = {
    Of.COUNT: lambda row: row.count,
    Of.PASSES: lambda row: row.count,
    Of.FAILURES: lambda row: row.failures,
    Of.BYTES_IN: lambda row: row.bytes_in,
    Of.BYTES_OUT: lambda row: row.bytes_out,
}
RATES = (Unit.RATE, Unit.BYTE_RATE)
OWN = {Of.CHECKS: KIND_CHECK, Of.COUNTS: KIND_COUNT, Of.GAUGES: KIND_GAUGE}
NOTHING = {Of.CHECKS: "no check", Of.COUNTS: "no count", Of.GAUGES: "no gauge"}

T = TypeVar("T")


def chosen(threshold: Threshold, snapshot: Snapshot) -> Row | Meter | None:
    """Return the sum of the rows, or of the load test's own meters, that a threshold is about; None without any.

    A name is looked for among the requests, then the tasks, then the user classes: first as it is, then with its stars.
    """
    if threshold.of in OWN:
        kind = OWN[threshold.of]
        own = [((key.name,), meter) for key, meter in snapshot.meters.items() if key.kind == kind]
        found = _called(threshold.name, own) if threshold.name else [meter for _, meter in own]
        return reduce(add, found) if found else None
    return _rows_of(threshold, snapshot)


def _rows_of(threshold: Threshold, snapshot: Snapshot) -> Row | None:
    if threshold.of is Of.PASSES and not threshold.name:
        return _sum(row for row in snapshot.rows.values() if row.key.kind == KIND_USER)
    if not threshold.name:
        return _sum(row for row in snapshot.rows.values() if row.key.kind == KIND_REQUEST)
    kinds = (KIND_USER,) if threshold.of is Of.PASSES else (KIND_REQUEST, KIND_TASK, KIND_USER)
    for kind in kinds:
        rows = [(_names(row.key), row) for row in snapshot.rows.values() if row.key.kind == kind]
        if found := _called(threshold.name, rows):
            return _sum(found)
    return None


def _called(name: str, items: Sequence[tuple[tuple[str, ...], T]]) -> list[T]:
    """Return the items of which a name is `name`; without any, those that it matches with its stars."""
    pattern = units.wildcard(name, re.DOTALL)
    exact = [item for names, item in items if name in names]
    return exact or [item for names, item in items if any(map(pattern.fullmatch, names))]


def _names(key: Key) -> tuple[str, str]:
    return f"{key.label} {key.name}".strip(), key.name


def _sum(rows: Iterable[Row]) -> Row | None:
    total = None
    for row in rows:
        total = total or Row(Key(row.key.kind, "", AGGREGATED))
        total.merge(row)
    return total


def measure(threshold: Threshold, row: Row | Meter | None, seconds: float) -> float | None:
    """Return the value that a threshold is about, in its unit; None when nothing was counted that could tell it."""
    if isinstance(row, Meter):
        return _own(threshold, row, seconds) if row.samples else None
    if row is None or not row.count:
        return None
    if threshold.of not in COUNTED:
        return _time(threshold, row)
    number = COUNTED[threshold.of](row)
    if threshold.unit is Unit.SHARE:
        return number / row.count
    if threshold.unit in RATES:
        return number / seconds if seconds > 0 else None
    return float(number)


def _own(threshold: Threshold, meter: Meter, seconds: float) -> float | None:
    if threshold.of is Of.CHECKS:
        return meter.passed / meter.samples
    if threshold.of is Of.GAUGES:
        return {"avg": meter.mean, "min": meter.lowest, "max": meter.highest, "last": meter.last}[threshold.statistic]
    if threshold.unit is Unit.RATE:
        return meter.sum / seconds if seconds > 0 else None
    return float(meter.sum)


def _difference(now: Row | Meter, before: Row | Meter) -> Row | Meter:
    if isinstance(now, Meter) and isinstance(before, Meter):
        return now - before
    return now - before if isinstance(now, Row) and isinstance(before, Row) else now


def _time(threshold: Threshold, row: Row) -> float | None:
    is_whole = threshold.of is Of.TIMES  # the exact sum and extremes are those of the whole time
    times = row.times if is_whole else row.first_byte
    if not times:
        return None
    least, greatest = extremes(row) if is_whole else (times.minimum(), times.maximum())
    fixed = {"min": float(least), "max": float(greatest), "mean": row.mean_us if is_whole else times.mean()}
    if threshold.statistic in fixed:
        return fixed[threshold.statistic]
    return float(min(times.percentile(threshold.percentile), greatest))


@dataclass(slots=True)
class State:
    """How one threshold stands. `past` is what was counted at the seconds of its window: (seconds, row)."""

    threshold: Threshold
    value: float | None = None
    holds: bool = True
    crossed: float | None = None  # when it first did not hold, unix seconds
    worst: float | None = None  # the value with which a window first did not
    past: deque[tuple[float, Row | Meter | None]] = field(default_factory=deque)


class Judge:
    """Looks at a run once a second; `states` are for who shows them, `sentence` is why the test should end now."""

    def __init__(self, texts: Sequence[str], baseline: Report | None = None) -> None:
        """`baseline` is the report of an earlier run, for limits that are relative to it."""
        self.states = [State(thresholds.parse(text)) for text in dict.fromkeys(texts)]
        self.baseline = baseline
        self.sentence: str | None = None

    def __call__(self, moment: Moment) -> None:
        """Look at where the run stands: an observer of the Recorder."""
        for state in self.states:
            self.look(state, self.measured(state, moment), moment.seconds, moment.at)
            if not state.holds and state.threshold.abort and moment.seconds >= state.threshold.delay:
                self.sentence = self.sentence or f"{state.threshold.text}: {self.said(state.threshold, state.value)}"

    def measured(self, state: State, moment: Moment) -> Row | Meter | None:
        """Return what the report would count if the run ended now, of the rows that a threshold is about."""
        row, set_aside = chosen(state.threshold, moment.total), chosen(state.threshold, moment.baseline)
        return _difference(row, set_aside) if row and set_aside else row

    def look(self, state: State, row: Row | Meter | None, seconds: float, at: float) -> None:
        """Measure one threshold, over its window if it has one: only a whole window tells something."""
        threshold = state.threshold
        if threshold.window:
            row, seconds = self.within(state, row, seconds)
            if seconds < threshold.window * 0.98:
                return
        value = measure(threshold, row, seconds)
        if value is None:
            return
        state.value, state.holds = value, self.is_met(threshold, value)
        if not state.holds and state.crossed is None:
            state.crossed, state.worst = at, value

    def within(self, state: State, row: Row | Meter | None, seconds: float) -> tuple[Row | Meter | None, float]:
        """Return what was counted in the window that ends now, and how long it is."""
        past = state.past
        if past and past[-1][0] > seconds:  # the metrics were reset
            past.clear()
        if not past:
            past.append((0.0, None))
        past.append((seconds, row))
        while len(past) > 2 and seconds - past[1][0] >= state.threshold.window * 0.98:
            past.popleft()
        since, before = past[0]
        if row is None or before is None:
            return row, seconds - since
        return _difference(row, before), seconds - since

    def is_met(self, threshold: Threshold, value: float) -> bool:
        if threshold.relative is None:
            return threshold.holds(value)
        baseline = self.of_baseline(threshold)
        return baseline is not None and threshold.holds(value, baseline)

    def of_baseline(self, threshold: Threshold) -> float | None:
        """Return what the earlier run has for the same; None without one, or where it has no such row."""
        if self.baseline is None:
            return None
        return measure(threshold, chosen(threshold, self.baseline.snapshot), self.baseline.duration)

    def said(self, threshold: Threshold, value: float | None) -> str:
        """Return what was found, for people."""
        if value is None:
            nothing = NOTHING.get(threshold.of, "no request")
            return f"it matched {f'nothing called {threshold.name!r}' if threshold.name else nothing}"
        found = f"it was {thresholds.written(threshold.unit, value)}"
        if threshold.relative is None:
            return found
        baseline = self.of_baseline(threshold)
        if baseline is None:
            return "there is no baseline to compare with"
        return f"{found}, in the baseline {thresholds.written(threshold.unit, baseline)}"

    def verdict(self, measured: Snapshot, seconds: float) -> tuple[Judgement, ...]:
        """Return what became of each threshold, at the end of a run. What matched nothing does not hold."""
        return tuple(self.judged(state, measured, seconds) for state in self.states)

    def judged(self, state: State, measured: Snapshot, seconds: float) -> Judgement:
        """Return what became of one. A window that once did not hold stays crossed; else the whole run counts.

        A run that is shorter than the window is a window itself.
        """
        threshold = state.threshold
        value = measure(threshold, chosen(threshold, measured), seconds)
        if value is None:
            return Judgement(threshold.text, False, None, self.said(threshold, None), missing=True)
        if threshold.window and state.crossed is not None:
            said = self.said(threshold, state.worst)
            return Judgement(threshold.text, False, state.worst, said, crossed=state.crossed)
        if threshold.window and state.value is not None:
            return Judgement(threshold.text, True, state.value, self.said(threshold, state.value))
        holds = self.is_met(threshold, value)
        is_missing = threshold.relative is not None and self.of_baseline(threshold) is None
        crossed = state.crossed if not holds else None
        return Judgement(threshold.text, holds, value, self.said(threshold, value), is_missing, crossed)
