"""What may be demanded of a run, and in which words: the grammar of --threshold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaggle.thresholds import OPS, Of, Unit, parse, written

GOOD = [
    # text, what, statistic, name, op, unit, limit
    ("p(95)<200ms", Of.TIMES, "p95", "", "<", Unit.TIME, 200_000),
    ("checks: rate>99%", Of.CHECKS, "", "", ">", Unit.SHARE, 0.99),
    ("checks{name:cart is full}: rate>0.9", Of.CHECKS, "", "cart is full", ">", Unit.SHARE, 0.9),
    ("counts: sum{cart items}>=100", Of.COUNTS, "", "cart items", ">=", Unit.COUNT, 100),
    ("counts: rate{cart items}>5/s", Of.COUNTS, "", "cart items", ">", Unit.RATE, 5),
    ("gauges: last{queue}<10", Of.GAUGES, "last", "queue", "<", Unit.COUNT, 10),
    ("p(95) < 200", Of.TIMES, "p95", "", "<", Unit.TIME, 200_000),  # k6's bare number is milliseconds
    ("p(99.9)<=1.5s", Of.TIMES, "p99.9", "", "<=", Unit.TIME, 1_500_000),
    ("p(99){GET /node}<1s", Of.TIMES, "p99", "GET /node", "<", Unit.TIME, 1_000_000),
    ("p(99){GET /node/{id}}<1s", Of.TIMES, "p99", "GET /node/{id}", "<", Unit.TIME, 1_000_000),
    ("avg{a<b}<1m", Of.TIMES, "mean", "a<b", "<", Unit.TIME, 60_000_000),
    ("med{*asset*}<40ms", Of.TIMES, "p50", "*asset*", "<", Unit.TIME, 40_000),
    ("min>1ms", Of.TIMES, "min", "", ">", Unit.TIME, 1_000),
    ("failures<1%", Of.FAILURES, "", "", "<", Unit.SHARE, 0.01),
    ("failures<10", Of.FAILURES, "", "", "<", Unit.COUNT, 10),
    ("failures{POST /login}==0", Of.FAILURES, "", "POST /login", "==", Unit.COUNT, 0),
    ("failures<2/s", Of.FAILURES, "", "", "<", Unit.RATE, 2),
    ("rate>500/s", Of.COUNT, "", "", ">", Unit.RATE, 500),
    ("rate>30/m", Of.COUNT, "", "", ">", Unit.RATE, 0.5),
    ("rate>500", Of.COUNT, "", "", ">", Unit.RATE, 500),
    ("count>=1000", Of.COUNT, "", "", ">=", Unit.COUNT, 1_000),
    ("bytes_in>1MiB/s", Of.BYTES_IN, "", "", ">", Unit.BYTE_RATE, 1_048_576),
    ("bytes_out<10k", Of.BYTES_OUT, "", "", "<", Unit.BYTES, 10_240),
    ("http_req_duration: p(95)<200", Of.TIMES, "p95", "", "<", Unit.TIME, 200_000),
    ("http_req_duration:p(95)<200", Of.TIMES, "p95", "", "<", Unit.TIME, 200_000),
    ("http_req_duration{name:/login}: max<2s", Of.TIMES, "max", "/login", "<", Unit.TIME, 2_000_000),
    ("http_req_duration{method:GET}: max<2s", Of.TIMES, "max", "GET *", "<", Unit.TIME, 2_000_000),
    ("http_req_waiting: avg<20", Of.FIRST_BYTE, "mean", "", "<", Unit.TIME, 20_000),
    ("http_req_failed: rate<0.01", Of.FAILURES, "", "", "<", Unit.SHARE, 0.01),
    ("http_req_failed: rate<1%", Of.FAILURES, "", "", "<", Unit.SHARE, 0.01),
    ("http_reqs: rate>100", Of.COUNT, "", "", ">", Unit.RATE, 100),
    ("http_reqs: count>100", Of.COUNT, "", "", ">", Unit.COUNT, 100),
    ("iterations: count>=5", Of.PASSES, "", "", ">=", Unit.COUNT, 5),
    ("data_received: rate>1k", Of.BYTES_IN, "", "", ">", Unit.BYTE_RATE, 1_024),
]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case[0])
def test_a_threshold_says_what_how_and_how_much(case):
    text, *expected = case

    found = parse(text)

    limit = pytest.approx(expected.pop())
    assert [found.of, found.statistic, found.name, found.op, found.unit, found.limit] == [*expected, limit]
    assert found.text == text
    assert (found.window, found.abort, found.delay, found.relative) == (0, False, 0, None)


ENDINGS = [
    ("", 0, False, 0),
    (" over 30s", 30, False, 0),
    (" abort", 0, True, 0),
    (" over 30s abort", 30, True, 0),
    (" abort after 10s", 0, True, 10),
    (" over 1m abort after 1m30s", 60, True, 90),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending[0])
def test_a_threshold_may_look_at_a_window_and_end_the_test(ending):
    found = parse(f"max<5s{ending[0]}")

    assert (found.limit, found.window, found.abort, found.delay) == (5_000_000, *ending[1:])


@pytest.mark.parametrize(("text", "relative"), [("p(95)<+10% of baseline", 0.1), ("rate>-5% of baseline", -0.05)])
def test_a_limit_may_be_relative_to_an_earlier_run(text, relative):
    found = parse(text)

    assert found.relative == pytest.approx(relative)
    assert found.holds(100 * (1 + relative) - 0.001, baseline=100) is (found.op == "<")


BAD = [
    ("", "must be what, how and how much"),
    ("fast", "must be what, how and how much"),
    ("p(95)", "must be what, how and how much"),
    ("p(95)<", "has the limit '': it must be a time such as 200ms"),
    ("p(95)=200ms", "must be what, how and how much"),
    ("p95<200ms", "must be what, how and how much"),
    ("p(0)<1s", "a percentile is above 0 and at most 100"),
    ("p(101)<1s", "a percentile is above 0 and at most 100"),
    ("p(x)<1s", "a percentile is above 0 and at most 100"),
    ("p(95)<10%", "has the limit '10%': it must be a time"),
    ("p(95)<fast", "has the limit 'fast': it must be a time"),
    ("p(95)<-1s", "has the limit '-1s'"),
    ("failures<lots", "it must be a share such as 1%, a rate such as 500/s or a number such as 10"),
    ("rate>500/d", "has the limit '500/d': it must be a rate"),
    ("speed>1", "begins with 'speed': it must be p(N), avg, min, max, med, count"),
    ("http_foo: p(95)<1", "has no metric 'http_foo': there are http_req_duration"),
    ("http_req_failed: p(95)<1", "says 'p(95)' of http_req_failed, which has rate"),
    ("http_req_duration{status:200}: p(95)<1", "has the tag 'status': there are name and method"),
    ("max<5s over soon", "says over 'soon', which must be a time"),
    ("max<5s over 0s", "says over '0s', which must be greater than 0"),
    ("max<5s abort after never", "says abort after 'never', which must be a time"),
    ("p(95)<+x% of baseline", "it must be such as +10% of baseline"),
    ("p(95)<\x1b[31m", "has the limit '\\x1b[31m'"),
]


@pytest.mark.parametrize(("text", "reason"), BAD, ids=[text or "empty" for text, _ in BAD])
def test_what_is_no_threshold_is_refused_with_what_was_expected(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse(text)

    assert str(caught.value).isprintable()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="{}<>=!"), min_size=1, max_size=30)


@given(
    st.sampled_from(["avg", "max", "p(50)", "p(99.99)", "failures", "rate", "count"]),
    NAMES.map(str.strip).filter(bool),
    st.sampled_from(sorted(OPS)),
    st.integers(0, 10**9),
    st.sampled_from(ENDINGS),
)
def test_any_name_and_number_are_read_as_they_were_written(what, name, op, number, ending):
    found = parse(f"{what}{{{name}}}{op}{number}{ending[0]}")

    assert (found.name, found.op) == (name, op)
    assert found.limit == number * (1_000 if found.unit is Unit.TIME else 1)
    assert (found.window, found.abort, found.delay) == ending[1:]


@given(st.text(max_size=60) | st.text("p(95){} <>=!%/sm.overabt0123", max_size=40))
def test_any_text_is_a_threshold_or_refused_with_one_printable_line(text):
    found = parsed_or_reason(text)

    assert found.isprintable() if isinstance(found, str) else parse(found.text) == found


def parsed_or_reason(text):
    try:
        return parse(text)
    except ValueError as error:
        return str(error)


WRITTEN = [
    (Unit.TIME, 340_000, "340 ms"),
    (Unit.SHARE, 0.0123, "1.2%"),
    (Unit.COUNT, 1_234.0, "1,234"),
    (Unit.RATE, 512.0, "512.00/s"),
    (Unit.BYTES, 3 << 20, "3 MiB"),
    (Unit.BYTE_RATE, 1_536, "1.5 KiB/s"),
]


@pytest.mark.parametrize(("unit", "value", "text"), WRITTEN, ids=lambda value: str(value))
def test_a_value_is_written_in_its_unit(unit, value, text):
    assert written(unit, value) == text
