"""Several runs as one report: what they counted is added exactly, also where they ran at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from gaggle.counts import Counts
from gaggle.grid import Grid
from gaggle.metrics import Snapshot
from gaggle.report.model import EngineHealth, Report
from gaggle.series import WHOLE, Series

NEAR = 0.75  # of a stretch: an edge that is nearer to the last one is none of its own


def merged(reports: Sequence[Report]) -> Report:
    """Return one report of all, without thresholds. Rates divide by the time that at least one of them measured."""
    if len(reports) == 1:
        return reports[0]
    snapshot = Snapshot.empty()
    for report in reports:
        snapshot.merge(report.snapshot)
    users = [report.users for report in reports]
    return replace(
        reports[0],
        snapshot=snapshot,
        duration=covered(reports),
        classes=_once(reports, "classes"),
        phases=tuple(sorted((phase for report in reports for phase in report.phases), key=lambda each: each.started)),
        hosts=_once(reports, "hosts"),
        incidents=tuple(sorted((each for report in reports for each in report.incidents), key=lambda each: each.at)),
        engines=tuple(_numbered(reports)),
        users=sum(users) if at_once(reports) else max(users),
        load_test=", ".join(dict.fromkeys(report.load_test for report in reports)),
        notes=(*_once(reports, "notes"), f"Merged from {len(reports)} reports."),
        series=united([report.series for report in reports]),
        thresholds=(),
    )


def _once(reports: Sequence[Report], name: str) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(each for report in reports for each in getattr(report, name)))


def _numbered(reports: Sequence[Report]) -> Iterator[EngineHealth]:
    engines = [engine for report in reports for engine in report.engines]
    yield from (replace(engine, index=index) for index, engine in enumerate(engines))


def spans(reports: Sequence[Report]) -> list[tuple[float, float]]:
    """Return from when to when (unix seconds) each run was measured, the earliest first."""
    begun = [(report.series.measured_from, report.duration) for report in reports]
    return sorted((start, start + duration) for start, duration in begun)


def covered(reports: Sequence[Report]) -> float:
    """Return the seconds in which at least one of the runs was measured; without a series, all of them together."""
    if not all(len(report.series.whole) for report in reports):
        return sum(report.duration for report in reports)
    total, end = 0.0, float("-inf")
    for start, stop in spans(reports):
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total


def at_once(reports: Sequence[Report]) -> bool:
    """Whether any two of the runs overlap: then their users were at work together."""
    return any(second[0] < first[1] for first, second in pairwise(spans(reports)))


def united(every: Sequence[Series]) -> Series:
    """Return one series of all: each stretch is put where its middle is, users of the same time are added."""
    used = [series for series in every if len(series.whole)]
    made = Series(0.0)
    if used:
        made.measured_from = min(series.measured_from for series in used)
        made.whole = _grid([series.whole for series in used], made.measured_from)
        made.named = _grid([series.named for series in used], made.measured_from)
    return made


def _grid(grids: Sequence[Grid], measured_from: float) -> Grid:
    step = max(grid.step for grid in grids)
    made = Grid(0.0, grids[0].most)
    made.step, made.kept = step, {measured_from}
    made.lay(_edges(grids, step, measured_from))
    users: Counter[int] = Counter()
    for grid in grids:
        users.update(_add(made, grid))
        made.pack()
    for place, most in (+users).items():
        made.add(place, WHOLE, Counts(users=most).packed())
    return made


def _add(made: Grid, grid: Grid) -> dict[int, int]:
    """Add the stretches of `grid`, and return the most users that it had in each: those of several runs are added."""
    users: dict[int, int] = {}
    for place, key, counts in grid.cells():
        began, ended = grid.edges[place], grid.edges[place + 1]
        at = made.find((began + ended) / 2)
        users[at] = max(users.get(at, 0), counts.users)
        made.put(began, ended, [(key, replace(counts, users=0).packed())])
    return users


def _edges(grids: Sequence[Grid], step: float, measured_from: float) -> list[float]:
    """Return the edges of all, without those that are too near to another. A gap between runs is one stretch."""
    every = sorted({edge for grid in grids for edge in grid.edges} | {measured_from})
    edges = every[:1]
    for edge in every[1:]:
        if edge == measured_from or edge - edges[-1] >= step * NEAR:
            edges.append(edge)
    if edges[-1] != every[-1]:
        edges.append(every[-1])
    return edges
