"""How a name that may hold anything is written where some characters mean something: Markdown, CSV, XML, GitHub."""

from __future__ import annotations

import re

from gaggle import units

LONGEST = 120  # columns of a name in Markdown; the machine-readable formats have all of it
# What Markdown, or GitHub's own additions to it, would turn into markup, a link, a mention, an emoji or a formula.
MARKUP = re.compile(r"[\\`*_\[\]<>&|~@#$!]|www\.|:(?=//)|(?<!\d):(?=[a-z0-9_+-]+:)", re.IGNORECASE)
# What XML 1.0 has no way to write, not even as a reference.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def markdown(text: str, width: int = LONGEST) -> str:
    """Return `text` for a cell or a line of Markdown, on one line and cut to `width` columns."""
    return MARKUP.sub(lambda found: "".join(f"&#{ord(c)};" for c in found[0]), units.truncated(text, width))


def spreadsheet(text: str) -> str:
    """Return `text` for a cell of CSV: what a spreadsheet would take for a formula gets an apostrophe before it."""
    text = units.printable(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def xml(text: str) -> str:
    """Return `text` with what XML cannot have in the form `\\x1b`; its own escapes come later."""
    return NOT_XML.sub(lambda found: found[0].encode("unicode_escape").decode(), units.printable(text))


def github(text: str, is_property: bool = False) -> str:
    """Return `text` for a workflow command of GitHub; a property (`title=`) ends at more characters than a message."""
    text = units.printable(text, keep="\n").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text
