"""The HTML report in a real browser: it draws, it can be used, and no name in it does harm."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from made_reports import make_report
from made_runs import made_run
from playwright.sync_api import Browser, Page, sync_playwright
from processes import PATIENCE

from gaggle.comparing import compared
from gaggle.metrics import Snapshot
from gaggle.report import render
from gaggle.report.model import Incident, Report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
HOSTILE = [
    '<script>alert("1")</script>',
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }}",
    "\u202egnp.exe",
    "\x1b[2J\x00",
    "x" * 10_000,
]
CHARTS = 5

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


@dataclass
class Opened:
    """A report in a browser, and what happened there that should not."""

    page: Page
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return what opens a report from the disk."""
    pages: list[Page] = []

    def open_it(report: Report, width: int = 1_200, scheme: str = "light", has_charts: bool = True) -> Opened:
        (tmp_path / "report.html").write_text(render(report, ".html"), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(20_000 * PATIENCE)
        pages.append(page)
        found = Opened(page)
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("dialog", lambda dialog: found.complaints.append(dialog.message) or dialog.dismiss())  # type: ignore[func-returns-value]
        page.on("request", lambda request: request.url.startswith("file:") or found.complaints.append(request.url))
        page.goto(f"file://{tmp_path}/report.html")
        if has_charts:
            page.wait_for_function(f"document.querySelectorAll('canvas').length === {CHARTS}")
        return found

    yield open_it
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def report() -> Report:
    now, before = made_run(1, names=tuple(f"/page/{n}" for n in range(12)), slower=1.3, rate=20), made_run(2)
    now = replace(now, hosts=("http://127.0.0.1:8080/",), incidents=(Incident(1_653_000_010.0, "engine", "it died"),))
    return replace(now, baseline=compared(now, before, "before.json"), thresholds=make_report("/").thresholds)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1_600])
def test_it_fits_is_accessible_and_complains_about_nothing(
    opened: Open, report: Report, width: int, scheme: str
) -> None:
    found = opened(report, width, scheme)

    assert found.page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert "Do not trust" in found.page.inner_text(".verdict") or "speaks against" in found.page.inner_text(".verdict")
    found.page.evaluate(AXE.read_text())  # the page's own policy lets no script in
    violations = found.page.evaluate(
        "axe.run().then(found => found.violations.map(each => [each.id, each.nodes[0].html]))"
    )
    assert violations == []
    assert found.complaints == []


def test_a_click_on_a_header_sorts_and_a_word_filters(opened: Open, report: Report) -> None:
    page = opened(report).page
    rows = "table[aria-label=Requests] tbody tr"

    page.click("table[aria-label=Requests] th:has-text('99%') >> nth=0")
    values = page.eval_on_selector_all(f"{rows} td:nth-child(13)", "cells => cells.map(cell => +cell.dataset.value)")
    page.fill("input[aria-label='Filter Requests by name']", "page/1")

    assert len(values) == 12
    assert values == sorted(values, reverse=True)
    shown = page.eval_on_selector_all(
        rows, "rows => rows.filter(row => !row.hidden).map(row => row.cells[0].innerText)"
    )
    assert sorted(shown) == ["GET /page/1", "GET /page/10", "GET /page/11"]


def test_a_request_can_be_looked_at_by_itself_and_the_theme_chosen(opened: Open, report: Report) -> None:
    found = opened(report)

    found.page.select_option("#subject", label="GET /page/3")
    found.page.click("#theme")

    found.page.wait_for_function(f"document.querySelectorAll('canvas').length === {CHARTS}")
    assert found.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert found.complaints == []


def test_hostile_names_are_names(opened: Open) -> None:
    report = make_report(*HOSTILE, seconds=3)
    hostile = replace(
        report,
        load_test=HOSTILE[0],
        hosts=tuple(HOSTILE),
        notes=tuple(HOSTILE),
        incidents=tuple(Incident(1_653_000_000.0, text, text) for text in HOSTILE),
    )

    found = opened(hostile)

    assert found.complaints == []
    assert found.page.locator("script").count() == 2
    assert found.page.locator("img").count() == 0
    assert found.page.inner_text("h1") == HOSTILE[0]
    assert "{{ 7 * 7 }}" in found.page.inner_text("main")
    assert found.page.evaluate("document.scrollingElement.scrollWidth") <= 1_200


def test_it_says_all_without_a_script(browser: Browser, report: Report, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render(report, ".html"), encoding="utf-8")
    page = browser.new_page(java_script_enabled=False)

    page.goto(f"file://{tmp_path}/report.html")

    assert page.locator("table").count() >= 3
    assert page.locator("#charts").is_hidden()
    page.close()


def test_an_empty_report_is_a_page(opened: Open) -> None:
    found = opened(Report(Snapshot(), 0.0), has_charts=False)

    assert "Nothing succeeded" in found.page.inner_text("main")
    assert found.complaints == []
