"""What was asked for: options from the command line, the environment, config files and the load test, and their errors.

Nothing prints or exits here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from gaggle import configfile, units
from gaggle.commandline import Line, Said, cut, flags_of
from gaggle.configfile import Table
from gaggle.errors import InvalidOption
from gaggle.foreign import INSTEAD
from gaggle.options import CLASSES, CONFLICTS, MASK, SPECS, Kind, Options, Spec, variable

DEFAULT_FILE = Path("loadtest.py")
# Beginnings of sources that are no flag and no variable: `the load test's users`, `the argument users`.
LOAD_TEST, ARGUMENT = "the load test's ", "the argument "
_ONE_PERSON = ("-", "GAGGLE_", ARGUMENT)
NO_SUCH = "There is no such option."
TWICE = "is given twice: once is enough."
_PASSWORD = re.compile(r"//[^/@]*@")

Given = Mapping[str, str]
"""The options that somebody set: name -> source, as the person wrote it (`--users`, `GAGGLE_USERS`)."""


class Raw(NamedTuple):
    """What one source says about an option, not yet checked. `texts` has more than one only for Kind.MANY."""

    source: str
    texts: tuple[str, ...]


class Unknown(NamedTuple):
    """A name that only the load test may know: as it was given, and those that it could be a slip of."""

    source: str
    value: object
    name: str
    names: Iterable[str]

    def error(self) -> InvalidOption:
        """Return the error that there is no such option."""
        if self.name in INSTEAD:
            return InvalidOption(self.source, self.value, f"gaggle has no {self.name}: {INSTEAD[self.name]}.")
        return InvalidOption(self.source, self.value, NO_SUCH + _hint(self.name, self.names))


class Layer(NamedTuple):
    """What sources of one strength say, by option; and what nobody knows."""

    raws: dict[str, Raw]
    unknown: list[Unknown]


@dataclass(frozen=True, slots=True)
class Asked:
    """All that the person has said, as it was said: read again when the load test has told of options of its own."""

    argv: tuple[str, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)  # of a call from Python
    environ: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    file: str | None = None  # the load test, where the command line does not name it


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the person asked for. `file` is the load test, None when none is named and the default does not exist.

    `own` has the values of the load test's own options; `specs` says what is known about all options.
    """

    options: Options
    sources: Given
    file: Path | None
    warnings: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    specs: Mapping[str, Spec] = field(default_factory=lambda: SPECS)
    asked: Asked = Asked()

    def value(self, name: str) -> Any:
        """Return the value of an option, whoever's it is."""
        return getattr(self.options, name) if name in SPECS else self.own[name]

    def is_set(self, name: str) -> bool:
        """Return whether somebody asked for it: `--run-time 0` and `GAGGLE_STRICT=no` do not."""
        return name in self.sources and bool(self.value(name))


def parse(argv: Sequence[str], environ: Mapping[str, str], file: str | None = None) -> Parsed:
    """Return the options of a command line (without the program's name), an environment, and config files.

    `file` is the load test where that is settled. What nobody knows is kept for `settled`, as it may be the load test's
    own. --help and --version win over all else, also over other options' errors. Raises InvalidOption.
    """
    line = cut(argv)
    flags = _from_flags(line.said, SPECS)
    parsed = Parsed(Options(), {}, _load_test(line, file))
    leaving = {name: raw for name, raw in flags.items() if name in ("help", "version")}
    if leaving:
        return _filled(parsed, leaving)
    _take_words(line, parsed.file, file)
    tables = _tables(flags, environ)
    parsed, unknown = _read(replace(parsed, asked=Asked(tuple(argv), {}, environ, tables, file)), line)
    if unknown and parsed.file is None:
        raise unknown[0].error()
    return parsed


