"""The reports: what a person reads at the end, what a program reads, and whether either should believe it."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaggle import units
from gaggle._core import KIND_REQUEST, KIND_TASK, KIND_USER, Histogram
from gaggle.metrics import ErrorRow, Key, Row, Snapshot
from gaggle.report import RENDERERS, html, model, render, tables
from gaggle.report.model import EngineHealth, Incident, Judgement, Phase, Report, ReportClass
from gaggle.report.text import render_running

T0 = 1_653_000_000.0  # 2022-05-19 22:40:00 UTC


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def make_row(key, times=(), mean_ms=0.0, statuses=None, first_byte=(), **counters):
    """Return a row; `times` is (ms, count) pairs. The mean is that of the times unless given."""
    row = Row(Key(*key))
    for histogram, pairs in ((row.times, times), (row.first_byte, first_byte)):
        for ms, count in pairs:
            histogram.record(round(ms * 1_000), count)
    count = sum(count for _, count in times)
    row.started = row.answered = count
    row.sum_us = round(mean_ms * 1_000 * count or sum(ms * 1_000 * count for ms, count in times))
    row.minimum_us = round(min((ms for ms, _ in times), default=0) * 1_000)
    row.maximum_us = round(max((ms for ms, _ in times), default=0) * 1_000)
    row.statuses = statuses if statuses is not None else {200: count}
    for name, value in counters.items():
        setattr(row, name, value)
    return row


def get(name, *times, **more):
    return make_row((KIND_REQUEST, "GET", name), times or [(10, 100)], **more)


def task(user, name, *times, **more):
    return make_row((KIND_TASK, user, name), times or [(10, 100)], statuses={}, **more)


def make_snapshot(*rows, errors=(), lag=(), **fields):
    """Return a snapshot; `errors` is (row's key, text, count), `lag` (us, count)."""
    snapshot = Snapshot.empty()
    snapshot.rows = {row.key: row for row in rows}
    snapshot.errors = {(Key(*key), text): ErrorRow(Key(*key), text, n, T0, T0 + 60) for key, text, n in errors}
    for us, count in lag:
        snapshot.lag.record(us, count)
    for name, value in fields.items():
        setattr(snapshot, name, value)
    return snapshot


def make_report(*rows, duration=10.0, errors=(), lag=(), lost=(0, 0), **fields):
    snapshot = make_snapshot(*rows, errors=errors, lag=lag, names_lost=lost[0], errors_lost=lost[1])
    return Report(snapshot, duration, **fields)


# The numbers of the announcement of Goose's gaggles. Name, count, Avg, Min, Max, Median.
ANNOUNCED_TASKS = [
    ("Anon", "(Anon) front page", 7_166, 24.04, 1, 1_632, 3),
    ("Anon", "(Anon) node page", 4_781, 51.33, 1, 11_336, 30),
    ("Anon", "(Anon) user page", 1_433, 19.47, 2, 1_468, 13),
    ("Auth", "(Auth) login", 1, 56.00, 56, 56, 56),
    ("Auth", "(Auth) front page", 631, 33.48, 17, 530, 24),
    ("Auth", "(Auth) node page", 422, 53.81, 12, 870, 28),
    ("Auth", "(Auth) user page", 126, 16.77, 8, 505, 12),
    ("Auth", "(Auth) comment form", 126, 122.17, 45, 726, 69),
]
ANNOUNCED_REQUESTS = [
    ("GET", "(Anon) front page", 7_166, 3.17, 1, 1_453, 1),
    ("GET", "(Anon) node page", 4_781, 51.30, 1, 11_336, 30),
    ("GET", "(Anon) user page", 1_433, 19.44, 2, 1_468, 13),
    ("GET", "(Auth) comment form", 126, 51.13, 15, 686, 29),
    ("GET", "(Auth) front page", 632, 28.65, 12, 517, 20),
    ("GET", "(Auth) node page", 422, 53.77, 12, 870, 28),
    ("GET", "(Auth) user page", 126, 16.75, 8, 505, 12),
    ("GET", "static asset", 46_782, 2.44, 1, 1_584, 1),
    ("POST", "(Auth) comment form", 126, 67.83, 23, 555, 39),
    ("POST", "(Auth) front page", 1, 43.00, 43, 43, 43),
]
CLASS_NAMES = {"Anon": "AnonBrowsingUser", "Auth": "AuthBrowsingUser"}
CLASSES = tuple(
    ReportClass(user, tuple(row[1] for row in ANNOUNCED_TASKS if row[0] == short))
    for short, user in CLASS_NAMES.items()
)


def announced(kind, label, name, count, mean, least, greatest, median):
    ends = [(least, 1), (greatest, 1)] if count > 1 else []
    return make_row((kind, label, name), [*ends, (median, count - len(ends))], mean_ms=mean)


def announced_rows():
    tasks = [announced(KIND_TASK, CLASS_NAMES[short], *rest) for short, *rest in ANNOUNCED_TASKS]
    requests = [announced(KIND_REQUEST, *row) for row in ANNOUNCED_REQUESTS]
    return [*requests, *tasks]


PLAIN = {
    "classes": CLASSES,
    "phases": (
        Phase("Increasing", T0 - 7.2, T0, 0, 8),
        Phase("Maintaining", T0, T0 + 1_805.7, 8, 8),
        Phase("Canceling", T0 + 1_805.7, T0 + 1_806, 8, 0),
    ),
    "hosts": ("http://local.dev/",),
    "engines": (EngineHealth(0, 361.1, 1_805.7, 30_000), EngineHealth(1, 342.9, 1_805.7, 31_595)),
    "versions": {"gaggle": "0.1.0", "libcurl": "8.14.1", "python": "3.11.7"},
    "seed": 42,
    "users": 8,
    "load_test": "drupal_loadtest.py",
}


def plain_report():
    return make_report(*announced_rows(), duration=1_805.7, lag=[(80, 60_000), (900, 1_595)], **PLAIN)


def doubtful_report():
    """Everything that can be wrong, at once."""
    page, slow = (KIND_REQUEST, "GET", "/"), (KIND_REQUEST, "POST", "/slow")
    rows = [
        make_row(page, [(3.14159, 15_000)], statuses={200: 14_996, 503: 4}, failed=4, bytes_in=5 << 30,
                 bytes_out=700_000),
        make_row(slow, [(900, 500), (1_200, 499)], first_byte=[(2, 999)], statuses={302: 900}, broken=99, answered=900,
                 failed=99, unfinished=431, hops=900, resent=3),
        task("Shopper", "browse", (1_300, 1_000), failed=12, unfinished=7),
    ]  # fmt: skip
    return make_report(
        *rows,
        duration=60.0,
        errors=[
            (page, "503 Service Unavailable", 4),
            (slow, "operation timed out after 60,001 ms with 0 bytes received, and then some more words", 99),
            ((KIND_TASK, "Shopper", "browse"), "KeyError: 'price' (shop.py:31)", 12),
        ],
        lag=[(100, 15_000), (25_000, 900)],
        lost=(17, 1_234),
        classes=(ReportClass("Shopper", ("browse",)),),
        phases=(Phase("Increasing", T0, T0 + 100, 0, 1_000), Phase("Decreasing", T0 + 100, T0 + 160.5, 1_000, 20)),
        hosts=("https://shop.example", "https://cdn.example"),
        incidents=(
            Incident(
                T0 + 31, "loss", "worker 2 (10.0.0.7) went away; what its 500 users counted since 22:40:29 is lost"
            ),
            Incident(T0 + 33, "redistributed", "500 users of worker 2 were given to worker 1"),
        ),
        engines=(EngineHealth(0, 59.0, 60.0, 8_000), EngineHealth(1, 20.0, 60.0, 8_000)),
        versions={"gaggle": "0.1.0", "libcurl": "8.14.1", "python": "3.11.7"},
        users=1_000,
        load_test="shop.py",
        notes=("The metrics were reset when all users had started.",),
    )


def awkward_report():
    """Names that are long, wide, of no width, or dangerous; rows that are full."""
    rows = [
        get("/" + "x" * 60),
        get("/shop/商品/カテゴリー/一覧"),
        get("/e\u0301cole"),
        get(
            "\x1b[31mred\nname",
            (3_600_000, 2_000_000),
            statuses=dict.fromkeys((200, 301, 302, 404, 410, 500), 12_345),
        ),
        get("/many", statuses={429: 1, 0xFFFF: 3_000_000}),
        make_row((KIND_REQUEST, "", "(other)"), [(0.042, 12)]),
        task("Ghost", "not in the load test"),
        make_row((KIND_TASK, "", "(other)"), [(1, 3)]),
    ]
    return make_report(*rows, classes=(ReportClass("買い物客", ("見る", "買う")),), errors=[
        ((KIND_REQUEST, "", "(other)"), "(other)", 1_234_567),
        ((KIND_REQUEST, "GET", "/many"), "\x1b[2J429 Too\nMany Requests", 1),
    ])  # fmt: skip


def empty_report():
    return make_report(duration=0.0, classes=(ReportClass("Visitor", ("look",)),))


SCENES = {"plain": plain_report, "doubtful": doubtful_report, "awkward": awkward_report, "empty": empty_report}


@pytest.mark.parametrize("scene", SCENES)
def test_the_text_report_is_what_a_person_reviewed(scene, golden):
    golden(f"report_{scene}.txt", render(SCENES[scene](), ".txt"))


def test_the_running_report_has_the_metrics_alone(golden):
    golden("report_running.txt", render_running(doubtful_report()))


@pytest.mark.parametrize("scene", SCENES)
def test_the_json_report_is_what_a_person_reviewed(scene, golden):
    """Without the histograms: their compressed bytes are those of the zlib that made them."""
    data = json.loads(render(SCENES[scene](), ".json"), parse_constant=pytest.fail)

    golden(f"report_{scene}.json", json.dumps(without_histograms(data), indent=1, ensure_ascii=False) + "\n")


def without_histograms(data):
    if isinstance(data, dict):
        return {key: without_histograms(value) for key, value in data.items() if key != "histogram"}
    return [without_histograms(value) for value in data] if isinstance(data, list) else data


def test_a_histogram_in_the_json_report_is_the_whole_histogram():
    row = get("/", (3, 10), (70, 2))

    data = json.loads(render(make_report(row), ".json"))

    encoded = base64.b64decode(data["requests"][0]["response_time"]["histogram"])
    assert Histogram.decode(encoded) == row.times


def test_user_classes_are_in_the_json_report():
    user = make_row((KIND_USER, "", "Visitor"), [(5, 4)])

    data = json.loads(render(make_report(user), ".json"))

    assert [(row["user"], row["count"]) for row in data["users_by_class"]] == [("Visitor", 4)]


NAMES = st.text(st.characters(codec="utf-8"), max_size=50)
COUNTS = st.integers(0, 10**12)


@given(st.lists(st.tuples(NAMES, COUNTS, COUNTS, st.integers(0, 4_000_000_000)), min_size=1, max_size=5))
def test_every_row_of_a_table_has_its_bars_under_those_of_the_header(entries):
    rows = [get(name, (us / 1_000, 1 + n), failed=min(n, f), statuses={200: n, 500: f}) for name, n, f, us in entries]

    text = render(make_report(*rows, *(task("User", name) for name, *_ in entries)), ".txt")

    tables = list(drawn_tables(text))
    assert len(tables) == 6
    for table in tables:
        header = bars_of(table[0])
        assert all(bars_of(line)[-len(header) :] == header for line in table), table
        assert all(units.columns(line) == units.columns(table[0]) for line in table), table
    assert units.printable(text, keep="\n") == text


def drawn_tables(text):
    """Return the header and the rows of each table, without rules, headings and notes."""
    for part in text.split(" Name  ")[1:]:
        header, rule, *rest = f" Name  {part}".split("\n")
        end = next(number for number, line in enumerate(rest) if not line or set(line) == {" ", "-"})
        rows = [line for line in rest[:end] if not line.endswith(" |") and not line.startswith(" (other): ")]
        assert units.columns(header) == len(rule)
        yield [header, *rows]


def bars_of(line):
    """Return the columns in which the bars of a line stand. The first may be part of a name."""
    return [units.columns(line[:at]) for at in range(len(line)) if line[at : at + 3] in (" | ", "-+-")]


def test_the_name_column_widens_to_the_longest_name_and_no_further_than_forty():
    assert tables.Page.of(["/"]).name_width == 24
    assert tables.Page.of(["/", "x" * 33]).name_width == 33
    assert tables.Page.of(["商" * 15]).name_width == 30
    assert tables.Page.of(["x" * 100]).name_width == 40


KNOWN = [
    (50_00, 0, False),
    (50_00, 1, True),  # any sample has a median
    (75_00, 3, False),
    (75_00, 4, True),
    (99_00, 99, False),
    (99_00, 100, True),
    (99_99, 9_999, False),
    (99_99, 10_000, True),  # 10,000 * (1 - 0.9999) is 0.99999999 in floats
]


@pytest.mark.parametrize(("percentile", "count", "known"), KNOWN)
def test_a_percentile_needs_a_sample_beyond_it(percentile, count, known):
    assert model.is_known(percentile, count) is known


def test_no_percentile_is_above_the_maximum():
    """The top of the bucket of 11,336 ms is 11,337.727 ms."""
    row = get("/", (11_336, 10_000))

    assert model.percentile_us(row, 99_99) == 11_336_000


EXTREMES = [
    ((11_336_000, 11_336_000), (11_336_000, 11_336_000)),  # exact
    ((0, 0), (11_329_536, 11_337_727)),  # nothing was timed in this epoch
    ((500, 20_000_000), (11_329_536, 11_337_727)),  # another stretch of time
]


@pytest.mark.parametrize(("kept", "shown"), EXTREMES)
def test_the_least_and_the_greatest_time_are_those_of_the_histogram(kept, shown):
    row = get("/", (11_336, 10))
    row.minimum_us, row.maximum_us = kept

    assert model.extremes(row) == shown


def test_a_rate_divides_by_the_time_that_was_measured():
    """#16 of Goose's defects: whole seconds; half a second had no rate at all."""
    text = render(make_report(get("/", (10, 100), failed=50), duration=0.5), ".txt")

    assert "|           100 |       50 (50%) |   200.00 |  100.00" in text


def test_tasks_stand_in_the_order_of_the_load_test_and_all_of_them():
    rows = [task("B", "two"), task("B", "made up"), task("A", "one"), task("", "(other)")]
    report = make_report(*rows, classes=(ReportClass("B", ("one", "two")), ReportClass("A", ("one", "one"))))

    listed = [(user, [(row.key.name, row.count) for row in rows]) for user, rows in report.tasks()]

    assert listed == [
        ("B", [("one", 0), ("two", 100), ("made up", 100)]),
        ("A", [("one", 100)]),
        ("", [("(other)", 100)]),
    ]


def test_requests_stand_by_method_and_name_with_the_rest_last():
    rows = [make_row((KIND_REQUEST, *key)) for key in (("", "(other)"), ("POST", "/a"), ("GET", "/b"), ("GET", "/a"))]

    data = json.loads(render(make_report(*rows), ".json"))

    listed = [(row["method"], row["name"]) for row in data["requests"]]

    assert listed == [("GET", "/a"), ("GET", "/b"), ("POST", "/a"), ("", "(other)")]


def test_options_leave_out_status_codes_and_errors():
    report = replace(doubtful_report(), show_statuses=False, show_errors=False)

    text = render(report, ".txt")

    assert "[200]" not in text
    assert "=== ERRORS ===" not in text


def test_only_the_most_frequent_errors_are_printed_and_the_rest_is_counted():
    errors = [((KIND_REQUEST, "GET", "/"), f"error {number:02}", 100 - number) for number in range(60)]

    text = render(make_report(get("/"), errors=errors), ".txt")

    assert "GET /: error 49" in text
    assert "GET /: error 50" not in text
    assert "455 | 10 rarer kinds: the JSON report has them all" in text


DOUBTS = [
    ({}, ""),
    ({"lag": [(100, 990), (11_000, 10)]}, ""),
    ({"lag": [(100, 980), (11_000, 20)]}, "2% of the responses waited more than 10 ms"),
    ({"lag": [(11_000, 1)]}, ""),  # one slow moment of a short test
    ({"engines": (EngineHealth(0, 9, 10, 1),)}, ""),
    ({"engines": (EngineHealth(0, 1, 10, 1), EngineHealth(7, 9.2, 10, 1))}, "1 of 2 engines .* (engine 7: 92%)"),
    ({"engines": (EngineHealth(0, 0, 0, 0),)}, ""),  # replaced before it ran
    ({"incidents": (Incident(T0, "joined", "worker 3 came late"),)}, ""),
    ({"incidents": (Incident(T0, "loss", "worker 3 went away"),)}, "1 loss: the counts are not complete"),
    ({"incidents": (Incident(T0, "loss", "one"), Incident(T0, "loss", "two"))}, "2 losses: "),
    ({"lost": (1, 0)}, "more names than rows"),
    ({"lost": (0, 2_000)}, "2,000 errors stand without a text"),
]


@pytest.mark.parametrize(("fields", "doubt"), DOUBTS)
def test_numbers_are_doubted_for_a_reason(fields, doubt):
    doubts = make_report(get("/"), **fields).doubts

    assert len(doubts) == bool(doubt)
    for part in filter(None, doubt.split(" .* ")):
        assert part in doubts[0]


@pytest.mark.parametrize(("unfinished", "doubted"), [(0, False), (1, False), (2, True)])
def test_numbers_are_doubted_when_more_than_a_hundredth_of_the_requests_was_cut(unfinished, doubted):
    report = make_report(get("/", (10, 99), unfinished=unfinished))

    assert bool(report.doubts) is doubted


SUCCESSES = [
    ([], True),
    ([get("/", (10, 5), failed=5)], True),
    ([get("/", (10, 5), failed=4)], False),
    ([get("/", (10, 5), failed=5, forgiven=1)], False),
    ([get("/", (10, 5), failed=5), get("/b")], False),
    ([get("/", (10, 5), failed=5), task("User", "look")], True),  # a task does not notice that its requests failed
    ([task("User", "look")], False),
    ([task("User", "look", (10, 5), failed=5)], True),
]


@pytest.mark.parametrize(("rows", "nothing"), SUCCESSES)
def test_a_test_in_which_nothing_succeeded_says_so(rows, nothing):
    report = make_report(*rows)

    assert report.nothing_succeeded is nothing
    assert ("Nothing" in render(report, ".txt")) is nothing


@pytest.mark.parametrize("suffix", RENDERERS)
def test_every_suffix_has_a_report_that_ends_its_last_line(suffix):
    assert render(plain_report(), suffix).endswith("\n")


def test_an_unknown_suffix_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"'\.pdf'; there are \.txt, \.html"):
        render(plain_report(), ".pdf")


