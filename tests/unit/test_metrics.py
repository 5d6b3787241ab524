"""Snapshots: read from an arena, added, subtracted, packed, and refused when they are not what they should be."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Histogram as Reference
from reference import latencies, seeded

from gaggle import _core
from gaggle._core import (
    KIND_CHECK,
    KIND_COUNT,
    KIND_GAUGE,
    KIND_REQUEST,
    KIND_TASK,
    KIND_USER,
    Arena,
    Histogram,
    Interval,
    Total,
    pack_numbers,
)
from gaggle.counts import Counts
from gaggle.meters import Meter
from gaggle.metrics import COUNTERS, ErrorRow, Key, Row, Snapshot
from gaggle.packing import HEAD, MOST, pack, unpack

GET, POST = Key(KIND_REQUEST, "GET", "/"), Key(KIND_REQUEST, "POST", "/")
STARTED, ANSWERED, BROKEN = _core.STARTED, _core.ANSWERED, _core.BROKEN
FAILED, FORGIVEN, UNFINISHED = _core.FAILED, _core.FORGIVEN, _core.UNFINISHED


@pytest.fixture
def rng() -> Random:
    return seeded()


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    made.close()


def histogram(*recorded: int) -> Histogram:
    made = Histogram()
    for us in recorded:
        made.record(us)
    return made


def snapshot(*rows: Row, errors: tuple[ErrorRow, ...] = (), **other: int) -> Snapshot:
    table = {(error.key, error.text): error for error in errors}
    return Snapshot({row.key: row for row in rows}, table, **other)


texts = st.sampled_from(("x", "y")) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
keys = st.sampled_from((GET, POST)) | st.builds(
    Key, st.sampled_from((KIND_REQUEST, KIND_TASK, KIND_USER)), texts, texts
)
numbers = st.integers(min_value=0, max_value=MOST)
histograms = st.lists(st.integers(min_value=0, max_value=2**32), max_size=6).map(lambda us: histogram(*us))
statuses = st.dictionaries(
    st.integers(min_value=0, max_value=0xFFFF), st.integers(min_value=1, max_value=MOST), max_size=4
)
rows = st.builds(
    lambda key, counts, statuses, times, first: Row(key, *counts, statuses=statuses, times=times, first_byte=first),
    *(keys, st.lists(numbers, min_size=13, max_size=13), statuses, histograms, histograms),
).filter(lambda row: not row.idle)
moments = st.integers(min_value=0, max_value=2**51).map(lambda us: us / 1e6)
counts = st.integers(min_value=-MOST, max_value=MOST).filter(bool)
error_rows = st.builds(ErrorRow, keys, texts, counts, moments, moments)
gauges = st.fixed_dictionaries(
    {name: st.integers(min_value=-MOST, max_value=MOST) for name in ("users_running", "users_started", "users_exited")}
    | dict.fromkeys(("names_lost", "errors_lost"), numbers)
)
values = st.floats(min_value=-1e15, max_value=1e15)
meters = st.builds(
    lambda samples, failed, total, ends, last, last_us: Meter(samples, failed, total, *ends, last, last_us),
    *(st.integers(min_value=1, max_value=MOST), numbers, st.integers(-(2**60), 2**60) | st.integers(-(2**80), 2**80)),
    *(st.just((None, None)) | st.tuples(values, values).map(sorted), values, numbers),
)
meter_keys = st.builds(Key, st.sampled_from((KIND_COUNT, KIND_GAUGE, KIND_CHECK)), st.just(""), texts)
snapshots = st.builds(
    lambda rows, errors, lag, gauges, meters: Snapshot(
        {row.key: row for row in rows},
        {(error.key, error.text): error for error in errors},
        lag,
        **gauges,
        meters=meters,
    ),
    *(st.lists(rows, max_size=4), st.lists(error_rows, max_size=4), histograms, gauges),
    st.dictionaries(meter_keys, meters, max_size=4),
)


# Reading.


def test_the_counters_of_a_row_are_in_the_order_of_the_arena() -> None:
    assert [getattr(_core, name.upper()) for name in COUNTERS] == list(range(_core.COUNTS))


def test_a_snapshot_has_what_the_arena_counts(arena: Arena) -> None:
    before = time.time() - 1e-5
    slot = arena.slot(*GET)
    for which, amount in ((STARTED, 5), (ANSWERED, 3), (BROKEN, 1), (FAILED, 2), (FORGIVEN, 1), (_core.BYTES_IN, 900)):
        arena.count(slot, which, amount)
    for us in (1_000, 3_000, 2_000, 2_000):
        arena.time(slot, us)
    arena.first_byte(slot, 700)
    arena.status(slot, 200)
    arena.status(slot, 404)
    arena.error(slot, "404 Not Found")
    arena.users_running, arena.users_started, arena.users_exited = 2, 3, 1
    arena.late(55)

    read = Snapshot.read(arena)

    assert read.rows == {
        GET: Row(
            *(GET, 5, 3, 1, 2, 1, 0, 0, 0, 900, 0, 8_000, 1_000, 3_000),
            statuses={200: 1, 404: 1},
            times=histogram(1_000, 2_000, 2_000, 3_000),
            first_byte=histogram(700),
        )
    }
    (error,) = read.errors.values()
    assert (error.key, error.text, error.count) == (GET, "404 Not Found", 1)
    assert before <= error.first == error.last <= time.time()
    assert (read.lag, read.users_running, read.users_started, read.users_exited) == (histogram(55), 2, 3, 1)
    row = read.rows[GET]
    assert (row.count, row.failures, row.mean_us, row.counts[:3]) == (4, 1, 2_000.0, (5, 3, 1))


def test_a_name_that_was_never_used_has_no_row(arena: Arena) -> None:
    arena.slot(*GET)

    assert Snapshot.read(arena) == Snapshot.empty()


def test_a_gaggle_counts_as_one_process_would(rng: Random) -> None:
    """Merging is exact: the percentiles are those of one engine that had seen every request."""
    alone, engines = Arena.create(), [Arena.create() for _ in range(4)]
    names = [f"/{number}" for number in range(12)]
    seen: dict[str, Reference] = {name: Reference() for name in names}

    for us in latencies(rng, 8_000):
        name, engine = rng.choice(names), rng.choice(engines)
        seen[name].record(max(us, 1))
        for arena in (alone, engine):
            slot = arena.slot(KIND_REQUEST, "GET", name)
            arena.count(slot, STARTED)
            arena.count(slot, ANSWERED)
            arena.time(slot, us)
            arena.status(slot, 200 + us % 5)

    single, merged = Snapshot.read(alone), reduce(add, map(Snapshot.read, engines))
    assert merged == single
    for row in merged.requests():
        for fraction in (0.5, 0.9, 0.99, 0.999, 1.0):
            assert row.times.percentile(fraction) == seen[row.key.name].percentile(fraction)
    for arena in (alone, *engines):
        arena.close()


def test_deltas_add_up_to_the_whole(arena: Arena, rng: Random) -> None:
    """A worker sends what was counted since the last time; forgiving later makes an error's delta negative."""
    sent = total = Snapshot.empty()
    for _ in range(30):
        slot = arena.slot(KIND_REQUEST, rng.choice(("GET", "POST")), rng.choice(("/", "/a", "/b")))
        arena.count(slot, rng.randrange(_core.COUNTS))
        arena.time(slot, rng.randint(1, 10**6))
        arena.status(slot, rng.choice((200, 404)))
        (arena.error if rng.random() < 0.6 else arena.forgive)(slot, "404")
        arena.users_running += rng.randint(-1, 1)

        now = Snapshot.read(arena)
        total.merge(unpack(pack(now - sent)))
        sent = now

    assert {key: error.count for key, error in total.errors.items()} == {
        key: error.count for key, error in sent.errors.items()
    }
    total.errors = sent.errors
    assert total == sent


