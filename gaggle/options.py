"""Every option: name, flags, help, check, default, and who takes it. One field of `Options` is one option's only home.

The command line, the environment, the load test's own defaults and the help are all derived from the fields. Nothing
prints or exits here.
"""

from __future__ import annotations

import argparse
import difflib
import enum
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gaggle import units
from gaggle.errors import InvalidOption

DEFAULT_FILE = Path("loadtest.py")
REPORT_SUFFIXES = (".txt", ".json")
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
SOME_TIME = units.above_zero(units.seconds)

# The headings of the help, in its order.
GROUPS = TEST, REQUESTS, METRICS, LOGS, MACHINE, HELP = (
    "Load test",
    "Requests",
    "Metrics and reports",
    "Logs",
    "This machine",
    "Help",
)

Given = Mapping[str, str]
"""The options that somebody set: name -> source, as the person wrote it (`--users`, `GAGGLE_USERS`)."""


class Role(enum.Flag):
    """What a process is in a test; an option's `roles` says who takes it."""

    STANDALONE = enum.auto()
    MANAGER = enum.auto()
    WORKER = enum.auto()
    LEADS = STANDALONE | MANAGER  # decides what the test does
    ANY = LEADS | WORKER


class Kind(enum.Enum):
    """How an option is given."""

    ONE = enum.auto()  # once, with a value
    MANY = enum.auto()  # repeated, each with a value
    SWITCH = enum.auto()  # without a value
    COUNTED = enum.auto()  # repeated, without a value: how often is the value

    @property
    def takes_value(self) -> bool:
        """Whether a value follows the flag on the command line."""
        return self in (Kind.ONE, Kind.MANY)

    @property
    def noun(self) -> str:
        """What the errors call it: `option` or `flag`, as in Goose."""
        return "option" if self.takes_value else "flag"


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known about an option beside its name, type and default.

    `parse` turns a text into the value and raises ValueError with a reason that can follow the option's name.
    """

    group: str
    parse: Callable[[str], object]
    help: str
    short: str = ""
    metavar: str = ""
    shown: str = ""  # the default, in the help, where it is not the field's
    aliases: tuple[str, ...] = ()
    roles: Role = Role.LEADS
    sent: bool = True  # the manager passes it to its workers
    kind: Kind = Kind.ONE
    flag_only: bool = False  # neither the environment nor the load test can set it


# Parsers of their own kind; the others are in units.


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of absolute URLs with one of `schemes` and a host; the text is kept as it is."""

    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            usable = False
        if not usable or not text.isprintable() or " " in text:
            raise ValueError(f"must be a URL such as {schemes[0]}://local.dev:8080, with {units.listed(schemes)}")
        return text

    return parse


def proxy_url(text: str) -> str:
    """Return the URL of a proxy, `env` (take it from the environment), or "" for none."""
    try:
        return text if text == "env" else "" if text == "none" else url(*PROXY_SCHEMES)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or env, or none") from None


def report_name(text: str) -> str:
    """Return the name of a report file, which says by its suffix what is written."""
    if Path(text).suffix.lower() not in REPORT_SUFFIXES:
        raise ValueError(f"must end in {units.listed(REPORT_SUFFIXES)}")
    return text


def file_name(text: str) -> str:
    """Return the name of a file, which is not looked for here."""
    if not text or "\0" in text:
        raise ValueError("must be the name of a file")
    return text


def usable_cores() -> int:
    """Return how many cores this process may use, which taskset or a container may have made fewer."""
    return len(os.sched_getaffinity(0))


# Makers of fields. They return Any, as dataclasses.field does: the annotation is the type.


def option(group: str, default: object, parse: Callable[[str], object], help: str, **more: Any) -> Any:
    """Return a field that is an option; a callable default is called for each `Options`. `more` is as in Spec."""
    given = {"default_factory" if callable(default) else "default": default}
    return field(**given, metadata={"spec": Spec(group, parse, help, **more)})  # type: ignore[call-overload]


def switch(group: str, help: str, **more: Any) -> Any:
    """Return a field that is a flag without a value, off unless given."""
    return option(group, False, units.yes_no, help, kind=Kind.SWITCH, **more)


