"""Whether a manager takes up the test that an earlier one has left in its state file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from gaggle.errors import InvalidOption, LoadTestError
from gaggle.ledger import Ledger
from gaggle.logs import LOGGER
from gaggle.options import SPECS, Options, Role, flag, written
from gaggle.standing import Standing, fill, unpack
from gaggle.statefile import StateFile
from gaggle.supervisor import Supervisor


def file_of(supervisor: Supervisor) -> StateFile | None:
    """Return the state file, ours alone; None where none is wanted. Raises LoadTestError."""
    name = supervisor.options.state_file
    return StateFile(Path(name)) if name is not None else None


def earlier_test(file: StateFile, supervisor: Supervisor, ledger: Ledger) -> Standing | None:
    """Return the test in the file if we are to take it up, and put its counts into `ledger`.

    Raises InvalidOption and LoadTestError.
    """
    options, data = supervisor.options, file.read()
    if data is None:
        if options.resume:
            LOGGER.warning("%s holds no test: a new one begins", file.path)
        return None
    if not options.resume:
        detail = "The file holds a test that has not ended: add --resume to take it up, or remove the file."
        raise InvalidOption(supervisor.parsed.sources["state_file"], options.state_file, detail)
    try:
        before = unpack(data)
        fill(ledger, before)
    except ValueError as error:
        raise LoadTestError(f"the state file {file.path} cannot be used: {error}") from None
    check_same(before, supervisor)
    return before


def check_same(before: Standing, supervisor: Supervisor) -> None:
    """Refuse another test than the one in the file. Raises InvalidOption and LoadTestError."""
    options = supervisor.options
    if before.hash != supervisor.description["hash"] and not options.no_hash_check:
        raise LoadTestError(f"the test in {options.state_file} is of a load test whose files were others")
    for name, value in led(options).items():
        if (then := before.options.get(name)) != value:
            source = supervisor.parsed.sources.get(name, flag(name))
            detail = f"The test in {options.state_file} was started with {shown(name, then)}: give the same."
            raise InvalidOption(source, shown(name, value), detail)


def sent(options: Options) -> dict[str, Any]:
    """Return the options that lead, which workers follow."""
    names = [field.name for field in fields(options)]
    return {name: getattr(options, name) for name in names if SPECS[name].sent and SPECS[name].roles & Role.LEADS}


def led(options: Options) -> dict[str, Any]:
    """Return the options that a test keeps over all its managers, as plain data."""
    kept = sent(options) | {"expect_workers": options.expect_workers}
    kept.pop("seed")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def shown(name: str, value: Any) -> str:
    return f"{flag(name)} {written(SPECS[name], value)}"
