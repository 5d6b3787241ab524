"""Counts, gauges and checks of the load test's own: kept in an arena, merged, packed, and shown in the reports."""

from __future__ import annotations

import enum
import json
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import reduce
from operator import add
from random import Random
from typing import Any

import pytest
from reference import seeded

from gaggle._core import ARENA_SLOTS, KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, Arena, Meters
from gaggle.meters import Meter
from gaggle.metrics import Key, Snapshot
from gaggle.packing import pack, unpack
from gaggle.report import render
from gaggle.report.model import Report


@pytest.fixture
def rng() -> Random:
    return seeded()


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    made.close()


@pytest.fixture
def own(arena: Arena) -> Meters:
    return Meters(arena)


def test_counts_gauges_and_checks_are_read_as_they_were_counted(arena: Arena, own: Meters) -> None:
    before = time.time_ns() // 1_000
    for amount in (3, 4, 0.5):
        own.count("cart items", amount)
    for value in (17, -2, 4.25):
        own.gauge("queue length", value)
    for passed in (True, True, False):
        own.check("title is right", passed)

    read = Snapshot.read(arena)

    assert read.counts() == [("cart items", Meter(3, 0, 7_500_000, last_us=0))]
    ((_, gauge),) = read.gauges()
    assert (gauge.samples, gauge.mean, gauge.lowest, gauge.highest, gauge.last) == (3, 19.25 / 3, -2, 17, 4.25)
    assert before <= gauge.last_us <= time.time_ns() // 1_000
    ((_, check),) = read.checks()
    assert (check.samples, check.passed, check.failed) == (3, 2, 1)
    assert read.rows == {}


def test_a_name_may_be_a_count_a_gauge_and_a_check(arena: Arena, own: Meters) -> None:
    own.count("x", 1)
    own.gauge("x", 2)
    own.check("x", True)

    read = Snapshot.read(arena)

    assert [len(found) for found in (read.counts(), read.gauges(), read.checks())] == [1, 1, 1]


def test_a_gaggle_counts_as_one_process_would(rng: Random) -> None:
    """Sums are exact whatever the order: they are whole millionths."""
    alone, engines = Arena.create(), [Arena.create() for _ in range(4)]
    writers = {id(arena): Meters(arena) for arena in (alone, *engines)}
    total = Fraction(0)
    for _ in range(5_000):
        value = rng.choice((rng.randrange(-1_000, 1_000), rng.randrange(-(10**9), 10**9) / 1_000_000))
        total += Fraction(round(value * 1_000_000), 1_000_000)
        for arena in (alone, rng.choice(engines)):
            writers[id(arena)].gauge("queue", value)
            writers[id(arena)].count("items", abs(value))
            writers[id(arena)].check("fine", value > 0)

    single, merged = Snapshot.read(alone), reduce(add, map(Snapshot.read, engines))

    assert counted(merged) == counted(single)
    gauge = merged.meters[Key(KIND_GAUGE, "", "queue")]
    assert Fraction(gauge.millionths, 1_000_000) == total
    assert gauge.last == single.meters[Key(KIND_GAUGE, "", "queue")].last
    for arena in (alone, *engines):
        arena.close()


def counted(snapshot: Snapshot) -> dict[Key, tuple[Any, ...]]:
    return {
        key: (meter.samples, meter.failed, meter.millionths, meter.lowest, meter.highest)
        for key, meter in snapshot.meters.items()
    }


def test_deltas_add_up_and_what_did_not_change_is_left_out(arena: Arena, own: Meters) -> None:
    own.count("early", 1)
    own.gauge("queue", 5)
    first = Snapshot.read(arena)
    own.gauge("queue", 3)
    second = Snapshot.read(arena)

    delta = second - first

    assert list(delta.meters) == [Key(KIND_GAUGE, "", "queue")]
    assert delta.gauges()[0][1].sum == 3
    assert first + delta == second
    assert (second - second).idle


def test_the_ends_of_a_gauge_are_those_of_the_epoch(arena: Arena, own: Meters) -> None:
    own.gauge("queue", 100)
    baseline = Snapshot.read(arena)
    arena.epoch += 1
    own.gauge("queue", 7)
    own.gauge("queue", 5)

    ((_, gauge),) = (Snapshot.read(arena) - baseline).gauges()

    assert (gauge.lowest, gauge.highest, gauge.mean, gauge.last) == (5, 7, 6, 5)


def test_the_last_value_is_the_one_that_came_last() -> None:
    early, late = Meter(1, 0, 5, 5.0, 5.0, 5.0, 10), Meter(1, 0, 3, 3.0, 3.0, 3.0, 20)

    assert (early + late).last == (late + early).last == 3.0
    assert (early + Meter()) == early == (Meter() + early)


