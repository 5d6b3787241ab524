"""Times, sizes, counts and names, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaggle import units

TIMES = [
    ("90", 90),
    ("0", 0),
    ("1.5", 1.5),
    (".5s", 0.5),
    ("20s", 20),
    ("20m", 1_200),
    ("1h30m", 5_400),
    ("1h30m5s", 5_405),
    ("1h5s", 3_605),  # parts may be left out
    ("90m", 5_400),  # and may be large
    ("1.5s", 1.5),
    ("500ms", 0.5),
    ("1m500ms", 60.5),  # m before ms
    ("1000000000", 1e9),
]


@pytest.mark.parametrize(("text", "time"), TIMES)
def test_a_time_is_read(text, time):
    assert units.seconds(text) == pytest.approx(time)


NO_TIMES = [
    ("", "a time such as"),
    ("soon", "a time such as"),
    ("15mins", "a time such as"),  # Goose: 900
    ("5x", "a time such as"),
    ("20 s", "a time such as"),
    (" 20s", "a time such as"),
    ("20s\n", "a time such as"),
    ("5s1h", "a time such as"),  # wrong order
    ("1s1s", "a time such as"),
    ("1e3", "a time such as"),
    ("nan", "a time such as"),
    ("inf", "a time such as"),
    ("٣", "a time such as"),  # a digit, and none of ours
    ("--5", "a time such as"),
    ("-", "a time such as"),
    ("-5", "negative"),
    ("-1h30m", "negative"),
    ("1000000001", "30 years"),
    ("9" * 400, "30 years"),  # float(): inf
]


@pytest.mark.parametrize(("text", "reason"), NO_TIMES)
def test_what_is_no_time_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=rf"^must .*{reason}"):
        units.seconds(text)


@given(st.integers(0, 10**12))
def test_a_time_that_was_written_is_read_back(ms):
    assert round(units.seconds(units.timespan(ms / 1_000)) * 1_000) == ms


@given(st.text() | st.from_regex(r"[-0-9.hms]{1,12}"))
def test_any_text_is_a_time_or_refused_in_our_words(text):
    try:
        time, reason = units.seconds(text), "must "
    except ValueError as error:
        time, reason = 0, str(error)

    assert 0 <= time <= units.LONGEST
    assert reason.startswith("must ")


SIZES = [
    ("0", 0),
    ("4096", 4_096),
    ("64k", 65_536),
    ("64K", 65_536),
    ("64Ki", 65_536),
    ("64kb", 64_000),
    ("16MiB", 16_777_216),
    ("16 MiB", 16_777_216),
    ("1.5 gib", 1_610_612_736),
    ("2T", 2_199_023_255_552),
    ("10B", 10),
    ("1.3", 1),  # no fractions of a byte
]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_a_size_is_read(text, size):
    assert units.size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "16MB/s", "16 Mi B", "1e6", "16Mi\n", "16  MiB", "8388608TiB", "9" * 400]
)
def test_what_is_no_size_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match=r"^must be "):
        units.size(text)


NUMBERS = [("1", 1), ("10000000", 10_000_000)]
NO_NUMBERS = [
    ("0", "must be set to at least 1"),  # as in the seed
    ("-3", "must be set to at least 1"),
    ("10000001", "must be set to at most 10,000,000"),
    ("9" * 5_000, "must be set to at most 10,000,000"),  # int() would refuse with words of its own
    ("-" + "9" * 5_000, "must be set to at least 1"),
    ("many", "must be a whole number, at least 1"),
    ("", "must be a whole number, at least 1"),
    ("-", "must be a whole number, at least 1"),
    ("--1", "must be a whole number, at least 1"),
    ("1.0", "must be a whole number, at least 1"),
    ("1_000", "must be a whole number, at least 1"),
    (" 1", "must be a whole number, at least 1"),
    ("²", "must be a whole number, at least 1"),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_a_whole_number_is_read(text, number):
    assert units.whole(1, 10_000_000)(text) == number


@pytest.mark.parametrize(("text", "reason"), NO_NUMBERS)
def test_what_is_no_whole_number_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=rf"^{reason}$"):
        units.whole(1, 10_000_000)(text)


@pytest.mark.parametrize(("text", "number"), [("8", 8), ("0.5", 0.5), (".5", 0.5), ("5.", 5)])
def test_a_decimal_is_read(text, number):
    assert units.decimal(text) == number


@pytest.mark.parametrize("text", ["", ".", "-1", "+1", "nan", "inf", "1e3", "1_0", " 1", "0,5", "1/2", "9" * 400])
def test_what_is_no_decimal_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match=r"^must be a number such as 8 or 0\.5$"):
        units.decimal(text)


@pytest.mark.parametrize(("text", "says"), [("yes", True), ("True", True), ("1", True), ("no", False), ("OFF", False)])
def test_yes_and_no_are_read(text, says):
    assert units.yes_no(text) is says


@pytest.mark.parametrize("text", ["", "maybe", "2"])
def test_neither_yes_nor_no_is_refused(text):
    with pytest.raises(ValueError, match=r"^must be yes or no$"):
        units.yes_no(text)


WRITTEN = [
    (units.clock, 0, "00:00:00"),
    (units.clock, 65, "00:01:05"),
    (units.clock, 65.999, "00:01:05"),
    (units.clock, 360_000, "100:00:00"),
    (units.worded, 58, "58 seconds"),
    (units.worded, 58.9, "58 seconds"),
    (units.worded, 1, "1 second"),
    (units.worded, 0, "0 seconds"),
    (units.worded, 1_805, "1,805 seconds"),
    (units.timespan, 0, "0"),
    (units.timespan, 5_405, "1h30m5s"),
    (units.timespan, 0.5, "500ms"),
    (units.timespan, 59.9996, "1m"),  # not 60s
    (units.thousands, 46_782, "46,782"),
    (units.thousands, -1_000, "-1,000"),
    (units.milliseconds, 0, "0"),
    (units.milliseconds, 1, "0.001"),
    (units.milliseconds, 420, "0.42"),
    (units.milliseconds, 999, "0.999"),
    (units.milliseconds, 999.6, "1"),  # not 1.00
    (units.milliseconds, 3_100, "3.1"),
    (units.milliseconds, 3_170, "3.17"),
    (units.milliseconds, 9_996, "10"),
    (units.milliseconds, 24_000, "24"),
    (units.milliseconds, 24_040, "24"),
    (units.milliseconds, 24_060, "24.1"),
    (units.milliseconds, 100_000, "100"),
    (units.milliseconds, 999_600, "1,000"),
    (units.milliseconds, 1_632_000, "1,632"),
    (units.milliseconds, 3_600_000_000, "3,600,000"),
    (units.byte_count, 0, "0 B"),
    (units.byte_count, 512, "512 B"),
    (units.byte_count, 1_023, "1,023 B"),
    (units.byte_count, 1_536, "1.5 KiB"),
    (units.byte_count, 16_777_216, "16 MiB"),
    (units.byte_count, 1_048_575, "1 MiB"),  # not 1,024 KiB
    (units.byte_count, 5 * 2**50, "5,120 TiB"),
    (units.rate, 0, "0.00"),
    (units.rate, 25.9, "25.90"),
    (units.rate, 999.999, "1,000"),
    (units.rate, 41_234.4, "41,234"),
]


@pytest.mark.parametrize(("write", "value", "text"), WRITTEN)
def test_a_value_is_written(write, value, text):
    assert write(value) == text


PERCENTS = [
    (0, 0, "0%"),
    (0, 7_166, "0%"),
    (7, 7, "100%"),
    (1, 8, "12.5%"),
    (1, 4, "25%"),
    (4, 1_000, "0.4%"),  # Goose: 0%
    (1, 1_000_000, "<0.1%"),  # never none
    (999_999, 1_000_000, ">99.9%"),  # never all
]


@pytest.mark.parametrize(("part", "whole", "text"), PERCENTS)
def test_a_share_is_none_or_all_only_when_it_is(part, whole, text):
    assert units.percent(part, whole) == text


NAMES = [
    ("GET /", 24, "GET /"),
    ("x" * 24, 24, "x" * 24),
    ("x" * 25, 24, "x" * 22 + ".."),
    ("訪問者の一覧", 12, "訪問者の一覧"),  # two columns each
    ("訪問者の一覧", 11, "訪問者の.."),
    ("e\u0301" * 5, 5, "e\u0301" * 5),  # combining: no column
    ("a\x1b[2Jb\nc", 24, "a\\x1b[2Jb\\nc"),
    ("abc", 2, ".."),
    ("abc", 1, "."),
    ("abc", 0, ""),
]


@pytest.mark.parametrize(("name", "width", "text"), NAMES)
def test_a_name_fits_its_columns(name, width, text):
    assert units.truncated(name, width) == text


@given(st.text(), st.integers(0, 30))
def test_no_name_is_wider_than_its_columns(name, width):
    assert units.columns(units.truncated(name, width)) <= width


@pytest.mark.parametrize(("words", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_words_are_listed(words, text):
    assert units.listed(words) == text
