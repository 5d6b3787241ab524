"""What was asked for: options read from the command line, the environment and the load test, and their errors.

Nothing prints or exits here.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gaggle.errors import InvalidOption
from gaggle.options import CONFLICTS, SPECS, Kind, Options, flag, variable

DEFAULT_FILE = Path("loadtest.py")
# Beginnings of sources that are no flag and no variable: `the load test's users`, `the argument users`.
LOAD_TEST, ARGUMENT = "the load test's ", "the argument "
_VARIABLES = {variable(name): name for name, of in SPECS.items() if not of.flag_only}
_FLAGS = [long for name, of in SPECS.items() for long in (flag(name), *of.aliases)]

Given = Mapping[str, str]
"""The options that somebody set: name -> source, as the person wrote it (`--users`, `GAGGLE_USERS`)."""


class Raw(NamedTuple):
    """What one source says about an option, not yet checked. `texts` has more than one only for Kind.MANY."""

    source: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the person asked for. `file` is the load test, None when none is named and the default does not exist."""

    options: Options
    sources: Given
    file: Path | None
    warnings: tuple[str, ...] = ()


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Parsed:
    """Return the options of a command line (without the program's name) and an environment.

    --help and --version win over all else, also over other options' errors. Raises InvalidOption.
    """
    flags, file, rest = _from_flags(argv)
    leaving = {name: raw for name, raw in flags.items() if name in ("help", "version")}
    if leaving:
        return _filled(Parsed(Options(), {}, None), leaving)
    if rest:
        raise _superfluous(file, rest)
    asked = Parsed(Options(), {}, _load_test(file), tuple(_misspelled(environ)))
    return _filled(_filled(asked, flags), _from_environment(environ))


def from_call(file: Path, arguments: Mapping[str, object]) -> Parsed:
    """Return the options of a call from Python, name -> value or text; None is not given. Raises InvalidOption."""
    raws = {name: _from_python(ARGUMENT, name, value) for name, value in arguments.items() if value is not None}
    return _filled(Parsed(Options(), {}, file), raws)


def with_defaults(parsed: Parsed, defaults: Mapping[str, object]) -> Parsed:
    """Return `parsed` with the load test's own defaults (name -> value or text) where nobody else set the option.

    None is no default. Raises InvalidOption.
    """
    raws = {name: _from_python(LOAD_TEST, name, value) for name, value in defaults.items() if value is not None}
    return _filled(parsed, raws)


def _filled(parsed: Parsed, raws: Mapping[str, Raw]) -> Parsed:
    """Return `parsed` with what a weaker source says about options that are not settled yet."""
    free = {name: raw for name, raw in raws.items() if not _is_settled(parsed, name)}
    return replace(
        parsed,
        options=replace(parsed.options, **{name: _value(name, raw) for name, raw in free.items()}),
        sources={**parsed.sources, **{name: raw.source for name, raw in free.items()}},
    )


def _is_settled(parsed: Parsed, name: str) -> bool:
    """Return whether an option is set, or one that it conflicts with: --quiet overrules GAGGLE_VERBOSE."""
    rivals = {other for pair in CONFLICTS if name in pair[:2] for other in pair[:2]} - {name}
    return name in parsed.sources or any(is_set(parsed.options, parsed.sources, rival) for rival in rivals)


def is_set(options: Options, sources: Given, name: str) -> bool:
    """Return whether somebody asked for it: `--run-time 0` and `GAGGLE_STRICT=no` do not."""
    return name in sources and bool(getattr(options, name))


def _load_test(named: str | None) -> Path | None:
    if named is not None:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _value(name: str, raw: Raw) -> Any:
    of = SPECS[name]
    values = tuple(_checked(name, raw.source, text) for text in raw.texts)
    return values if of.kind is Kind.MANY else values[-1]


def _checked(name: str, source: str, text: str) -> object:
    try:
        return SPECS[name].parse(text)
    except ValueError as error:
        raise InvalidOption(source, text, f"{subject(name, source)} {error}.") from None


def subject(name: str, source: str) -> str:
    """Return what an error's sentence begins with: "The --users option", "GAGGLE_USERS", "The load test's users"."""
    return f"The {source} {SPECS[name].kind.noun}" if source.startswith("-") else source[0].upper() + source[1:]


# The command line.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Raise where argparse would print and exit."""
        raise InvalidOption("the command line", "", message)


