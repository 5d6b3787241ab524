"""The table of options: what every one of them must say, and that they do not get in each other's way."""

from __future__ import annotations

import dataclasses

import pytest

from gaggle import options
from gaggle.options import Kind, Options


@pytest.mark.parametrize("name", options.SPECS)
def test_an_option_says_all_that_is_derived_from_it(name):
    spec = options.SPECS[name]

    assert spec.help[0].isupper()
    assert not spec.help.endswith(".")
    assert spec.group in options.GROUPS
    assert bool(spec.metavar) == spec.kind.takes_value
    assert spec.kind is not Kind.SWITCH or getattr(Options(), name) is False


def test_no_two_options_share_a_flag():
    flags = [
        flag for name, spec in options.SPECS.items() for flag in (options.flag(name), spec.short, *spec.aliases) if flag
    ]

    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    "field", [field for field in dataclasses.fields(Options) if field.name in options.SPECS], ids=lambda f: f.name
)
def test_a_built_in_default_would_be_accepted_as_a_value(field):
    spec, value = options.SPECS[field.name], getattr(Options(), field.name)

    if value not in (None, "", ()):
        assert spec.parse(str(value)) == value


def test_a_conflict_is_between_options_that_exist():
    assert {name for pair in options.CONFLICTS for name in pair[:2]} <= options.SPECS.keys()
