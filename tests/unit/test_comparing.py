"""A run against an earlier one: what is clear, what is not, and how it is said in each format."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from made_reports import make_report
from made_runs import made_run

from gaggle.comparing import STATISTICS, autocorrelation, compared
from gaggle.report import render
from gaggle.report.change import sentence, signed
from gaggle.report.load import load
from gaggle.report.model import Report


def against(now: Report, before: Report) -> Report:
    return replace(now, baseline=compared(now, before, "before.json"))


def clear(report: Report) -> set[tuple[str, str]]:
    assert report.baseline is not None
    return {(change.name, change.what) for change in report.baseline.changes if change.is_clear}


def test_a_thing_compared_with_itself_seldom_shows_anything():
    found = [clear(against(made_run(seed), made_run(1_000 + seed))) for seed in range(12)]

    assert sum(map(bool, found)) <= 2  # 5 of 100, at most: bench/baseline.py measures it


def test_a_shift_of_a_twentieth_is_found_in_the_times_of_every_request():
    report = against(made_run(1, slower=1.05), made_run(2))

    assert {(name, "p50") for name in ("/", "/shop", "Aggregated")} <= clear(report)
    assert sentence(report).startswith("Since the baseline clearly worse: ")
    change = next(each for each in report.baseline.changes if each.what == "p50")
    assert change.low < change.change < change.high
    assert change.change == pytest.approx(0.05, abs=0.02)


def test_what_got_better_is_called_so():
    report = against(made_run(1, slower=0.8), made_run(2))

    assert "clearly better" in sentence(report)
    assert "worse" not in sentence(report)


def test_more_failures_are_the_first_thing_that_is_said():
    report = against(made_run(1, failing=0.05), made_run(2))

    assert {("/", "failures"), ("/shop", "failures")} <= clear(report)
    assert re.search(r"clearly worse: GET \S+ failures: 0\.\d% -> 5\.", sentence(report))


@pytest.mark.parametrize("seconds", [1, 5, 9])
def test_a_run_of_a_few_seconds_shows_its_numbers_and_decides_nothing(seconds):
    report = against(made_run(1, seconds=seconds, slower=2), made_run(2, seconds=seconds))

    assert clear(report) == set()
    assert all(change.chance is None for change in report.baseline.changes)
    assert "+" in render(report, ".txt").partition("CHANGE SINCE")[2]


def test_requests_that_came_or_went_and_other_options_are_said():
    report = against(
        made_run(1, ("/", "/new"), seconds=30), replace(made_run(2, ("/", "/old")), users=4, hosts=("http://a",))
    )

    text = render(report, ".txt")
    assert "Not in the baseline: GET /new" in text
    assert "Only in the baseline: GET /old" in text
    assert "Not the same: users: 4 then, 8 now" in text
    assert "Not the same: measured: 60 s then, 30 s now" in text


def test_nothing_in_common_and_nothing_at_all_can_be_compared():
    nothing = Report(make_report("/").snapshot, 0.0)

    assert clear(against(made_run(1, ("/a",)), made_run(2, ("/b",)))) <= {("Aggregated", what) for what in STATISTICS}
    assert clear(against(made_run(1), nothing)) == set()
    assert clear(against(nothing, nothing)) == set()


def test_every_format_has_the_change_and_makes_it_again_from_json():
    report = against(made_run(1, slower=1.3), made_run(2))

    for suffix in (".txt", ".md", ".csv", ".xml", ".json"):
        text = render(report, suffix)
        assert "before.json" in text or suffix in (".csv", ".xml")
        assert "p95" in text or "95%" in text or suffix == ".xml"
        assert "clearly worse" in text or suffix in (".csv", ".json")
        assert render(load(render(report, ".json")), suffix) == text


def test_alike_neighbours_are_seen():
    assert autocorrelation(_wave(3)) < 0 < autocorrelation(_wave(40))
    assert autocorrelation(_wave(0)) == 0


def _wave(period):
    return np.sin(np.arange(200) * 2 * np.pi / period) if period else np.ones(200)


@pytest.mark.parametrize(
    ("share", "text"), [(0.052, "+5.2"), (-0.5, "-50"), (0.0, "0"), (0.0004, "0"), (12.0, "+1,200")]
)
def test_a_change_is_written_with_its_sign(share, text):
    assert signed(share) == text
