"""Rules beyond one option's own check, and what the errors say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from gaggle.errors import InvalidOption
from gaggle.options import Options, Role
from gaggle.rules import check, load_test_of
from gaggle.sources import Parsed, parse, settled, with_defaults


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def given_options(argv, environ=None, defaults=None):
    """Return name -> value of the options that somebody set; those that conflict are refused."""
    parsed = settled(parse(argv.split(), environ or {}), {}, {}, defaults or {})
    check(parsed, cores=2)
    return {name: getattr(parsed.options, name) for name in parsed.sources}


CONFLICTS = [
    (
        "-v -q",
        "--verbose",
        "1",
        "The --verbose flag can not be set together with the --quiet flag: "
        "one asks for more lines, the other for fewer.",
    ),
    (
        "--no-keepalive --max-connection-age 90s",
        "--max-connection-age",
        "1m30s",
        "The --max-connection-age option can not be set together with the --no-keepalive flag: "
        "connections that serve one request do not age.",
    ),
]


@pytest.mark.parametrize(("argv", "option", "value", "detail"), CONFLICTS)
def test_options_that_contradict_each_other_are_refused(argv, option, value, detail):
    with pytest.raises(InvalidOption) as caught:
        given_options(argv)

    assert (caught.value.option, caught.value.value, caught.value.detail) == (option, value, detail)


def test_the_stronger_source_decides_between_options_that_contradict_each_other():
    assert given_options("-q", {"GAGGLE_VERBOSE": "2"}) == {"quiet": 1}
    assert given_options("", {"GAGGLE_NO_KEEPALIVE": "yes"}, {"max_connection_age": 5}) == {"no_keepalive": True}


ROLES = [
    (["-u3"], Role.WORKER, "The --users option can not be set together with the --worker flag."),
    (["--strict"], Role.WORKER, "The --strict flag can not be set together with the --worker flag."),
]


@pytest.mark.parametrize(("argv", "role", "detail"), ROLES)
def test_an_option_of_another_role_is_refused(argv, role, detail):
    parsed = parse(argv, {})

    with pytest.raises(InvalidOption) as caught:
        check(parsed, 2, role)

    assert caught.value.detail == detail


def test_a_worker_may_have_a_load_test_with_defaults_and_options_of_its_own():
    parsed = with_defaults(parse(["-v", "--engines", "2"], {}), {"users": 8})

    assert check(parsed, 2, Role.WORKER) == []


def test_more_engines_than_cores_are_warned_about():
    assert check(Parsed(Options(engines=3), {}, None), cores=2) == [
        "3 engines on 2 usable cores take turns, and times will seem longer"
    ]
    assert check(Parsed(Options(engines=2), {}, None), cores=2) == []


def test_invalid_certificates_are_warned_about():
    assert "not verified" in check(Parsed(Options(accept_invalid_certs=True), {}, None), cores=2)[0]


# Files.


def refusal(argv, environ=None):
    """Return option, value and detail of the error."""
    with pytest.raises(InvalidOption) as caught:
        given_options(argv, environ)
    return caught.value.option, caught.value.value, caught.value.detail


def test_certificates_that_cannot_be_read_are_refused():
    Path("empty.pem").touch()
    Path("folder.pem").mkdir()
    said = "The certificates can not be read: "

    assert refusal("--cacert no.pem") == ("--cacert", "no.pem", f"{said}No such file or directory.")
    assert refusal("--cacert folder.pem")[2].startswith(said)
    assert refusal("", {"GAGGLE_CACERT": "empty.pem"}) == (
        "GAGGLE_CACERT",
        "empty.pem",
        f"{said}there are none in it, in PEM.",
    )


def test_certificates_that_can_be_read_are_taken():
    trustme.CA().cert_pem.write_to_path("ca.pem")

    assert given_options("--cacert ca.pem") == {"cacert": "ca.pem"}


def test_a_report_that_could_not_be_written_is_refused():
    Path("folder.txt").mkdir()
    said = "The report can not be written: "

    assert refusal("--report-file no/a.json") == ("--report-file", "no/a.json", f"{said}No such file or directory.")
    assert refusal("--report-file a.txt --report-file folder.txt") == (
        "--report-file",
        "folder.txt",
        f"{said}Is a directory.",
    )


def test_looking_whether_a_report_can_be_written_leaves_nothing_behind():
    given_options("--report-file a.txt")

    assert os.listdir() == []


FILES = [
    ("none.py", "The load test can not be read: No such file or directory."),
    ("folder.py", "The load test can not be read: Is a directory."),
    ("text.txt", "A load test is a Python file, and its name ends in .py."),
    ("pipe.py", "A load test is a Python file, and its name ends in .py."),
    ("a\0b.py", "The load test can not be read: embedded null byte."),
]


@pytest.mark.parametrize(("name", "detail"), FILES)
def test_what_is_no_load_test_is_refused(name, detail):
    Path("folder.py").mkdir()
    Path("text.txt").touch()
    os.mkfifo("pipe.py")

    with pytest.raises(InvalidOption) as caught:
        load_test_of(Parsed(Options(), {}, Path(name)))

    assert (caught.value.option, caught.value.value, caught.value.detail) == ("FILE", name, detail)


def test_without_a_load_test_the_error_says_what_to_give():
    with pytest.raises(InvalidOption, match=r"there is no loadtest\.py here: gaggle FILE"):
        load_test_of(parse([], {}))
