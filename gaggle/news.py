"""What a manager has decided or found out, for the process around it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A log line; the level is INFO or WARN."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A delta, whole, to be merged; once it is (and on disk, where that is wanted) call `acknowledge`."""

    node: str
    number: int
    parts: tuple[bytes, ...]
    began: float
    ended: float
    is_ramp: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """An incident for the report. `lost` says that it was not made good."""

    kind: str
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that belongs among the facts of the report."""

    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A worker did not come back: what it counted after its last delta and until `until_ns` at the latest is lost."""

    node: str
    number: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """All workers of a manager that was away are back, or lost: `kept` users went on, `ended` did not."""

    kept: int
    ended: int


@dataclass(frozen=True, slots=True)
class Halted:
    """All users are told to leave; the reason is one word."""

    reason: str


@dataclass(frozen=True, slots=True)
class Started:
    """The go-ahead was given: user 1 is due at `t0_ns`."""

    t0_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Every worker is gone, or given up."""


News = Line | Counted | Happened | Noted | Missing | Resumed | Started | Halted | Ended