class _Note(argparse.Action):
    """Notes (name, flag as written, text) for each flag, in their order, on `words`."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, written: str | None = None) -> None:
        long = written if written and written.startswith("--") else flag(self.dest)
        namespace.words.append((self.dest, long, values if self.nargs is None else "yes"))


def _from_flags(argv: Sequence[str]) -> tuple[dict[str, Raw], str | None, list[str]]:
    """Return what the flags say, by option; FILE; and the words that are neither."""
    try:
        found, rest = _parser().parse_known_args(argv, argparse.Namespace(words=[]))
    except argparse.ArgumentError as error:
        raise _missing(error) from None
    raws: dict[str, Raw] = {}
    for name, long, text in found.words:
        raws[name] = _joined(name, raws.get(name), Raw(long, (text,)))
    return raws, found.FILE, rest


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False, exit_on_error=False, usage="")
    parser.add_argument("FILE", nargs="?")
    for name, of in SPECS.items():
        flags = [*filter(None, [of.short]), flag(name), *of.aliases]
        parser.add_argument(*flags, dest=name, action=_Note, nargs=None if of.kind.takes_value else 0)
    return parser


def _joined(name: str, before: Raw | None, now: Raw) -> Raw:
    """Return what an option's flags up to `now` say together."""
    kind = SPECS[name].kind
    if kind is Kind.COUNTED:
        return now._replace(texts=(str(int(before.texts[0]) + 1 if before else 1),))
    if before is None or kind is Kind.SWITCH:
        return now
    if kind is Kind.MANY:
        return before._replace(texts=before.texts + now.texts)
    raise InvalidOption(now.source, now.texts[0], f"{subject(name, now.source)} is given twice: once is enough.")


def _missing(error: argparse.ArgumentError) -> InvalidOption:
    """Return our words for a value that is missing, or that a flag cannot have."""
    long = next(part for part in (error.argument_name or "").split("/") if part.startswith("--"))
    name = long[2:].replace("-", "_")
    of = SPECS[name]
    wants = f"needs a value: {long} {of.metavar}" if of.kind.takes_value else "takes no value"
    return InvalidOption(long, "", f"{subject(name, long)} {wants}.")


def _superfluous(file: str | None, rest: Sequence[str]) -> InvalidOption:
    """Return the error for words that are neither FILE nor a known flag; flags come first."""
    for word in rest:
        if word.startswith("-"):
            written, _, value = word.partition("=")
            return InvalidOption(written, value, f"There is no such option.{_hint(written, _FLAGS)}")
    return InvalidOption("FILE", rest[0], f"Only one load test runs at a time, and {file} is given already.")


def _hint(word: str, words: Iterable[str]) -> str:
    """Return ` Did you mean X?` for the nearest of `words`, first one that begins with `word`; "" when none is near."""
    begins = [each for each in words if len(word) > 3 and each.startswith(word)]
    near = begins or difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    return f" Did you mean {near[0]}?" if near else ""


# The environment and Python.


def _from_environment(environ: Mapping[str, str]) -> dict[str, Raw]:
    """Return what the variables say, by option; an empty one says nothing, a list is separated by commas."""
    given = {name: variable for variable, name in _VARIABLES.items() if environ.get(variable)}
    return {
        name: Raw(source, tuple(environ[source].split(",")) if SPECS[name].kind is Kind.MANY else (environ[source],))
        for name, source in given.items()
    }


def _misspelled(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that is nearly one of ours.

    No error, and not for all: Kubernetes sets GAGGLE_PORT and others by itself for a service called gaggle.
    """
    strange = sorted(name for name in environ if name.startswith("GAGGLE_") and name not in _VARIABLES)
    near = [(name, difflib.get_close_matches(name, _VARIABLES, n=1, cutoff=0.9)) for name in strange]
    return [f"{name} is not an option and has no effect: did you mean {found[0]}?" for name, found in near if found]


def _from_python(said_by: str, name: str, value: object) -> Raw:
    """Return what a load test or a call says about an option. Raises InvalidOption for a name that it cannot set."""
    source = f"{said_by}{name}"
    if name not in SPECS:
        raise InvalidOption(source, value, f"There is no such option.{_hint(str(name), SPECS)}")
    if SPECS[name].flag_only:
        raise InvalidOption(source, value, f"{name} can only be set on the command line.")
    if SPECS[name].kind is Kind.MANY and isinstance(value, list | tuple):
        return Raw(source, tuple(map(str, value)))
    return Raw(source, (str(value),))
