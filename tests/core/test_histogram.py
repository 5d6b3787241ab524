"""The histogram against the package hdrhistogram, and against a reference in plain Python."""

from __future__ import annotations

import base64
import copy
import math
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from random import Random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import HIGHEST_US, index_of, latencies, number, range_of, seeded
from reference import Histogram as Reference

from gaggle._core import Histogram, pack_numbers, unpack_numbers

LENGTH = 23_552
MOST = 2**63 - 1
FRACTIONS = (0.000001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0)

values = st.integers(min_value=-10, max_value=2 * HIGHEST_US) | st.integers(min_value=0, max_value=5_000)
samples = st.lists(st.tuples(values, st.integers(min_value=1, max_value=2**40)), max_size=60)


@pytest.fixture
def rng() -> Random:
    return seeded()


def histogram(recorded: list[tuple[int, int]] | list[int]) -> Histogram:
    """Return a histogram of (us, count) pairs, or of single latencies."""
    made = Histogram()
    for entry in recorded:
        made.record(*entry) if isinstance(entry, tuple) else made.record(entry)
    return made


def oracle(recorded: list[int]) -> HdrHistogram:
    made = HdrHistogram(1, HIGHEST_US, 3)
    for us in recorded:
        assert made.record_value(us)
    return made


def same_bytes(ours: Histogram, theirs: HdrHistogram) -> bool:
    """Return whether both encode to the same bytes.

    But for a single zero: the package writes it as a run of one, the Java and C libraries and we as a zero.
    """
    inflated = zlib.decompress(base64.b64decode(theirs.encode())[8:])
    return ours.encode() == Histogram.decode(inflated).encode() and len(ours.encode()) == len(inflated)


def encoded(payload: bytes, **other: float) -> bytes:
    """Return V2 bytes with any payload; `other` replaces fields of the header."""
    fields = {"cookie": 0x1C849313, "length": len(payload), "offset": 0, "digits": 3, "lowest": 1, "highest": 2**32}
    fields |= {"ratio": 1.0, **other}
    return struct.pack(">iiiiqqd", *fields.values()) + payload


def compressed(plain: bytes, length: int | None = None) -> bytes:
    data = zlib.compress(plain)
    return struct.pack(">iI", 0x1C849314, len(data) if length is None else length) + data


# Against the oracles.


def test_every_counter_has_the_range_that_the_reference_gives_it() -> None:
    tops = []
    for index in range(index_of(HIGHEST_US)):
        low, high = range_of(index)
        single = histogram([low])
        tops.append((single.minimum(), single.maximum()) == (low, high) and single == histogram([high]))

    assert all(tops)
    assert index_of(HIGHEST_US) == 23_220 < LENGTH


def test_it_answers_as_hdrhistogram_does(rng: Random) -> None:
    for size in (1, 2, 3, 10, 1_000, 20_000):
        recorded = latencies(rng, size)

        ours, theirs = histogram(recorded), oracle(recorded)

        answers = {fraction: ours.percentile(fraction) for fraction in FRACTIONS}
        assert answers == {fraction: theirs.get_value_at_percentile(fraction * 100) for fraction in FRACTIONS}
        assert ours.total == theirs.get_total_count()
        assert math.isclose(ours.mean(), theirs.get_mean_value())
        assert same_bytes(ours, theirs)


def test_it_answers_as_the_reference_does(rng: Random) -> None:
    for size in (0, 1, 7, 5_000):
        recorded = latencies(rng, size)

        ours, reference = histogram(recorded), Reference.of(recorded)

        for fraction in [*FRACTIONS, *(1.0 - rng.random() for _ in range(50))]:
            assert ours.percentile(fraction) == reference.percentile(fraction)
        for us in [0, 1, 2047, 2048, HIGHEST_US, *latencies(rng, 50)]:
            assert ours.count_above(us) == reference.count_above(us)
        assert (ours.total, ours.minimum(), ours.maximum()) == (size, reference.minimum(), reference.maximum())
        assert math.isclose(ours.mean(), reference.mean())
        assert list(ours.buckets()) == reference.buckets()
        assert ours.encode() == reference.encode()