# Adding and subtracting.


@settings(deadline=None)
@given(snapshots, snapshots)
def test_taking_away_what_was_added_gives_what_was_counted(a: Snapshot, b: Snapshot) -> None:
    difference = a + b - b

    assert counted(difference) == counted(a)


@settings(deadline=None)
@given(snapshots, snapshots, snapshots)
def test_the_order_of_adding_does_not_matter(a: Snapshot, b: Snapshot, c: Snapshot) -> None:
    assert a + b == b + a
    assert counted(a + (b + c)) == counted((a + b) + c)


@settings(deadline=None)
@given(snapshots, snapshots)
def test_operators_leave_their_operands_alone(a: Snapshot, b: Snapshot) -> None:
    before = pack(a), pack(b)

    total = a + b
    total.merge(b)
    (total - b).merge(a)
    total.close_books()
    a.copy().merge(b)

    assert (pack(a), pack(b)) == before


def test_the_halves_add_up_to_the_whole_and_end_when_nothing_can_be_halved() -> None:
    many = snapshot(Row(GET, 1), Row(POST, 2), users_running=3)
    many.meters = {Key(KIND_COUNT, "", f"n{n}"): Meter(1, 0, n) for n in range(9)}

    first, second = many.halves()

    assert first + second == many
    assert (len(first.meters), len(second.meters)) == (4, 5)
    assert many.can_be_halved
    assert not snapshot(Row(GET, 1)).can_be_halved


