"""The help: what `gaggle --help` prints, made from the fields of Options."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from gaggle.options import GROUPS, MASK, SPECS, Kind, Options, Spec, flag, written

WIDTH, COLUMN = 80, 30
NONE: Mapping[str, Any] = MappingProxyType({})
_KEPT = "\xa0"  # a blank at which textwrap does not break

_BEGIN = """\
Usage: gaggle [FILE [CLASS...]] [OPTIONS]

Run the load test FILE: users, written in async Python, send requests from all
usable cores. Without FILE it is loadtest.py in the working directory. CLASS is
a user class to run, as with --classes.
"""
_END = """\
TIME is a number of seconds, or 20s, 1h30m, 1.5s, 500ms. SIZE is a number of
bytes, or 64k, 16MiB.

A flag wins over the environment, where --run-time is GAGGLE_RUN_TIME and
--strict is GAGGLE_STRICT=yes; the environment wins over a config file, where it
is run-time = "20s"; that wins over the load test.
"""


def help_text(own: Mapping[str, Spec] = NONE, own_defaults: Mapping[str, Any] = NONE) -> str:
    """Return the help, on lines of at most 80 columns; `own` are the options of a load test, name -> Spec."""
    defaults = {**{option.name: option.default for option in fields(Options)}, **own_defaults}
    groups = {group: f"{group}:\n" for group in dict.fromkeys((*GROUPS, *(of.group for of in own.values())))}
    for name, of in {**SPECS, **own}.items():
        groups[of.group] += _entry(name, of, defaults[name])
    return "\n".join([_BEGIN, *groups.values(), _END])


def _entry(name: str, of: Spec, default: object) -> str:
    """Return one option's lines: flags to the left, help from COLUMN on, below if the flags are too long."""
    left = f"  {of.short + ',' if of.short else '':4}{flag(name)} {of.metavar}".rstrip()
    right = textwrap.wrap(of.help + _aliases(of) + _default(of, default), WIDTH - COLUMN)
    if len(left) > COLUMN - 2:
        right.insert(0, "")
    lines = f"{left:{COLUMN}}" + f"\n{'':{COLUMN}}".join(right)
    return "".join(line.rstrip().replace(_KEPT, " ") + "\n" for line in lines.splitlines())


def _aliases(of: Spec) -> str:
    return f" (or {', '.join(of.aliases)})" if of.aliases else ""


def _default(of: Spec, default: object) -> str:
    """Return ` [default: 30s]`, which is not broken into lines, or "" where there is nothing to say."""
    said = of.kind is Kind.ONE and default is not None
    shown = of.shown or (MASK if of.secret and default else written(of, default) if said else "")
    return f" [default: {shown}]".replace(" ", _KEPT).replace(_KEPT, " ", 1) if shown else ""
