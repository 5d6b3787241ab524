"""What is exported: as much as was counted, under labels of which there are never too many."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from made_reports import T0, make_report

from gaggle._core import Histogram
from gaggle.metrics import OTHER, Snapshot
from gaggle.recorder import Moment
from gaggle.telemetry.families import BOUNDS, MOST_NAMES, Buckets, Kind, Names, families


def found(report, names=None):
    moment = Moment(T0 + 30, report.series, report.snapshot, Snapshot())
    return {family.name: family for family in families(moment, names or Names())}


def test_every_name_is_a_family_once_and_has_a_value_for_each_label():
    every = list(found(make_report("/", "/shop")).values())

    assert len({family.name for family in every}) == len(every)
    assert all(len(labels) == len(family.labels) for family in every for labels, _ in family.samples)
    assert {family.kind for family in every} == set(Kind)


def test_names_beyond_the_last_are_one_and_nothing_of_them_is_lost():
    report = make_report(*(f"/{number}" for number in range(MOST_NAMES + 100)), seconds=1)

    every = found(report)

    requests = dict(every["requests"].samples)
    assert len(requests) == MOST_NAMES + 1
    assert requests["", OTHER] == 100 * 3
    assert sum(requests.values()) == (MOST_NAMES + 100) * 3
    assert sum(value.count for _, value in every["request_duration"].samples) == (MOST_NAMES + 100) * 3


def test_a_name_keeps_its_label_whoever_comes_later():
    names = Names()
    first = found(make_report("/first"), names)

    later = found(make_report(*(f"/{number}" for number in range(MOST_NAMES)), "/first", seconds=1), names)

    assert {("GET", "/first")} == {labels for labels, _ in first["requests"].samples}
    assert ("GET", "/first") in dict(later["requests"].samples)
    assert dict(later["requests"].samples)["", OTHER] == 3


@given(st.lists(st.integers(0, 200_000_000), max_size=100))
def test_buckets_count_every_time_once_and_never_too_low(times_us):
    histogram = Histogram()
    for us in times_us:
        histogram.record(us)

    buckets = Buckets.of(histogram, sum(times_us) / 1e6)

    assert buckets.count == len(times_us)
    for place, (low, high) in enumerate(pairwise((0.0, *BOUNDS))):
        inside = sum(low * 1.001 < us / 1e6 <= high * 0.999 for us in times_us)
        assert buckets.counts[place] >= inside
