"""Log lines, `05:43:36 [ INFO] message`, on stderr and in a file. A reader that goes away never ends a load test."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gaggle import units
from gaggle.errors import InvalidOption
from gaggle.options import Options

TRACE, OFF = 5, 100
# From quiet to loud: -qq, -q, no flag, -v, -vv, -vvv. The names are Goose's, and at most 5 long.
NAMES = {
    OFF: "OFF",
    logging.ERROR: "ERROR",
    logging.WARNING: "WARN",
    logging.INFO: "INFO",
    logging.DEBUG: "DEBUG",
    TRACE: "TRACE",
}
LOUDNESS = tuple(NAMES)
OPTIONS = ("verbose", "quiet", "log_level", "log_file")  # those that `setup` looks at
_KEPT = "\n\t"  # of the control characters: a traceback has several lines

LOGGER = logging.getLogger("gaggle")
_said: set[Hashable] = set()


class Line(logging.Formatter):
    """Formats a record; `prefix`, such as `[2] ` for a worker, goes before every message of this process."""

    prefix = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line without its end; local time; a traceback follows on lines of its own.

        Control characters are escaped: what a server says must not colour or clear the reader's screen.
        """
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = NAMES.get(record.levelno, record.levelname)
        return f"{at} [{level:>5}] {self.prefix}{units.printable(super().format(record), keep=_KEPT)}"


class Lines(logging.Handler):
    """Writes a line a record to a text stream, so that a reader sees it at once. Never raises."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. A stream that is closed takes nothing."""
        with suppress(ValueError):
            try:
                self.write(self.format(record) + "\n")
            except OSError as error:
                self.lost(error)
            except TypeError:  # arguments that do not fit the message: our fault, and no reason to end
                self.handleError(record)

    def write(self, line: str) -> None:
        """Write and flush. Raises OSError, and ValueError for a closed stream."""
        raise NotImplementedError

    def lost(self, error: OSError) -> None:
        """Drop a line that could not be written: its reader has gone, its terminal hung up."""


class Screen(Lines):
    """Writes to the stderr of the moment, which a notebook or a test may have replaced, if there is one."""

    def write(self, line: str) -> None:
        """As in Lines."""
        if sys.stderr is not None:
            sys.stderr.write(line)
            sys.stderr.flush()


class LogFile(Lines):
    """Appends to a file. When that fails (a full disk) the screen says so once; later lines are tried again."""

    def __init__(self, path: Path) -> None:
        """Open `path`. Raises OSError."""
        super().__init__()
        self.path = path
        self.stream = path.open("a", encoding="utf-8", errors="backslashreplace")

    def write(self, line: str) -> None:
        """As in Lines."""
        self.stream.write(line)
        self.stream.flush()

    def lost(self, error: OSError) -> None:
        """Tell the screen. This handler gets the warning too, and fails again: once."""
        warn_once(("log file", self.path), "log file %s: %s: lines are lost", self.path, error.strerror)

    def close(self) -> None:
        """Close the file, whatever could not be written."""
        with suppress(OSError):
            self.stream.close()
        super().close()


def screen_level(verbose: int, quiet: int) -> int:
    """Return the level of the screen: WARN; each -v shows a level more, each -q one less."""
    wanted = LOUDNESS.index(logging.WARNING) + verbose - quiet
    return LOUDNESS[min(max(wanted, 0), len(LOUDNESS) - 1)]


def setup(options: Options, sources: Mapping[str, str] | None = None) -> logging.Logger:
    """Return the logger `gaggle`, which from now on writes as `options` say; what an earlier setup opened is closed.

    `sources` names the option in errors (sources.Given). Raises InvalidOption for a log file that cannot be written.
    """
    handlers: list[tuple[logging.Handler, int]] = [(Screen(), screen_level(options.verbose, options.quiet))]
    file_level = screen_level(options.log_level, 0)
    if options.log_file is not None:
        handlers.append((_log_file(options.log_file, sources or {}), file_level))
    close()
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(Line())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(min(level for _, level in handlers))
    LOGGER.propagate = False  # whatever the load test does with the root logger, our lines appear once
    _introduce(handlers[0][1], file_level, options.log_file)
    return LOGGER


def _log_file(name: str, sources: Mapping[str, str]) -> LogFile:
    try:
        return LogFile(Path(name))
    except OSError as error:
        source = sources.get("log_file", "--log-file")
        raise InvalidOption(source, name, f"The log file can not be written: {error.strerror}.") from error


def _introduce(screen: int, file: int, name: str | None) -> None:
    LOGGER.info("Output verbosity level: %s", NAMES[screen])
    LOGGER.info("Logfile verbosity level: %s", NAMES[file])
    if name is not None:
        LOGGER.info("Writing to log file: %s", name)


def close() -> None:
    """Close what `setup` opened, and forget what was said once."""
    for handler in LOGGER.handlers[:]:
        LOGGER.removeHandler(handler)
        handler.close()
    _said.clear()


def prefix(text: str) -> None:
    """Put `text`, such as `[2] ` for worker 2, before every message of this process from now on."""
    Line.prefix = text


@contextmanager
def no_prefix() -> Iterator[None]:
    """Log without the prefix: what happened to the process, and not to the worker."""
    kept = Line.prefix
    Line.prefix = ""
    try:
        yield
    finally:
        Line.prefix = kept


def trace(message: str, *args: object) -> None:
    """Log what only -vvv shows; `args` as in logging."""
    LOGGER.log(TRACE, message, *args)


def warn_once(key: Hashable, message: str, *args: object) -> None:
    """Log a warning the first time that `key` comes, and nothing after."""
    if key not in _said:
        _said.add(key)
        LOGGER.warning(message, *args)
