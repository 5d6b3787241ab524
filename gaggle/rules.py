"""Rules beyond one option's own check: who may take it, what contradicts what, whether its file can be used."""

from __future__ import annotations

import errno
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from gaggle import units
from gaggle.errors import InvalidOption
from gaggle.options import CONFLICTS, SPECS, Kind, Options, Role, flag, written
from gaggle.sources import DEFAULT_FILE, LOAD_TEST, Given, Parsed, is_set, subject

_MODES = {Role.MANAGER: "--manager", Role.WORKER: "--worker"}


def check(options: Options, sources: Given, cores: int, role: Role = Role.STANDALONE) -> list[str]:
    """Return warnings, a line each, about options that are better not combined.

    `cores` is how many are usable. Raises InvalidOption for those that cannot be combined, are not for `role`, or name
    a file that cannot be what they need.
    """
    for name, source in sources.items():
        if role not in SPECS[name].roles and not source.startswith(LOAD_TEST):
            raise InvalidOption(source, _text(options, name), f"{subject(name, source)} {_unfit(name, role)}.")
    if role is Role.MANAGER:
        _check_workers(options, sources)
    for first, second, why in CONFLICTS:
        if is_set(options, sources, first) and is_set(options, sources, second):
            raise _conflict(options, sources, first, second, why)
    for name, attempt in ATTEMPTS.items():
        for file in filter(None, _listed(getattr(options, name))):
            _try(sources.get(name, flag(name)), file, *attempt)
    return _cautions(options, cores)


def role_of(options: Options) -> Role:
    """Return what this process is in the test."""
    return Role.MANAGER if options.manager else Role.WORKER if options.worker else Role.STANDALONE


def _check_workers(options: Options, sources: Given) -> None:
    """Refuse a manager that waits for nobody, or for more workers than there are users; in the words of Goose."""
    source, count = sources.get("expect_workers", "--expect-workers"), options.expect_workers
    if count < 1:
        raise InvalidOption(source, count, f"The {source} option must be set to at least 1.")
    if count > options.users:
        raise InvalidOption(source, count, f"The {source} option can not be set to a value larger than --users option.")


def load_test_of(parsed: Parsed) -> Path:
    """Return the load test, which is there and can be read. Raises InvalidOption."""
    file = parsed.file
    if file is None:
        raise InvalidOption("FILE", "", f"No load test is given, and there is no {DEFAULT_FILE} here: gaggle FILE.")
    _try("FILE", str(file), _readable, "The load test can not be read")
    if file.suffix != ".py" or not file.is_file():
        raise InvalidOption("FILE", file, "A load test is a Python file, and its name ends in .py.")
    return file


def _text(options: Options, name: str) -> str:
    """Return an option's value as an error shows it: as the person would write it, `true` for a flag as in Goose."""
    of, value = SPECS[name], getattr(options, name)
    return "true" if of.kind is Kind.SWITCH else ",".join(value) if of.kind is Kind.MANY else written(of, value)


def _unfit(name: str, role: Role) -> str:
    """Return why an option is not for `role`, in Goose's words."""
    if role in _MODES:
        return f"can not be set together with the {_MODES[role]} flag"
    modes = [mode for of, mode in _MODES.items() if of in SPECS[name].roles]
    return f"can not be set without also setting the {units.listed(modes)} flag"


def _conflict(options: Options, sources: Given, first: str, second: str, why: str) -> InvalidOption:
    other = subject(second, sources[second]).replace("The ", "the ", 1)
    detail = f"{subject(first, sources[first])} can not be set together with {other}: {why}."
    return InvalidOption(sources[first], _text(options, first), detail)


def _cautions(options: Options, cores: int) -> list[str]:
    """Return what is allowed and yet worth a line."""
    found = []
    if options.engines and options.engines > cores:
        found.append(f"{options.engines} engines on {cores} usable cores take turns, and times will seem longer")
    if options.accept_invalid_certs:
        found.append("certificates are not verified: what answers may not be who it says")
    return found


# Files.


def _readable(file: str) -> None:
    """Raise OSError unless the file is there and may be read."""
    _no_folder(file)
    os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))  # a pipe would wait for its writer


def _certificates(file: str) -> None:
    """Raise OSError (SSLError is one) unless the file holds certificates to trust."""
    ssl.create_default_context(cafile=file)


def _room_for(file: str) -> None:
    """Raise OSError unless another file can be made beside `file`, which it then replaces."""
    _no_folder(file)
    tempfile.TemporaryFile(dir=Path(file).absolute().parent).close()


def _no_folder(file: str) -> None:
    if Path(file).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


# Options that name files: what must work before the start, and the sentence that says it does not.
ATTEMPTS: dict[str, tuple[Callable[[str], None], str]] = {
    "cacert": (_certificates, "The certificates can not be read"),
    "report_file": (_room_for, "The report can not be written"),
}


def _try(source: str, file: str, attempt: Callable[[str], None], failed: str) -> None:
    try:
        attempt(file)
    except (OSError, ValueError) as error:
        raise InvalidOption(source, file, f"{failed}: {_why(error)}.") from None


def _listed(value: str | tuple[str, ...] | None) -> tuple[str | None, ...]:
    return value if isinstance(value, tuple) else (value,)


def _why(error: OSError | ValueError) -> str:
    """Return why a file cannot be used: "No such file or directory"."""
    if isinstance(error, ssl.SSLError):
        return "there are none in it, in PEM"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