def test_hdrhistogram_reads_what_it_wrote(rng: Random) -> None:
    recorded = latencies(rng, 5_000)

    theirs = HdrHistogram.decode(base64.b64encode(histogram(recorded).encode_compressed()))

    counts = Reference.of(recorded).counts
    assert [theirs.get_count_at_index(i) for i in range(LENGTH)] == [counts[i] for i in range(LENGTH)]


def test_it_reads_what_hdrhistogram_wrote(rng: Random) -> None:
    recorded = latencies(rng, 5_000)
    theirs = oracle(recorded)

    ours = Histogram.decode(base64.b64decode(theirs.encode()))

    assert ours == histogram(recorded)


def test_it_reads_a_histogram_with_another_highest_value(rng: Random) -> None:
    """Another highest value only means another number of counters: 24 hours is what wrk2 writes."""
    recorded = latencies(rng, 500)
    theirs = HdrHistogram(1, 24 * HIGHEST_US, 3)
    for us in recorded:
        theirs.record_value(us)

    ours = Histogram.decode(base64.b64decode(theirs.encode()))

    assert ours == histogram(recorded)


def test_merging_gives_what_one_histogram_of_all_would_give(rng: Random) -> None:
    parts = [latencies(rng, rng.randint(0, 2_000)) for _ in range(20)]
    everything = histogram([us for part in parts for us in part])
    theirs = oracle([])

    merged, encoded, added = Histogram(), Histogram(), Histogram()
    for part in parts:
        merged.merge(histogram(part))
        encoded.add_encoded(histogram(part).encode())
        added = added + histogram(part)
        theirs.decode_and_add(base64.b64encode(histogram(part).encode_compressed()))

    assert merged == encoded == added == everything
    assert same_bytes(everything, theirs)


# A value.


@settings(deadline=None)
@given(samples, samples)
def test_taking_away_what_was_added_gives_what_was_there(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    left, right = histogram(a), histogram(b)

    both = left + right

    assert both == right + left == histogram([*a, *b])
    assert both - right == left
    assert both - left == right
    assert both.total == left.total + right.total


@settings(deadline=None)
@given(samples)
def test_what_was_encoded_can_be_decoded(recorded: list[tuple[int, int]]) -> None:
    original = histogram(recorded)

    assert Histogram.decode(original.encode()) == original == Histogram.decode(original.encode_compressed())
    assert Histogram.decode(original.encode()).total == original.total


def test_operators_leave_their_operands_alone() -> None:
    left, right = histogram([1, 5_000]), histogram([1, 70_000])

    difference, total, same = left - histogram([1]), left + right, left.copy()
    total.record(3)
    same.record(3)

    assert left == histogram([1, 5_000])
    assert right == histogram([1, 70_000])
    assert difference == histogram([5_000])


def test_more_than_there_is_cannot_be_taken_away() -> None:
    for less in ([7], [5_000, 5_000], [90_000_000]):
        with pytest.raises(ValueError, match="lacks"):
            histogram([5_000, 8_000]) - histogram(less)


def test_an_empty_one_is_false_and_answers_0() -> None:
    empty = Histogram()

    assert not empty
    assert (empty.total, empty.percentile(0.5), empty.mean(), empty.minimum(), empty.maximum()) == (0, 0, 0.0, 0, 0)
    assert (empty.count_above(0), list(empty.buckets()), len(empty.encode())) == (0, [], 40)
    assert empty + empty == empty - empty == empty == Histogram.decode(empty.encode())


def test_what_is_outside_counts_at_the_nearest_end() -> None:
    outside = histogram([-5, 0, HIGHEST_US, HIGHEST_US + 1, MOST])

    assert list(outside.buckets()) == [(0, 2), (range_of(index_of(HIGHEST_US))[1], 3)]
    assert outside.count_above(MOST) == outside.count_above(HIGHEST_US) == 0
    assert outside.count_above(-1) == 3


def test_an_idle_one_is_small_and_an_outlier_costs_one_chunk() -> None:
    body = histogram(list(range(200, 1_000)))
    before = sys.getsizeof(body)

    body.record(HIGHEST_US)

    assert sys.getsizeof(Histogram()) <= 100
    assert sys.getsizeof(body) - before == 512


def test_a_difference_that_is_small_holds_little() -> None:
    cumulative = histogram(latencies(seeded(), 5_000))

    difference = cumulative + histogram([123]) - cumulative

    assert sys.getsizeof(difference) == sys.getsizeof(histogram([123]))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.0000001, math.nan, math.inf])