def counted(snapshot: Snapshot) -> object:
    """Return what is exact in a difference: everything but extremes and moments."""
    rows = {row.key: (row.counts, row.statuses, row.times, row.first_byte) for row in snapshot.rows.values()}
    rows = {key: [dict(part) if isinstance(part, dict) else part for part in row] for key, row in rows.items()}
    errors = {name: error.count for name, error in snapshot.errors.items()}
    users = snapshot.users_running, snapshot.users_started, snapshot.users_exited
    meters = {key: (meter.samples, meter.failed, meter.millionths) for key, meter in snapshot.meters.items()}
    return rows, errors, snapshot.lag, users, snapshot.names_lost, snapshot.errors_lost, meters


@pytest.mark.parametrize(
    ("left", "right", "sum"),
    [
        pytest.param((0, 0), (0, 0), (0, 0), id="nothing was timed"),
        pytest.param((5, 9), (0, 0), (5, 9), id="nothing on the right"),
        pytest.param((0, 0), (5, 9), (5, 9), id="nothing on the left"),
        pytest.param((5, 9), (3, 7), (3, 9), id="both"),
    ],
)
def test_the_extremes_of_a_sum(left: tuple[int, int], right: tuple[int, int], sum: tuple[int, int]) -> None:
    rows = [Row(GET, minimum_us=low, maximum_us=high) for low, high in (left, right)]

    total = rows[0] + rows[1]

    assert (total.minimum_us, total.maximum_us) == sum


def test_the_extremes_of_a_difference_are_those_of_the_later(arena: Arena) -> None:
    """They belong to the epoch, which begins with the baseline."""
    slot = arena.slot(*GET)
    arena.time(slot, 10)
    baseline = Snapshot.read(arena)
    arena.epoch += 1
    arena.time(slot, 500)

    row = (Snapshot.read(arena) - baseline).rows[GET]

    assert (row.minimum_us, row.maximum_us, row.sum_us, row.times) == (500, 500, 500, histogram(500))


def test_a_row_that_did_not_change_is_not_in_the_difference() -> None:
    earlier = snapshot(Row(GET, started=1, statuses={200: 1}), Row(POST, started=1))

    difference = earlier + snapshot(Row(POST, started=2, statuses={500: 1})) - earlier

    assert difference.rows == {POST: Row(POST, started=2, statuses={500: 1})}


def test_a_later_snapshot_cannot_be_taken_from_an_earlier_one() -> None:
    with pytest.raises(ValueError, match="lacks"):
        Snapshot.empty() - snapshot(Row(GET, times=histogram(1)))


def test_an_error_has_the_first_and_the_last_moment_of_both() -> None:
    total = snapshot(errors=(ErrorRow(GET, "x", 1, 5.0, 6.0),)) + snapshot(errors=(ErrorRow(GET, "x", 2, 4.0, 5.5),))

    assert total.errors == {(GET, "x"): ErrorRow(GET, "x", 3, 4.0, 6.0)}


# Answers.