def from_call(file: Path, arguments: Mapping[str, object]) -> Parsed:
    """Return the options of a call from Python, name -> value or text; None is not given. Raises InvalidOption."""
    given = {name: value for name, value in arguments.items() if value is not None}
    config = given.pop("config", None)
    tables = () if config is None else configfile.named(f"{ARGUMENT}config", str(config))
    return _read(Parsed(Options(), {}, file, asked=Asked((), given, {}, tables)), Line())[0]


def settled(
    parsed: Parsed, own: Mapping[str, Spec], own_defaults: Mapping[str, Any], defaults: Mapping[str, object]
) -> Parsed:
    """Return all options, now that the load test has told of its own ones and of its `defaults`.

    Raises InvalidOption, also for what nobody knows.
    """
    specs, asked = {**SPECS, **own}, parsed.asked
    warnings = tuple(_misspelled(asked.environ, specs))
    start = Parsed(Options(), {}, parsed.file, warnings, own_defaults, specs, asked)
    line = cut(asked.argv, specs)
    _take_words(line, parsed.file, asked.file)
    read, unknown = _read(start, line)
    if unknown:
        raise unknown[0].error()
    return with_defaults(read, defaults)


def said(parsed: Parsed) -> dict[str, Any]:
    """Return the options that somebody set, as data for the report; secrets and passwords in URLs are left out."""
    return {name: _as_data(parsed.specs[name], parsed.value(name)) for name in parsed.sources}


def _as_data(of: Spec, value: Any) -> Any:
    if of.secret:
        return MASK
    if isinstance(value, tuple):
        return [_as_data(of, each) for each in value]
    return value if isinstance(value, bool | int | float | None) else _PASSWORD.sub("//***@", str(value))


def with_defaults(parsed: Parsed, defaults: Mapping[str, object]) -> Parsed:
    """Return `parsed` with the load test's own defaults (name -> value or text) where nobody else set the option.

    None is no default. Raises InvalidOption.
    """
    given = {name: value for name, value in defaults.items() if value is not None}
    layer = _from_python(LOAD_TEST, given, parsed.specs)
    if layer.unknown:
        raise layer.unknown[0].error()
    return _filled(parsed, layer.raws)


def _read(parsed: Parsed, line: Line) -> tuple[Parsed, list[Unknown]]:
    """Return `parsed` with all that the person has said, and what nobody knows."""
    unknown: list[Unknown] = []
    for layer in _layers(parsed.asked, line, parsed.specs):
        parsed = _filled(parsed, layer.raws)
        unknown += layer.unknown
    return parsed, unknown


def _layers(asked: Asked, line: Line, specs: Mapping[str, Spec]) -> Iterator[Layer]:
    """Yield what each source says, the strongest first; `line` is the command line in pieces."""
    strangers = [Unknown(written, value, written, flags_of(specs)) for written, value in line.strangers]
    yield Layer(_from_flags(line.said, specs), strangers)
    yield _from_python(ARGUMENT, asked.arguments, specs)
    yield Layer(_from_environment(asked.environ, specs), [])
    for table in asked.tables:
        yield _from_table(table, specs)


def _filled(parsed: Parsed, raws: Mapping[str, Raw]) -> Parsed:
    """Return `parsed` with what a weaker source says about options that are not settled yet."""
    free = {name: raw for name, raw in raws.items() if not _is_settled(parsed, name)}
    if not free:
        return parsed
    values = {name: _value(parsed.specs[name], raw) for name, raw in free.items()}
    return replace(
        parsed,
        options=replace(parsed.options, **{name: value for name, value in values.items() if name in SPECS}),
        own={**parsed.own, **{name: value for name, value in values.items() if name not in SPECS}},
        sources={**parsed.sources, **{name: raw.source for name, raw in free.items()}},
    )


def _is_settled(parsed: Parsed, name: str) -> bool:
    """Return whether an option is set, or one that it conflicts with: --quiet overrules GAGGLE_VERBOSE."""
    rivals = {other for pair in CONFLICTS if name in pair[:2] for other in pair[:2]} - {name}
    return name in parsed.sources or any(parsed.is_set(rival) for rival in rivals)