def counted(group: str, help: str, **more: Any) -> Any:
    """Return a field that counts how often its flag is given."""
    return option(group, 0, units.whole(0), help, kind=Kind.COUNTED, roles=Role.ANY, sent=False, **more)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run. The order of the fields is the order of the help; times are seconds."""

    # fmt: off
    host: str | None = option(TEST, None, url("http", "https"), "Where requests go, such as http://local.dev/",
        short="-H", metavar="URL")
    users: int = option(TEST, usable_cores, units.whole(1, 10_000_000), "Users to run at once",
        short="-u", metavar="N", shown="usable cores")
    hatch_rate: float = option(TEST, 1.0, units.above_zero(units.decimal), "Users to start per second",
        short="-r", metavar="N", aliases=("--spawn-rate", "--increase-rate"))
    run_time: float = option(TEST, 0.0, units.seconds, "Stop this long after the last user has started",
        short="-t", metavar="TIME", shown="0, until stopped")
    stop_timeout: float = option(TEST, 30.0, units.seconds, "Time for users to finish their requests at the stop",
        metavar="TIME")
    seed: int | None = option(TEST, None, units.whole(0), "Seed of all random choices, to repeat a run",
        metavar="N", shown="drawn")
    list: bool = switch(TEST, "List the users and tasks of the load test and exit",
        short="-l", roles=Role.ANY, sent=False, flag_only=True)

    timeout: float = option(REQUESTS, 60.0, SOME_TIME, "Time for a request, redirects and body included",
        metavar="TIME")
    connect_timeout: float = option(REQUESTS, 10.0, SOME_TIME, "Time for a connection to open", metavar="TIME")
    max_body: int = option(REQUESTS, 16 * 1_024**2, units.size, "Keep so much of a body, count and drop the rest",
        metavar="SIZE")
    http_version: str = option(REQUESTS, "1.1", units.word("1.1", "2"), "Version of HTTP to speak", metavar="1.1|2")
    no_keepalive: bool = switch(REQUESTS, "Open a new connection for each request")
    max_connection_age: float = option(REQUESTS, 0.0, units.seconds, "Replace connections that are older",
        metavar="TIME", shown="0, never")
    proxy: str = option(REQUESTS, "", proxy_url, "Proxy to go through; env: as the environment's http_proxy says",
        metavar="URL|env", shown="none")
    cacert: str | None = option(REQUESTS, None, file_name, "Certificates to trust",
        metavar="FILE", shown="the system's", roles=Role.ANY, sent=False)
    accept_invalid_certs: bool = switch(REQUESTS, "Do not verify certificates")
    tls_resume: bool = option(REQUESTS, True, units.yes_no, "Resume TLS sessions when users connect again",
        metavar="yes|no")

    no_reset_metrics: bool = switch(METRICS, "Keep what was counted while users started")
    report_file: tuple[str, ...] = option(METRICS, (), report_name, "Write a report, as .txt or .json; may be repeated",
        metavar="FILE", kind=Kind.MANY, sent=False)
    strict: bool = switch(METRICS, "Exit with 4 when the numbers are not to be trusted", sent=False)
    no_print_metrics: bool = switch(METRICS, "Print no metrics at the end", sent=False)
    no_status_codes: bool = switch(METRICS, "Print no table of status codes", sent=False)
    no_error_summary: bool = switch(METRICS, "Print no table of errors", sent=False)

    verbose: int = counted(LOGS, "Print more log lines: -v INFO, -vv DEBUG, -vvv TRACE", short="-v")
    quiet: int = counted(LOGS, "Print fewer log lines: -q ERROR, -qq none", short="-q")
    log_level: int = counted(LOGS, "Write more to the log file: -g INFO, -gg DEBUG, -ggg TRACE", short="-g")
    log_file: str | None = option(LOGS, None, file_name, "Append log lines to this file",
        short="-G", metavar="NAME", roles=Role.ANY, sent=False)

    engines: int | None = option(MACHINE, None, units.whole(1, 1_024), "Processes that run users",
        metavar="N", shown="usable cores", roles=Role.ANY, sent=False)
    lane: str = option(MACHINE, "auto", units.word("auto", "fast", "libcurl"), "What speaks HTTP/1.1",
        metavar="auto|fast|libcurl")

    help: bool = switch(HELP, "Print this help and exit",
        short="-h", roles=Role.ANY, sent=False, flag_only=True)
    version: bool = switch(HELP, "Print the version and exit",
        short="-V", roles=Role.ANY, sent=False, flag_only=True)
    # fmt: on


# (option, option, why they cannot both be set)
CONFLICTS = (
    ("verbose", "quiet", "one asks for more lines, the other for fewer"),
    ("max_connection_age", "no_keepalive", "connections that serve one request do not age"),
)

# How a value is written, by its parser.
_SHOWN: dict[Callable[[str], object], Callable[[Any], str]] = {
    units.seconds: units.timespan,
    SOME_TIME: units.timespan,
    units.size: units.byte_count,
    units.yes_no: lambda value: "yes" if value else "no",
}
LOAD_TEST = "the load test's "  # the source of its defaults: `the load test's users`
_MODES = {Role.MANAGER: "--manager", Role.WORKER: "--worker"}


def spec(option: Field[Any]) -> Spec:
    """Return what the field's maker noted."""
    noted: Spec = option.metadata["spec"]
    return noted


