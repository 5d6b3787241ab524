"""The command: options in, report and exit code out. The only place that prints errors and exits."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, NoReturn

from gaggle import logs, reporting
from gaggle.completion import script
from gaggle.errors import FeatureNotEnabled, GaggleError, InvalidOption
from gaggle.inventory import built_in, generated, shown
from gaggle.live.wanted import has_screen
from gaggle.once import run_once
from gaggle.options import SPECS, Options, is_stdout, usable_cores
from gaggle.own import defaults_of, specs_of
from gaggle.policy import versions
from gaggle.records import Wanted
from gaggle.report import render
from gaggle.report.files import write_files
from gaggle.report.github import annotated
from gaggle.report.model import Report
from gaggle.rules import check, role_of
from gaggle.session import one_run
from gaggle.sources import Parsed, parse
from gaggle.supervisor import Outcome, Supervisor
from gaggle.usage import help_text

# Exit codes; docs/running.md has the same table for people.
FINE, FAILED, USAGE, CROSSED, UNTRUSTWORTHY, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def main(argv: Sequence[str] | None = None, file: str | None = None) -> NoReturn:
    """Run the command and exit with its code. `file` is the load test where the command line does not name it."""
    open_descriptors()
    output = Output()
    try:
        code = command(sys.argv[1:] if argv is None else list(argv), output, file)
    except (InvalidOption, FeatureNotEnabled) as error:
        code = complain(error, USAGE)
    except GaggleError as error:
        code = complain(error, FAILED)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if output.error is not None:
        code = complain(f"stdout could not be written: {output.error.strerror}", code or FAILED)
    sys.exit(code)


def open_descriptors() -> None:
    """Give 0, 1 and 2 to /dev/null where the shell has closed them: the next socket would be what `print` writes to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")


def complain(error: object, code: int) -> int:
    """Print an error, if there is still somebody to read it; return `code`."""
    try:
        print(f"Error: {error}", file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)
    return code


def silence(stream: IO[str]) -> None:
    """Let a stream that nobody reads lead nowhere: what is still in its buffer would raise at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Output:
    """What the command prints on stdout. A reader that goes away (`gaggle … | head`) ends no load test."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        """`stream` is written to instead of stdout."""
        self.own = stream
        self.has_yielded = False
        self.error: OSError | None = None  # why it could not be written, where that is not the reader's wish
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding does not have

    def yield_stdout(self) -> None:
        """Print on stderr from now on: stdout belongs to a log (`--request-log -`), and to who reads it."""
        self.has_yielded = True

    @property
    def stream(self) -> IO[str]:
        """Where it goes now; while the screen is shown, that stands in for stdout and prints above itself."""
        return sys.stderr if self.has_yielded else self.own or sys.stdout

    def say(self, text: str) -> None:
        """Print `text`, which has its own ends of lines."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            silence(self.stream)
        except OSError as error:
            self.error = error
            silence(self.stream)


def command(argv: list[str], output: Output, file: str | None = None) -> int:
    """Do what the command line says; return the exit code. Raises GaggleError."""
    if file is None and argv and argv[0] in COMMANDS and not os.path.exists(argv[0]):
        return COMMANDS[argv[0]](argv[1:], output)
    parsed = parse(argv, os.environ, file)
    if parsed.options.help:
        output.say(help_of(parsed))
        return FINE
    if parsed.options.version:
        output.say("gaggle {gaggle}, libcurl {libcurl}, Python {python}\n".format(**versions()))
        return FINE
    if parsed.options.completion:
        output.say(script(parsed.options.completion, SPECS))
        return FINE
    if parsed.options.show_config or parsed.options.generate_config:
        output.say(inventory_of(parsed))
        return FINE
    logs.setup(parsed.options, parsed.sources)
    if parsed.options.once:
        return FINE if run_once(parsed, output.say) else FAILED
    if Wanted.of(parsed.options).has_stdout:
        output.yield_stdout()
    supervisor = Supervisor(parsed, say=lambda text: tell(text, supervisor, output))
    if parsed.options.list:
        output.say(listing(asyncio.run(described(supervisor))))
        return FINE
    with screen(supervisor) as close:

        def ended(report: Report) -> None:
            close()
            show(report, supervisor.options, output)

        outcome = asyncio.run(one_run(supervisor, ended, output.say))
    return exit_code(outcome, supervisor.options)


