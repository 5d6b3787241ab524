"""How times, sizes, counts and names are read and written. Pure functions; a time without a unit is seconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal

# 31 years. Times become int64 nanoseconds in the core, and sums of a few of them must still fit.
LONGEST = 1e9
SECOND_NS = 1_000_000_000

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_DECIMAL = re.compile(_NUMBER, re.ASCII)
_TIME = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?", re.ASCII)
_SIZE = re.compile(rf"{_NUMBER} ?([a-z]*)", re.ASCII | re.IGNORECASE)
_IN_SECONDS = (3_600, 60, 1, 0.001)  # a group of _TIME each
_LETTERS = "kmgt"
# A bare letter counts in 1,024s, as in the size options of curl, dd and nginx; only "kB" is a thousand.
_IN_BYTES = (
    {"": 1, "b": 1}
    | {letter + end: 1_024**power for power, letter in enumerate(_LETTERS, 1) for end in ("", "i", "ib")}
    | {letter + "b": 1_000**power for power, letter in enumerate(_LETTERS, 1)}
)
# Up to which value how many decimals make three significant digits. The limits are where rounding moves up.
_DECIMALS = ((0.9995, 3), (9.995, 2), (99.95, 1))
_WIDE = {"W", "F"}
YES, NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (also right-to-left), lone surrogates, ends of lines


def decimal(text: str) -> float:
    """Return the number (0 or above) that `text` holds in plain digits: `8`, `0.5`, `.5`.

    Raises ValueError for all else, also for what float() would take: `nan`, `1e3`, `1_000`, blanks, a sign.
    """
    number = float(text) if _DECIMAL.fullmatch(text) else float("inf")
    if number == float("inf"):
        raise ValueError("must be a number such as 8 or 0.5")
    return number


def digits(number: float) -> str:
    """Return a number as `decimal` reads it, all of it and in digits alone: 1e-07 is `0.0000001`."""
    return format(Decimal(repr(number)), "f")


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"must be a whole number, at least {least}")
        # int() refuses more than 4,300 digits with a text of its own.
        number = int(text) if len(digits) < 20 else (most + 1 if text == digits else least - 1)
        if number < least:
            raise ValueError(f"must be set to at least {least}")
        if number > most:
            raise ValueError(f"must be set to at most {thousands(most)}")
        return number

    return parse


def above_zero(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Return `parse`, which refuses 0 too."""

    def checked(text: str) -> float:
        number = parse(text)
        if number <= 0:
            raise ValueError("must be greater than 0")
        return number

    return checked


def share(text: str) -> float:
    """Return the share that `text` holds, `1%` or `0.01`. Raises ValueError unless it is above 0 and at most 1."""
    number, is_percent = (text[:-1].rstrip(), True) if text.endswith("%") else (text, False)
    found = float(number) / (100 if is_percent else 1) if _DECIMAL.fullmatch(number) else 0.0
    if not 0 < found <= 1:
        raise ValueError("must be a share above 0 and at most 1, such as 0.01 or 1%")
    return found


def word(*words: str) -> Callable[[str], str]:
    """Return a parser that takes one of `words`."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {listed(words)}")
        return text

    return parse


def yes_no(text: str) -> bool:
    """Return whether `text` says yes: one of YES, against one of NO, in any case."""
    if text.lower() not in YES + NO:
        raise ValueError("must be yes or no")
    return text.lower() in YES


def seconds(text: str) -> float:
    """Return the time that `text` holds: `90`, `20s`, `1h30m`, `1h30m5s`, `1.5s`, `500ms`; a bare number is seconds.

    Raises ValueError, with a reason that follows an option's name, for anything else and above LONGEST.
    """
    if text.startswith("-") and _time(text[1:]) is not None:
        raise ValueError("must not be negative")
    total = _time(text)
    if total is None:
        raise ValueError("must be a time such as 90, 20s, 1h30m or 500ms")
    if total > LONGEST:
        raise ValueError("must be at most 30 years")
    return total


def _time(text: str) -> float | None:
    if _DECIMAL.fullmatch(text):
        return float(text)
    parts = _TIME.fullmatch(text)
    if not text or parts is None:
        return None
    return sum(float(part) * unit for part, unit in zip(parts.groups(), _IN_SECONDS, strict=True) if part)


def size(text: str) -> int:
    """Return the number of bytes that `text` holds: `4096`, `64k`, `16MiB`, `1.5 GiB`, `1kB` (1,000), in any case.

    Raises ValueError for anything else and from 2**63 on; a fraction of a byte is dropped.
    """
    parts = _SIZE.fullmatch(text)
    unit = _IN_BYTES.get(parts[2].lower()) if parts else None
    if parts is None or unit is None:
        raise ValueError("must be a size such as 4096, 64k or 16MiB")
    number = float(parts[1]) * unit
    if number >= 2**63:
        raise ValueError("must be less than 8 EiB")
    return int(number)


def clock(seconds: float) -> str:
    """Return whole seconds as `00:01:05`; hours grow beyond two digits; a fraction is dropped."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def worded(seconds: float) -> str:
    """Return whole seconds in words, `1 second`, `58 seconds`, `1,805 seconds`; a fraction is dropped."""
    whole = int(seconds)
    return f"{thousands(whole)} second" + "s" * (whole != 1)