def test_rows_are_sorted_and_other_comes_last() -> None:
    names = [(0, "", "(other)"), (1, "U", "b"), (0, "POST", "/"), (2, "", "U"), (0, "GET", "/b"), (0, "GET", "/a")]
    full = snapshot(*(Row(Key(*name), started=1) for name in names))

    assert [row.key[1:] for row in full.requests()] == [("GET", "/a"), ("GET", "/b"), ("POST", "/"), ("", "(other)")]
    assert [row.key for row in full.tasks()] == [Key(1, "U", "b")]
    assert [row.key for row in full.users()] == [Key(2, "", "U")]


def test_the_total_of_a_kind_is_one_row() -> None:
    get, post = (
        Row(GET, 3, 2, minimum_us=4, maximum_us=5),
        Row(POST, 1, 1, minimum_us=2, maximum_us=2, statuses={200: 1}),
    )
    get.times, post.times = histogram(4, 5), histogram(2)

    total = snapshot(get, post, Row(Key(KIND_TASK, "U", "t"), 7)).total(KIND_REQUEST)

    extremes = {"minimum_us": 2, "maximum_us": 5}
    assert total == Row(Key(0, "", "Aggregated"), 4, 3, **extremes, statuses={200: 1}, times=histogram(2, 4, 5))
    assert Snapshot.empty().total(KIND_USER) == Row(Key(2, "", "Aggregated"))


def test_failures_are_never_negative() -> None:
    assert Row(GET, failed=1, forgiven=2).failures == 0


def test_the_mean_of_nothing_is_0() -> None:
    assert Row(GET).mean_us == 0.0


def test_the_books_of_a_lost_engine_are_closed() -> None:
    """So that started = answered + broken + unfinished, and its users do not run for ever."""
    left = snapshot(
        Row(GET, started=9, answered=4, broken=1, unfinished=2),
        Row(POST, started=1, answered=1),
        users_running=3,
        users_started=5,
        users_exited=2,
    )

    left.close_books()
    left.close_books()

    assert [row.unfinished for row in left.requests()] == [4, 0]
    assert (left.users_running, left.users_started, left.users_exited) == (0, 5, 5)


# Packing.


@settings(deadline=None)
@given(snapshots)
def test_what_was_packed_can_be_unpacked(original: Snapshot) -> None:
    assert unpack(pack(original)) == original


def test_the_delta_of_a_second_is_small(rng: Random) -> None:
    """20 requests with a hundred samples each; a message of the gaggle may have 1 MiB."""
    recorded = [Row(Key(0, "GET", f"/some/path/{n}"), 100, 100, statuses={200: 100}) for n in range(20)]
    for row in recorded:
        row.times = histogram(*(int(rng.lognormvariate(9, 0.5)) for _ in range(100)))

    assert len(pack(snapshot(*recorded))) < 20 * 500
    assert len(pack(Snapshot.empty())) < 30


def packed(*numbers: int, texts: bytes = b"", rest: bytes = b"", **head: int | bytes) -> bytes:
    """Return a packed snapshot of these parts; `head` replaces fields of its head."""
    fields = {"magic": b"gaggle", "version": 2, "count": len(numbers), "length": len(texts)} | head
    return HEAD.pack(*fields.values()) + pack_numbers(list(numbers)) + texts + rest


EMPTY = (0, 0, 0, 0, 0, 0, 0, 0, 0)
ONE_ROW = (1, *EMPTY[1:])
ONE_METER = (*EMPTY[:8], 1)
METERED = (1, 0, 2, 500_000, 1, 0x3FF00000, 0, 0x40080000, 0, 0x40000000, 0, 7)  # 2.5 of one sample; 1, 3, and last 2
COUNTED = (1, *(0,) * 12)
HISTOGRAM = histogram(5).encode()
N = len(HISTOGRAM)

