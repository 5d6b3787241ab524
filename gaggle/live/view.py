"""What the screen shows of a moment. Pure: from what was counted, and the size of the terminal, to lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gaggle import units
from gaggle._core import KIND_REQUEST, Histogram
from gaggle.grid import Point
from gaggle.metrics import Row, Snapshot
from gaggle.plan import Plan
from gaggle.recorder import Moment, Node
from gaggle.report.model import BUSY_LIMIT, LAG_LIMIT_US, named

SHARES = (0.5, 0.95, 0.99)
COLUMNS = {  # title -> how wide the terminal must be for it
    "# reqs": 50,
    "# fails": 0,
    "req/s": 0,
    "Avg ms": 96,
    "50% ms": 72,
    "95% ms": 0,
    "99% ms": 64,
    "Max ms": 88,
}
ERRORS_SHOWN = 3
LEAST_NAMES = 3
BAR = 30  # columns
GOOD, BAD, DIM, TITLE = "green", "bold red", "dim", "bold"
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Scene:
    """What does not change from second to second. `has_keys`: somebody can press q."""

    load_test: str
    hosts: tuple[str, ...]
    plan: Plan
    has_keys: bool = False


def drawn(moment: Moment, scene: Scene, width: int, height: int) -> RenderableType:
    """Return the screen, of at most so many lines and columns."""
    measured = moment.measured
    head = [head_line(moment, scene), state_line(moment, scene), Text("")]
    tail = [*error_lines(measured), *worker_lines(moment.workers), Text(""), health_line(moment, scene)]
    names = max(
        height - len(head) - len(tail) - 4, LEAST_NAMES
    )  # 4: the header, this second, all, and what is left out
    lines: list[RenderableType] = [*head, table(moment, measured, names, width), *tail]
    return Group(*lines)


def head_line(moment: Moment, scene: Scene) -> RenderableType:
    """Return what runs, where to, and how far it is."""
    line = Table.grid(padding=(0, 2))
    hosts = ", ".join(scene.hosts)
    elapsed = moment.series.end - moment.series.start
    cells: list[RenderableType] = [Text("gaggle", TITLE), plain(scene.load_test), plain(hosts, 50)]
    if (end := scene.plan.gone_at) is None:
        cells.append(Text(units.clock(elapsed)))
    else:
        cells.append(Text(f"{units.clock(elapsed)} of {units.clock(end)}"))
        cells.append(ProgressBar(total=max(end, 1), completed=min(elapsed, end), width=BAR))
    line.add_row(*cells)
    return line


def state_line(moment: Moment, scene: Scene) -> Text:
    """Return how many users there are, and what becomes of them."""
    last = moment.series.last
    users = units.thousands(last.counts.users if last else 0)
    wanted = units.thousands(scene.plan.users)
    return Text(f"{users} of {wanted} users, {state(moment, scene)}")


def state(moment: Moment, scene: Scene) -> str:
    """Return what the users do, in a word or two."""
    elapsed, plan = moment.series.end - moment.series.start, scene.plan
    if moment.is_stopping:
        return "stopping"
    if elapsed < plan.ramp_seconds:
        return "starting"
    return "leaving" if plan.stop_at is not None and elapsed >= plan.stop_at else "running"


def table(moment: Moment, measured: Snapshot, names: int, width: int) -> Table:
    """Return this second, all together, and the busiest requests, in as many columns as there is room for."""
    found = Table(box=None, pad_edge=False, padding=(0, 1), header_style=TITLE)
    found.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    shown = [least <= width for least in COLUMNS.values()]
    for title in compress(COLUMNS, shown):
        found.add_column(title, justify="right", no_wrap=True)
    rows = sorted(measured.requests(), key=lambda row: (-row.count, row.key))
    if (newest := moment.series.newest) is not None:
        found.add_row(plain("this second", style=DIM), *compress(cells_of_point(newest), shown))
    whole = measured.total(KIND_REQUEST)
    found.add_row(plain("all together", style=TITLE), *compress(cells(whole, moment.seconds), shown))
    for row in rows[:names]:
        found.add_row(plain(named(row.key), 200), *compress(cells(row, moment.seconds), shown))
    if (more := len(rows) - names) > 0:
        found.add_row(plain(f"and {units.thousands(more)} more", style=DIM))
    return found


def cells_of_point(point: Point) -> Iterator[Text]:
    """Yield the numbers of a second of the run."""
    counts = point.counts
    yield Text(units.thousands(counts.count))
    yield failures(counts.failures, counts.count)
    yield Text(units.rate(counts.count / point.length) if point.length > 0 else UNKNOWN)
    yield from times(counts.times, counts.times.mean())


def cells(row: Row, seconds: float) -> Iterator[Text]:
    """Yield the numbers of a request."""
    yield Text(units.thousands(row.count))
    yield failures(row.failures, row.count)
    yield Text(units.rate(row.count / seconds) if seconds > 0 else UNKNOWN)
    yield from times(row.times, row.mean_us)


def failures(failed: int, count: int) -> Text:
    """Return how many failed, red if any did."""
    share = f" ({units.percent(failed, count)})" if failed > 0 else ""
    return Text(f"{units.thousands(failed)}{share}", BAD if failed > 0 else "")


def times(histogram: Histogram, mean: float) -> Iterator[Text]:
    """Yield mean, percentiles and maximum in ms."""
    if not histogram:
        yield from (Text(UNKNOWN, DIM) for _ in range(len(SHARES) + 2))
        return
    values = (mean, *map(histogram.percentile, SHARES), histogram.maximum())
    yield from (Text(units.milliseconds(us)) for us in values)


def error_lines(measured: Snapshot) -> Iterator[Text]:
    """Yield what went wrong most, a line each."""
    errors = sorted((row for row in measured.errors.values() if row.count > 0), key=lambda row: -row.count)
    if errors:
        yield Text("")
    for row in errors[:ERRORS_SHOWN]:
        yield plain(f"{units.thousands(row.count):>8}  {named(row.key)}: {row.text}", 300, BAD)
    if (more := len(errors) - ERRORS_SHOWN) > 0:
        yield plain(f"{'':>8}  and {units.thousands(more)} other kinds", style=DIM)


def worker_lines(workers: Sequence[Node]) -> Iterator[RenderableType]:
    """Yield a table of the workers of a gaggle."""
    if not workers:
        return
    yield Text("")
    found = Table(box=None, pad_edge=False, padding=(0, 1), header_style=TITLE)
    for title, justify in (("Worker", "left"), ("Users", "right"), ("CPU", "right"), ("", "left")):
        found.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for node in workers:
        style = GOOD if node.state == "working" else BAD if node.is_troubled else DIM
        busy = Text(units.percent(node.busy, 1), BAD if node.busy > BUSY_LIMIT else "")
        found.add_row(plain(node.name, 40), Text(units.thousands(node.users)), busy, Text(node.state, style))
    yield found


def health_line(moment: Moment, scene: Scene) -> Text:
    """Return how gaggle itself fares, and how to stop."""
    last, parts = moment.series.last, []
    if last is not None and last.counts.busy:
        busy = last.counts.busy
        parts.append(Text(f"busiest engine {units.percent(busy, 1)} of a core", BAD if busy > BUSY_LIMIT else DIM))
    if last is not None and last.counts.lag:
        lag = last.counts.lag.percentile(0.99)
        parts.append(Text(f"lag {units.milliseconds(lag)} ms", BAD if lag > LAG_LIMIT_US else DIM))
    if scene.has_keys and not moment.is_stopping:
        parts.append(Text("q stops", DIM))
    return Text("   ").join(parts)


def plain(text: str, width: int = 100, style: str = "") -> Text:
    """Return a text from outside as what it is: no markup, no control character, on one line."""
    return Text(units.truncated(text, width), style, no_wrap=True, overflow="ellipsis")