def test_a_fraction_outside_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        histogram([1]).percentile(fraction)


def test_counts_end_at_what_java_can_hold() -> None:
    full = histogram([(1, MOST)])

    with pytest.raises(ValueError, match=r"2\*\*63"):
        full + histogram([2])
    with pytest.raises(ValueError, match=r"2\*\*63"):
        full.record(2)
    with pytest.raises(ValueError, match=r"2\*\*63"):
        full.add_encoded(histogram([2]).encode())

    assert full == histogram([(1, MOST)]) == Histogram.decode(full.encode())
    assert full.percentile(1.0) == full.percentile(0.5) == 1


def test_a_negative_count_is_refused_and_none_changes_nothing() -> None:
    unchanged = histogram([5])

    unchanged.record(7, 0)
    with pytest.raises(ValueError, match="negative"):
        unchanged.record(7, -1)

    assert unchanged == histogram([5])


def test_it_is_equal_to_histograms_only() -> None:
    one = histogram([1])

    assert one != 1
    assert one != histogram([2])
    assert one != histogram([1, 1])
    with pytest.raises(TypeError):
        one + 1
    with pytest.raises(TypeError):
        one - None
    with pytest.raises(TypeError):
        hash(one)


def test_it_travels_as_its_bytes_not_as_a_pickle() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Histogram())
    with pytest.raises(TypeError):
        copy.deepcopy(Histogram())


# Bytes that are not a histogram.

ONE = number(-1000) + number(1)

MALFORMED = (
    ("nothing at all", b""),
    ("no whole header", encoded(b"")[:39]),
    ("no whole header of a compressed one", struct.pack(">i", 0x1C849314)),
    ("an unknown cookie", encoded(ONE, cookie=0x1C849301)),
    ("the cookie of version 1", encoded(ONE, cookie=0x1C849301 | 0x80)),
    ("the cookie without its word size", encoded(ONE, cookie=0x1C849303)),
    ("more bytes announced than there are", encoded(ONE, length=len(ONE) + 1)),
    ("fewer bytes announced than there are", encoded(ONE, length=len(ONE) - 1)),
    ("a negative length", encoded(ONE, length=-1)),
    ("an offset", encoded(ONE, offset=1)),
    ("2 digits", encoded(ONE, digits=2)),
    ("another lowest value, so another unit", encoded(ONE, lowest=1000)),
    ("another ratio", encoded(ONE, ratio=2.0)),
    ("a ratio that is no number", encoded(ONE, ratio=math.nan)),
    ("a number that is cut off", encoded(b"\x80")),
    ("a number that is cut off in its ninth byte", encoded(b"\x80" * 8)),
    ("a number that is longer than it need be", encoded(b"\x82\x00")),
    ("a zero in nine bytes", encoded(b"\x80" * 8 + b"\x00")),
    ("one counter too many", encoded(number(-LENGTH) + number(1))),
    ("one zero too many", encoded(number(-LENGTH - 1))),
    ("one zero too many, in two runs", encoded(number(-LENGTH) + number(0))),
    ("as many zeros as there can be", encoded(number(-(2**63)))),
    ("counts that overflow together", encoded(number(MOST) + number(1))),
    ("a compressed part that is none", compressed(b"")[:8] + b"garbage"),
    ("a compressed part that is cut off", compressed(encoded(ONE), length=20)[:28]),
    ("a wrong length of the compressed part", compressed(encoded(ONE), length=5)),
    ("something after the compressed part", compressed(encoded(ONE)) + b"x"),
    ("a compressed one in a compressed one", compressed(compressed(encoded(ONE)))),
    ("an empty compressed part", compressed(b"")),
)


