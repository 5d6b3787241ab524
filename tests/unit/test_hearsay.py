"""What engines say that a person should read is said once, however many say it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from gaggle.hearsay import Hearsay

ENGINES: list[Any] = [SimpleNamespace(pid=1), SimpleNamespace(pid=2)]


def test_what_all_engines_say_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    hearsay = Hearsay()

    with caplog.at_level(logging.WARNING):
        for engine in ENGINES:
            hearsay.blocked(engine, {"who": "task a of B", "place": "x.py:3"})
            hearsay.traceback(engine, {"key": "a", "what": "task a of B failed", "text": "Traceback\n"})
            hearsay.lost_records(engine, {"log": "request log x", "count": 3, "why": "No space left"})

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "task a of B holds up the other users of its engine",
        "task a of B failed",
        "request log x",
    ]


def test_lost_records_are_added_up_and_told_once() -> None:
    """A worker's engines of one epoch after the other: each loss is an incident of its own."""
    hearsay = Hearsay()
    for count in (3, 5):  # of an engine the last word counts
        hearsay.lost_records(ENGINES[0], {"log": "request log x", "count": count, "why": "full"})
    hearsay.lost_records(ENGINES[1], {"log": "request log x", "count": 2_000, "why": "full"})

    assert list(hearsay.losses()) == ["request log x: 2,005 records are lost"]
    assert list(hearsay.losses()) == []