def flag(name: str) -> str:
    """Return the long flag of an option: `--run-time` of `run_time`."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of an option: `GAGGLE_RUN_TIME` of `run_time`."""
    return "GAGGLE_" + name.upper()


SPECS: dict[str, Spec] = {option.name: spec(option) for option in fields(Options)}
_VARIABLES = {variable(name): name for name, of in SPECS.items() if not of.flag_only}
_FLAGS = [long for name, of in SPECS.items() for long in (flag(name), *of.aliases)]


# From the sources to Options.


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


def with_defaults(parsed: Parsed, defaults: Mapping[str, object]) -> Parsed:
    """Return `parsed` with the load test's own defaults (name -> value or text) where nobody else set the option.

    None is no default. Raises InvalidOption.
    """
    raws = {name: _from_load_test(name, value) for name, value in defaults.items() if value is not None}
    return _filled(parsed, raws)


def check(options: Options, sources: Given, cores: int, role: Role = Role.STANDALONE) -> list[str]:
    """Return warnings, a line each, about options that are better not combined.

    `cores` is how many are usable. Raises InvalidOption for those that cannot be combined, or are not for `role`.
    """
    for name, source in sources.items():
        if role not in SPECS[name].roles and not source.startswith(LOAD_TEST):
            raise InvalidOption(source, _text(options, name), f"{_subject(name, source)} {_unfit(name, role)}.")
    for first, second, why in CONFLICTS:
        if _is_set(options, sources, first) and _is_set(options, sources, second):
            raise _conflict(options, sources, first, second, why)
    return _cautions(options, sources, cores)


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
    return name in parsed.sources or any(_is_set(parsed.options, parsed.sources, rival) for rival in rivals)


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
        raise InvalidOption(source, text, f"{_subject(name, source)} {error}.") from None


def _subject(name: str, source: str) -> str:
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
    raise InvalidOption(now.source, now.texts[0], f"{_subject(name, now.source)} is given twice: once is enough.")


def _missing(error: argparse.ArgumentError) -> InvalidOption:
    """Return our words for a value that is missing, or that a flag cannot have."""
    long = next(part for part in (error.argument_name or "").split("/") if part.startswith("--"))
    name = long[2:].replace("-", "_")
    of = SPECS[name]
    wants = f"needs a value: {long} {of.metavar}" if of.kind.takes_value else "takes no value"
    return InvalidOption(long, "", f"{_subject(name, long)} {wants}.")


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


# The environment and the load test.


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


def _from_load_test(name: str, value: object) -> Raw:
    """Return what the load test says about an option. Raises InvalidOption for a name that it cannot set."""
    source = LOAD_TEST + name
    if name not in SPECS:
        raise InvalidOption(source, value, f"There is no such option.{_hint(name, SPECS)}")
    if SPECS[name].flag_only:
        raise InvalidOption(source, value, f"A load test cannot set {name}: it belongs on the command line.")
    if SPECS[name].kind is Kind.MANY and isinstance(value, list | tuple):
        return Raw(source, tuple(map(str, value)))
    return Raw(source, (str(value),))