@pytest.mark.parametrize("data", [pytest.param(data, id=reason) for reason, data in MALFORMED])
def test_what_is_malformed_is_refused_and_changes_nothing(data: bytes) -> None:
    unchanged = histogram([5])

    with pytest.raises(ValueError):
        Histogram.decode(data)
    with pytest.raises(ValueError):
        unchanged.add_encoded(data)

    assert unchanged == histogram([5])


def test_only_bytes_are_decoded() -> None:
    for data in (None, "text", bytearray(encoded(ONE))):
        with pytest.raises(TypeError):
            Histogram.decode(data)


@pytest.mark.parametrize("wrap", [lambda data: data, compressed], ids=["plain", "compressed"])
def test_mutated_bytes_are_a_histogram_or_a_value_error(wrap: Callable[[bytes], bytes], rng: Random) -> None:
    """In both forms, and for the compressed one also with what is inside mutated."""
    original = histogram(latencies(rng, 300)).encode()
    for _ in range(10_000):
        data = bytearray(original if rng.random() < 0.5 else wrap(original))
        for _ in range(rng.randint(1, 4)):
            mutate(data, rng)
        data = wrap(bytes(data)) if rng.random() < 0.5 else bytes(data)
        try:
            decoded = Histogram.decode(data)
        except ValueError:
            continue
        assert Histogram.decode(decoded.encode()) == decoded
        assert decoded.total == sum(count for _, count in decoded.buckets())


def mutate(data: bytearray, rng: Random) -> None:
    """Change, cut out or insert some bytes, anywhere."""
    at = rng.randrange(len(data) + 1)
    match rng.randrange(4):
        case 0:
            data[at:] = b""
        case 1:
            data[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
        case 2:
            data[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255))])
        case 3:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
    if not data:
        data += b"\0"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_counts_are_a_histogram_or_a_value_error(payload: bytes) -> None:
    try:
        decoded = Histogram.decode(encoded(payload))
    except ValueError:
        return

    assert Histogram.decode(decoded.encode()) == decoded


def test_a_zip_bomb_is_not_inflated() -> None:
    """1 MB of it would be 1 GB: no more is made than the longest histogram has."""
    stream = zlib.compressobj(9)
    chunk = bytes(2**20)
    bomb = b"".join(stream.compress(chunk) for _ in range(256)) + stream.flush()
    before = peak_kb()

    with pytest.raises(ValueError, match="does not end"):
        Histogram.decode(struct.pack(">iI", 0x1C849314, len(bomb)) + bomb)

    assert peak_kb() - before < 16_000


def peak_kb() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_the_longest_histogram_survives(rng: Random) -> None:
    everywhere = Histogram()
    for index in range(index_of(HIGHEST_US) + 1):
        everywhere.record(range_of(index)[0], rng.randint(1, 2**48))

    assert Histogram.decode(everywhere.encode()) == everywhere == Histogram.decode(everywhere.encode_compressed())


# Numbers.


@settings(deadline=None)
@given(st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1)))
def test_numbers_are_packed_as_hdrhistogram_packs_counts(numbers: list[int]) -> None:
    data = pack_numbers(numbers)

    assert data == b"".join(number(value) for value in numbers)
    assert unpack_numbers(b"ab" + data + b"c", 2, len(numbers)) == (numbers, 2 + len(data))


def test_numbers_beyond_64_bits_are_refused() -> None:
    for value in (2**63, -(2**63) - 1):
        with pytest.raises(OverflowError):
            pack_numbers([value])


@pytest.mark.parametrize(
    ("data", "start", "count"),
    [
        pytest.param(b"\x02\x02", 0, 3, id="more than there are"),
        pytest.param(b"\x02\x02", 0, 2**62, id="more than fit in memory"),
        pytest.param(b"\x02\x02", 3, 0, id="from past the end"),
        pytest.param(b"\x02\x02", -1, 1, id="from before the start"),
        pytest.param(b"\x02\x02", 0, -1, id="a negative number of them"),
        pytest.param(b"\x02\x80", 0, 2, id="one cut off"),
        pytest.param(b"\x82\x00", 0, 1, id="one longer than it need be"),
    ],
)
def test_malformed_numbers_are_refused(data: bytes, start: int, count: int) -> None:
    with pytest.raises(ValueError):
        unpack_numbers(data, start, count)
