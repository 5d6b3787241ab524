"""All options in a text that is a config file: what they are now and where from, or a file to begin with."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

from gaggle.errors import quoted
from gaggle.options import MASK, SPECS, Kind, Options, Role, Spec, written
from gaggle.sources import Parsed
from gaggle.units import digits

WIDTH = 80
_BARE = re.compile(r"true|false|[0-9]+|[0-9]+\.[0-9]+", re.ASCII)
_HEAD = """\
# Options of gaggle. What stands behind a # is the default: take the # away to
# change it. Flags and the environment win over this file, this file wins over
# the load test. It is gaggle.toml in the working directory, [tool.gaggle] in
# pyproject.toml, or what --config names.
"""


def key(name: str) -> str:
    """Return the key of an option in a config file: `run-time` of `run_time`."""
    return name.replace("_", "-")


def configurable(specs: Mapping[str, Spec]) -> list[str]:
    """Return the names of the options that a config file can set."""
    return [name for name, of in specs.items() if not (of.flag_only or of.is_early)]


def toml(of: Spec, value: Any) -> str:
    """Return a value as TOML, from which it is read back; "" for None, which TOML does not have."""
    if value is None:
        return ""
    if of.kind is Kind.MANY:
        return f"[{', '.join(_toml(of, each) for each in value)}]"
    return _toml(of, value)


def _toml(of: Spec, value: Any) -> str:
    if of.secret:
        return _string(MASK)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(written(of, value))
    text = _readable(of, value)
    return text if _BARE.fullmatch(text) else _string(text)


def _readable(of: Spec, value: float) -> str:
    """Return a number as people write it, `1m30s`, unless that rounds: 1.2345 s is not 1s234ms."""
    text = written(of, value).replace(" ", "")
    with suppress(ValueError):
        if of.parse(text) == value:
            return text
    return digits(value)


def _string(text: str) -> str:
    """Return a TOML string. What JSON escapes, TOML escapes the same way, and DEL and lone surrogates besides."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return quoted(safe).replace("\x7f", "\\u007f")


def shown(parsed: Parsed, role: Role) -> str:
    """Return every option that `role` takes, `key = value  # source`; secrets are masked."""
    names = [name for name in configurable(parsed.specs) if role in parsed.specs[name].roles]
    rows = [(parsed.specs[name].group, *_row(parsed, name)) for name in names]
    width = min(max(len(left) for _, left, _ in rows), WIDTH // 2)
    parts = []
    for group, members in groupby(rows, lambda row: row[0]):
        parts.append("".join([f"# {group}\n", *(f"{left:{width}}  # {right}\n" for _, left, right in members)]))
    return "\n".join(parts)


def _row(parsed: Parsed, name: str) -> tuple[str, str]:
    of = parsed.specs[name]
    text = toml(of, parsed.value(name))
    source = parsed.sources.get(name, "default")
    if source == "default" and of.shown:
        source = f"default: {of.shown}"
    return (f"{key(name)} = {text}" if text else f"# {key(name)} ="), source


def generated(specs: Mapping[str, Spec], defaults: Mapping[str, Any]) -> str:
    """Return a config file with every option, each behind a `#` and at its default: see `_HEAD`."""
    groups = groupby(configurable(specs), lambda name: specs[name].group)
    parts = ["".join([f"\n# {group}\n", *_entries(names, specs, defaults)]) for group, names in groups]
    return _HEAD + "".join(parts)


def _entries(names: Iterator[str], specs: Mapping[str, Spec], defaults: Mapping[str, Any]) -> Iterator[str]:
    for name in names:
        of = specs[name]
        said = of.help + (f" [default: {of.shown}]" if of.shown else "")
        yield "\n" + "".join(f"# {line}\n" for line in textwrap.wrap(said, WIDTH - 2))
        yield f"#{key(name)} = {toml(of, defaults[name]) or _string(of.metavar)}\n"


def built_in() -> dict[str, Any]:
    """Return the default of every option: name -> value."""
    options = Options()
    return {name: getattr(options, name) for name in SPECS}
