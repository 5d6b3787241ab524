"""Options of the load test's own: what may be declared, and how they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from gaggle.errors import InvalidOption, LoadTestError
from gaggle.inventory import shown
from gaggle.options import Options, Role
from gaggle.own import MARK, defaults_of, made, option, own_options, specs_of
from gaggle.rules import check, check_required
from gaggle.sources import from_call, parse, settled
from gaggle.usage import help_text


@own_options
class Shop:
    depth: int = option(3, help="Pages to read in a visit")
    api_key: str = option(help="Key of the API", secret=True)
    mode: Literal["quick", "thorough"] = "quick"
    smoke: bool = False
    cache: bool = True
    pages: tuple[str, ...] = ()
    rows: Path | None = None
    shift: float = -0.5


DESCRIBED = getattr(Shop, MARK)
SPECS, DEFAULTS = specs_of(DESCRIBED), defaults_of(DESCRIBED)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def asked(argv="", environ=None):
    return settled(parse(argv.split(), environ or {}), SPECS, DEFAULTS, {})


TAKEN = [
    ("a.py --depth 5", {"depth": 5}),
    ("--depth 5 a.py", {"depth": 5}),
    ("--smoke a.py", {"smoke": True}),
    ("a.py --depth -5 --shift -1.5", {"depth": -5, "shift": -1.5}),
    ("a.py --pages x --pages=y", {"pages": ("x", "y")}),
    ("a.py --cache no --mode thorough --rows rows.csv", {"cache": False, "mode": "thorough", "rows": Path("rows.csv")}),
]


@pytest.mark.parametrize(("argv", "values"), TAKEN)
def test_a_flag_of_the_load_tests_own_is_taken(argv, values):
    parsed = asked(argv)

    own = made(Shop, parsed.own)
    assert str(parsed.file) == "a.py"
    assert {name: getattr(own, name) for name in values} == values


def test_variables_config_files_and_calls_give_them_too():
    Path("gaggle.toml").write_text("depth = 2\napi-key = 'from the file'\npages = ['x']")

    parsed = asked("a.py --mode thorough", {"GAGGLE_DEPTH": "9"})
    called = settled(from_call(Path("a.py"), {"depth": 4}), SPECS, DEFAULTS, {})

    assert dict(parsed.sources) == {
        "mode": "--mode",
        "depth": "GAGGLE_DEPTH",
        "api_key": "api-key in gaggle.toml",
        "pages": "pages in gaggle.toml",
    }
    assert (parsed.own["depth"], parsed.own["pages"], called.own["depth"]) == (9, ("x",), 4)
    assert parsed.options == called.options == Options()


REFUSED = [
    ("a.py --depth x", "--depth", "x", "The --depth option must be a whole number."),
    ("a.py --mode slow", "--mode", "slow", "The --mode option must be quick or thorough."),
    ("a.py --depth 1 --depth 2", "--depth", "2", "The --depth option is given twice: once is enough."),
    ("a.py --api-key a --api-key b", "--api-key", "***", "The --api-key option is given twice: once is enough."),
    ("a.py --detph 1", "--detph", "", "There is no such option. Did you mean --depth?"),
    ("a.py --depth", "--depth", "", "The --depth option needs a value: --depth N."),
    ("a.py --smoke=yes", "--smoke", "yes", "The --smoke flag takes no value."),
    ("--depth 1", "--depth", "", "There is no such option."),  # no load test: nobody could know it
]


@pytest.mark.parametrize(("argv", "name", "value", "detail"), REFUSED)
def test_what_cannot_be_is_refused(argv, name, value, detail):
    with pytest.raises(InvalidOption) as caught:
        asked(argv)

    assert (caught.value.option, caught.value.value, caught.value.detail) == (name, value, detail)


def test_a_word_that_is_neither_the_load_test_nor_a_value_is_refused():
    """Before the load test is imported, `more` could be the value of --smoke; then it is a user class."""
    Path("loadtest.py").touch()
    assert settled(parse(["--smoke", "more"], {}), SPECS, DEFAULTS, {}).options.classes == ("more",)
    with pytest.raises(InvalidOption, match=r"Only one load test runs at a time, and loadtest\.py is given"):
        settled(parse(["--smoke", "more.py"], {}, "loadtest.py"), SPECS, DEFAULTS, {})

    assert str(asked("--smoke ./more.py").file) == "more.py"


def test_one_without_a_default_must_be_given():
    with pytest.raises(InvalidOption, match=r"needs a value: --api-key TEXT \(Key of the API\)"):
        check_required(asked("a.py"))

    check_required(asked("a.py --api-key x"))


def test_a_worker_takes_none():
    with pytest.raises(InvalidOption, match="--depth option can not be set together with the --worker flag"):
        check(asked("a.py --worker --depth 3"), 2, Role.WORKER)


def test_the_help_and_the_inventory_show_them_without_secrets():
    text = help_text(SPECS, DEFAULTS)
    inventory = shown(asked("a.py --api-key hunter2"), Role.STANDALONE)

    assert "--depth N               Pages to read in a visit [default: 3]" in text
    assert "--mode quick|thorough   Mode [default: quick]" in text
    assert max(map(len, text.splitlines())) <= 80
    assert 'api-key = "***"' in inventory
    assert "hunter2" not in inventory


def declared(**fields):
    """Make a class of options with these fields, name -> (type, default)."""
    body = {"__annotations__": {name: kind for name, (kind, _) in fields.items()}}
    return own_options(type("Mine", (), body | {name: default for name, (_, default) in fields.items()}))


NO_OPTIONS = [
    ({"users": (int, 3)}, "Mine.users: gaggle has an option of that name"),
    ({"_depth": (int, 3)}, "begins with a letter"),
    ({"depth": (dict, None)}, "an option is of type int, float, str"),
    ({"depth": (int, "three")}, "its default 'three' is no value that it can have"),
    ({"depth": (int, None)}, "its default None is no value that it can have"),
    ({"depth": (Literal["a"], "b")}, "its default 'b' is no value that it can have"),
    ({"depth": (list, [])}, "mutable default"),
]


@pytest.mark.parametrize(("fields", "said"), NO_OPTIONS)
def test_what_cannot_be_an_option_is_refused_where_it_is_declared(fields, said):
    with pytest.raises(LoadTestError, match=said):
        declared(**fields)
