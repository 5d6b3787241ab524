"""What changed since the baseline, in words and cells."""

from __future__ import annotations

from collections.abc import Iterator

from gaggle import units
from gaggle._core import KIND_REQUEST
from gaggle.metrics import Key
from gaggle.report.model import Change, Comparison, Report, counted, named
from gaggle.report.overview import moment
from gaggle.report.tables import Column, Line, Page

TITLES = {"rate": "req/s", "mean": "Avg", "p50": "50%", "p95": "95%", "p99": "99%", "failures": "Fails"}
COLUMNS = tuple(Column(title, 9 if what == "failures" else 7) for what, title in TITLES.items())
CLEAR, UNKNOWN = "*", "-"
FOOT = "* is clear: of a hundred comparisons of a thing with itself, at most five show any star."
NAMES_SHOWN = 10


def cell(change: Change | None) -> str:
    """Return a change as `+5.2%*`; of failures, which are shares, in points of a percent: `+0.5 pp`."""
    if change is None or change.change is None:
        return UNKNOWN
    unit = " pp" if change.what == "failures" else "%"
    return f"{signed(change.change)}{unit}{CLEAR if change.is_clear else ''}"


def signed(share: float) -> str:
    """Return a share in percent with its sign and three digits, without the %: `+5.2`, `-0.3`, `0`."""
    text = units.significant(abs(share) * 100) if abs(share) >= 0.0005 else "0"
    return text if text == "0" else f"{'+' if share > 0 else '-'}{text}"


def rows(comparison: Comparison) -> Iterator[tuple[str, list[Change | None]]]:
    """Yield a name and its changes in the order of TITLES, all requests together last."""
    found: dict[Key, dict[str, Change]] = {}
    for change in comparison.changes:
        found.setdefault(Key(KIND_REQUEST, change.method, change.name), {})[change.what] = change
    whole, *others = found or [None]
    for key in (*sorted(filter(None, others)), *filter(None, [whole])):
        yield named(key), [found[key].get(what) for what in TITLES]


def written(change: Change) -> str:
    """Return a change for people: `GET / 95%: 120 -> 168 ms (+40%)`."""
    if change.what == "failures":
        ends = [units.percent(value, 1) for value in (change.before, change.after)]
        return f"{change.request} failures: {ends[0]} -> {ends[1]}"
    as_text = units.rate if change.what == "rate" else units.milliseconds
    before, after = as_text(change.before), as_text(change.after)
    unit = "/s" if change.what == "rate" else " ms"
    return f"{change.request} {TITLES[change.what]}: {before} -> {after}{unit} ({signed(change.change or 0.0)}%)"


def sentence(report: Report) -> str:
    """Return what is clear about the change since the baseline, the worst first; empty without a baseline."""
    if report.baseline is None:
        return ""
    worse, better = clear(report.baseline)
    if not worse and not better:
        return "Since the baseline nothing has clearly changed."
    parts = [
        f"clearly {word}: {units.printable(written(greatest(changes)))}{_more(len(changes) - 1)}"
        for word, changes in (("worse", worse), ("better", better))
        if changes
    ]
    return f"Since the baseline {'; '.join(parts)}."


def clear(comparison: Comparison) -> tuple[list[Change], list[Change]]:
    """Return what is clear: what got worse, and what got better."""
    found = [change for change in comparison.changes if change.is_clear]
    return [each for each in found if each.is_worse], [each for each in found if not each.is_worse]


def greatest(changes: list[Change]) -> Change:
    """Return the change that is the greatest for its kind: a failure counts before any time."""
    return max(changes, key=lambda each: (each.what == "failures", abs(each.change or 0.0)))


def _more(count: int) -> str:
    return f", and {units.thousands(count)} more" if count else ""


def facts(comparison: Comparison) -> Iterator[str]:
    """Yield a line each: what the baseline is, and what was not the same."""
    users = counted(comparison.users, "user")
    yield f"Baseline: {comparison.file}, {moment(comparison.started)}, {comparison.duration:.3f} s, {users}"
    yield from (f"Not the same: {text}" for text in comparison.differing)
    for word, names in (("Not in the baseline", comparison.new), ("Only in the baseline", comparison.gone)):
        if names:
            yield f"{word}: {', '.join(names[:NAMES_SHOWN])}{_more(max(len(names) - NAMES_SHOWN, 0))}"


def section(report: Report, page: Page) -> list[str]:
    """Return the section of the text report; empty without a baseline."""
    if report.baseline is None:
        return []
    head = [line for fact in facts(report.baseline) for line in page.wrapped(units.printable(fact), " ", "   ")]
    every = [Line(name, tuple(map(cell, changes))) for name, changes in rows(report.baseline)]
    table = page.table(COLUMNS, *((every[:-1], every[-1:]) if len(every) > 2 else (every[:1], [])), gap=" ")
    return ["", " === CHANGE SINCE THE BASELINE ===", page.rule(), *head, *table, *page.wrapped(FOOT, " ", " ")]
