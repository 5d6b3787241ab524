"""Options as a person gives them: what becomes of a command line, a variable, a default, and what the errors say."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaggle import units
from gaggle.errors import InvalidOption
from gaggle.options import REPORT_SUFFIXES, Options
from gaggle.rules import check
from gaggle.sources import from_call, parse, settled, with_defaults


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def given_options(argv, environ=None, defaults=None):
    """Return name -> value of the options that somebody set; those that conflict are refused."""
    parsed = settled(parse(argv.split(), environ or {}), {}, {}, defaults or {})
    check(parsed, cores=2)
    return {name: getattr(parsed.options, name) for name in parsed.sources}


def error(argv, environ=None, defaults=None):
    """Return what the person reads."""
    with pytest.raises(InvalidOption) as caught:
        given_options(argv, environ, defaults)
    return str(caught.value)


# Values.

SUFFIXES = f"must end in {units.listed(REPORT_SUFFIXES)}, or be - for stdout"

TAKEN = [
    ("", {}),
    ("-u8", {"users": 8}),
    ("-u 8", {"users": 8}),
    ("--users=8", {"users": 8}),
    ("--users 8", {"users": 8}),
    ("-H http://local.dev/", {"host": "http://local.dev/"}),
    ("-H https://[::1]:8443/shop", {"host": "https://[::1]:8443/shop"}),
    ("-r.5", {"hatch_rate": 0.5}),
    ("--spawn-rate 2", {"hatch_rate": 2}),  # Locust
    ("--increase-rate 2", {"hatch_rate": 2}),  # later Goose
    ("-t1h30m", {"run_time": 5_400}),
    ("-t0", {"run_time": 0}),
    ("--stop-timeout 500ms", {"stop_timeout": 0.5}),
    ("--seed 0", {"seed": 0}),
    ("--engines 1", {"engines": 1}),
    ("-vv", {"verbose": 2}),
    ("-v --verbose -v", {"verbose": 3}),
    ("-qq -g", {"quiet": 2, "log_level": 1}),
    ("-G goose.log", {"log_file": "goose.log"}),
    ("--strict --strict", {"strict": True}),
    ("--report-file a.txt --report-file b.JSON", {"report_file": ("a.txt", "b.JSON")}),
    ("--max-body 64k", {"max_body": 65_536}),
    ("--max-body 0", {"max_body": 0}),
    ("--proxy env", {"proxy": "env"}),
    ("--proxy none", {"proxy": ""}),
    ("--proxy socks5h://me:secret@10.0.0.1:1080", {"proxy": "socks5h://me:secret@10.0.0.1:1080"}),
    ("--tls-resume no", {"tls_resume": False}),
    ("--http-version 2", {"http_version": "2"}),
    ("--lane fast", {"lane": "fast"}),
    ("--no-keepalive --max-connection-age 0", {"no_keepalive": True, "max_connection_age": 0}),  # 0 asks for nothing
    ("-l", {"list": True}),
    ("a.py Visitor admin", {"classes": ("Visitor", "admin")}),
    ("a.py -u 3 Visitor --classes Ad*", {"users": 3, "classes": ("Ad*", "Visitor")}),
    # Locust's and Goose's.
    ("-f a.py --headless -L DEBUG", {"verbose": 2}),
    ("--locustfile=a.py --loglevel error --only-summary", {"quiet": 1}),
    ("--csv run --logfile run.log", {"report_file": ("run.csv",), "log_file": "run.log"}),
    ("--scenarios-list", {"list": True}),
]


@pytest.mark.parametrize(("argv", "values"), TAKEN)
def test_an_option_is_taken(argv, values):
    assert given_options(argv) == values


def test_without_a_file_a_word_is_a_class_of_the_default_load_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(parse(["Visitor"], {}).file) == "Visitor"  # so that it is said that there is no such file
    (tmp_path / "loadtest.py").touch()

    parsed = settled(parse(["Visitor", "-u3", "Ad*"], {}), {}, {}, {})

    assert (str(parsed.file), parsed.options.classes) == ("loadtest.py", ("Visitor", "Ad*"))


def test_a_gaggle_may_be_asked_for_in_the_words_of_locust():
    manager = settled(parse(["a.py", "--master", "--master-bind-port", "6000", "--enable-rebalancing"], {}), {}, {}, {})
    worker = settled(parse(["a.py", "--worker", "--master-host", "10.0.0.1", "--processes=2"], {}), {}, {}, {})

    assert dict(manager.sources).keys() == {"manager", "manager_bind_port", "rebalance"}
    assert (worker.options.manager_host, worker.options.engines) == ("10.0.0.1", 2)


REFUSED = [
    # argv, option, value, detail
    (
        "--co-mitigation average",
        "--co-mitigation",
        "",
        r"gaggle has no --co-mitigation: no times are made up: pacing() "
        "keeps a rhythm, and the report says how late gaggle itself was.",
    ),
    ("-L loud", "-L", "loud", "The -L option must be DEBUG, INFO, WARNING, ERROR or CRITICAL."),
    ("-f", "-f", "", "The -f option needs a value: -f FILE."),
    ("--headless=yes", "--headless", "yes", "The --headless option takes no value."),
    ("a.py b/c", "FILE", "b/c", "Only one load test runs at a time, and a.py is given already."),
    ("--users 0", "--users", "0", "The --users option must be set to at least 1."),
    ("-u0", "--users", "0", "The --users option must be set to at least 1."),
    ("--users -3", "--users", "-3", "The --users option must be set to at least 1."),
    ("--users many", "--users", "many", "The --users option must be a whole number, at least 1."),
    ("--users 10000001", "--users", "10000001", "The --users option must be set to at most 10,000,000."),
    ("--users", "--users", "", "The --users option needs a value: --users N."),
    ("-u", "--users", "", "The --users option needs a value: --users N."),
    ("--run-time --strict", "--run-time", "", "The --run-time option needs a value: --run-time TIME."),
    ("--users 3 -u4", "--users", "4", "The --users option is given twice: once is enough."),
    ("--users 3 --users 3", "--users", "3", "The --users option is given twice: once is enough."),
    ("-r1 --spawn-rate 2", "--spawn-rate", "2", "The --spawn-rate option is given twice: once is enough."),
    ("--hatch-rate 0", "--hatch-rate", "0", "The --hatch-rate option must be greater than 0."),
    ("--hatch-rate 0.0", "--hatch-rate", "0.0", "The --hatch-rate option must be greater than 0."),
    ("--spawn-rate 0", "--spawn-rate", "0", "The --spawn-rate option must be greater than 0."),
    ("-r nan", "--hatch-rate", "nan", "The --hatch-rate option must be a number such as 8 or 0.5."),
    ("-t 15mins", "--run-time", "15mins", "The --run-time option must be a time such as 90, 20s, 1h30m or 500ms."),
    ("-t -5", "--run-time", "-5", "The --run-time option must not be negative."),
    ("--run-time=-5s", "--run-time", "-5s", "The --run-time option must not be negative."),
    ("--timeout 0", "--timeout", "0", "The --timeout option must be greater than 0."),
    ("--connect-timeout 0s", "--connect-timeout", "0s", "The --connect-timeout option must be greater than 0."),
    ("--seed -1", "--seed", "-1", "The --seed option must be set to at least 0."),
    ("--max-body big", "--max-body", "big", "The --max-body option must be a size such as 4096, 64k or 16MiB."),
    ("--lane http3", "--lane", "http3", "The --lane option must be auto, fast or libcurl."),
    ("--tls-resume maybe", "--tls-resume", "maybe", "The --tls-resume option must be yes or no."),
    ("--http-version 4", "--http-version", "4", "The --http-version option must be 1.1, 2 or 3."),
    ("--report-file a.pdf", "--report-file", "a.pdf", f"The --report-file option {SUFFIXES}."),
    ("--report-file txt", "--report-file", "txt", f"The --report-file option {SUFFIXES}."),
    ("--log-file=", "--log-file", "", "The --log-file option must be the name of a file."),
    ("--strict=yes", "--strict", "yes", "The --strict flag takes no value."),
    ("a.py b.py", "FILE", "b.py", "Only one load test runs at a time, and a.py is given already."),
    ("a.py -v b.py", "FILE", "b.py", "Only one load test runs at a time, and a.py is given already."),
    ("--hatchrate 5", "--hatchrate", "", "There is no such option. Did you mean --hatch-rate?"),
    ("--hatchrate=5", "--hatchrate", "5", "There is no such option. Did you mean --hatch-rate?"),
    ("--hatch 5", "--hatch", "", "There is no such option. Did you mean --hatch-rate?"),  # no abbreviations
    ("--no-status", "--no-status", "", "There is no such option. Did you mean --no-status-codes?"),
    ("--frobnicate", "--frobnicate", "", "There is no such option."),
    ("-x", "-x", "", "There is no such option."),
]


@pytest.mark.parametrize(("argv", "option", "value", "detail"), REFUSED)
def test_what_cannot_be_is_refused_in_the_words_of_the_person(argv, option, value, detail):
    with pytest.raises(InvalidOption) as caught:
        given_options(argv)

    assert (caught.value.option, caught.value.value, caught.value.detail) == (option, value, detail)


@pytest.mark.parametrize(
    "host",
    [
        "local.dev",
        "//local.dev",
        "ftp://local.dev",
        "http://",
        "http:local.dev",
        "http://h:x",
        "http://h:0",
        "http://[::1",
        "http://a\tb",
        "",
    ],
)
def test_a_host_that_is_no_url_is_refused(host):
    with pytest.raises(
        InvalidOption, match=r"--host.* must be a URL such as http://local\.dev:8080, with http or https"
    ):
        parse(["--host", host], {})


@pytest.mark.parametrize("proxy", ["local.dev:3128", "ftp://local.dev", "http://h:99999"])
def test_a_proxy_that_is_none_is_refused(proxy):
    with pytest.raises(InvalidOption, match=r"--proxy.* or socks5h, or env, or none"):
        parse(["--proxy", proxy], {})


def test_an_error_is_printed_in_the_form_of_the_seed():
    assert error("--users 0") == (
        'InvalidOption { option: "--users", value: "0", detail: "The --users option must be set to at least 1." }'
    )


@settings(deadline=None)
@given(st.lists(st.text(max_size=8) | st.sampled_from(["-u", "--users", "-v", "--", "-t1", "-", "--="]), max_size=5))
def test_any_command_line_is_taken_or_refused(argv):
    with contextlib.suppress(InvalidOption):
        assert parse(argv, {}).options


# Where a value comes from.


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_load_test():
    environ, defaults = {"GAGGLE_USERS": "20", "GAGGLE_SEED": "2"}, {"users": 300, "seed": 3, "run_time": "3s"}

    parsed = with_defaults(parse(["-u1"], environ), defaults)

    assert (parsed.options.users, parsed.options.seed, parsed.options.run_time) == (1, 2, 3)
    assert parsed.sources == {"users": "--users", "seed": "GAGGLE_SEED", "run_time": "the load test's run_time"}


def test_what_nobody_sets_has_its_built_in_default():
    parsed = with_defaults(parse([], {}), {})

    assert parsed.options == Options()
    assert parsed.sources == {}


def test_one_user_a_usable_core_is_the_default(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 5})

    assert parse([], {}).options.users == 3


VARIABLES = [
    ({"GAGGLE_RUN_TIME": "20s"}, {"run_time": 20}),
    ({"GAGGLE_STRICT": "yes"}, {"strict": True}),
    ({"GAGGLE_STRICT": "0"}, {"strict": False}),
    ({"GAGGLE_VERBOSE": "2"}, {"verbose": 2}),
    ({"GAGGLE_REPORT_FILE": "a.txt,b.json"}, {"report_file": ("a.txt", "b.json")}),
    ({"GAGGLE_USERS": ""}, {}),  # as compose files leave them
    ({"GAGGLE_VERSION": "0.3", "GAGGLE_HELP": "1", "GAGGLE_LIST": "1"}, {}),  # images set the first
    ({"USERS": "3", "gaggle_users": "3"}, {}),
]


@pytest.mark.parametrize(("environ", "values"), VARIABLES)
def test_a_variable_is_taken(environ, values):
    assert given_options("", environ) == values


def test_a_variable_is_named_in_its_error():
    assert error("", {"GAGGLE_USERS": "many"}) == (
        'InvalidOption { option: "GAGGLE_USERS", value: "many", '
        'detail: "GAGGLE_USERS must be a whole number, at least 1." }'
    )


def test_a_variable_that_a_flag_overrules_may_hold_anything():
    assert given_options("-u3", {"GAGGLE_USERS": "many"}) == {"users": 3}


def test_a_misspelled_variable_is_warned_about():
    environ = {
        "GAGGLE_USER": "3",
        "GAGGLE_PORT": "tcp://10.0.0.1:80",
        "GAGGLE_SERVICE_HOST": "10.0.0.1",
        "GAGGLE_SEED": "3",
    }

    parsed = settled(parse([], environ), {}, {}, {})

    assert parsed.warnings == ("GAGGLE_USER is not an option and has no effect: did you mean GAGGLE_USERS?",)


DEFAULTS = [
    ({"users": 8, "hatch_rate": 0.5, "run_time": 20}, {"users": 8, "hatch_rate": 0.5, "run_time": 20}),
    ({"run_time": "1h", "strict": True}, {"run_time": 3_600, "strict": True}),
    ({"report_file": ["a.txt"]}, {"report_file": ("a.txt",)}),
    ({"report_file": "a.txt"}, {"report_file": ("a.txt",)}),
    ({"host": None}, {}),
]


@pytest.mark.parametrize(("defaults", "values"), DEFAULTS)
def test_a_default_of_the_load_test_is_taken(defaults, values):
    assert given_options("", defaults=defaults) == values


NO_DEFAULTS = [
    ({"users": 0}, "The load test's users must be set to at least 1."),
    ({"users": True}, "The load test's users must be a whole number, at least 1."),
    ({"users": [3, 4]}, "The load test's users takes one value, and not a list."),
    ({"strict": 2}, "The load test's strict must be yes or no."),
    ({"user": 3}, "There is no such option. Did you mean users?"),
    ({"run-time": 3}, "There is no such option. Did you mean run_time?"),
    ({"help": True}, "help can only be set on the command line."),
]


@pytest.mark.parametrize(("defaults", "detail"), NO_DEFAULTS)
def test_a_default_that_cannot_be_is_refused(defaults, detail):
    with pytest.raises(InvalidOption) as caught:
        with_defaults(parse([], {}), defaults)

    assert caught.value.detail == detail
    assert caught.value.option == f"the load test's {next(iter(defaults))}"


@pytest.mark.parametrize("argv", ["--help", "-h", "-V", "--version", "--help --users 0 --nonsense", "a.py b.py -h"])
def test_help_and_version_win_over_errors(argv):
    asked = parse(argv.split(), {"GAGGLE_USERS": "many"}).options

    assert asked.help or asked.version


# A call from Python.

CALLS = [
    (
        {"users": 8, "run_time": "20s", "host": "http://local.dev"},
        {"users": 8, "run_time": 20, "host": "http://local.dev"},
    ),
    ({"strict": True, "tls_resume": False}, {"strict": True, "tls_resume": False}),
    ({"verbose": 2}, {"verbose": 2}),
    ({"report_file": "a.txt"}, {"report_file": ("a.txt",)}),
    ({"report_file": ["a.txt", Path("b.json")]}, {"report_file": ("a.txt", "b.json")}),
    ({"users": None}, {}),
]


@pytest.mark.parametrize(("arguments", "values"), CALLS)
def test_an_argument_of_a_call_is_taken(arguments, values):
    parsed = from_call(Path("a.py"), arguments)

    assert {name: getattr(parsed.options, name) for name in parsed.sources} == values


NO_CALLS = [
    ({"users": 0}, "The argument users must be set to at least 1."),
    ({"user": 3}, "There is no such option. Did you mean users?"),
    ({"version": True}, "version can only be set on the command line."),
    ({"list": True}, "list can only be set on the command line."),
]


@pytest.mark.parametrize(("arguments", "detail"), NO_CALLS)
def test_an_argument_that_cannot_be_is_refused(arguments, detail):
    with pytest.raises(InvalidOption) as caught:
        settled(from_call(Path("a.py"), arguments), {}, {}, {})

    assert caught.value.detail == detail
    assert caught.value.option == f"the argument {next(iter(arguments))}"


# The load test's file.


def test_the_load_test_may_stand_anywhere():
    assert [str(parse(argv.split(), {}).file) for argv in ("a.py -u3", "-u3 a.py", "-v a.py -q", "-- -a.py")] == [
        "a.py",
        "a.py",
        "a.py",
        "-a.py",
    ]


def test_without_a_file_the_load_test_is_loadtest_py_if_it_exists(tmp_path):
    assert parse([], {}).file is None

    (tmp_path / "loadtest.py").touch()

    assert str(parse([], {}).file) == "loadtest.py"
