"""Whether thresholds hold: at the end, each second while it runs, in windows; and what matched nothing never does."""

from __future__ import annotations

import pytest

from gaggle._core import KIND_CHECK, KIND_COUNT, KIND_GAUGE, KIND_REQUEST, KIND_TASK, KIND_USER
from gaggle.judge import Judge
from gaggle.meters import Meter
from gaggle.metrics import Key, Row, Snapshot
from gaggle.recorder import Moment, Recorder
from gaggle.report.model import Report

T0 = 1_653_000_000.0
KIND_OF = {"check": KIND_CHECK, "count": KIND_COUNT, "gauge": KIND_GAUGE}


def row(kind, label, name, ms=(), failed=0, size=1_000):
    made = Row(Key(kind, label, name), started=len(ms), answered=len(ms), failed=failed, bytes_in=size * len(ms))
    for each in ms:
        made.times.record(round(each * 1_000))
        made.first_byte.record(round(each * 500))
    made.sum_us = round(sum(ms) * 1_000)
    made.minimum_us, made.maximum_us = round(min(ms, default=0) * 1_000), round(max(ms, default=0) * 1_000)
    return made


def snapshot(*rows, **meters):
    own = {Key(KIND_OF[name.partition("_")[0]], "", name.partition("_")[2]): meter for name, meter in meters.items()}
    return Snapshot({each.key: each for each in rows}, meters=own)


# 100 requests in 10 seconds: 90 quick ones, 10 slow ones of which 5 failed; one task, and 20 passes.
COUNTED = snapshot(
    row(KIND_REQUEST, "GET", "/", [10] * 90),
    row(KIND_REQUEST, "GET", "/slow", [400] * 9 + [900], failed=5),
    row(KIND_TASK, "Visitor", "browse", [50] * 30),
    row(KIND_USER, "", "Visitor", [100] * 20),
    check_full=Meter(10, 1),
    check_open=Meter(30, 0),
    count_items=Meter(25, millionths=50_500_000),
    gauge_queue=Meter(4, 0, 10_000_000, -1.0, 7.0, 3.0, 1),
)

JUDGED = [
    # text, holds, what is said
    ("checks: rate>97%", True, "it was 97.5%"),
    ("checks: rate{full}>0.97", False, "it was 90%"),
    ("counts: sum>50", True, "it was 50.5"),
    ("counts: rate{items}>5/s", True, "it was 5.05/s"),
    ("gauges: max<=7", True, "it was 7"),
    ("gauges: last{que*}<3", False, "it was 3"),
    ("gauges: avg==2.5", True, "it was 2.5"),
    ("gauges: min>0", False, "it was -1"),
    ("p(50)<11ms", True, "it was 10 ms"),
    ("p(95)<200ms", False, "it was 400 ms"),
    ("max<=900ms", True, "it was 900 ms"),
    ("max<900ms", False, "it was 900 ms"),
    ("min>=10ms", True, "it was 10 ms"),
    ("avg<=54ms", True, "it was 54 ms"),
    ("avg{GET /}<11ms", True, "it was 10 ms"),
    ("max{/slow}<1s", True, "it was 900 ms"),
    ("max{GET *}<800ms", False, "it was 900 ms"),
    ("max{Visitor browse}<51ms", True, "it was 50 ms"),
    ("max{browse}<51ms", True, "it was 50 ms"),
    ("failures<10%", True, "it was 5%"),
    ("failures<1%", False, "it was 5%"),
    ("failures{GET /slow}<=50%", True, "it was 50%"),
    ("failures==5", True, "it was 5"),
    ("failures<0.5/s", False, "it was 0.50/s"),
    ("rate>=10/s", True, "it was 10.00/s"),
    ("rate>500/s", False, "it was 10.00/s"),
    ("count{GET /}==90", True, "it was 90"),
    ("bytes_in>9000B/s", True, "it was 9.77 KiB/s"),
    ("http_req_failed: rate<0.06", True, "it was 5%"),
    ("http_req_waiting: max<451", True, "it was 450"),
    ("http_reqs: count>99", True, "it was 100"),
    ("iterations: count==20", True, "it was 20"),
]


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case[0])
def test_the_whole_run_is_measured_at_its_end(case):
    text, holds, said = case

    (judgement,) = Judge([text]).verdict(COUNTED, 10.0)

    assert (judgement.text, judgement.holds, judgement.missing) == (text, holds, False)
    assert judgement.said.startswith(said)


