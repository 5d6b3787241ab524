"""`gaggle report`, and where reports go: files, stdout, the summary of a job on GitHub."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from made_reports import make_report

from gaggle import cli
from gaggle.errors import GaggleError, InvalidOption
from gaggle.options import Options, is_stdout, report_suffix
from gaggle.report import render
from gaggle.report.files import write_files


@pytest.fixture
def run_json(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(render(make_report("/", "/shop"), ".json"))
    return path


def command(*words):
    """Return the exit code of `gaggle` with these words, and what it printed on stdout."""
    stream = io.StringIO()
    code = cli.command(list(map(str, words)), cli.Output(stream))
    return code, stream.getvalue()


def test_a_json_report_is_printed_again(run_json):
    assert command("report", run_json) == (0, render(make_report("/", "/shop"), ".txt"))


def test_a_json_report_is_written_in_other_formats(run_json, tmp_path):
    files = ("--report-file", tmp_path / "a.md", "--report-file", tmp_path / "A.CSV", "--report-file=-.xml")

    code, printed = command("report", run_json, *files)

    report = make_report("/", "/shop")
    assert code == 0
    assert (tmp_path / "a.md").read_text() == render(report, ".md")
    assert (tmp_path / "A.CSV").read_bytes().decode() == render(report, ".csv")
    assert printed == render(report, ".xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.CSV", "a.md", "run.json"]


def test_several_reports_become_one(run_json, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(render(make_report("/", start=1_653_000_500.0), ".json"))

    command("report", run_json, other, "--report-file", tmp_path / "both.json")

    both = json.loads((tmp_path / "both.json").read_text())
    assert [row["count"] for row in both["requests"]] == [180, 90]
    assert both["duration_s"] == 60
    assert [item["text"] for item in both["thresholds"]] == ["max<71ms", "rate>1/s", "p(50){gone}<1s"]
    assert [item["holds"] for item in both["thresholds"]] == [False, True, False]
    assert both["notes"] == ["Merged from 2 reports."]


def test_a_report_can_be_judged_anew(run_json):
    assert command("report", run_json, "--threshold", "max<72ms")[0] == 0
    assert command("report", run_json, "--threshold", "max<71ms")[0] == 3


WRONG = [
    ((), InvalidOption, "It needs a report"),
    (("{}", "--frobnicate"), InvalidOption, "see gaggle report --help"),
    (("{}", "--report-file", "a.pdf"), InvalidOption, "The --report-file option must end in"),
    (("{}", "--threshold", "p95<1s"), InvalidOption, "The --threshold option"),
    (("{}x",), GaggleError, "can not be read: No such file or directory"),
    ((__file__,), GaggleError, "can not be read: not a JSON report"),
    (("{}", "--report-file", "/nowhere/a.md"), GaggleError, "could not be written: No such file or directory"),
]


@pytest.mark.parametrize(("words", "error", "reason"), WRONG, ids=[reason for *_, reason in WRONG])
def test_what_cannot_be_is_said(words, error, reason, run_json):
    with pytest.raises(error) as caught:
        command("report", *(word.format(run_json) if "{}" in word else word for word in words))

    assert reason in str(caught.value)


def test_the_help_of_the_command_is_its_own():
    assert command("report", "--help")[1].startswith("Usage: gaggle report FILE.json")


NAMES = [
    ("run.json", ".json", False),
    ("RUN.MD", ".md", False),
    ("-", ".txt", True),
    ("-.json", ".json", True),
    ("./-.json", ".json", False),
    ("/tmp/step_summary_1234", ".md", False),
    ("/tmp/other", "", False),
]


@pytest.mark.parametrize(("name", "suffix", "goes_to_stdout"), NAMES)
def test_the_name_says_the_format_and_where_it_goes(name, suffix, goes_to_stdout, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/tmp/step_summary_1234")

    assert (report_suffix(name), is_stdout(name)) == (suffix, goes_to_stdout)


def test_a_summary_on_github_is_added_to(tmp_path, monkeypatch):
    path = tmp_path / "step_summary"
    path.write_text("# Build\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    report = make_report("/")

    write_files(report, [str(path)], pytest.fail)

    assert path.read_text() == "# Build\n" + render(report, ".md")


def test_a_file_that_cannot_be_written_does_not_keep_the_others_from_being_written(tmp_path):
    (tmp_path / "taken.md").mkdir()

    with pytest.raises(GaggleError, match=r"taken\.md could not be written: Is a directory"):
        write_files(make_report("/"), [str(tmp_path / "taken.md"), str(tmp_path / "run.md")], pytest.fail)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.md", "taken.md"]


def test_thresholds_are_annotated_on_github_and_nowhere_else(monkeypatch, capsys):
    report = replace(make_report("/"), thresholds=make_report("/").thresholds[:1])
    output = cli.Output(io.StringIO())

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    cli.show(report, Options(no_print_metrics=True), output)
    assert capsys.readouterr().err == ""

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    cli.show(report, Options(no_print_metrics=True), output)
    assert capsys.readouterr().err == "::error title=gaggle threshold::max<71ms: it was 71.3 ms\n"


def test_where_stdout_is_for_a_report_nothing_else_is_printed_on_it():
    output = cli.Output(io.StringIO())

    cli.show(make_report("/"), Options(report_file=("-.json",)), output)

    assert output.stream.getvalue() == ""
