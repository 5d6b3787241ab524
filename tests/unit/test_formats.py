"""All formats of one report: what they are, that no name can do harm in them, and that JSON holds enough for all."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from made_reports import T0, make_report, row

from gaggle._core import KIND_REQUEST
from gaggle.counts import Counts
from gaggle.metrics import ErrorRow, Key, Snapshot
from gaggle.report import RENDERERS, render
from gaggle.report.escaping import github, markdown, spreadsheet, xml
from gaggle.report.github import annotated
from gaggle.report.load import load
from gaggle.report.merging import merged
from gaggle.report.model import Change, Comparison, Incident, Judgement, Report, ReportClass
from gaggle.series import Series

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

HOSTILE = {
    "a script": '<script>alert("1")</script>',
    "an image": "<img src=x onerror=alert(1)>",
    "a formula": '=cmd|" /C calc"!A0',
    "a formula after a blank": " =1+1",
    "a plus": "+1+1",
    "an at": "@SUM(A1)",
    "markdown": "[click](http://evil.example) **bold** `code` ~~gone~~ | cell | <b>",
    "a mention": "@octocat closes #1 :rocket: www.evil.example $x$",
    "right to left": "\u202egnp.exe\u202c \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "an emoji": "\U0001f986\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "control codes": "\x1b[2J\x07\x00\x08\r\n\x85\u2028",
    "not in XML": "\ufffe\uffff\x0b",
    "an end of CDATA": "]]>&amp;<!--",
    "a workflow command": "::error::gotcha\n::set-output name=x::y",
    "10,000 characters": "x" * 10_000,
    "10,000 wide ones": "\u5546" * 10_000,
    "a quote": '",",\n"',
    "nothing": "",
}


def hostile_report():
    """Every place that holds a text from outside holds every hostile one."""
    texts = list(HOSTILE.values())
    report = make_report(*texts, seconds=2)
    for text in texts:
        report.snapshot.errors |= make_errors(text)
    return replace(
        report,
        hosts=tuple(texts),
        load_test="".join(texts),
        incidents=tuple(Incident(T0, "loss", text) for text in texts),
        notes=tuple(texts),
        thresholds=tuple(Judgement(text, False, 1.0, text, crossed=T0) for text in texts),
        classes=tuple(ReportClass(text, (text,)) for text in texts),
        baseline=Comparison(
            *("".join(texts), T0, 2.0, 4),
            *(tuple(texts), tuple(texts), tuple(texts)),
            tuple(Change(text, text, "p95", 1.0, 2.0, 1.0, 0.5, 1.5, 0.0, True) for text in texts),
        ),
    )


def make_errors(text):
    key = Key(KIND_REQUEST, text, text)
    return {(key, text): ErrorRow(key, text, 1, T0, T0)}


@pytest.fixture(scope="module")
def hostile():
    return hostile_report()


# Everything that a terminal, a browser or a spreadsheet acts upon. Ends of lines are ours.
ACTING = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")


@pytest.mark.parametrize("suffix", RENDERERS)
def test_no_format_has_a_character_that_acts(hostile, suffix):
    text = render(hostile, suffix)

    assert not ACTING.search(text), ascii(ACTING.search(text))


def test_no_markdown_has_markup_from_a_name(hostile):
    text = render(hostile, ".md")

    assert not re.search(r"<\w|</|\]\(|www\.|://|[^\w]@\w", text.replace("<0.1%", ""))
    assert max(len(line) for line in text.splitlines()) < 3_000
    columns = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert set(columns) == {4, 16, 3, 5, 6, 7, 8}


def test_no_cell_of_the_csv_is_a_formula(hostile):
    lines = list(csv.reader(io.StringIO(render(hostile, ".csv"), newline="")))

    assert len({len(line) for line in lines}) == 1
    cells = [cell for line in lines for cell in line if not re.fullmatch(r"-?[\d.]+", cell)]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_the_xml_is_valid_and_has_the_names_as_text(hostile):
    root = ElementTree.fromstring(render(hostile, ".xml"))

    names = [case.get("name") for case in root.iter("testcase")]
    assert names[2] == HOSTILE["a script"]
    assert len(names) == len(HOSTILE) + 2


def test_every_line_of_the_log_of_histograms_can_be_split_at_its_commas(hostile):
    lines = render(hostile, ".hlog").splitlines()[4:]

    assert all(re.fullmatch(r"(Tag=[\w%./~-]*,)?[\d.]+,[\d.]+,[\d.]+,HISTF[\w+/=]+", line) for line in lines)


def test_a_hostile_report_is_valid_json_and_comes_back_from_it(hostile):
    text = render(hostile, ".json")

    VALIDATOR.validate(json.loads(text))
    assert text.isascii()
    assert render(load(text), ".json") == text


def test_a_hostile_threshold_is_one_annotation_a_line(hostile):
    lines = list(annotated(hostile))

    assert all(line.startswith(("::error title=", "::warning title=")) and line.count("\n") == 1 for line in lines)


ESCAPED = [
    (markdown, "GET /a_b", "GET /a&#95;b"),
    (markdown, "12:30, p(95)<200ms", "12:30, p(95)&#60;200ms"),
    (markdown, "see http://x :smile:", "see http&#58;//x &#58;smile:"),
    (markdown, "x" * 200, "x" * 118 + ".."),
    (spreadsheet, "=1", "'=1"),
    (spreadsheet, "GET /", "GET /"),
    (spreadsheet, "a\nb", "a\\nb"),
    (xml, "a\x00b\uffff", "a\\x00b\\uffff"),
    (github, "50%\nmore", "50%25%0Amore"),
]


@pytest.mark.parametrize(("how", "text", "expected"), ESCAPED)
def test_a_text_is_written_so_that_it_means_itself(how, text, expected):
    assert how(text) == expected


# From JSON, everything.


def plain():
    return make_report("/", "/shop", seconds=30)


@pytest.mark.parametrize("suffix", RENDERERS)
def test_every_format_can_be_made_of_the_json_report_byte_for_byte(suffix):
    report = plain()

    again = load(render(report, ".json"))

    assert render(again, suffix) == render(report, suffix)


def test_an_empty_report_comes_back():
    text = render(Report(Snapshot(), 0.0), ".json")

    VALIDATOR.validate(json.loads(text))
    assert render(load(text), ".json") == text


def test_the_json_report_is_as_its_schema_says():
    VALIDATOR.check_schema(SCHEMA)

    VALIDATOR.validate(json.loads(render(plain(), ".json")))


def broken(change):
    data = json.loads(render(plain(), ".json"))
    change(data)
    return json.dumps(data)


UNREADABLE = [
    ("", "not a JSON report"),
    ("[1]", "not a JSON report of gaggle"),
    ("{}", "not a JSON report of gaggle"),
    ("[" * 100_000, "not a JSON report"),
    ('{"schema": 99, "gaggle": {}}', "a report of schema 99, this gaggle reads schema 1"),
    ('{"schema": 1, "gaggle": {}}', "'requests' is missing"),
    (broken(lambda data: data.pop("series")), "'series' is missing"),
    (broken(lambda data: data["requests"][0].update(count="x", started="x")), "'x' is no whole number"),
    (broken(lambda data: data["lag"].update(histogram="?")), "not a report as gaggle writes it"),
    (broken(lambda data: data["lag"].update(histogram="AAAA")), "not an encoded histogram"),
    (broken(lambda data: data["series"]["whole"]["rows"][0]["at"].append(1)), "not a report as gaggle writes it"),
    (broken(lambda data: data["series"]["whole"]["rows"][0]["at"].__setitem__(0, 99)), "has none of number 99"),
    (broken(lambda data: data["series"]["whole"]["edges"].reverse()), "must rise"),
    (broken(lambda data: data.update(requests={"a": 1})), "not a report as gaggle writes it"),
    (json.dumps({"schema": 1, "gaggle": {}, "duration_s": float("nan")}), "NaN is no number"),
]


@pytest.mark.parametrize(("text", "reason"), UNREADABLE, ids=[reason for _, reason in UNREADABLE])
def test_what_is_no_report_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        load(text)


# Several runs.


def whole(report):
    total = Counts()
    for point in report.series.points:
        total.merge(point.counts)
    return total


def test_runs_that_follow_each_other_are_added_and_their_times_as_well():
    first, second = make_report("/", ms=(5,)), make_report("/", "/b", start=T0 + 100, ms=(9, 10))

    both = merged([first, second])

    home = Key(KIND_REQUEST, "GET", "/")
    assert both.snapshot.rows[home].times == first.snapshot.rows[home].times + second.snapshot.rows[home].times
    assert both.snapshot.rows[home].count == 90
    assert both.duration == 60
    assert both.users == 4
    assert whole(both).count == 150
    assert whole(both).times.total == 150
    assert {point.counts.users for point in both.series.points} == {0, 4}


def test_runs_at_the_same_time_are_one_run_with_all_their_users():
    both = merged([make_report("/", ms=(5,)), make_report("/", start=T0 + 0.3, ms=(9, 10))])

    assert both.duration == pytest.approx(30.3)
    assert both.users == 8
    assert whole(both).count == 90
    assert max(point.counts.users for point in both.series.points) == 8
    assert both.doubts == []


def test_a_run_of_coarser_points_makes_all_of_them_coarser():
    fine, coarse = make_report("/", seconds=40), make_report("/", seconds=300)

    both = merged([fine, coarse])

    assert sum(point.counts.count for point in both.series.of(Key(KIND_REQUEST, "GET", "/"))) == 3 * 340
    assert both.series.named.step == coarse.series.named.step == 2


# The formats of HdrHistogram, read by its own tools.


def test_the_log_of_histograms_can_be_read(tmp_path):
    report = plain()
    path = tmp_path / "run.hlog"
    path.write_text(render(report, ".hlog"))

    totals = {}
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000, 3))
    while (histogram := reader.get_next_interval_histogram()) is not None:
        totals.setdefault(histogram.get_tag(), []).append(histogram)
    reader.close()

    assert set(totals) == {None, "GET%20/", "GET%20/shop"}
    assert [histogram.get_total_count() for histogram in totals[None]] == [6] * 30
    assert totals[None][0].get_start_time_stamp() == T0 * 1_000
    assert totals[None][0].get_value_at_percentile(50) == report.series.points[0].counts.times.percentile(0.5)


def test_each_level_of_the_distribution_is_the_one_that_hdrhistogram_finds():
    report = plain()
    oracle = HdrHistogram(1, 3_600_000_000, 3)
    for each in report.snapshot.requests():
        for us, count in each.times.buckets():
            oracle.record_value(us, count)

    found = levels(render(report, ".hgrm"))

    assert [level for _, level, _ in found[:7]] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55]
    assert (found[0], found[-1]) == ((3.001, 0.0, 60), (oracle.get_max_value() / 1_000, 1.0, 180))
    for value, level, _ in found[1:]:  # at 0 it is the lowest of equal values there, the highest in a .hgrm
        assert value == pytest.approx(oracle.get_value_at_percentile(level * 100) / 1_000)


def levels(text):
    """Return (value, percentile, count) of each level."""
    lines = [line.split() for line in text.splitlines()[1:] if line.strip() and not line.startswith("#")]
    return [(float(value), float(level), int(count)) for value, level, count, *_ in lines]


# A long run.


@pytest.fixture(scope="module")
def half_a_day():
    """12 hours of 5 names, noted every 12 seconds for want of time: as many points as a series can have."""
    series, total = Series(T0), Snapshot()
    deltas = []
    for number in range(10):
        rows = [row(KIND_REQUEST, "GET", f"/{n}", *(3 + n + number + k for k in range(20))) for n in range(5)]
        deltas.append(Snapshot({each.key: each for each in rows}))
    for second in range(12, 12 * 3_600 + 1, 12):
        delta = deltas[second % 10]
        series.extend(T0 + second, users=50)
        series.put(T0 + second - 12, T0 + second, delta)
    for _ in range(20):
        total.merge(deltas[0])
    return Report(total, 12 * 3_600.0, series=series)


def test_the_page_of_ten_hours_with_two_hundred_names_is_small():
    series, names = Series(T0), [f"/shop/page-{number}" for number in range(200)]
    deltas = [
        Snapshot(
            {
                each.key: each
                for each in (row(KIND_REQUEST, "GET", name, *(turn + k for k in range(1, 40))) for name in names)
            }
        )
        for turn in range(3)
    ]
    for second in range(10, 36_001, 10):
        series.extend(T0 + second, users=50 + second % 7, busy=0.3)
        if second % 150 == 0:
            series.put(T0 + second - 10, T0 + second, deltas[second // 150 % 3])

    text = render(Report(sum(deltas, Snapshot()), 36_000.0, series=series), ".html")

    assert len(series.named) >= 120
    assert len(text) < 1_500_000


@pytest.mark.parametrize("suffix", RENDERERS)
def test_twelve_hours_are_rendered_in_seconds(half_a_day, suffix):
    began = time.process_time()

    text = render(half_a_day, suffix)

    assert len(half_a_day.series.points) == 3_600
    assert time.process_time() - began < 30  # of CPU, on a machine that has next to none; else well below 3
    assert len(text) < 20_000_000
