"""The report as one page that needs nothing else: no network, no server. What it does in a browser is in web/."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gaggle import units
from gaggle.report import change, overview, verdict
from gaggle.report.html.charts import packed
from gaggle.report.html.page_tables import tables
from gaggle.report.model import Report, counted
from gaggle.report.verdict import INCIDENTS_SHOWN

HERE = Path(__file__).parent
ASSETS = HERE.parent / "assets"


def render(report: Report) -> str:
    """Return the whole page. Raises RuntimeError where the package was built without its page."""
    script, style = asset("report.js"), asset("report.css")
    text: str = page().render(
        report=report,
        title=report.load_test or "Load test",
        policy=policy(script, style),
        script=Markup(script),  # ours, and built from web/: what is put into the page beside them is escaped
        style=Markup(style),
        headline=headline(report),
        verdict=said(report),
        facts=[fact.removeprefix(" - ") for fact in overview.facts(report)],
        phases=[overview.phase_line(phase) for phase in report.phases],
        incidents=report.incidents[:INCIDENTS_SHOWN],
        more_incidents=max(len(report.incidents) - INCIDENTS_SHOWN, 0),
        tables=tables(report),
        series=packed(report),
        moment=overview.moment,
    )
    return text


def headline(report: Report) -> str:
    """Return where to, how long, with how many users, and when."""
    when = [overview.moment(report.phases[0].started)] if report.phases else []
    users = counted(report.users, "user")
    return " · ".join([*report.hosts, f"{report.duration:.1f} s measured", users, *when])


@cache
def asset(name: str) -> str:
    """Return a file that the front end was built into."""
    try:
        return (ASSETS / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuntimeError(f"the HTML report has no {name}: build it with `make build`") from None


@cache
def page() -> Any:
    """Return the template. Everything that is put into it is made visible and escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=lambda value: units.printable(value, "\n") if type(value) is str else value,
    )
    return environment.get_template("page.html")


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: this script and this style, and nothing from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def said(report: Report) -> list[tuple[str, str]]:
    """Return what must be read first, each with how bad it is: bad, warn, good, or nothing of these."""
    found = []
    if report.nothing_succeeded:
        found.append(("bad", "Nothing succeeded."))
    found += [("warn", f"Do not trust these numbers: {doubt}") for doubt in report.doubts]
    if not report.doubts and not report.nothing_succeeded:
        found.append(("good", "Nothing speaks against these numbers."))
    if report.thresholds:
        holds = all(judgement.holds for judgement in report.thresholds)
        found.append(("good" if holds else "bad", f"Thresholds: {verdict.thresholds_in_all(report)}"))
    if report.baseline is not None:
        worse, _ = change.clear(report.baseline)
        found.append(("warn" if worse else "good", change.sentence(report)))
    if worst := verdict.worst(report):
        found.append(("warn", worst))
    if cut := overview.unfinished(report):
        found.append(("", f"Unfinished: {cut}; they count neither as success nor as failure."))
    return found
