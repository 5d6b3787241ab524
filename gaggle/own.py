"""Options of the load test's own: a dataclass in its file, whose fields stand beside gaggle's in flags, files and help.

    @own_options
    class Shop:
        depth: int = option(3, help="Pages to read in a visit")
        key: str = option(help="Key of the API", secret=True)

Users have them as `self.own`. The control plane, which never imports the load test, gets them as plain data.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, dataclass_transform

from gaggle import units
from gaggle.errors import LoadTestError
from gaggle.options import SPECS, Kind, Role, Spec

ClassType = TypeVar("ClassType", bound=type)
GROUP = "The load test's own"
MARK = "__gaggle_own__"
_TYPES = "int, float, str, bool, Path, Literal[...], one of these or None, or a tuple of them"


def option(default: Any = dataclasses.MISSING, *, help: str = "", secret: bool = False) -> Any:
    """Return a field of an `@own_options` class. Without a default, who runs the load test must give a value.

    The value of a `secret` one is masked wherever it would be shown.
    """
    return dataclasses.field(default=default, metadata={"help": help, "secret": secret})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
def own_options(cls: ClassType) -> ClassType:
    """Make the class a frozen dataclass, whose fields are options of the load test's own."""
    try:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)  # in place
    except (TypeError, ValueError) as error:  # a list as a default
        raise LoadTestError(f"options of {cls.__name__}: {error}") from error
    setattr(cls, MARK, [_described(cls, field) for field in dataclasses.fields(cls)])
    return cls


def whole(text: str) -> int:
    """Return the whole number, of either sign, that `text` holds. Raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    try:
        return sign * units.whole(0)(text.removeprefix("-"))
    except ValueError:
        raise ValueError("must be a whole number") from None


def decimal(text: str) -> float:
    """Return the number, of either sign, that `text` holds. Raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    return sign * units.decimal(text.removeprefix("-"))


# Type -> how a text becomes one, and what stands for it in the help.
PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (whole, "N"),
    "float": (decimal, "N"),
    "str": (str, "TEXT"),
    "bool": (units.yes_no, "yes|no"),
    "Path": (str, "FILE"),
}


# In the launcher: from the class to plain data, and from values to an instance.


def _described(cls: type, field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return one field as plain data. Raises LoadTestError for what no option can be."""
    name = f"{cls.__name__}.{field.name}"
    if field.name in SPECS:
        raise LoadTestError(f"{name}: gaggle has an option of that name: choose another one")
    if field.name.startswith("_") or not field.name.isascii():
        raise LoadTestError(f"{name}: an option is named by ASCII letters, digits and _, and begins with a letter")
    kind, words, is_many, is_optional = _type_of(cls, field)
    is_required = field.default is dataclasses.MISSING
    default = None if is_required else field.default
    described = {
        "name": field.name,
        "type": kind,
        "words": words,
        "is_many": is_many,
        "is_required": is_required,
        "help": field.metadata.get("help", ""),
        "secret": field.metadata.get("secret", False),
        "default": [_plain(each) for each in default] if isinstance(default, tuple) else _plain(default),
    }
    if not is_required and not (default is None and is_optional):
        _check_default(name, spec_of(described), default)
    return described


def _type_of(cls: type, field: dataclasses.Field[Any]) -> tuple[str, list[str], bool, bool]:
    """Return the name of the type, the words of a Literal, whether it is a tuple, and whether it may be None."""
    try:
        hint = typing.get_type_hints(cls)[field.name]
    except (NameError, TypeError) as error:
        raise LoadTestError(f"{cls.__name__}.{field.name}: its type cannot be read: {error}") from error
    is_many = is_optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [each for each in typing.get_args(hint) if each is not types.NoneType]
        is_optional, hint = len(rest) < len(typing.get_args(hint)), rest[0] if len(rest) == 1 else None
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        is_many, hint = True, typing.get_args(hint)[0]
    if typing.get_origin(hint) is Literal and all(isinstance(word, str) for word in typing.get_args(hint)):
        return "word", list(typing.get_args(hint)), is_many, is_optional
    kind = {int: "int", float: "float", str: "str", bool: "bool", Path: "Path"}.get(hint)
    if kind is None:
        raise LoadTestError(f"{cls.__name__}.{field.name}: an option is of type {_TYPES}, got {field.type}")
    return kind, [], is_many, is_optional


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _check_default(name: str, of: Spec, default: Any) -> None:
    for each in default if of.kind is Kind.MANY and isinstance(default, tuple) else (default,):
        try:
            text = str(each).lower() if isinstance(each, bool) else str(_plain(each))
            fits = of.parse(text) == _plain(each)
        except ValueError:
            fits = False
        if not fits:
            raise LoadTestError(f"{name}: its default {default!r} is no value that it can have")


def made(cls: type, values: Mapping[str, Any]) -> Any:
    """Return an instance of an `@own_options` class with values that came as plain data."""
    paths = {item["name"] for item in getattr(cls, MARK) if item["type"] == "Path"}
    return cls(**{name: _typed(value, name in paths) for name, value in values.items()})


def _typed(value: Any, is_path: bool) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_typed(each, is_path) for each in value)
    return Path(value) if is_path and value is not None else value


# In the control plane: from plain data to specs.


def specs_of(described: list[dict[str, Any]]) -> dict[str, Spec]:
    """Return what is known about the load test's own options, name -> Spec."""
    return {item["name"]: spec_of(item) for item in described}


def defaults_of(described: list[dict[str, Any]]) -> dict[str, Any]:
    """Return their defaults, None for those that must be given."""
    return {
        item["name"]: tuple(item["default"]) if isinstance(item["default"], list) else item["default"]
        for item in described
    }


def spec_of(item: dict[str, Any]) -> Spec:
    """Return what is known about one option of the load test's own."""
    words = item["words"]
    parse, metavar = (units.word(*words), "|".join(words)) if words else PARSERS[item["type"]]
    is_switch = item["type"] == "bool" and item["default"] is False
    kind = Kind.MANY if item["is_many"] else Kind.SWITCH if is_switch else Kind.ONE
    return Spec(
        GROUP,
        parse,
        item["help"] or item["name"].replace("_", " ").capitalize(),
        metavar="" if is_switch else metavar,
        shown="must be given" if item["is_required"] else "",
        is_required=item["is_required"],
        roles=Role.LEADS,
        kind=kind,
        secret=item["secret"],
    )
