"""Rules beyond one option's own check: who may take it, what contradicts what, whether its file can be used."""

from __future__ import annotations

import errno
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaggle import thresholds, units
from gaggle.errors import InvalidOption
from gaggle.needs import check_needs
from gaggle.options import CONFLICTS, MASK, NEEDS, Kind, Options, Role, Spec, flag, is_stdout, written
from gaggle.records import KINDS, STDOUT, probe
from gaggle.sources import DEFAULT_FILE, LOAD_TEST, Parsed, is_shared, subject

LOGS = tuple(f"{kind}_log" for kind in KINDS)
_MODES = {Role.MANAGER: "--manager", Role.WORKER: "--worker"}


def check(parsed: Parsed, cores: int, role: Role = Role.STANDALONE) -> list[str]:
    """Return warnings, a line each, about options that are better not combined.

    `cores` is how many are usable. Raises InvalidOption for those that cannot be combined, are not for `role`, or name
    a file that cannot be what they need.
    """
    for name, source in parsed.sources.items():
        if role not in parsed.specs[name].roles and not is_shared(source):
            raise _refused(parsed, name, _unfit(parsed.specs[name], role))
    if role is Role.MANAGER:
        _check_workers(parsed)
    for name, other in NEEDS.items():
        if parsed.is_set(name) and not parsed.value(other) and not parsed.sources[name].startswith(LOAD_TEST):
            raise _refused(parsed, name, f"needs {flag(other)}, too")
    _check_apart(parsed)
    _check_relative(parsed)
    for first, second, why in CONFLICTS:
        if parsed.is_set(first) and parsed.is_set(second):
            other = subject(parsed.specs[second], parsed.sources[second]).replace("The ", "the ", 1)
            raise _refused(parsed, first, f"can not be set together with {other}: {why}")
    for name, attempt in ATTEMPTS.items():
        for file in filter(None, _listed(parsed.value(name))):
            _try(parsed.sources.get(name, flag(name)), file, *attempt)
    check_needs(parsed.options, parsed.sources)
    return _cautions(parsed.options, cores)


def check_required(parsed: Parsed) -> None:
    """Raise InvalidOption for an option of the load test's own that has no default, and that nobody gave."""
    for name, of in parsed.specs.items():
        if of.is_required and name not in parsed.sources:
            raise InvalidOption(flag(name), "", f"The load test needs a value: {flag(name)} {of.metavar} ({of.help}).")


def without_effect(parsed: Parsed, role: Role) -> list[str]:
    """Return a line for each option of another role that is set where a manager and its workers may all read it."""
    who = role.name.lower() if role.name else ""
    unfit = [source for name, source in parsed.sources.items() if role not in parsed.specs[name].roles]
    return [f"{source} has no effect on a {who}" for source in unfit if is_shared(source)]


def _refused(parsed: Parsed, name: str, why: str) -> InvalidOption:
    """Return the error that `name` is set and must not be."""
    of, source = parsed.specs[name], parsed.sources[name]
    return InvalidOption(source, _text(of, parsed.value(name)), f"{subject(of, source)} {why}.")


def role_of(options: Options) -> Role:
    """Return what this process is in the test."""
    return Role.MANAGER if options.manager else Role.WORKER if options.worker else Role.STANDALONE


def _check_workers(parsed: Parsed) -> None:
    """Refuse a manager that waits for nobody, or for more workers than there are users; in the words of Goose."""
    source, count = parsed.sources.get("expect_workers", "--expect-workers"), parsed.options.expect_workers
    if count < 1:
        raise InvalidOption(source, count, f"The {source} option must be set to at least 1.")
    if count > parsed.options.users:
        raise InvalidOption(source, count, f"The {source} option can not be set to a value larger than --users option.")
    if parsed.is_set("resume") and not parsed.is_set("state_file"):
        raise _refused(parsed, "resume", "can not be set without also setting the --state-file option")


def _check_apart(parsed: Parsed) -> None:
    """Refuse two logs in one file: nobody could read either of them."""
    taken: dict[str, str] = {}
    for name in ("log_file", *LOGS):
        file = parsed.value(name)
        if file is None:
            continue
        found = taken.setdefault(file if file == STDOUT else os.path.realpath(file), name)
        if found != name:
            raise _refused(parsed, name, f"must not name the file of {flag(found)}: each log has a file of its own")


def _check_relative(parsed: Parsed) -> None:
    """Refuse a threshold that needs a baseline where there is none."""
    for text in parsed.options.threshold:
        if thresholds.parse(text).relative is not None and not parsed.options.baseline:
            source = parsed.sources.get("threshold", "--threshold")
            detail = "It compares with an earlier run: name its JSON report with the --baseline option."
            raise InvalidOption(source, text, detail)


def load_test_of(parsed: Parsed) -> Path:
    """Return the load test, which is there and can be read. Raises InvalidOption."""
    file = parsed.file
    if file is None:
        raise InvalidOption("FILE", "", f"No load test is given, and there is no {DEFAULT_FILE} here: gaggle FILE.")
    _try("FILE", str(file), _readable, "The load test can not be read")
    if file.suffix != ".py" or not file.is_file():
        raise InvalidOption("FILE", file, "A load test is a Python file, and its name ends in .py.")
    return file


def _text(of: Spec, value: Any) -> str:
    """Return a value as an error shows it: as the person would write it, `true` for a flag as in Goose."""
    if of.secret:
        return MASK
    return "true" if of.kind is Kind.SWITCH else ",".join(value) if of.kind is Kind.MANY else written(of, value)


def _unfit(of: Spec, role: Role) -> str:
    """Return why an option is not for `role`, in Goose's words."""
    if role in _MODES:
        return f"can not be set together with the {_MODES[role]} flag"
    modes = [mode for of_role, mode in _MODES.items() if of_role in of.roles]
    return f"can not be set without also setting the {units.listed(modes)} flag"


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
    """Raise OSError unless another file can be made beside `file`, which it then replaces. Stdout is always there."""
    if is_stdout(file):
        return
    _no_folder(file)
    tempfile.TemporaryFile(dir=Path(file).absolute().parent).close()


def _writable(file: str) -> None:
    """Raise OSError unless a log can be written to `file`, or it is stdout."""
    _no_folder(file)
    probe(file)


def _no_folder(file: str) -> None:
    if Path(file).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


# Options that name files: what must work before the start, and the sentence that says it does not.
ATTEMPTS: dict[str, tuple[Callable[[str], None], str]] = {
    "cacert": (_certificates, "The certificates can not be read"),
    "report_file": (_room_for, "The report can not be written"),
    **{name: (_writable, f"The {name.replace('_', ' ')} can not be written") for name in LOGS},
    "state_file": (_room_for, "The state can not be written"),
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
