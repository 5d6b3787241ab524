"""Config files: gaggle.toml, [tool.gaggle] of pyproject.toml, or one that is named. Read here, judged in sources."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from gaggle.errors import InvalidOption

OURS, PROJECT = "gaggle.toml", "pyproject.toml"
LARGEST = 1_024**2  # who names /dev/zero hears of it


class Table(NamedTuple):
    """What a file says: key -> value as TOML has it. `prefix` goes before its keys, as in tool.gaggle.users."""

    file: str
    prefix: str
    values: dict[str, Any]

    def source(self, key: str) -> str:
        """Return what errors call a key: "users in gaggle.toml"."""
        return f"{self.prefix}{key} in {self.file}"


def find() -> tuple[Table, ...]:
    """Return the tables of the working directory, the stronger one first. Raises InvalidOption, named by the file."""
    there = [name for name in (OURS, PROJECT) if Path(name).exists()]
    tables = [read(name, name) for name in there]
    return tuple(table for table in tables if table is not None)


def named(source: str, file: str) -> tuple[Table, ...]:
    """Return the table of the file that `source` (`--config`) names. Raises InvalidOption, named by `source`."""
    table = read(source, file)
    if table is None:
        raise InvalidOption(source, file, "The config file can not be used: it has no [tool.gaggle].")
    return (table,)


def read(source: str, file: str) -> Table | None:
    """Return what a file says about gaggle, None if that is a pyproject.toml without a word about it."""
    whole = _parsed(source, file)
    if Path(file).name != PROJECT:
        return Table(file, "", whole)
    tool = whole.get("tool", {})
    values = tool.get("gaggle") if isinstance(tool, dict) else None
    if values is not None and not isinstance(values, dict):
        raise InvalidOption(f"tool.gaggle in {file}", values, "tool.gaggle must be a table: [tool.gaggle].")
    return None if values is None else Table(file, "tool.gaggle.", values)


def _parsed(source: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(file))
    except OSError as error:
        why = error.strerror or str(error)
    except UnicodeDecodeError:
        why = "it is not in UTF-8"
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError as error:  # TOMLDecodeError is one, and names the line
        why = str(error)
    raise InvalidOption(source, file, f"The config file can not be read: {why}.")


def _text(file: str) -> str:
    with open(file, "rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("it is larger than 1 MiB")
    return data.decode()
