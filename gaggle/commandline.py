"""A command line cut into flags, their values and words. What is no flag yet may be one of the load test's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from gaggle.errors import InvalidOption
from gaggle.foreign import RENAMED, TAKEN
from gaggle.options import SPECS, Spec, flag

_NEGATIVE = re.compile(r"-\.?\d")  # a value, and no flag: its parser says that it must not be negative


class Said(NamedTuple):
    """One flag: the option that it sets, its long form, and its value; "yes" for a flag without one."""

    name: str
    flag: str
    text: str


class Word(NamedTuple):
    """A word that belongs to no flag; it may be the value of `after`, which nobody knows yet."""

    text: str
    after: str = ""


class Stranger(NamedTuple):
    """A flag that nobody knows, and what stands behind its `=`."""

    flag: str
    value: str


@dataclass(slots=True)
class Line:
    """A command line in pieces, each kind in its order."""

    said: list[Said] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)


@lru_cache(maxsize=4)
def _built_in() -> dict[str, str]:
    return _flags(SPECS)


def flags_of(specs: Mapping[str, Spec]) -> dict[str, str]:
    """Return every flag, short ones and other spellings too, with the name of its option."""
    return _built_in() if specs is SPECS else _flags(specs)


def _flags(specs: Mapping[str, Spec]) -> dict[str, str]:
    return {long: name for name, of in specs.items() for long in (flag(name), of.short, *of.aliases) if long}


def cut(argv: Sequence[str], specs: Mapping[str, Spec] = SPECS) -> Line:
    """Return the pieces of a command line without the program's name. All after `--` are words.

    Raises InvalidOption for a flag without its value, or with one that it cannot have.
    """
    return _Cutter(argv, specs).cut()


class _Cutter:
    def __init__(self, argv: Sequence[str], specs: Mapping[str, Spec]) -> None:
        self.waiting, self.specs, self.flags, self.line = list(reversed(argv)), specs, flags_of(specs), Line()

    def cut(self) -> Line:
        after = ""
        while self.waiting:
            word = self.waiting.pop()
            if word == "--":
                self.line.words += map(Word, reversed(self.waiting))
                break
            if word.startswith("-") and word != "-":
                after = self.long(word) if word.startswith("--") else self.short(word)
            else:
                self.line.words.append(Word(word, after))
                after = ""
        return self.line

    def long(self, word: str) -> str:
        """Take `--flag`, `--flag VALUE` or `--flag=VALUE`; return it if nobody knows whether the next is its value."""
        written, equals, value = word.partition("=")
        name = self.flags.get(written) or self.flags.get(RENAMED.get(written, ""))
        if name is None and self.translate(written, value if equals else None):
            return ""
        if name is None:
            self.line.strangers.append(Stranger(written, value))
            return "" if equals else written
        self.take(name, written, value if equals else None)
        return ""

    def short(self, word: str) -> str:
        """Take `-v`, `-vv`, `-u8`, `-u 8`, `-vu8`; return as `long` does."""
        for place, letter in enumerate(word[1:], 1):
            name, rest = self.flags.get(f"-{letter}"), word[place + 1 :]
            if name is None and place == 1 and self.translate(word[:2], rest or None):
                break
            if name is None:
                self.line.strangers.append(Stranger(word, ""))
                return word
            takes_value = self.specs[name].kind.takes_value
            ends = bool(rest) and (takes_value or rest.startswith("="))
            self.take(name, flag(name), rest.removeprefix("=") if ends else None)
            if takes_value or ends:
                break
        return ""

    def translate(self, written: str, value: str | None) -> bool:
        """Put the words for a flag of another load tester in its place; return whether it is one."""
        foreign = TAKEN.get(written)
        if foreign is None:
            return False
        if foreign.metavar and value is None:
            value = self.next_value()
        if bool(foreign.metavar) != (value is not None):
            wants = f"needs a value: {written} {foreign.metavar}" if foreign.metavar else "takes no value"
            raise InvalidOption(written, value or "", f"The {written} option {wants}.")
        try:
            self.waiting += reversed(foreign.means(value or ""))
        except ValueError as error:
            raise InvalidOption(written, value, f"The {written} option {error}.") from None
        return True

    def take(self, name: str, written: str, value: str | None) -> None:
        """Note what a flag says; `value` is what is attached to it."""
        of = self.specs[name]
        if not of.kind.takes_value:
            if value is not None:
                raise InvalidOption(written, value, f"The {written} flag takes no value.")
            value = "yes"
        elif value is None:
            value = self.next_value()
            if value is None:
                raise InvalidOption(written, "", f"The {written} option needs a value: {written} {of.metavar}.")
        self.line.said.append(Said(name, written, value))

    def next_value(self) -> str | None:
        """Return the next word if it can be a value: `-5` can, `-v` cannot (`--name=-v` is the way to say that)."""
        if not self.waiting:
            return None
        word = self.waiting[-1]
        return None if len(word) > 1 and word[0] == "-" and not _NEGATIVE.match(word) else self.waiting.pop()
