"""How a table of the text report is drawn: rules, a header, rows, a total. Widths are columns of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gaggle import units

RULE = 78  # dashes after a blank, as Goose draws them; a report with wide names draws more
NAME = 24  # the least width of the name column
WIDEST_NAME = 40  # a table with a wider one would not fit beside anything; what is longer is cut

BAR = " | "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers, at least `width` wide and right-aligned; it widens to its longest cell."""

    title: str
    width: int


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its name and a cell a column; a row without cells is the heading of those that follow."""

    name: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The width that the tables of one report share, so that their first columns and their rules line up."""

    name_width: int = NAME

    @classmethod
    def of(cls, names: Iterable[str]) -> Page:
        """Return the narrowest page on which all `names` can be read, up to WIDEST_NAME."""
        longest = max((units.columns(units.printable(name)) for name in names), default=0)
        return cls(min(max(longest, NAME), WIDEST_NAME))

    @property
    def rule_width(self) -> int:
        """Return how many dashes a rule has where no number asks for more."""
        return RULE + self.name_width - NAME

    def rule(self) -> str:
        """Return the line above and below a header."""
        return " " + "-" * self.rule_width

    def wrapped(self, text: str, first: str, others: str) -> list[str]:
        """Return `text` on lines as long as a rule, that begin with `first` and `others`. No word is broken."""
        return textwrap.wrap(
            text,
            self.rule_width + 1,
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def table(
        self, columns: Sequence[Column], lines: Sequence[Line], totals: Sequence[Line], title: str = "", gap: str = BAR
    ) -> list[str]:
        """Return a table as lines of text: title, header, rows, and under a line of their own `totals`.

        `gap` stands between the columns of numbers.
        """
        row = _Row(self.name_width, _widths(columns, [*lines, *totals]), gap)
        rule = " " + "-" * max(self.rule_width, row.width - 1)
        header = row.draw(Line("Name", tuple(column.title for column in columns)))
        separator = [row.separator()] if totals else []
        titled = [rule, f" {title}"] if title else []
        return [*titled, rule, header, rule, *map(row.draw, lines), *separator, *map(row.draw, totals)]


def _widths(columns: Sequence[Column], lines: Iterable[Line]) -> list[int]:
    widths = [column.width for column in columns]
    for line in lines:
        widths[: len(line.cells)] = map(max, widths, map(units.columns, line.cells))
    return widths


@dataclass(frozen=True, slots=True)
class _Row:
    name_width: int
    widths: list[int]
    gap: str

    @property
    def width(self) -> int:
        return 1 + self.name_width + len(BAR) + sum(self.widths) + len(self.gap) * (len(self.widths) - 1)

    def draw(self, line: Line) -> str:
        name = left(units.truncated(line.name, self.name_width), self.name_width)
        cells = map(right, line.cells, self.widths)
        return f" {name}{BAR}{self.gap.join(cells)}".rstrip()

    def separator(self) -> str:
        gap = self.gap.replace(" ", "-").replace("|", "+")
        return " " + "-" * self.name_width + "-+-" + gap.join("-" * width for width in self.widths)


def left(text: str, width: int) -> str:
    """Return `text` filled up with blanks to `width` columns."""
    return text + " " * (width - units.columns(text))


def right(text: str, width: int) -> str:
    """Return `text` with blanks before it, `width` columns wide."""
    return " " * (width - units.columns(text)) + text


def packed(items: Iterable[str], width: int) -> Iterator[str]:
    """Yield lines of at most `width` columns, of as many `items` as fit, with commas; a longer item has its own."""
    line = ""
    for item in items:
        if line and units.columns(f"{line}, {item},") > width:
            yield line + ","
            line = item
        else:
            line = f"{line}, {item}" if line else item
    if line:
        yield line
