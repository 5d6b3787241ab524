"""The series of a run: whatever becomes of its points, nothing is lost, nothing is averaged, and it stays small."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaggle import series as module
from gaggle._core import KIND_REQUEST, KIND_TASK, Histogram, Total
from gaggle.counts import Counts, dealt
from gaggle.grid import Grid
from gaggle.metrics import Key, Row, Snapshot
from gaggle.packing import pack
from gaggle.recorder import Moment, Recorder
from gaggle.series import Series

T0 = 1_653_000_000.0
HOME, SHOP = Key(KIND_REQUEST, "GET", "/"), Key(KIND_REQUEST, "GET", "/shop")


def counted(*times_us, key=HOME, failed=0, size=10):
    """Return a snapshot of requests that took so long."""
    row = Row(key, started=len(times_us), answered=len(times_us), failed=failed, bytes_in=size * len(times_us))
    for us in times_us:
        row.times.record(us)
    return Snapshot({key: row})


def second_by_second(seconds, of=lambda second: counted(1_000 + second)):
    series = Series(T0)
    for second in range(seconds):
        series.extend(T0 + second + 1, users=second)
        series.put(T0 + second, T0 + second + 1, of(second))
    return series


def sum_of(points):
    total = Counts()
    for point in points:
        total.merge(point.counts)
    return total


def test_a_point_has_what_was_counted_in_its_second():
    series = second_by_second(3, lambda second: counted(*[5_000] * second, failed=second // 2))

    assert [(p.start - T0, p.length) for p in series.points] == [(0, 1), (1, 1), (2, 1)]
    assert [p.counts.count for p in series.points] == [0, 1, 2]
    assert [p.counts.failures for p in series.points] == [0, 0, 1]
    assert [p.counts.bytes_in for p in series.points] == [0, 10, 20]
    assert [p.counts.users for p in series.points] == [0, 1, 2]


def test_tasks_are_not_in_the_points():
    series = second_by_second(1, lambda second: counted(5, key=Key(KIND_TASK, "User", "look")))

    assert series.points[0].counts.count == 0
    assert series.keys == []


@pytest.mark.parametrize("hours", [1, 2, 12])
def test_a_long_run_has_at_most_an_hour_of_points_and_loses_nothing(hours, monkeypatch):
    monkeypatch.setattr(module, "MOST", 360)  # ten times less of everything: the same, quicker
    monkeypatch.setattr(module, "MOST_NAMED", 24)
    seconds = hours * 360
    series = second_by_second(seconds, lambda second: counted(1_000 + second, 2_000, failed=1))

    for points, most in ((series.points, 360), (series.of(HOME), 24)):
        total = sum_of(points)
        assert most / 2 <= len(points) <= most
        assert (total.count, total.failures) == (2 * seconds, seconds)
        assert total.times.total == 2 * seconds
        assert sum(p.length for p in points) == pytest.approx(seconds)
        assert all(a.start + a.length == pytest.approx(b.start) for a, b in pairwise(points))


def test_what_becomes_one_point_is_the_sum_of_the_histograms():
    series = second_by_second(500, lambda second: counted(*range(second, second + 50)))

    first = series.of(HOME)[0]

    expected = Histogram()
    for second in range(int(first.length)):
        for us in range(second, second + 50):
            expected.record(us)
    assert first.length > 1
    assert first.counts.times == expected


def test_a_reset_begins_a_point_which_no_other_is_ever_added_to(monkeypatch):
    monkeypatch.setattr(module, "MOST", 20)
    series = Series(T0)
    for at in (1, 2, 2.4):
        series.extend(T0 + at)
        series.put(T0 + at - 0.1, T0 + at, counted(5_000))
    series.reset()

    for at in range(3, 300):
        series.extend(T0 + at)
        series.put(T0 + at - 0.1, T0 + at, counted(9_000))

    assert series.measured_from == T0 + 2.4
    assert len(series.points) <= 20
    assert sum_of(series.measured()).count == 297
    assert sum_of(series.points).count == 300


LATE = [
    ((5.0, 6.0), [5], "the second that it covers"),
    ((5.03, 6.04), [5], "a worker that is a little late"),
    ((4.6, 5.5), [5], "most of it"),
    ((2.0, 6.0), [2, 3, 4, 5], "four seconds of silence"),
    ((-3.0, -2.0), [0], "a clock that is behind"),
    ((40.0, 41.0), [29], "a clock that is ahead"),
]


@pytest.mark.parametrize(("stretch", "seconds", "why"), LATE)
def test_what_comes_late_is_put_where_it_was_counted(stretch, seconds, why):
    series = Series(T0)
    for at in range(30):
        series.extend(T0 + at + 1)

    series.put(T0 + stretch[0], T0 + stretch[1], counted(*[7_000] * 8, failed=4))

    filled = [place for place, point in enumerate(series.points) if point.counts.count]
    assert filled == seconds, why
    assert sum_of(series.points).times.total == 8
    assert sum_of(series.points).failures == 4


@given(st.lists(st.integers(0, 10_000_000), max_size=200), st.integers(1, 7))
def test_what_is_dealt_out_adds_up_and_its_parts_are_alike(times_us, hands):
    histogram = Histogram()
    for us in times_us:
        histogram.record(us)

    parts = dealt(histogram, hands)

    assert sum(parts, Histogram()) == histogram
    assert max(part.total for part in parts) - min(part.total for part in parts) <= 1


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=300), st.integers(10, 50))
def test_a_grid_never_has_more_stretches_than_it_may_and_covers_all(lengths, most):
    grid, at = Grid(T0, most), T0
    for length in lengths:
        at += length
        grid.extend(at)
        grid.put(at - length, at, [(HOME, Counts(count=1).packed())])

    assert len(grid) <= most
    assert grid.end == pytest.approx(at, abs=0.01)
    assert sum_of(grid.points(HOME)).count == len(lengths)


def test_many_names_share_the_room_that_there_is(monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS", 1_000)
    keys = [Key(KIND_REQUEST, "GET", f"/{number}") for number in range(50)]

    series = second_by_second(300, lambda second: sum((counted(10, key=key) for key in keys), Snapshot()))

    assert len([*series.named.cells()]) <= 1_000
    assert all(sum_of(series.of(key)).count == 300 for key in keys)


def test_what_nothing_more_is_expected_of_takes_few_bytes():
    """Names with 8 requests a second each: 480 MB were kept after a quarter of an hour of 200 names."""
    keys = [Key(KIND_REQUEST, "GET", f"/{number}") for number in range(50)]
    counts = [
        sum((counted(*range(second, 90_000, 11_000), key=key) for key in keys), Snapshot()) for second in range(7)
    ]

    series = second_by_second(400, lambda second: counts[second % 7])

    packed = [stretch.kept for stretch in series.named.stretches if isinstance(stretch.kept, bytes)]
    assert len(packed) >= len(series.named) - 4
    assert sum(map(len, packed)) < len(packed) * len(keys) * 100
    assert all(sum_of(series.of(key)).times.total == 400 * 9 for key in keys)


def test_the_recorder_notes_what_was_added_and_tells_who_looks_on():
    told: list[Moment] = []
    recorder = Recorder([told.append])
    recorder.begin(T0)

    assert not recorder.is_due(T0 + 0.9)
    assert recorder.is_due(T0 + 1.02)
    recorder.note(T0 + 1.02, counted(5_000))
    assert not recorder.is_due(T0 + 1.9)
    recorder.note(T0 + 2.0, counted(5_000, 6_000, 7_000))
    recorder.tell(counted(5_000, 6_000, 7_000), counted(5_000))

    assert [point.counts.count for point in recorder.series.points] == [1, 2]
    assert told[0].at == T0 + 2.0
    assert told[0].measured.rows[HOME].count == 2


SENT = [
    ([(0.0, 1.0)], [1, 0, 0, 0], "a worker's second"),
    ([(0.4, 1.4), (0.45, 1.45)], [2, 0, 0, 0], "more of the first second than of the next"),
    ([(0.6, 1.6), (1.1, 2.1)], [0, 2, 0, 0], "two workers, in the second that both had most of"),
    ([(0.0, 4.0)], [1, 1, 1, 1], "a worker that was silent"),
    ([(2.95, 3.15)], [0, 0, 0, 1], "what was left at the end"),
]


@pytest.mark.parametrize(("stretches", "counts", "why"), SENT)
def test_what_workers_send_is_put_into_the_seconds_in_which_it_was_counted(stretches, counts, why):
    recorder, total = Recorder(), Total()
    recorder.begin(T0)
    for second in range(4):
        recorder.turn(T0 + second + 1, users=1)

    for began, ended in stretches:
        sent = counted(*[5_000] * (4 if ended - began > 3 else 1))
        total.add(pack(sent), recorder.interval(T0 + began, T0 + ended))
    recorder.turn(T0 + 4, users=1)

    assert [point.counts.count for point in recorder.series.points] == counts, why
    assert [point.counts.times.total for point in recorder.series.of(HOME)] == counts, why


def test_after_a_reset_the_points_have_what_the_report_has():
    recorder = Recorder()
    recorder.begin(T0)
    recorder.note(T0 + 1, counted(1, 2))

    recorder.reset(T0 + 1.3, counted(1, 2, 3))
    recorder.note(T0 + 2, counted(1, 2, 3, 4, 5))

    assert [point.counts.count for point in recorder.series.points] == [2, 1, 2]
    assert sum_of(recorder.series.measured()).count == 2
