"""Every option: name, flags, help, check, default, and who takes it. One field of `Options` is one option's only home.

What the command line, the environment and the load test may say (sources.py) and the help (usage.py) are derived from
the fields.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gaggle import units

REPORT_SUFFIXES = (".txt", ".json")
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
MASK = "***"  # stands for what must not be shown
SOME_TIME = units.above_zero(units.seconds)

# The headings of the help, in its order.
GROUPS = TEST, REQUESTS, METRICS, LOGS, MACHINE, GAGGLE, HELP = (
    "Load test",
    "Requests",
    "Metrics and reports",
    "Logs",
    "This machine",
    "Gaggle: one manager, many workers",
    "Help",
)


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
    flag_only: bool = False  # neither the environment, nor a config file, nor the load test can set it
    is_early: bool = False  # needed before config files are read, so they cannot set it, nor can the load test
    secret: bool = False  # its value is shown nowhere
    is_required: bool = False  # who runs the load test must give it


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
        return text if text == "env" else "" if text in ("none", "") else url(*PROXY_SCHEMES)(text)
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
    config: str | None = option(TEST, None, file_name, "Read options from this file",
        metavar="FILE", shown="gaggle.toml, and [tool.gaggle] in pyproject.toml", roles=Role.ANY, sent=False,
        is_early=True)
    show_config: bool = switch(TEST, "Print all options, and where each comes from, and exit",
        roles=Role.ANY, sent=False, flag_only=True)
    generate_config: bool = switch(TEST, "Print a gaggle.toml with all options, and exit",
        roles=Role.ANY, sent=False, flag_only=True)

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

    manager: bool = switch(GAGGLE, "Lead a gaggle: hand out users, merge metrics, report",
        roles=Role.MANAGER, sent=False)
    expect_workers: int = option(GAGGLE, 0, units.whole(0), "Workers to wait for", metavar="N",
        shown="", roles=Role.MANAGER, sent=False)
    expect_workers_max_wait: float = option(GAGGLE, 0.0, units.seconds, "Start with fewer after so long",
        metavar="TIME", shown="0, never", roles=Role.MANAGER, sent=False)
    min_workers: int = option(GAGGLE, 0, units.whole(0), "Workers that are enough then", metavar="N",
        shown="all", roles=Role.MANAGER, sent=False)
    manager_bind_host: str = option(GAGGLE, "0.0.0.0", str, "Address to listen on", metavar="HOST",
        roles=Role.MANAGER, sent=False)
    manager_bind_port: int = option(GAGGLE, 5115, units.whole(0, 65_535), "Port to listen on", metavar="PORT",
        roles=Role.MANAGER, sent=False)
    lease: float = option(GAGGLE, 10.0, SOME_TIME, "How long workers run on when the manager is not heard",
        metavar="TIME", roles=Role.MANAGER, sent=False)
    no_hash_check: bool = switch(GAGGLE, "Let in workers with another load test", roles=Role.MANAGER, sent=False)
    ship: bool = switch(GAGGLE, "Manager: send the load test to workers; worker: take the manager's",
        roles=Role.MANAGER | Role.WORKER, sent=False)
    on_worker_loss: str = option(GAGGLE, "redistribute", units.word("redistribute", "continue", "stop"),
        "What becomes of a lost worker's users", metavar="WHAT", roles=Role.MANAGER, sent=False)
    worker: bool = switch(GAGGLE, "Take part in a gaggle", roles=Role.WORKER, sent=False)
    manager_host: str = option(GAGGLE, "127.0.0.1", str, "Where the manager is", metavar="HOST",
        roles=Role.WORKER, sent=False)
    manager_port: int = option(GAGGLE, 5115, units.whole(1, 65_535), "Its port", metavar="PORT",
        roles=Role.WORKER, sent=False)
    manager_timeout: float = option(GAGGLE, 0.0, units.seconds, "Wait so long for a manager to come",
        metavar="TIME", shown="0, without end", roles=Role.WORKER, sent=False)
    manager_grace: float = option(GAGGLE, 60.0, units.seconds,
        "Keep the last counts so long when the manager is gone", metavar="TIME", roles=Role.WORKER, sent=False)
    join_token_file: str | None = option(GAGGLE, None, file_name, "File with the join token", metavar="FILE",
        shown="", roles=Role.WORKER, sent=False)
    open_gaggle: bool = switch(GAGGLE, "No token, no encryption: for closed networks only",
        roles=Role.MANAGER | Role.WORKER, sent=False)

    help: bool = switch(HELP, "Print this help and exit",
        short="-h", roles=Role.ANY, sent=False, flag_only=True)
    version: bool = switch(HELP, "Print the version and exit",
        short="-V", roles=Role.ANY, sent=False, flag_only=True)
    # fmt: on


# (option, option, why they cannot both be set)
CONFLICTS = (
    ("manager", "worker", "a process leads a gaggle or takes part in one"),
    ("verbose", "quiet", "one asks for more lines, the other for fewer"),
    ("ship", "open_gaggle", "a load test is sent only between machines that have proved that they know the join token"),
    ("max_connection_age", "no_keepalive", "connections that serve one request do not age"),
)


def without_password(text: str) -> str:
    """Return a URL with MASK for the password that may be in it."""
    return re.sub(r"(?<=://)([^/@]*:)[^/@]*@", rf"\1{MASK}@", text)


# How a value is written, by its parser.
_SHOWN: dict[Callable[[str], object], Callable[[Any], str]] = {
    proxy_url: lambda value: without_password(value) or "none",
    units.seconds: units.timespan,
    SOME_TIME: units.timespan,
    units.size: units.byte_count,
    units.yes_no: lambda value: "yes" if value else "no",
}


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


def written(of: Spec, value: object) -> str:
    """Return a value as the person would write it: `1m30s`, `16 MiB`, `yes`."""
    return _SHOWN.get(of.parse, "{:g}".format if isinstance(value, float) else str)(value)
