"""Every option, each way of giving it, on each role; and thousands of command lines, half of them wrong."""

from __future__ import annotations

import random
import tomllib
from functools import cache
from pathlib import Path

import pytest

from gaggle.errors import InvalidOption
from gaggle.inventory import configurable, key, shown, toml
from gaggle.options import CONFLICTS, SPECS, Kind, Options, Role, flag, variable
from gaggle.rules import check, role_of
from gaggle.sources import from_call, parse, settled

NAMES = configurable(SPECS)
# What may be given for an option, by its metavar; first of all come the words of `auto|fast`, and its own default.
SAMPLES = {
    "URL": "http://local.dev/",
    "N": "3",
    "TIME": "90s",
    "SIZE": "64k",
    "HOST": "10.0.0.1",
    "PORT": "6000",
    "[HOST:]PORT": "9646",
    "WHAT": "stop",
    "SHARE": "0.5",
    "RULE": "p(95)<200ms",
    "NAME:VALUE": "Accept-Language: en",
    "NAME:NAME": "ECDHE-RSA-AES128-GCM-SHA256",
    "HOST:PORT:ADDRESS": "local.dev:80:10.0.0.1",
    "HOST:PORT:HOST:PORT": "local.dev:80:10.0.0.1:8080",
}
FILES = ("a.txt", "a.json", "a.csv")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@cache
def sample(name):
    """Return a text that the option takes."""
    of, default = SPECS[name], getattr(Options(), name)
    if not of.kind.takes_value:
        return "yes" if of.kind is Kind.SWITCH else "1"
    words = of.metavar.split("|") if of.metavar[0].islower() or "|" in of.metavar else []
    for text in (*words, SAMPLES.get(of.metavar, ""), *FILES, "text", str(default)):
        try:
            if text and of.parse(text) != default:
                return text
        except ValueError:
            continue
    raise AssertionError(f"{name}: SAMPLES has nothing that it takes")


def value(name):
    of, parsed = SPECS[name], SPECS[name].parse(sample(name))
    return (parsed,) if of.kind is Kind.MANY else parsed


def as_flag(name):
    return [f"{flag(name)}={sample(name)}"] if SPECS[name].kind.takes_value else [flag(name)]


def done(parsed):
    return settled(parsed, {}, {}, {})


WAYS = {
    "flag": lambda name: done(parse(as_flag(name), {})),
    "variable": lambda name: done(parse([], {variable(name): sample(name)})),
    "file": lambda name: written(name),
    "load test": lambda name: settled(parse([], {}), {}, {}, {name: sample(name)}),
    "call": lambda name: done(from_call(Path("a.py"), {name: sample(name)})),
    "call, as a value": lambda name: done(from_call(Path("a.py"), {name: value(name)})),
}
SOURCES = {
    "flag": flag,
    "variable": variable,
    "file": lambda name: f"{key(name)} in gaggle.toml",
    "load test": lambda name: f"the load test's {name}",
    "call": lambda name: f"the argument {name}",
    "call, as a value": lambda name: f"the argument {name}",
}


def written(name):
    Path("gaggle.toml").write_text(f"{key(name)} = {toml(SPECS[name], value(name))}")
    return done(parse([], {}))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_an_option_is_taken_from_everywhere(name, way):
    parsed = WAYS[way](name)

    assert parsed.value(name) == value(name)
    assert dict(parsed.sources) == {name: SOURCES[way](name)}


@pytest.mark.parametrize("role", [Role.STANDALONE, Role.MANAGER, Role.WORKER], ids=lambda role: role.name)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("manager", "worker")])
def test_an_option_is_taken_by_its_roles_and_no_others(name, role):
    parsed = parse(as_flag(name), {})

    try:
        check(parsed, 2, role)
        refusal = ""
    except InvalidOption as error:
        refusal = error.detail

    foreign = "together with the --manager flag", "together with the --worker flag", "without also setting the --"
    assert (role in SPECS[name].roles) == (not any(words in refusal for words in foreign)), refusal


# Command lines.


def valid(draw):
    """Return a command line, and the values that it gives."""
    names = draw.sample(NAMES, draw.randrange(7))
    for first, second, _ in CONFLICTS:
        if first in names and second in names:
            names.remove(second)
    argv = [word for name in names for word in spelled(draw, name)]
    return argv, {name: value(name) for name in names}


def spelled(draw, name):
    of = SPECS[name]
    long = draw.choice([flag(name), *of.aliases])
    if not of.kind.takes_value:
        return [draw.choice([of.short or long, long])]
    text = sample(name)
    ways = [[long, text], [f"{long}={text}"], *([[of.short, text], [of.short + text]] if of.short else [])]
    return draw.choice(ways)


def spoiled(draw, argv):
    """Return the command line with one thing wrong in it."""
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    wrong = [
        lambda: [*argv, "--no-such-option"],
        lambda: [*argv, f"--{draw.randbytes(3).hex()}x=1"],
        lambda: [*argv, "--users", draw.choice(["many", "0", "-1", "1.5", "", "1e3", "\x1b[31m", "९"])],
        lambda: [*argv, "--run-time=" + draw.choice(["soon", "5mins", "-1", "1h1h", "\n"])],
        lambda: [*argv, "--timeout"],
        lambda: [*argv, "--strict=yes"],
        lambda: [*argv, "--seed=1", "--seed=1"],
        lambda: [*argv, "a.py", "b.py"],
        lambda: [*argv, draw.choice(flags)[:-1] + "~"] if flags else ["--~"],
        lambda: [*argv, "--host", "".join(map(chr, draw.choices(range(1, 300), k=5)))],
    ]
    return draw.choice(wrong)()


def outcome(argv):
    """Return the options, or the error's one line."""
    try:
        return done(parse(argv, {}))
    except InvalidOption as error:
        line = str(error)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("lines", [5_000, pytest.param(50_000, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])])
def test_command_lines_without_number_are_taken_or_refused_in_one_line(lines):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)

    for turn in range(lines):
        argv, values = valid(draw)
        if turn % 2:
            argv = spoiled(draw, argv)
            assert isinstance(outcome(argv), str), argv
            continue
        parsed = outcome(argv)
        assert not isinstance(parsed, str), (argv, parsed)
        assert {name: parsed.value(name) for name in parsed.sources} == values, argv
        if turn % 100 == 0:
            told = tomllib.loads(shown(parsed, role_of(parsed.options)))
            fit = {key(name) for name in values if role_of(parsed.options) in SPECS[name].roles}
            assert fit <= told.keys(), argv