MALFORMED = {
    "nothing at all": b"",
    "no whole head": packed(*EMPTY)[:14],
    "another magic": packed(*EMPTY, magic=b"giggle"),
    "another version": packed(*EMPTY, version=1),
    "something after the end": packed(*EMPTY, rest=b"x"),
    "a number too few": packed(*EMPTY[1:]),
    "a number too many": packed(*EMPTY, 0),
    "more numbers announced than there are bytes": packed(*EMPTY, count=2**32 - 1),
    "more text announced than there is": packed(*EMPTY, length=5),
    "text that belongs to nothing": packed(*EMPTY, texts=b"abc"),
    "a negative number of rows": packed(-1, *EMPTY[1:]),
    "more rows than there are": packed(2, *EMPTY[1:]),
    "rows without end": packed(2**52, *EMPTY[1:]),
    "more names lost than can be": packed(*EMPTY[:6], 2**52 + 1, 0, 0),
    "fewer users than can be": packed(0, 0, 0, -(2**52) - 1, *EMPTY[4:]),
    "an unknown kind": packed(*ONE_ROW, 3, 0, 0, *COUNTED, 0, 0, 0),
    "a negative kind": packed(*ONE_ROW, -1, 0, 0, *COUNTED, 0, 0, 0),
    "a negative counter": packed(*ONE_ROW, 0, 0, 0, -1, *COUNTED[1:], 0, 0, 0),
    "a name that is no UTF-8": packed(*ONE_ROW, 0, 0, 1, *COUNTED, 0, 0, 0, texts=b"\xff"),
    "a name that is longer than all texts": packed(*ONE_ROW, 0, 0, 9, *COUNTED, 0, 0, 0, texts=b"a"),
    "a name of negative length": packed(*ONE_ROW, 0, -1, 2, *COUNTED, 0, 0, 0, texts=b"a"),
    "the same row twice": packed(2, *EMPTY[1:], *((0, 0, 0, *COUNTED, 0, 0, 0) * 2)),
    "the same status twice": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 2, 0, 0, 200, 1, 200, 1),
    "a status that was not seen": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 1, 0, 0, 200, 0),
    "a status that cannot be": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 1, 0, 0, 65_536, 1),
    "more statuses than there are": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 2**40, 0, 0),
    "a histogram that is none": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 0, 5, 0, rest=b"12345"),
    "a histogram that is cut off": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 0, N, 0, rest=HISTOGRAM[:-1]),
    "a histogram that is not all": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 0, N, 0, rest=HISTOGRAM + b"x"),
    "a histogram that is empty": packed(*ONE_ROW, 0, 0, 0, *COUNTED, 0, 40, 0, rest=histogram().encode()),
    "the same error twice": packed(0, 2, *EMPTY[2:], *((0, 0, 0, 0, 1, 0, 0) * 2)),
    "an error before 1970": packed(0, 1, *EMPTY[2:], 0, 0, 0, 0, 1, -1, 0),
    "an error of unknown kind": packed(0, 1, *EMPTY[2:], 9, 0, 0, 0, 1, 0, 0),
    "more meters than there are": packed(*EMPTY[:8], 2**40),
    "a meter of a row's kind": packed(*ONE_METER, 2, 0, *METERED),
    "a meter with a negative number of samples": packed(*ONE_METER, 3, 0, -1, *METERED[1:]),
    "a meter with a sum that is too large": packed(*ONE_METER, 3, 0, 1, 0, 2**62 + 1, *METERED[3:]),
    "a meter with more than a whole": packed(*ONE_METER, 3, 0, 1, 0, 1, 1_000_000, *METERED[4:]),
    "a meter with half a double": packed(*ONE_METER, 3, 0, 1, 0, 1, 0, 1, 0, 2**32, *METERED[7:]),
    "a meter with an infinite value": packed(*ONE_METER, 3, 0, 1, 0, 1, 0, 1, 0x7FF00000, 0, *METERED[7:]),
    "a meter with no number": packed(*ONE_METER, 3, 0, 1, 0, 1, 0, 1, 0x7FF80000, 0, *METERED[7:]),
    "the same meter twice": packed(*EMPTY[:8], 2, *((3, 0, *METERED) * 2)),
}  # fmt: skip


def test_the_malformed_ones_are_nearly_right() -> None:
    """So that each is refused for its own reason."""
    assert unpack(packed(*EMPTY)) == Snapshot.empty()
    row = packed(*ONE_ROW, 0, 0, 1, *COUNTED, 1, N, 0, 200, 1, texts=b"a", rest=HISTOGRAM)
    assert unpack(row).rows == {Key(0, "", "a"): Row(Key(0, "", "a"), 1, statuses={200: 1}, times=histogram(5))}
    error = packed(0, 1, *EMPTY[2:], 0, 0, 0, 1, -2, 1, 2, texts=b"a")
    assert list(unpack(error).errors.values()) == [ErrorRow(Key(0, "", ""), "a", -2, 1e-6, 2e-6)]

    meter = unpack(packed(*ONE_METER, 4, 1, *METERED, texts=b"a")).meters[Key(KIND_GAUGE, "", "a")]
    assert meter == Meter(1, 0, 2_500_000, 1.0, 3.0, 2.0, 7)


