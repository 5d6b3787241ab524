"""Every option: name, flags, help, check, default, and who takes it. One field of `Options` is one option's only home.

What the command line, the environment and the load test may say (sources.py) and the help (usage.py) are derived from
the fields.
"""

from __future__ import annotations

import enum
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gaggle import thresholds, units

REPORT_SUFFIXES = (".txt", ".html", ".json", ".md", ".csv", ".xml", ".hgrm", ".hlog")
HTTP_VERSIONS = ("1.1", "2", "3")
LOG_FORMATS = ("csv", "json", "raw", "pretty")
MOST_REQUESTS = 1_000_000  # a second, under a throttle: as in Goose
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # where a job on GitHub has the name of its summary, to be appended to
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
TLS13_CIPHERS = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)
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
    RUNS = STANDALONE | WORKER  # has users of its own


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
    splits: bool = False  # of Kind.MANY: commas separate several, also behind one flag
    separator: str = ","  # of Kind.MANY: what separates several in a variable
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
    if report_suffix(text) not in REPORT_SUFFIXES:
        raise ValueError(f"must end in {units.listed(REPORT_SUFFIXES)}, or be - for stdout")
    return text


def report_suffix(name: str) -> str:
    """Return the format of a report, by the suffix of its name in lower case.

    `-` is text on stdout, `-.json` JSON there; the file of a job's summary on GitHub, which has no suffix, is Markdown.
    """
    if name and name == os.environ.get(STEP_SUMMARY):
        return ".md"
    return ".txt" if name == "-" else Path(name).suffix.lower()


def is_stdout(name: str) -> bool:
    """Whether a report of that name goes to stdout: `-`, or `-.md` and the like."""
    return name == "-" or name.startswith("-.")


def log_format(text: str) -> str:
    """Return the name of a log's format, in lower case; `jsn` is Goose's other name of json."""
    return units.word(*LOG_FORMATS)({"jsn": "json"}.get(text.lower(), text.lower()))


_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]{named})"
_RESOLVE = re.compile(_HOST.format(named="+") + r":(\d{1,5}):(\S+)")
_CONNECT_TO = re.compile(_HOST.format(named="*") + r":(\d{0,5}):" + _HOST.format(named="*") + r":(\d{0,5})")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:.*")  # RFC 9110, 5.1
_TAG = re.compile(r"[\w.-]+")
CLASSES = re.compile(r"[\w*]+")


def resolve_entry(text: str) -> str:
    """Return HOST:PORT:ADDRESS, also with several addresses and `*` for the host: an entry of CURLOPT_RESOLVE."""
    found = _RESOLVE.fullmatch(text)
    if not found or not _is_port(found[2]) or not all(map(_is_address, found[3].split(","))):
        raise ValueError("must be HOST:PORT:ADDRESS, such as shop.example:443:10.0.0.7")
    return text


def connect_to_entry(text: str) -> str:
    """Return HOST:PORT:HOST:PORT, of which any may be left out: an entry of CURLOPT_CONNECT_TO."""
    found = _CONNECT_TO.fullmatch(text)
    if not found or not all(_is_port(port) for port in (found[2], found[4]) if port) or not (found[3] or found[4]):
        raise ValueError("must be HOST:PORT:HOST:PORT, such as shop.example:443:10.0.0.7:8443")
    return text


def _is_port(text: str) -> bool:
    return 1 <= int(text) <= 65_535


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False


def header_field(text: str) -> str:
    """Return `Name: value`; an empty value takes the header away."""
    if not _HEADER.fullmatch(text) or not text.isprintable():
        raise ValueError("must be a header such as Accept-Language: en")
    return text


def header_value(text: str) -> str:
    """Return what can be the value of a header."""
    if not text.isprintable():
        raise ValueError("must be one line of text")
    return text


def source_address(text: str) -> str:
    """Return an IP address or the name of an interface; whether this machine has it is not looked at here."""
    if not _is_address(text) and not re.fullmatch(r"[\w.-]{1,15}", text):
        raise ValueError("must be an address of this machine, or an interface such as eth0")
    return text


def listen_on(text: str) -> str:
    """Return a port, or an address and a port, to be listened on."""
    try:
        listen_address(text)
    except ValueError:
        raise ValueError("must be a port such as 9646, or an address and a port such as 0.0.0.0:9646") from None
    return text


