"""The same times, counted by a gaggle of four workers and by one process: their reports are one, bucket for bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flock import Flock
from processes import lasting
from runs import Gaggle, Result

LONG = 60.0
USERS = 8
TIMES = 2_000  # a user

# What a user records depends on its number alone, and it is over within its first task.
REPLAY = f"""
    class Replay(User):
        wait_time = constant(3600)
        @task
        async def replay(self):
            drawn = random.Random(self.number)
            for turn in range({TIMES}):
                error = "refused" if drawn.random() < 0.01 else None
                self.record("DB", f"query {{turn % 7}}", drawn.lognormvariate(-4, 1.5), error)
"""

LoadTestFile = Callable[..., Path]
StartGaggle = Callable[..., Gaggle]


@pytest.fixture
def flock_file(load_test: LoadTestFile) -> Path:
    return load_test(REPLAY)


def counted(result: Result) -> list[dict[str, Any]]:
    """Return the rows of requests without what depends on how long the run took."""
    return [{name: value for name, value in row.items() if "per_s" not in name} for row in result.requests]


def test_a_gaggle_of_four_counts_what_one_process_counts(flock: Flock, start_gaggle: StartGaggle) -> None:
    words = ("-u", USERS, "-r", 1_000, "-t", lasting(1), "--seed", 7)
    flock.manager("--expect-workers", 4, "--host", "http://127.0.0.1:9", *words)
    flock.workers(4, "--engines", 1)
    alone = start_gaggle(flock.load_test, *words, "--no-reset-metrics", "--engines", 1, host="http://127.0.0.1:9")

    together, *workers = flock.finish(LONG)
    single = alone.finish(LONG)

    assert [result.returncode for result in (together, single, *workers)] == [0] * 6, f"{together}\n{single}"
    assert len(single.requests) == 7
    assert single.total("answered") == USERS * TIMES
    assert [row.response_time["histogram"] for row in together.requests] == [
        row.response_time["histogram"] for row in single.requests
    ]
    assert counted(together) == counted(single)
