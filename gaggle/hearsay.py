"""What engines say that a person should read: each thing once, whichever engine says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaggle import units
from gaggle.crew import Hand
from gaggle.logs import LOGGER


class Hearsay:
    """Tells it as a log line."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.lost: dict[str, dict[int, int]] = {}  # records that could not be written: log -> pid -> how many

    def is_new(self, what: str) -> bool:
        """Whether it was not said yet. From now on it was."""
        is_new = what not in self.said
        self.said.add(what)
        return is_new

    def traceback(self, hand: Hand, fields: dict[str, Any]) -> None:
        if self.is_new(fields["key"]):
            LOGGER.error("%s:\n%s", fields["what"], fields["text"].rstrip())

    def blocked(self, hand: Hand, fields: dict[str, Any]) -> None:
        if self.is_new(fields["who"]):
            what = "%s holds up the other users of its engine: more than 100 ms without an await at %s"
            LOGGER.warning(what, fields["who"], fields["place"])

    def forgotten(self, hand: Hand, fields: dict[str, Any]) -> None:
        if self.is_new(fields["what"]):
            LOGGER.warning("%s", fields["what"])

    def lost_records(self, hand: Hand, fields: dict[str, Any]) -> None:
        """Records of a log could not be written. The first time it is said; how many they were, at the end."""
        self.lost.setdefault(fields["log"], {})[hand.pid] = fields["count"]
        if self.is_new(fields["log"]):
            LOGGER.warning("%s: %s: records are lost", fields["log"], fields["why"])

    def losses(self) -> Iterator[str]:
        """Yield, once, what there is to say of each log that is not whole."""
        lost, self.lost = self.lost, {}
        for log, engines in lost.items():
            yield f"{log}: {units.thousands(sum(engines.values()))} records are lost"