def listen_address(text: str) -> tuple[str, int]:
    """Return the address and the port of `listen_on`; without an address it is this machine alone."""
    if text.isascii() and text.isdigit():
        text = f"127.0.0.1:{text}"
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port is None or parts.netloc != text or "@" in text:
        raise ValueError
    return parts.hostname, parts.port


def cipher_list(text: str) -> str:
    """Return names of ciphers, separated by colons; "" for none. Raises ValueError for one that is not known."""
    for name in text.split(":") if text else ():
        if not _is_cipher(name.lstrip("!+-")):
            raise ValueError(
                f"must be OpenSSL's names of ciphers, separated by colons; there is no {name or 'empty one'}"
            )
    return text


def _is_cipher(name: str) -> bool:
    if name.startswith("TLS_"):  # Python cannot try these; RFC 8446, B.4
        return name in TLS13_CIPHERS
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(name)
    except ssl.SSLError:
        return False
    return True


def matching(pattern: re.Pattern[str], wants: str) -> Callable[[str], str]:
    """Return a parser of what the whole of `pattern` matches; an error says that it `must be` what is wanted."""

    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {wants}")
        return text

    return parse


def request_rate(text: str) -> float:
    """Return requests a second, 0 for no limit."""
    rate = units.decimal(text)
    if rate > MOST_REQUESTS:
        raise ValueError(f"can not be set to more than {units.thousands(MOST_REQUESTS)} requests per second")
    return rate


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


def a_log(what: str, short: str, *aliases: str) -> Any:
    """Return a field that names the file of a log; the processes that run users write it."""
    return option(LOGS, None, file_name, what, short=short, metavar="FILE", aliases=aliases,
        roles=Role.RUNS, sent=False)  # fmt: skip