def is_shared(source: str) -> bool:
    """Whether more than one process may read it, a manager and its workers: a config file, the load test."""
    return not source.startswith(_ONE_PERSON)


def _value(of: Spec, raw: Raw) -> Any:
    values = tuple(_checked(of, raw.source, text) for text in raw.texts)
    return values if of.kind is Kind.MANY else values[-1]


def _checked(of: Spec, source: str, text: str) -> object:
    try:
        return of.parse(text)
    except ValueError as error:
        shown = MASK if of.secret else text
        raise InvalidOption(source, shown, f"{subject(of, source)} {error}.") from None


def subject(of: Spec, source: str) -> str:
    """Return what an error's sentence begins with: "The --users option", "GAGGLE_USERS", "The load test's users"."""
    if source.startswith("-"):
        return f"The {source} {of.kind.noun}"
    return source[0].upper() + source[1:] if source.startswith((LOAD_TEST, ARGUMENT)) else source


def _hint(word: str, words: Iterable[str]) -> str:
    """Return ` Did you mean X?` for the nearest of `words`, first one that begins with `word`; "" when none is near."""
    begins = [each for each in words if len(word) > 3 and each.startswith(word)]
    near = begins or difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    return f" Did you mean {near[0]}?" if near else ""


# The command line.


def _from_flags(said: Iterable[Said], specs: Mapping[str, Spec]) -> dict[str, Raw]:
    raws: dict[str, Raw] = {}
    for name, written, text in said:
        texts = tuple(text.split(",")) if specs[name].splits else (text,)
        raws[name] = _joined(specs[name], raws.get(name), Raw(written, texts))
    return raws


def _joined(of: Spec, before: Raw | None, now: Raw) -> Raw:
    """Return what an option's flags up to `now` say together."""
    if of.kind is Kind.COUNTED:
        return now._replace(texts=(str(int(before.texts[0]) + 1 if before else 1),))
    if before is None or of.kind is Kind.SWITCH:
        return now
    if of.kind is Kind.MANY:
        return before._replace(texts=before.texts + now.texts)
    raise InvalidOption(now.source, MASK if of.secret else now.texts[0], f"{subject(of, now.source)} {TWICE}")


def _load_test(line: Line, settled: str | None) -> Path | None:
    """Return FILE.

    What follows a flag that nobody knows yet may be its value: names that end in .py come first, then other words.
    """
    if settled is not None:
        return Path(settled)
    words = [word for word in line.words if not _is_class(word.text)]
    ranks = [(not word.text.endswith(".py"), bool(word.after)) for word in words]
    if ranks and min(ranks) != (True, True):
        return Path(words[ranks.index(min(ranks))].text)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _is_class(word: str) -> bool:
    """Whether a word can only be a user class of the default load test: no such file is here."""
    return CLASSES.fullmatch(word) is not None and DEFAULT_FILE.is_file() and not Path(word).exists()


def _take_words(line: Line, file: Path | None, settled: str | None) -> None:
    """Take words beside FILE for names of user classes, as soon as no flag could want them; refuse another FILE."""
    words = [word.text for word in line.words]
    named = [word for word in words if Path(word) == file] if settled is None else []
    if named:
        words.remove(named[0])
    if line.strangers:
        return
    for word in words:
        if "/" in word or word.endswith(".py"):
            raise InvalidOption("FILE", word, f"Only one load test runs at a time, and {file} is given already.")
        line.said.append(Said("classes", "CLASS", word))


# The environment.


def _variables(specs: Mapping[str, Spec]) -> dict[str, str]:
    return {variable(name): name for name, of in specs.items() if not of.flag_only}


_BUILT_IN = _variables(SPECS)