def test_names_beyond_the_limit_are_other_and_the_arena_says_so(arena: Arena, own: Meters) -> None:
    for number in range(ARENA_SLOTS):
        arena.slot(KIND_REQUEST, "GET", f"/{number}")
    for name in ("a", "b", "a"):
        own.count(name, 2)
        own.gauge(name, 4)
        own.check(name, False)

    read = Snapshot.read(arena)

    assert [(name, meter.sum) for name, meter in read.counts()] == [("(other)", 6)]
    assert [(name, meter.mean) for name, meter in read.gauges()] == [("(other)", 4)]
    assert [(name, meter.failed) for name, meter in read.checks()] == [("(other)", 3)]
    assert read.names_lost == 9


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("x" * 300, "x" * 255, id="too long"),
        pytest.param("ö" * 200, "ö" * 127, id="too long in UTF-8"),
        pytest.param("a\0b", "a b", id="NUL"),
        pytest.param("\ud800", "?", id="half a surrogate pair"),
        pytest.param("\x1b[31m\nred", "\x1b[31m\nred", id="what moves the cursor"),
        pytest.param(Colour.RED, "red", id="an enum"),
    ],
)
def test_any_text_is_a_name(arena: Arena, own: Meters, name: str, kept: str) -> None:
    for _ in range(2):
        own.count(name, 1)

    read = unpack(pack(Snapshot.read(arena)))
    page, data = (render(Report(read, 1.0), suffix) for suffix in (".txt", ".json"))

    assert read.counts() == [(kept, Meter(2, 0, 2_000_000))]
    assert "\x1b" not in page
    assert json.loads(data)["counts"] == [{"name": kept, "times": 2, "sum": 2}]


@pytest.mark.parametrize("name", [None, 7, b"x", ["x"]])
def test_what_is_no_text_is_no_name(own: Meters, name: Any) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        own.check(name, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e15, -1.1e15])
def test_a_value_that_cannot_be_added_is_refused_by_name(arena: Arena, own: Meters, value: float) -> None:
    with pytest.raises(ValueError, match="gauge\\('queue'\\): a value must be a number up to 1e"):
        own.gauge("queue", value)
    with pytest.raises(ValueError, match="count\\('items'\\)"):
        own.count("items", value)

    assert Snapshot.read(arena).idle


def test_a_count_does_not_fall(own: Meters) -> None:
    with pytest.raises(ValueError, match=r"use gauge\(\) for what also falls"):
        own.count("items", -1)


def test_a_sum_that_is_full_stands_still(arena: Arena, own: Meters) -> None:
    for _ in range(4_100):
        own.gauge("huge", -1e15)

    ((_, gauge),) = unpack(pack(Snapshot.read(arena))).gauges()

    assert gauge.samples == 4_100
    assert gauge.sum == -4_000_000_000_000_000_000


# In the reports.


def report() -> Report:
    snapshot = Snapshot()
    snapshot.meters = {
        Key(KIND_CHECK, "", "title is right"): Meter(2_000, 30),
        Key(KIND_CHECK, "", "(other)"): Meter(4, 4),
        Key(KIND_COUNT, "", "cart items"): Meter(1_500, 0, 4_512_500_000),
        Key(KIND_GAUGE, "", "queue length"): Meter(60, 0, 471_000_000, -2.0, 17.0, 6.0, 1_653_000_000_500_000),
        Key(KIND_GAUGE, "", "not in this epoch"): Meter(1, 0, 0),
    }
    return Report(snapshot, 10.0)


def test_the_text_report_has_a_section_for_them() -> None:
    lines = render(report(), ".txt").splitlines()

    at = lines.index(" === CUSTOM METRICS ===")
    rows = [" ".join(line.split()) for line in lines[at:] if " | " in line]

    assert rows == [
        "Name | # times | # fails | Passed",
        "title is right | 2,000 | 30 (1.5%) | 98.5%",
        "(other) | 4 | 4 (100%) | 0%",
        "Name | Sum | # times | sum/s | Avg",
        "cart items | 4,512 | 1,500 | 451.25 | 3.01",
        "Name | # times | Avg | Min | Max | Last",
        "not in this epoch | 1 | 0 | - | - | 0",
        "queue length | 60 | 7.85 | -2 | 17 | 6",
    ]
    assert max(map(len, lines)) <= 80


def test_a_report_without_them_has_no_section() -> None:
    assert "CUSTOM" not in render(Report(Snapshot(), 10.0), ".txt")


def test_the_json_report_has_them() -> None:
    data = json.loads(render(report(), ".json"))

    assert data["checks"][0] == {"name": "title is right", "times": 2_000, "passed": 1_970, "failed": 30}
    assert data["counts"] == [{"name": "cart items", "times": 1_500, "sum": 4_512.5}]
    assert data["gauges"][1] == {
        "name": "queue length", "times": 60, "sum": 471, "mean": 7.85, "min": -2.0, "max": 17.0, "last": 6.0,
        "last_at": 1_653_000_000.5,
    }  # fmt: skip
    assert data["gauges"][0]["min"] is None
