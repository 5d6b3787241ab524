"""Who is due when: tables of what is wanted at which moment."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gaggle import units
from gaggle.options import Options
from gaggle.plan import Plan, due, engine_of, layout, share, unplaced

LAYOUTS = [
    # (weight, fixed_count) of each class, users, the class of each user
    ("the seed: two workers get AAAB and AAAA", [(4, None), (1, None)], 8, [0, 0, 0, 1, 0, 0, 0, 0]),
    ("one class", [(1, None)], 3, [0, 0, 0]),
    ("equal weights take turns, whatever they are", [(7, None), (7, None)], 4, [1, 0, 1, 0]),
    ("weights are divided by their gcd", [(20, None), (5, None)], 5, [1, 0, 0, 0, 0]),
    ("too few users for the last class", [(4, None), (1, None)], 2, [0, 0]),
    ("fixed counts come first", [(1, None), (1, 2), (1, 1)], 5, [1, 1, 2, 0, 0]),
    ("fixed counts are cut to the users", [(1, None), (1, 2), (1, 2)], 3, [1, 1, 2]),
    ("only fixed counts", [(1, 2), (5, 1)], 3, [0, 0, 1]),
    ("a fixed count of 0 is no user", [(1, None), (1, 0)], 2, [0, 0]),
    ("a weight of 0 is no user", [(0, None), (3, None)], 2, [1, 1]),
    ("no users", [(1, None)], 0, []),
    ("nothing at all", [], 0, []),
]


@pytest.mark.parametrize(("why", "classes", "users", "wanted"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_each_user_has_a_class(why, classes, users, wanted):
    assert layout(classes, users) == wanted


@pytest.mark.parametrize(("classes", "users"), [([(1, 2)], 3), ([(0, None)], 1), ([], 1)])
def test_users_that_no_class_may_have_are_refused(classes, users):
    with pytest.raises(ValueError, match=f"{users} are wanted"):
        layout(classes, users)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(0, 500))
def test_whole_blocks_of_users_are_in_proportion_to_the_weights(weights, blocks):
    assume(any(weights))

    classes = layout([(weight, None) for weight in weights], blocks * sum(weights))

    assert [classes.count(i) for i in range(len(weights))] == [blocks * weight for weight in weights]


def test_classes_that_get_no_user_are_named():
    classes = [(4, None), (1, None), (1, 1), (1, 0), (0, None)]

    assert unplaced(classes, 3) == [1]
    assert unplaced(classes, 6) == []


@pytest.mark.parametrize(
    ("users", "parts", "wanted"), [(8, 2, [4, 4]), (10, 3, [4, 3, 3]), (2, 4, [1, 1, 0, 0]), (0, 2, [0, 0])]
)
def test_the_first_parts_get_one_more(users, parts, wanted):
    assert share(users, parts) == wanted


def test_engines_take_turns():
    assert [engine_of(number, 3) for number in range(1, 8)] == [0, 1, 2, 0, 1, 2, 0]


@given(st.integers(1, 500), st.integers(1, 20))
def test_engines_have_their_share_of_the_users(users, engines):
    engine = [engine_of(number, engines) for number in range(1, users + 1)]

    assert [engine.count(i) for i in range(engines)] == share(users, engines)


@pytest.mark.parametrize(
    ("number", "hatch_rate", "wanted"), [(1, 0.5, 0), (2, 1, 1), (8, 1, 7), (3, 0.5, 4), (101, 200, 0.5)]
)
def test_a_user_is_due_after_those_before_it(number, hatch_rate, wanted):
    assert due(number, hatch_rate) == wanted


def test_no_user_is_due_later_than_a_clock_can_tell():
    assert due(2, 1e-300) == units.LONGEST


MOMENTS = [
    (-0.1, 0),
    (0, 1),
    (0.99, 1),
    (1, 2),
    (6.99, 7),
    (7, 8),
    (20, 8),
    (26.99, 8),
    (27, 0),  # the run time counts from the last start
]


@pytest.mark.parametrize(("time", "users"), MOMENTS)
def test_users_hatch_stay_and_stop(time, users):
    assert Plan(users=8, hatch_rate=1, run_time=20).users_at(time) == users


@given(st.integers(1, 100_000), st.floats(1e-3, 1e5), st.data())
def test_a_user_counts_from_the_moment_it_is_due(users, hatch_rate, data):
    """Division and multiplication round differently: 7 users may be one user less at the time the 7th is due."""
    plan = Plan(users, hatch_rate)
    number = data.draw(st.integers(1, users))

    at = plan.users_at(due(number, hatch_rate))

    assert number <= at
    assert due(at, hatch_rate) <= due(number, hatch_rate)


def test_a_plan_ends_its_run_time_after_the_last_start():
    assert Plan(users=8, hatch_rate=2, run_time=20).ramp_seconds == 3.5
    assert Plan(users=8, hatch_rate=2, run_time=20).stop_at == 23.5


def test_a_plan_without_a_run_time_has_no_end():
    plan = Plan(users=8, hatch_rate=1)

    assert plan.stop_at is None
    assert plan.users_at(1e12) == 8
    assert plan.warnings() == []


def test_a_ramp_that_outlasts_the_run_time_is_warned_about():
    assert Plan(users=1_001, hatch_rate=1, run_time=20).warnings() == [
        "starting 1,001 users takes 16m40s, longer than the run time of 20s, "
        "which counts from the start of the last user: the test takes 17m"
    ]


def test_a_ramp_within_the_run_time_is_not_warned_about():
    assert Plan(users=21, hatch_rate=1, run_time=20).warnings() == []


# How users leave.


def test_users_leave_at_the_rate_that_was_asked_for_the_last_one_first():
    plan = Plan(4, 2, run_time=10, decrease_rate=0.5)

    assert (plan.ramp_seconds, plan.stop_at, plan.gone_at) == (1.5, 11.5, 17.5)
    assert [plan.leave_after(number) for number in (4, 3, 2, 1)] == [0, 2, 4, 6]
    assert [plan.users_at(time) for time in (11.4, 11.5, 13.4, 13.5, 17.4, 17.5)] == [4, 3, 3, 2, 1, 0]


def test_without_a_rate_all_leave_at_once():
    plan = Plan(4, 2, run_time=10)

    assert plan.stop_at == plan.gone_at == 11.5
    assert [plan.leave_after(number) for number in (4, 1)] == [0, 0]


def test_without_a_run_time_nobody_leaves():
    plan = Plan(4, 2, decrease_rate=1)

    assert (plan.stop_at, plan.gone_at) == (None, None)
    assert plan.users_at(1e6) == 4


WISHES = [
    # options, hatch rate, ramp, decrease rate
    ({"users": 5, "hatch_rate": 2.0}, 2, 2, 0),
    ({"users": 5, "startup_time": 8.0}, 0.5, 8, 0),
    ({"users": 5, "startup_time": 8.0, "decrease_time": 2.0}, 0.5, 8, 2),
    ({"users": 5, "hatch_rate": 2.0, "decrease_rate": 4.0}, 2, 2, 4),
]


@pytest.mark.parametrize(("given", "hatch_rate", "ramp", "decrease_rate"), WISHES)
def test_times_in_the_options_become_rates(given, hatch_rate, ramp, decrease_rate):
    plan = Plan.of(Options(**given))

    assert (plan.hatch_rate, plan.ramp_seconds, plan.decrease_rate) == (hatch_rate, ramp, decrease_rate)


@given(st.integers(2, 500), st.floats(0.01, 1e5), st.floats(0.01, 1e5))
def test_all_users_start_and_leave_within_the_times_that_were_given(users, startup, decrease):
    plan = Plan.of(Options(users=users, startup_time=startup, decrease_time=decrease, run_time=1.0))

    assert plan.ramp_seconds == pytest.approx(startup)
    assert plan.leave_after(1) == pytest.approx(decrease)