# Rules between options.


def _is_set(options: Options, sources: Given, name: str) -> bool:
    """Return whether somebody asked for it: `--run-time 0` and `GAGGLE_STRICT=no` do not."""
    return name in sources and bool(getattr(options, name))


def _text(options: Options, name: str) -> str:
    """Return an option's value as an error shows it: as the person would write it, `true` for a flag as in Goose."""
    of, value = SPECS[name], getattr(options, name)
    return "true" if of.kind is Kind.SWITCH else ",".join(value) if of.kind is Kind.MANY else _written(of, value)


def _written(of: Spec, value: object) -> str:
    return _SHOWN.get(of.parse, "{:g}".format if isinstance(value, float) else str)(value)


def _unfit(name: str, role: Role) -> str:
    """Return why an option is not for `role`, in Goose's words."""
    if role in _MODES:
        return f"can not be set together with the {_MODES[role]} flag"
    modes = [mode for of, mode in _MODES.items() if of in SPECS[name].roles]
    return f"can not be set without also setting the {units.listed(modes)} flag"


def _conflict(options: Options, sources: Given, first: str, second: str, why: str) -> InvalidOption:
    other = _subject(second, sources[second]).replace("The ", "the ", 1)
    detail = f"{_subject(first, sources[first])} can not be set together with {other}: {why}."
    return InvalidOption(sources[first], _text(options, first), detail)


def _cautions(options: Options, sources: Given, cores: int) -> list[str]:
    """Return what is allowed and yet worth a line."""
    found = []
    if options.engines and options.engines > cores:
        found.append(f"{options.engines} engines on {cores} usable cores take turns, and times will seem longer")
    if options.accept_invalid_certs:
        found.append("certificates are not verified: what answers may not be who it says")
    return found


# The help.

WIDTH, COLUMN = 80, 30
_KEPT = "\xa0"  # a blank at which textwrap does not break

_BEGIN = """\
Usage: gaggle [FILE] [OPTIONS]

Run the load test FILE: users, written in async Python, send requests from all
usable cores. Without FILE it is loadtest.py in the working directory.
"""
_END = """\
TIME is a number of seconds, or 20s, 1h30m, 1.5s, 500ms. SIZE is a number of
bytes, or 64k, 16MiB.

A flag wins over the environment, where --run-time is GAGGLE_RUN_TIME and
--strict is GAGGLE_STRICT=yes; the environment wins over the load test.
"""


def help_text() -> str:
    """Return the help, on lines of at most 80 columns."""
    groups = ["".join([f"{group}:\n", *map(_entry, _members(group))]) for group in GROUPS]
    return "\n".join([_BEGIN, *groups, _END])


def _members(group: str) -> list[Field[Any]]:
    return [option for option in fields(Options) if spec(option).group == group]


def _entry(option: Field[Any]) -> str:
    """Return one option's lines: flags to the left, help from COLUMN on, below if the flags are too long."""
    of = spec(option)
    left = f"  {of.short + ',' if of.short else '':4}{flag(option.name)} {of.metavar}".rstrip()
    right = textwrap.wrap(of.help + _aliases(of) + _default(option), WIDTH - COLUMN)
    if len(left) > COLUMN - 2:
        right.insert(0, "")
    lines = f"{left:{COLUMN}}" + f"\n{'':{COLUMN}}".join(right)
    return "".join(line.rstrip().replace(_KEPT, " ") + "\n" for line in lines.splitlines())


def _aliases(of: Spec) -> str:
    return f" (or {', '.join(of.aliases)})" if of.aliases else ""


def _default(option: Field[Any]) -> str:
    """Return ` [default: 30s]`, which is not broken into lines, or "" where there is nothing to say."""
    of = spec(option)
    said = of.kind is Kind.ONE and option.default is not None
    shown = of.shown or (_written(of, option.default) if said else "")
    return f" [default: {shown}]".replace(" ", _KEPT).replace(_KEPT, " ", 1) if shown else ""