@pytest.mark.parametrize("text", ["max{GET /gone}<1s", "failures{POST *}<1%", "count{nothing}==0", "p(95){}<1s"])
def test_what_matched_nothing_does_not_hold(text):
    counted = COUNTED if "{}" not in text else Snapshot()

    (judgement,) = Judge([text]).verdict(counted, 10.0)

    assert (judgement.holds, judgement.missing, judgement.value) == (False, True, None)
    assert "it matched n" in judgement.said


def test_a_run_without_requests_crosses_every_threshold():
    judge = Judge(["p(95)<1s", "failures<1%", "count<10", "iterations: count>=0"])

    assert not any(judgement.holds for judgement in judge.verdict(Snapshot(), 10.0))


def test_a_threshold_given_twice_is_one():
    assert len(Judge(["max<1s", "max<1s"]).states) == 1


class Run:
    """A run whose seconds are handed in, each with what was counted in it."""

    def __init__(self, *texts):
        self.judge = Judge(texts)
        self.recorder = Recorder([self.judge])
        self.recorder.begin(T0)
        self.total, self.baseline, self.seconds = Snapshot(), Snapshot(), 0

    def second(self, *ms, failed=0):
        self.seconds += 1
        if ms:
            self.total = self.total + snapshot(row(KIND_REQUEST, "GET", "/", ms, failed=failed))
        self.recorder.note(T0 + self.seconds, self.total)
        self.recorder.tell(self.total, self.baseline)

    def reset(self):
        self.baseline = self.total
        self.recorder.reset(T0 + self.seconds, self.total)

    @property
    def verdict(self):
        return self.judge.verdict(self.total - self.baseline, self.recorder.series.end - T0)[0]


def test_a_threshold_that_aborts_says_so_in_the_second_in_which_it_is_crossed():
    run = Run("max<1s abort")

    run.second(10)
    assert run.judge.sentence is None
    run.second(1_500)

    assert run.judge.sentence == "max<1s abort: it was 1,500 ms"
    assert run.verdict.crossed == T0 + 2


def test_a_threshold_that_does_not_abort_only_fails_at_the_end():
    run = Run("max<1s")

    run.second(1_500)

    assert run.judge.sentence is None
    assert not run.verdict.holds


def test_an_abort_can_wait_until_enough_was_measured():
    run = Run("failures<10% abort after 3s")

    run.second(10, failed=1)
    run.second(10)
    assert run.judge.sentence is None
    run.second(10)

    assert run.judge.sentence is not None


def test_what_has_matched_nothing_yet_aborts_nothing():
    run = Run("rate{GET /later}>1/s abort")

    run.second(10)

    assert run.judge.sentence is None
    assert run.verdict.missing


def test_a_window_forgets_what_is_behind_it():
    run = Run("failures<50% over 2s")

    run.second(10, failed=1)
    run.second(10, 10, 10)
    run.second(10, 10, 10)

    assert run.judge.states[0].value == 0
    assert run.verdict.holds


def test_a_window_that_was_once_crossed_stays_crossed():
    run = Run("max<1s over 2s")

    for ms in (10, 1_500, 10, 10, 10, 10):
        run.second(ms)

    assert run.judge.states[0].holds
    assert (run.verdict.holds, run.verdict.crossed) == (False, T0 + 2)


def test_a_run_shorter_than_the_window_is_one_window():
    run = Run("max<1s over 30s")

    run.second(1_500)

    assert not run.verdict.holds


def test_what_was_counted_before_the_reset_is_not_judged():
    run = Run("max<1s over 1s abort")

    run.second(10)
    run.total = run.total + snapshot(row(KIND_REQUEST, "GET", "/", [5_000]))
    run.reset()
    run.second(10)
    run.second(10)

    assert run.judge.sentence is None
    assert run.verdict.holds


def test_a_limit_relative_to_a_baseline_is_one_of_its_values():
    baseline = snapshot(row(KIND_REQUEST, "GET", "/", [100] * 10))
    judge = Judge(["max<+10% of baseline"], Report(baseline, 10.0))

    within, beyond = (judge.verdict(snapshot(row(KIND_REQUEST, "GET", "/", [ms] * 10)), 10.0)[0] for ms in (109, 111))

    assert (within.holds, beyond.holds) == (True, False)
    assert beyond.said == "it was 111 ms, in the baseline 100 ms"


def test_without_a_baseline_a_relative_limit_does_not_hold():
    (judgement,) = Judge(["max<+10% of baseline"]).verdict(COUNTED, 10.0)

    assert (judgement.holds, judgement.missing) == (False, True)
    assert judgement.said == "there is no baseline to compare with"


def test_a_judge_can_look_at_a_run_that_has_no_observers_yet():
    judge = Judge(["max<1s"])

    judge(Moment(T0, Recorder().series, COUNTED, Snapshot()))

    assert judge.states[0].value == 900_000