def _from_environment(environ: Mapping[str, str], specs: Mapping[str, Spec]) -> dict[str, Raw]:
    """Return what the variables say, by option; an empty one says nothing, a list is separated by commas."""
    variables = _BUILT_IN if specs is SPECS else _variables(specs)
    given = {variables[each]: each for each, value in environ.items() if value and each in variables}
    return {name: Raw(source, _several(specs[name], environ[source])) for name, source in given.items()}


def _several(of: Spec, text: str) -> tuple[str, ...]:
    """Return the texts that a variable has for an option."""
    return tuple(filter(None, text.split(of.separator))) if of.kind is Kind.MANY else (text,)


def _misspelled(environ: Mapping[str, str], specs: Mapping[str, Spec]) -> list[str]:
    """Return a warning for each variable that is nearly one of ours.

    No error, and not for all: Kubernetes sets GAGGLE_PORT and others by itself for a service called gaggle.
    """
    ours = sorted(name for name in environ if name.startswith("GAGGLE_"))
    known = _variables(specs) if ours else {}
    strange = [name for name in ours if name not in known]
    near = [(name, difflib.get_close_matches(name, known, n=1, cutoff=0.9)) for name in strange]
    return [f"{name} is not an option and has no effect: did you mean {found[0]}?" for name, found in near if found]


# Config files and Python.


def _tables(flags: Mapping[str, Raw], environ: Mapping[str, str]) -> tuple[Table, ...]:
    """Return what config files say: the one that is named, else those that are here."""
    raw = flags.get("config") or _from_environment(environ, SPECS).get("config")
    return configfile.named(raw.source, raw.texts[0]) if raw else configfile.find()


def _from_table(table: Table, specs: Mapping[str, Spec]) -> Layer:
    """Return what a config file says. Its keys are flags without the dashes; `_` is as good as `-`."""
    layer = Layer({}, [])
    for key, value in table.values.items():
        name, source = key.replace("-", "_"), table.source(key)
        if name not in specs:
            keys = [known.replace("_", "-") for known, of in specs.items() if not of.flag_only]
            layer.unknown.append(Unknown(source, value, key, keys))
        elif name in layer.raws:
            raise InvalidOption(source, value, f"{source} {TWICE}")
        else:
            layer.raws[name] = _raw(specs[name], name, source, value)
    return layer


def _from_python(said_by: str, given: Mapping[str, object], specs: Mapping[str, Spec]) -> Layer:
    """Return what a load test or a call says, name -> value."""
    layer = Layer({}, [])
    for name, value in given.items():
        source = f"{said_by}{name}"
        if name in specs:
            layer.raws[name] = _raw(specs[name], name, source, value)
        else:
            layer.unknown.append(Unknown(source, value, str(name), specs))
    return layer


def _raw(of: Spec, name: str, source: str, value: object) -> Raw:
    """Return a value, as Python or TOML has it, in texts. Raises InvalidOption for what no option can have."""
    if of.flag_only or of.is_early:
        also = f", or as {variable(name)}" if of.is_early else ""
        raise InvalidOption(source, value, f"{name} can only be set on the command line{also}.")
    if not isinstance(value, list | tuple):
        return Raw(source, (_text(of, source, value),))
    if of.kind is not Kind.MANY:
        raise InvalidOption(source, value, f"{subject(of, source)} takes one value, and not a list.")
    return Raw(source, tuple(_text(of, source, each) for each in value))


def _text(of: Spec, source: str, value: object) -> str:
    """Return one value as the person would have written it on the command line."""
    if isinstance(value, bool):
        text = str(value).lower()
        with suppress(ValueError):
            if of.parse is not units.yes_no and of.parse(text) is not None:
                raise InvalidOption(source, text, f"{subject(of, source)} is no switch: give it a text, in quotes.")
        return text
    if isinstance(value, Mapping | list | tuple):
        what = "a table" if isinstance(value, Mapping) else "a list in a list"
        raise InvalidOption(source, value, f"{subject(of, source)} takes a plain value, and not {what}.")
    return units.digits(value) if isinstance(value, float) else str(value)