def timespan(seconds: float) -> str:
    """Return a time in the form that `seconds()` reads, to the millisecond: `1h30m5s`, `20s`, `500ms`, `0`."""
    whole, ms = divmod(round(seconds * 1_000), 1_000)
    counts = (whole // 3_600, whole // 60 % 60, whole % 60, ms)
    return "".join(f"{count}{unit}" for count, unit in zip(counts, ("h", "m", "s", "ms"), strict=True) if count) or "0"


def thousands(number: int) -> str:
    """Return a whole number with commas: `46,782`."""
    return f"{number:,}"


def significant(value: float) -> str:
    """Return three significant digits below 1,000 and whole numbers with commas above; none finer than 0.001.

    Zeros that only fill up are left out: `0`, `0.42`, `3.1`, `24`, `183`, `1,632`.
    """
    digits = next((digits for limit, digits in _DECIMALS if value < limit), 0)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def number(value: float) -> str:
    """Return any number: whole ones with commas, others as `significant` does, `-` before those below 0."""
    text = thousands(int(abs(value))) if value == int(value) else significant(abs(value))
    return f"-{text}" if value < 0 else text


def milliseconds(us: float) -> str:
    """Return a time given in microseconds as milliseconds, as `significant` does: 420 is `0.42`."""
    return significant(us / 1_000)


def byte_count(number: float) -> str:
    """Return a number of bytes in binary units, as `significant` does: `512 B`, `1.5 KiB`, `16 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1_023.5:  # from here on it would be written as 1,024
            return f"{significant(number)} {unit}"
        number /= 1_024
    return f"{significant(number)} TiB"


def rate(per_second: float) -> str:
    """Return a rate with two decimals below 1,000 and none above: `0.00`, `25.90`, `1,234`. As Goose prints them."""
    return f"{per_second:,.{2 if per_second < 999.995 else 0}f}"


def percent(part: float, whole: float) -> str:
    """Return the share of `part` in `whole` to one decimal; `0%` and `100%` mean exactly none and all.

    Nothing out of nothing is `0%`. What rounding would turn into none or all is `<0.1%` or `>99.9%`.
    """
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.05:
        return "<0.1%"
    if 99.95 <= share < 100:
        return ">99.9%"
    return f"{share:.1f}".removesuffix(".0") + "%"


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: wide characters take two, combining ones none."""
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def wildcard(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return what matches `pattern`, in which `*` stands for anything, as a whole (fullmatch)."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), flags)


def printable(text: str, keep: str = "") -> str:
    """Return `text` with what would move the cursor or colour the screen, save what is in `keep`, as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _UNSAFE else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def truncated(name: str, width: int) -> str:
    """Return `name` in at most `width` columns and on one line; what was cut ends in `..`. As Goose does."""
    name = printable(name)
    if columns(name) <= width:
        return name
    used, kept = 0, 0
    for character in name:
        used += _columns_of(character)
        if used > width - 2:
            break
        kept += 1
    return name[:kept] + ".."[:width]


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    *front, last = words
    return f"{', '.join(front)} or {last}" if front else last