@pytest.mark.parametrize("data", [pytest.param(data, id=reason) for reason, data in MALFORMED.items()])
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(data)
    with pytest.raises(ValueError):
        Total().add(data)


def test_another_version_is_named() -> None:
    with pytest.raises(ValueError, match="of version 7, this is version 2"):
        unpack(packed(*EMPTY, version=7))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_a_snapshot_or_a_value_error(data: bytes) -> None:
    for tried in (data, HEAD.pack(b"gaggle", 2, len(data) // 2, len(data) // 4) + data):
        is_snapshot_or_refused(tried)


def test_mutated_bytes_are_a_snapshot_or_a_value_error(rng: Random) -> None:
    rows = [Row(Key(n % 3, "GET", f"/{n}"), n, statuses={200: 9}, times=histogram(*range(9 * n))) for n in range(1, 6)]
    original = snapshot(*rows, errors=(ErrorRow(GET, "x", 2, 3.0, 4.0),), users_running=2)
    original.meters[Key(KIND_GAUGE, "", "queue")] = Meter(3, 0, 7_500_000, -1.5, 8.0, 1.0, 5)
    packed_original = pack(original)
    mutations: list[Callable[[bytearray, int], None]] = [
        lambda data, at: data.__setitem__(at, rng.randrange(256)),
        lambda data, at: data.__setitem__(slice(at, at + rng.randint(1, 9)), b""),
        lambda data, at: data.__setitem__(slice(at, at), rng.randbytes(rng.randint(1, 9))),
        lambda data, at: data.__delitem__(slice(at, None)),
    ]

    for _ in range(4_000):
        data = bytearray(packed_original)
        rng.choice(mutations)(data, rng.randrange(len(data)))
        is_snapshot_or_refused(bytes(data))


def is_snapshot_or_refused(data: bytes) -> None:
    """And a Total, which already counts something, says the same."""
    total = Total()
    total.add(pack(snapshot(Row(GET, 3, times=histogram(9)), users_started=1)))
    before = Snapshot.read(total)
    try:
        unpacked = unpack(data)
    except ValueError:
        with pytest.raises(ValueError):
            total.add(data)
        assert Snapshot.read(total) == before
        return
    assert unpack(pack(unpacked)) == unpacked
    total.add(data)
    assert Snapshot.read(total) == before + unpacked


def test_numbers_that_are_too_many_take_no_memory() -> None:
    """A length of four billion in a message of 23 bytes is refused before anything is made for it."""
    data = struct.pack(">6sBII", b"gaggle", 2, 2**32 - 1, 2**32 - 1) + bytes(8)

    with pytest.raises(ValueError, match="cannot be in"):
        unpack(data)


# Adding up what is packed.


@settings(deadline=None)
@given(st.lists(snapshots, max_size=6))
def test_a_total_is_what_merging_gives(parts: list[Snapshot]) -> None:
    total, merged = Total(), Snapshot.empty()

    for part in parts:
        ended = total.add(pack(part))
        merged.merge(part)

        assert ended == sum(row.count for row in part.requests())
        assert Snapshot.read(total) == merged


@settings(deadline=None)
@given(st.lists(snapshots, max_size=6))
def test_an_interval_has_what_requests_counted(parts: list[Snapshot]) -> None:
    """Of both totals that a manager keeps, name by name and together."""
    interval, totals = Interval(), (Total(), Total())

    for number, part in enumerate(parts):
        totals[number % 2].add(pack(part), interval)

    merged = sum(parts, Snapshot())
    whole, rows = interval.take()
    assert counted_in(rows) == {row.key: Counts.of(row) for row in merged.requests()}
    assert Counts(*whole) == replace(Counts.of(merged.total(KIND_REQUEST)), lag=merged.lag)


def counted_in(rows: Iterable[tuple[str, str, int, int, int, int, bytes]]) -> dict[Key, Counts]:
    found: dict[Key, Counts] = {}
    for label, name, count, failures, bytes_in, bytes_out, times in rows:
        counts = Counts.unpacked((count, failures, bytes_in, bytes_out, times, b"", 0, 0.0))
        found.setdefault(Key(KIND_REQUEST, label, name), Counts()).merge(counts)
    return found


def test_an_interval_of_many_long_histograms_is_exact(rng: Random) -> None:
    """It keeps them as they come only as long as they are few."""
    parts = [snapshot(Row(GET, times=histogram(*latencies(rng, 3_000)))) for _ in range(40)]
    interval, total = Interval(), Total()

    for part in parts:
        total.add(pack(part), interval)

    whole, rows = interval.take()
    assert counted_in(rows)[GET].times == whole[4] == reduce(add, parts).rows[GET].times


def test_an_interval_that_was_emptied_begins_anew() -> None:
    """It is filled again every second; names that count nothing then count nothing."""
    interval, total = Interval(), Total()
    first, second = Row(GET, 1, 1, times=histogram(5)), Row(POST, 1, 1, times=histogram(9_000_000))
    total.add(pack(snapshot(first, second)), interval)
    interval.take()

    total.add(pack(snapshot(first)), interval)

    whole, rows = interval.take()
    assert counted_in(rows) == {GET: Counts.of(first), POST: Counts()}
    assert Counts(*whole) == Counts.of(first)


def test_what_a_total_refuses_is_in_no_interval() -> None:
    interval, good = Interval(), pack(snapshot(Row(GET, 1, 1, times=histogram(5))))

    with pytest.raises(ValueError, match="histogram"):
        Total().add(good[:-1] + b"\x03", interval)

    assert interval.take() == ((0, 0, 0, 0, Histogram(), Histogram()), [])


def test_what_is_read_of_a_total_stays_as_it_was() -> None:
    total, part = Total(), snapshot(Row(GET, 1, statuses={200: 1}, times=histogram(5)))
    total.add(pack(part))

    read = Snapshot.read(total)
    total.add(pack(part))

    assert (read, Snapshot.read(total)) == (part, part + part)


def test_a_total_of_long_histograms_is_exact(rng: Random) -> None:
    parts = [snapshot(Row(GET, times=histogram(*latencies(rng, 3_000)))) for _ in range(10)]
    total = Total()

    for part in parts:
        total.add(pack(part))

    assert Snapshot.read(total) == reduce(add, parts)


def test_after_ten_thousand_names_what_is_new_counts_as_other() -> None:
    """A worker that makes up names, or many that each have others, must not fill the manager's memory."""
    total = Total()
    for first in range(0, 12_000, 1_000):
        total.add(pack(snapshot(*(Row(Key(KIND_REQUEST, "GET", f"/{n}"), 1, 1) for n in range(first, first + 1_000)))))
    total.add(pack(snapshot(Row(Key(KIND_REQUEST, "GET", "/5"), 1), Row(Key(KIND_TASK, "U", "late"), 3))))

    read = Snapshot.read(total)

    assert read.rows[Key(KIND_REQUEST, "", "(other)")].started == 2_000
    assert read.rows[Key(KIND_TASK, "", "(other)")].started == 3
    assert read.rows[Key(KIND_REQUEST, "GET", "/5")].started == 2
    assert (len(read.rows), read.names_lost) == (10_002, 2_001)


def test_after_ten_thousand_errors_what_is_new_counts_as_other() -> None:
    total = Total()
    for first in range(0, 11_000, 1_000):
        errors = (ErrorRow(GET, f"{number}", 2, 1.0, 2.0) for number in range(first, first + 1_000))
        total.add(pack(snapshot(errors=tuple(errors))))

    read = Snapshot.read(total)

    assert read.errors[Key(KIND_REQUEST, "", "(other)"), "(other)"].count == 2_000
    assert (len(read.errors), read.errors_lost) == (10_001, 1_000)


def test_no_sum_wraps_around() -> None:
    total, most = Total(), pack(snapshot(Row(GET, *[MOST] * 13), users_running=-MOST))

    for _ in range(3_000):
        total.add(most)

    read = Snapshot.read(total)
    assert (read.rows[GET].started, read.users_running) == (2**62, -(2**62))
