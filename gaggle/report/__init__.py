"""What a person or a program reads after a load test: one model, one renderer a suffix of --report-file."""

from __future__ import annotations

from collections.abc import Callable

from gaggle.report import csv_report, distribution, json_report, junit, markdown, text
from gaggle.report.model import Report


def _page(report: Report) -> str:
    from gaggle.report import html  # jinja2 takes a while to load

    return html.render(report)


RENDERERS: dict[str, Callable[[Report], str]] = {
    ".txt": text.render,
    ".html": _page,
    ".json": json_report.render,
    ".md": markdown.render,
    ".csv": csv_report.render,
    ".xml": junit.render,
    ".hgrm": distribution.render_distribution,
    ".hlog": distribution.render_log,
}


def render(report: Report, suffix: str) -> str:
    """Return `report` in the format of a file that ends in `suffix`. Raises ValueError for a suffix without one."""
    renderer = RENDERERS.get(suffix.lower())
    if renderer is None:
        raise ValueError(f"no report has the suffix {suffix!r}; there are {', '.join(RENDERERS)}")
    return renderer(report)
