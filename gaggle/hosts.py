"""Where users go: the one host of the test, or each class to its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gaggle.errors import InvalidOption
from gaggle.options import Options

Classes = Sequence[dict[str, Any]]  # as loadtest.py describes them


def hosts(options: Options, classes: Classes) -> list[str]:
    """Return each host once."""
    if options.host:
        return [options.host]
    return list(dict.fromkeys(item["host"] for item in classes if item["host"]))


def hosts_configured(options: Options, classes: Classes) -> list[str]:
    """Return a line for each, as a person reads it."""
    if options.host:
        return [f"global host configured: {options.host}"]
    return [f"host for {item['name']} configured: {item['host']}" for item in classes if item["host"]]


def check_hosts(options: Options, classes: Classes) -> None:
    """Raise InvalidOption where a class has nowhere to go."""
    for item in classes:
        if item["host"] is None and not options.host:
            wants = "A host must be defined via the --host option, or as `host` of the user class"
            raise InvalidOption("--host", "", f"{wants} (no host defined for {item['name']}).")