@contextmanager
def screen(supervisor: Supervisor) -> Iterator[Callable[[], None]]:
    """Let the run be seen on the terminal, if there is one; what is handed out takes it off again."""
    if not has_screen(supervisor.parsed.options):
        yield lambda: None
        return
    from gaggle.live.display import Display  # rich takes a while to load

    display = Display(supervisor)
    with display.shown():
        yield display.close


async def described(supervisor: Supervisor) -> dict[str, Any]:
    """Return what is in the load test, and let go of it."""
    description = await supervisor.describe()
    supervisor.crew.close()
    return description


def help_of(parsed: Parsed) -> str:
    """Return the help, with the load test's own options if there is one that can be imported."""
    if parsed.file is None or not parsed.file.is_file():
        return help_text()
    try:
        own = asyncio.run(described(Supervisor(replace(parsed, options=Options()))))["own"]
    except GaggleError as error:
        return f"{help_text()}\nThe load test's own options are not shown: {error}\n"
    return help_text(specs_of(own), defaults_of(own))


def inventory_of(parsed: Parsed) -> str:
    """Return what --show-config or --generate-config prints. The load test is imported if there is one."""
    own: list[dict[str, Any]] = []
    if parsed.file is not None:
        supervisor = Supervisor(parsed)
        own = asyncio.run(described(supervisor))["own"]
        parsed = supervisor.parsed
    if parsed.options.generate_config:
        return generated(parsed.specs, built_in() | defaults_of(own))
    role = role_of(parsed.options)
    check(parsed, usable_cores(), role)
    return shown(parsed, role)


def listing(description: dict[str, Any]) -> str:
    """Return what --list prints."""
    lines = ["Available tasks:"]
    for item in description["classes"]:
        lines.append(f" - {item['name']} (weight: {item['weight']})")
        lines += [f"    o {name} (weight: {weight}{tagged(tags)})" for name, weight, tags in item["tasks"]]
    return "\n".join(lines) + "\n"


def tagged(tags: list[str]) -> str:
    return f", tags: {', '.join(tags)}" if tags else ""


def tell(text: str, supervisor: Supervisor, output: Output) -> None:
    """Print something while the test runs: on stderr where stdout is for a report alone."""
    if has_claim(supervisor.parsed.options):
        sys.stderr.write(text)
    else:
        output.say(text)


def has_claim(options: Options) -> bool:
    """Whether stdout is for a report alone."""
    return any(map(is_stdout, options.report_file))


def show(report: Report, options: Options, output: Output) -> None:
    """Print the report, and on GitHub what its pages show beside the code."""
    if Wanted.of(options).has_stdout:
        output.yield_stdout()
    if not (options.no_print_metrics or options.no_metrics or has_claim(options)):
        logs.LOGGER.info("printing metrics after %d seconds...", round(report.duration))
        output.say(render(report, ".txt"))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write("".join(annotated(report)))


def report_command(argv: list[str], output: Output) -> int:
    """Make reports of reports that were written as JSON: other formats, one of several, other thresholds."""
    asked = reporting.parse(argv)
    if asked.is_help:
        output.say(reporting.HELP)
        return FINE
    report = reporting.made(asked)
    if not asked.names:
        output.say(render(report, ".txt"))
    write_files(report, asked.names, output.say)
    return FINE if not asked.thresholds or all(item.holds for item in report.thresholds) else CROSSED


COMMANDS = {"report": report_command}


def exit_code(outcome: Outcome, options: Options) -> int:
    """Return the first code that applies; say why where the report does not."""
    report = outcome.report
    if outcome.was_interrupted:
        return INTERRUPTED
    if outcome.failure is not None:
        return complain(outcome.failure, FAILED)
    if report is None:
        return FINE if options.worker else FAILED
    if report.nothing_succeeded:
        return complain("nothing succeeded", FAILED) if options.no_print_metrics or options.no_metrics else FAILED
    if not all(judgement.holds for judgement in report.thresholds):
        return CROSSED
    if outcome.is_incomplete:
        return INCOMPLETE
    return UNTRUSTWORTHY if options.strict and report.doubts else FINE