@pytest.mark.parametrize("suffix", [".md", ".csv", ".xml", ".hgrm"])
@pytest.mark.parametrize("scene", SCENES)
def test_the_other_formats_are_what_a_person_reviewed(scene, suffix, golden):
    golden(f"report_{scene}{suffix}", render(judged(SCENES[scene]()), suffix).replace("\r\n", "\n"))


@pytest.mark.parametrize("scene", SCENES)
def test_the_page_without_its_script_is_what_a_person_reviewed(scene, golden, monkeypatch):
    monkeypatch.setattr(html, "asset", lambda name: "")
    monkeypatch.setattr(html, "packed", lambda report: "")

    golden(f"report_{scene}.html", html.render(judged(SCENES[scene]())))


def judged(report):
    """Return the report with one threshold of each kind."""
    return replace(
        report,
        thresholds=(
            Judgement("p(95)<2s", True, 1_000_000.0, "it was 1,000 ms"),
            Judgement("failures<1%", False, 0.05, "it was 5%", crossed=T0 + 31),
            Judgement("max{GET /gone}<1s", False, None, "it matched nothing called 'GET /gone'", missing=True),
        ),
    )


def test_the_text_report_begins_with_the_thresholds_and_with_what_failed_most():
    text = render(judged(doubtful_report()), ".txt")

    verdict = text.partition("=== PER TASK METRICS ===")[0]
    assert "Thresholds: 2 of 3 did not hold." in verdict
    assert "  ok   p(95)<2s: it was 1,000 ms" in verdict
    assert "  FAIL failures<1%: it was 5% (first crossed at 2022-05-19 22:40:31)" in verdict
    assert "Failed most: POST /slow: operation timed out" in verdict
