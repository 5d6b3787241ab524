"""What GitHub shows beside the code of a pull request: an annotation for each threshold that does not hold."""

from __future__ import annotations

from collections.abc import Iterator

from gaggle.report import verdict
from gaggle.report.escaping import github
from gaggle.report.model import Report


def annotated(report: Report) -> Iterator[str]:
    """Yield workflow commands, a line each: errors for thresholds, warnings for doubts."""
    for judgement in report.thresholds:
        if not judgement.holds:
            said = github(f"{judgement.text}: {verdict.judged(judgement)}")
            yield f"::error title={github('gaggle threshold', True)}::{said}\n"
    for doubt in report.doubts:
        yield f"::warning title={github('gaggle', True)}::{github(doubt)}\n"
