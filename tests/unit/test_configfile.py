"""Config files: which is read, what its keys become, and what the errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaggle.errors import InvalidOption
from gaggle.options import Role
from gaggle.rules import check, without_effect
from gaggle.sources import from_call, parse, settled


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="gaggle.toml"):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)


def asked(argv="", environ=None, defaults=None):
    return settled(parse(argv.split(), environ or {}), {}, {}, defaults or {})


def given_options(argv="", environ=None, defaults=None):
    """Return name -> value of the options that somebody set."""
    parsed = asked(argv, environ, defaults)
    return {name: parsed.value(name) for name in parsed.sources}


TAKEN = [
    ("", {}),
    ("users = 8\nhatch-rate = 0.5", {"users": 8, "hatch_rate": 0.5}),
    ("run_time = '1h30m'\nno_keepalive = true", {"run_time": 5_400, "no_keepalive": True}),
    ("run-time = 90", {"run_time": 90}),
    ("hatch-rate = 1e-7", {"hatch_rate": 1e-7}),
    ("tls-resume = false", {"tls_resume": False}),
    ("tls-resume = 'no'", {"tls_resume": False}),
    ("verbose = 2", {"verbose": 2}),
    ("report-file = ['a.txt', 'b.json']", {"report_file": ("a.txt", "b.json")}),
    ("report-file = 'a.txt'", {"report_file": ("a.txt",)}),
    ("report-file = []", {"report_file": ()}),
    ("http-version = 1.1", {"http_version": "1.1"}),
    ("proxy = ''", {"proxy": ""}),
]


@pytest.mark.parametrize(("text", "values"), TAKEN)
def test_a_key_is_an_option(text, values):
    write(text)

    assert given_options() == values


REFUSED = [
    # text, option, value, detail
    ("users = 0", "users in gaggle.toml", "0", "users in gaggle.toml must be set to at least 1."),
    ("users = true", "users in gaggle.toml", "true", "users in gaggle.toml must be a whole number, at least 1."),
    ("users = [8]", "users in gaggle.toml", "[8]", "users in gaggle.toml takes one value, and not a list."),
    (
        "[users]\nshop = 3",
        "users in gaggle.toml",
        "{'shop': 3}",
        "users in gaggle.toml takes a plain value, and not a table.",
    ),
    (
        "report-file = [['a.txt']]",
        "report-file in gaggle.toml",
        "['a.txt']",
        "report-file in gaggle.toml takes a plain value, and not a list in a list.",
    ),
    (
        "log-file = true",
        "log-file in gaggle.toml",
        "true",
        "log-file in gaggle.toml is no switch: give it a text, in quotes.",
    ),
    (
        "run-time = 2026-01-01",
        "run-time in gaggle.toml",
        "2026-01-01",
        "run-time in gaggle.toml must be a time such as 90, 20s, 1h30m or 500ms.",
    ),
    ("strict = 2", "strict in gaggle.toml", "2", "strict in gaggle.toml must be yes or no."),
    ("hatch-rate = inf", "hatch-rate in gaggle.toml", "Infinity", "must be a number such as 8 or 0.5."),
    ("usres = 8", "usres in gaggle.toml", "8", "There is no such option. Did you mean users?"),
    ("run_tim = 8", "run_tim in gaggle.toml", "8", "There is no such option. Did you mean run-time?"),
    ("[tool.gaggle]\nusers = 8", "tool in gaggle.toml", "{'gaggle': {'users': 8}}", "There is no such option."),
    ("version = '1'", "version in gaggle.toml", "1", "version can only be set on the command line."),
    (
        "config = 'other.toml'",
        "config in gaggle.toml",
        "other.toml",
        "config can only be set on the command line, or as GAGGLE_CONFIG.",
    ),
    ("run-time = 1\nrun_time = 2", "run_time in gaggle.toml", "2", "is given twice: once is enough."),
    ("users = 1\nusers = 2", "gaggle.toml", "gaggle.toml", "Cannot overwrite a value"),
    ("users = ", "gaggle.toml", "gaggle.toml", "The config file can not be read: Invalid value (at"),
    (b"\xff", "gaggle.toml", "gaggle.toml", "The config file can not be read: it is not in UTF-8."),
    (f"users = {'9' * 5_000}", "gaggle.toml", "gaggle.toml", "4300 digits"),
    (f"users = {'[' * 50_000}", "gaggle.toml", "gaggle.toml", "it is nested too deeply."),
    (f"#{'x' * 2**20}", "gaggle.toml", "gaggle.toml", "it is larger than 1 MiB."),
]


@pytest.mark.parametrize(("text", "option", "value", "detail"), REFUSED, ids=[str(row[1]) for row in REFUSED])
def test_what_cannot_be_is_refused_with_file_and_key(text, option, value, detail):
    write(text)

    with pytest.raises(InvalidOption) as caught:
        asked()

    assert (caught.value.option, caught.value.value) == (option, value)
    assert detail in caught.value.detail
    assert "\n" not in str(caught.value)


def test_a_flag_wins_over_a_variable_over_a_config_file_over_the_load_test():
    write("users = 3\nseed = 3\nengines = 3")
    defaults = {"users": 4, "seed": 4, "engines": 4, "lane": "fast"}

    parsed = asked("--users 1", {"GAGGLE_USERS": "2", "GAGGLE_SEED": "2"}, defaults)

    assert parsed.sources == {
        "users": "--users",
        "seed": "GAGGLE_SEED",
        "engines": "engines in gaggle.toml",
        "lane": "the load test's lane",
    }
    assert (parsed.options.users, parsed.options.seed, parsed.options.engines) == (1, 2, 3)


def test_what_a_stronger_source_says_needs_no_valid_value_below():
    write("users = 'many'")

    assert given_options("-u3") == {"users": 3}


def test_gaggle_toml_wins_over_the_project_file_key_by_key():
    write("users = 3")
    write("[tool.gaggle]\nusers = 4\nseed = 5\n[tool.other]\nx = 1", "pyproject.toml")

    parsed = asked()

    assert dict(parsed.sources) == {"users": "users in gaggle.toml", "seed": "tool.gaggle.seed in pyproject.toml"}


@pytest.mark.parametrize(("argv", "environ"), [("--config other.toml", {}), ("", {"GAGGLE_CONFIG": "other.toml"})])
def test_a_file_that_is_named_is_read_instead(argv, environ):
    write("users = 3\nusres = 4")
    write("seed = 5", "other.toml")

    parsed = asked(argv, environ)

    assert (parsed.options.seed, parsed.sources["seed"]) == (5, "seed in other.toml")
    assert "users" not in parsed.sources


NAMED = [
    ("none.toml", "The config file can not be read: No such file or directory."),
    (".", "The config file can not be read: Is a directory."),
    ("sub/pyproject.toml", "The config file can not be used: it has no [tool.gaggle]."),
]


@pytest.mark.parametrize(("name", "detail"), NAMED)
def test_a_file_that_is_named_and_cannot_be_used_is_refused_by_the_flag(name, detail):
    write("[tool.other]", "sub/pyproject.toml")

    with pytest.raises(InvalidOption) as caught:
        asked(f"--config {name}")

    assert (caught.value.option, caught.value.value, caught.value.detail) == ("--config", name, detail)


@pytest.mark.parametrize("text", ["tool = 3", "[project]\nname = 'x'", "[tool]\nother = 1"])
def test_a_project_file_without_a_word_about_gaggle_says_nothing(text):
    write(text, "pyproject.toml")

    assert given_options() == {}


def test_a_table_that_is_none_is_refused():
    write("tool.gaggle = 3", "pyproject.toml")

    with pytest.raises(InvalidOption, match=r"tool\.gaggle must be a table"):
        asked()


def test_a_manager_and_its_workers_may_share_a_config_file():
    write("manager = true\nusers = 8\nexpect-workers = 2\nmanager-port = 5116")

    worker, manager = asked("--worker"), asked()

    assert check(worker, 2, Role.WORKER) == check(manager, 2, Role.MANAGER) == []
    assert not worker.options.manager
    assert without_effect(worker, Role.WORKER) == [
        "users in gaggle.toml has no effect on a worker",
        "expect-workers in gaggle.toml has no effect on a worker",
    ]
    assert without_effect(manager, Role.MANAGER) == ["manager-port in gaggle.toml has no effect on a manager"]


def test_a_call_from_python_reads_only_the_config_file_that_it_names():
    write("users = 3")
    write("seed = 4", "other.toml")

    silent, named = from_call(Path("a.py"), {}), from_call(Path("a.py"), {"config": "other.toml"})

    assert silent.sources == {}
    assert dict(named.sources) == {"seed": "seed in other.toml"}
