"""The end of the text report: what ran when, against what, with what."""

from __future__ import annotations

import time
from collections.abc import Iterator

from gaggle import units
from gaggle.report.model import Phase, Report, counted
from gaggle.report.tables import Page

VERSION_NAMES = {"libcurl": "libcurl", "python": "Python"}
HEADER = f" {'Action':<12} {'Started':<21} {'Stopped':<19} {'Elapsed':<10} Users"


def section(report: Report, page: Page) -> list[str]:
    """Return the overview; there is always one. Times are local."""
    listed = [f" {fact}" for fact in facts(report)]
    return ["", " === OVERVIEW ===", *_phases(report, page), *listed, page.rule()]


def _phases(report: Report, page: Page) -> list[str]:
    if not report.phases:
        return [page.rule()]
    return [page.rule(), HEADER, page.rule(), *map(_phase, report.phases), ""]


def _phase(phase: Phase) -> str:
    # From the seconds that are printed beside it, so that they add up.
    elapsed = units.clock(max(0, int(phase.stopped) - int(phase.started)))
    started, stopped = moment(phase.started), moment(phase.stopped)
    return f" {phase.action + ':':<12} {started} - {stopped} ({elapsed}, {_users(phase)})"


def phase_line(phase: Phase) -> str:
    """Return a phase on a line of its own: `Maintaining: 2022-05-17 07:09:08 - ... (00:01:00, 9)`."""
    return " ".join(_phase(phase).split())


def _users(phase: Phase) -> str:
    least, most = sorted((phase.users_from, phase.users_to))
    if least == most:
        return units.thousands(most)
    arrow = "->" if phase.users_from < phase.users_to else "<-"
    return f"{units.thousands(least)} {arrow} {units.thousands(most)}"


def moment(at: float) -> str:
    """Return unix seconds as local date and time: `2022-05-17 07:09:05`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def facts(report: Report) -> Iterator[str]:
    """Yield a line each: where to, what, how much, with what."""
    yield from _hosts(report)
    yield from _what(report)
    yield from _traffic(report)
    yield from _engines(report)
    yield from (units.printable(note) for note in report.notes)
    yield _versions(report.versions)
    if report.doubts:  # on a terminal the verdict has scrolled away by now
        yield "Do not trust these numbers: the verdict above has the reasons."


def _hosts(report: Report) -> Iterator[str]:
    hosts = [units.printable(host) for host in report.hosts]
    if len(hosts) < 2:
        yield f"Target host: {hosts[0] if hosts else 'undefined'}"
    else:
        yield "Target hosts:"
        yield from (f" - {host}" for host in hosts)


def _what(report: Report) -> Iterator[str]:
    name = units.printable(report.load_test)
    test = f"{name}, " if name else ""
    yield f"Load test: {test}{counted(report.users, 'user')}, seed {report.seed}"
    yield f"Measured: {report.duration:.3f} s"


def _traffic(report: Report) -> Iterator[str]:
    rows = report.snapshot.requests()
    if not rows:
        return
    sent, received = (sum(getattr(row, name) for row in rows) for name in ("bytes_out", "bytes_in"))
    hops, resent = (sum(getattr(row, name) for row in rows) for name in ("hops", "resent"))
    yield f"Traffic: {units.byte_count(sent)} sent, {units.byte_count(received)} received"
    if hops:
        yield f"Redirects: {units.thousands(hops)} followed, in the times of their requests"
    if resent:
        yield f"Sent again: {counted(resent, 'request')}, on a new connection because the old one was closed"
    if cut := unfinished(report):
        yield f"Unfinished: {cut}"


def unfinished(report: Report) -> str:
    """Return what was cut by the end of the test or cancelled, as `2 requests, 1 task`; empty if nothing was."""
    parts = ((report.snapshot.requests(), "request"), (report.snapshot.tasks(), "task"))
    counts = [(sum(row.unfinished for row in rows), noun) for rows, noun in parts]
    return ", ".join(counted(count, noun) for count, noun in counts if count)


def _engines(report: Report) -> Iterator[str]:
    if report.engines:
        busiest = max(engine.busy for engine in report.engines)
        yield f"Engines: {units.thousands(len(report.engines))}, the busiest used {units.percent(busiest, 1)} of a core"
    if lag := report.snapshot.lag:
        waited = units.milliseconds(lag.percentile(0.99))
        yield f"Lag: 99% of the responses waited at most {waited} ms for gaggle itself"


def _versions(versions: dict[str, str]) -> str:
    others = (f", {VERSION_NAMES.get(name, name)} {version}" for name, version in versions.items() if name != "gaggle")
    return f"gaggle v{versions.get('gaggle', '?')}{''.join(others)}"