def a_format(*aliases: str) -> Any:
    """Return a field that says how the log before it is written."""
    return option(LOGS, "json", log_format, "Its format", metavar="|".join(LOG_FORMATS), aliases=aliases,
        roles=Role.RUNS, sent=False)  # fmt: skip


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
    startup_time: float = option(TEST, 0.0, units.seconds, "Start all users within TIME, in place of a hatch rate",
        metavar="TIME", shown="", aliases=("--increase-time",))
    run_time: float = option(TEST, 0.0, units.seconds, "Stop this long after the last user has started",
        short="-t", metavar="TIME", shown="0, until stopped")
    iterations: int = option(TEST, 0, units.whole(0), "Let each user leave after N passes over its tasks",
        metavar="N", shown="0, never")
    decrease_rate: float = option(TEST, 0.0, units.decimal, "Users to let go per second after the run time",
        metavar="N", shown="0, all at once")
    decrease_time: float = option(TEST, 0.0, units.seconds, "Let all users go within TIME, in place of a rate",
        metavar="TIME", shown="")
    throttle_requests: float = option(TEST, 0.0, request_rate, "Start at most N requests per second, over all workers",
        metavar="N", shown="0, no limit")
    classes: tuple[str, ...] = option(TEST, (), matching(CLASSES, "the name of a user class, or a pattern with *"),
        "Run only these user classes; * stands for any letters", metavar="NAME", kind=Kind.MANY, splits=True,
        aliases=("--scenarios",))
    tags: tuple[str, ...] = option(TEST, (), matching(_TAG, "a tag such as slow"), "Run only tasks with such a tag",
        metavar="TAG", kind=Kind.MANY, splits=True)
    exclude_tags: tuple[str, ...] = option(TEST, (), matching(_TAG, "a tag such as slow"),
        "Run no task with such a tag", metavar="TAG", kind=Kind.MANY, splits=True)
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
    completion: str | None = option(TEST, None, units.word("bash", "zsh", "fish"), "Print the completion of a shell",
        metavar="bash|zsh|fish", shown="", roles=Role.ANY, sent=False, flag_only=True)
    once: bool = switch(TEST, "Run each task of one user once, in this process, and show every request",
        sent=False, flag_only=True, roles=Role.STANDALONE)

    timeout: float = option(REQUESTS, 60.0, SOME_TIME, "Time for a request, redirects and body included",
        metavar="TIME")
    connect_timeout: float = option(REQUESTS, 10.0, SOME_TIME, "Time for a connection to open", metavar="TIME")
    max_body: int = option(REQUESTS, 16 * 1_024**2, units.size, "Keep so much of a body, count and drop the rest",
        metavar="SIZE")
    http_version: str = option(REQUESTS, "1.1", units.word(*HTTP_VERSIONS), "Version of HTTP to speak",
        metavar="1.1|2|3")
    header: tuple[str, ...] = option(REQUESTS, (), header_field, "Send this with every request; may be repeated",
        metavar="NAME:VALUE", kind=Kind.MANY, separator="\n")
    user_agent: str | None = option(REQUESTS, None, header_value, "What users say they are", metavar="TEXT",
        shown="gaggle and its version")
    no_gzip: bool = switch(REQUESTS, "Do not ask for compressed bodies")
    sticky_follow: bool = switch(REQUESTS, "A redirect to another host moves the user there for good")
    no_keepalive: bool = switch(REQUESTS, "Open a new connection for each request")
    max_connection_age: float = option(REQUESTS, 0.0, units.seconds, "Replace connections that are older",
        metavar="TIME", shown="0, never")
    proxy: str = option(REQUESTS, "", proxy_url, "Proxy to go through; env: as the environment's http_proxy says",
        metavar="URL|env", shown="none")
    resolve: tuple[str, ...] = option(REQUESTS, (), resolve_entry, "Where a name leads; may be repeated",
        metavar="HOST:PORT:ADDRESS", kind=Kind.MANY, separator="\n")
    connect_to: tuple[str, ...] = option(REQUESTS, (), connect_to_entry,
        "Connect there for what is asked of the first; may be repeated", metavar="HOST:PORT:HOST:PORT", kind=Kind.MANY)
    interface: tuple[str, ...] = option(REQUESTS, (), source_address,
        "Connect from this address or interface; of several, users take turns", metavar="ADDRESS", kind=Kind.MANY,
        splits=True, roles=Role.ANY, sent=False)
    cacert: str | None = option(REQUESTS, None, file_name, "Certificates to trust",
        metavar="FILE", shown="the system's", roles=Role.ANY, sent=False)
    cert: str | None = option(REQUESTS, None, file_name, "Certificate to show to servers, in PEM", metavar="FILE",
        shown="", roles=Role.ANY, sent=False)
    key: str | None = option(REQUESTS, None, file_name, "Its key", metavar="FILE", shown="in the same file",
        roles=Role.ANY, sent=False)
    ciphers: str = option(REQUESTS, "", cipher_list, "Ciphers of TLS to offer, in OpenSSL's names", metavar="NAME:NAME",
        shown="libcurl's")
    tls_version: str = option(REQUESTS, "any", units.word("any", "1.2", "1.3"), "Version of TLS to speak",
        metavar="1.2|1.3")
    accept_invalid_certs: bool = switch(REQUESTS, "Do not verify certificates")
    tls_resume: bool = option(REQUESTS, True, units.yes_no, "Resume TLS sessions when users connect again",
        metavar="yes|no")

    running_metrics: float = option(METRICS, 0.0, units.seconds, "Print the metrics so far, every TIME", metavar="TIME",
        shown="0, never", sent=False, aliases=("--print-stats",))
    no_live: bool = switch(METRICS, "Draw nothing on the terminal while the test runs", sent=False)
    no_reset_metrics: bool = switch(METRICS, "Keep what was counted while users started", roles=Role.STANDALONE)
    reset_metrics: bool = switch(METRICS, "Forget what was counted while users started: a gaggle keeps it",
        roles=Role.MANAGER)
    report_file: tuple[str, ...] = option(METRICS, (), report_name,
        "Write a report, in the format of its suffix; - is stdout; may be repeated",
        metavar="FILE", kind=Kind.MANY, sent=False)
    threshold: tuple[str, ...] = option(METRICS, (), thresholds.checked,
        "Demand something, such as 'p(95)<200ms'; exit with 3 otherwise; may be repeated",
        metavar="RULE", kind=Kind.MANY, sent=False)
    baseline: str | None = option(METRICS, None, file_name,
        "Say what changed since this run, a report in JSON, and whether chance could have done it",
        metavar="FILE", shown="none", sent=False, aliases=("--baseline-file",))
    prometheus: str | None = option(METRICS, None, listen_on,
        "Serve metrics for Prometheus here, on 127.0.0.1 unless an address is given",
        metavar="[HOST:]PORT", shown="none", sent=False)
    otlp: str | None = option(METRICS, None, url("http", "https"),
        "Push metrics to this collector of OpenTelemetry, by OTLP over HTTP", metavar="URL", shown="none", sent=False)
    strict: bool = switch(METRICS, "Exit with 4 when the numbers are not to be trusted", sent=False)
    no_metrics: bool = switch(METRICS, "Print and write no metrics at all", sent=False)
    no_task_metrics: bool = switch(METRICS, "Leave tasks out of the reports", sent=False,
        aliases=("--no-transaction-metrics",))
    no_print_metrics: bool = switch(METRICS, "Print no metrics at the end", sent=False)
    no_status_codes: bool = switch(METRICS, "Print no table of status codes", sent=False)
    no_error_summary: bool = switch(METRICS, "Print no table of errors", sent=False)

    verbose: int = counted(LOGS, "Print more log lines: -v INFO, -vv DEBUG, -vvv TRACE", short="-v")
    quiet: int = counted(LOGS, "Print fewer log lines: -q ERROR, -qq none", short="-q")
    log_level: int = counted(LOGS, "Write more to the log file: -g INFO, -gg DEBUG, -ggg TRACE", short="-g")
    log_file: str | None = option(LOGS, None, file_name, "Append log lines to this file",
        short="-G", metavar="NAME", roles=Role.ANY, sent=False)
    request_log: str | None = a_log("Write a line a request to this file; -: to stdout", "-R")
    request_format: str = a_format()
    request_log_sample: float = option(LOGS, 1.0, units.share, "Log this share of the requests", metavar="SHARE",
        shown="all", roles=Role.RUNS, sent=False)
    request_body: bool = switch(LOGS, "Put the requests' bodies into the request log", roles=Role.RUNS, sent=False)
    task_log: str | None = a_log("Write a line a task to this file", "-T", "--transaction-log")
    task_format: str = a_format("--transaction-format")
    pass_log: str | None = a_log("Write a line a pass over all tasks to this file", "-S", "--scenario-log")
    pass_format: str = a_format("--scenario-format")
    error_log: str | None = a_log("Write a line a failed request to this file", "-E")
    error_format: str = a_format()
    debug_log: str | None = a_log("Write failed requests to this file, with headers and bodies", "-D")
    debug_format: str = a_format()
    no_debug_body: bool = switch(LOGS, "Leave bodies out of the debug log", roles=Role.RUNS, sent=False)

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
    rebalance: bool = switch(GAGGLE, "Give workers that come while the test runs a share of the users",
        roles=Role.MANAGER, sent=False)
    state_file: str | None = option(GAGGLE, None, file_name, "Keep the test here, for a manager that takes it up",
        metavar="FILE", shown="", roles=Role.MANAGER, sent=False)
    resume: bool = switch(GAGGLE, "Take up the test that --state-file holds, if it holds one",
        roles=Role.MANAGER, sent=False)
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


# option -> the one without which it would do nothing
NEEDS = {
    "request_format": "request_log",
    "request_log_sample": "request_log",
    "request_body": "request_log",
    "task_format": "task_log",
    "pass_format": "pass_log",
    "error_format": "error_log",
    "debug_format": "debug_log",
    "no_debug_body": "debug_log",
}

# (option, option, why they cannot both be set)
CONFLICTS = (
    ("manager", "worker", "a process leads a gaggle or takes part in one"),
    ("verbose", "quiet", "one asks for more lines, the other for fewer"),
    ("ship", "open_gaggle", "a load test is sent only between machines that have proved that they know the join token"),
    ("max_connection_age", "no_keepalive", "connections that serve one request do not age"),
    ("startup_time", "hatch_rate", "each says how fast users start"),
    ("decrease_time", "decrease_rate", "each says how fast users leave"),
    ("iterations", "run_time", "each says when the test ends"),
    ("iterations", "decrease_rate", "users leave when they have done their passes"),
    ("iterations", "decrease_time", "users leave when they have done their passes"),
    ("no_metrics", "report_file", "there is nothing to report"),
    ("no_metrics", "running_metrics", "there is nothing to print"),
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
