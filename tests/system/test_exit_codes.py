"""The table of exit codes in docs/running.md, row by row, as a shell sees them.

What needs more than a line has its tests elsewhere: 5 in test_deaths.py, 130 in test_stop.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import lasting
from runs import Result

RunGaggle = Callable[..., Result]

AT_ONCE = ("-u", "1", "-r", "100", "--engines", "1", "--no-reset-metrics", "--stop-timeout", "0.2s")
SHORT = ("-t", lasting(0.2))
FINE = 'await self.get("/")'
CUT = 'await asyncio.gather(self.get("/"), self.get("/stall"))'  # unfinished requests are a reason for doubt

# code, why, what a user does, options
ROWS = [
    (0, "all is well", FINE, SHORT),
    (0, "thresholds hold", FINE, (*SHORT, "--threshold", "p(95)<60s", "--threshold", "http_req_failed: rate<0.01")),
    (1, "nothing succeeded", 'await self.get("/status/500")', (*SHORT, "--threshold", "max<0.001ms")),
    (1, "aborted by itself", 'abort("no stock")', SHORT),
    (2, "an option that cannot be", FINE, ("--hatch-rate=-1",)),
    (2, "a threshold that cannot be", FINE, (*SHORT, "--threshold", "p95<1s")),
    (3, "a threshold is crossed", FINE, (*SHORT, "--threshold", "max<0.001ms")),
    (3, "a threshold matched nothing", FINE, (*SHORT, "--threshold", "max{GET /nowhere}<60s")),
    (3, "a threshold goes before --strict", CUT, (*SHORT, "--threshold", "max<0.001ms", "--strict")),
    (4, "not to be trusted, and --strict", CUT, (*SHORT, "--strict")),
]


@pytest.mark.parametrize("line", ROWS, ids=[f"{line[0]} {line[1]}" for line in ROWS])
def test_the_exit_code_is_the_one_of_the_table(line: tuple[int, str, str, tuple[str, ...]], run_gaggle: RunGaggle):
    code, _, job, options = line
    source = f"""
        class Visitor(User):
            @task
            async def visit(self):
                {job}
    """

    result = run_gaggle(source, *AT_ONCE, *options)

    assert result.returncode == code, str(result)
    assert "Traceback" not in result.stderr


def test_a_threshold_ends_the_test_where_it_is_told_to(run_gaggle: RunGaggle) -> None:
    source = """
        class Visitor(User):
            wait_time = constant(0.05)
            @task
            async def visit(self):
                await self.get("/")
    """

    result = run_gaggle(source, *AT_ONCE, "-t", "1h", "--threshold", "count<3 abort", timeout=120)

    (threshold,) = result.report["thresholds"]
    assert result.returncode == 3
    assert (threshold["holds"], threshold["missing"]) == (False, False)
    assert [kind for kind, _ in result.incidents] == ["threshold"]
    assert "FAIL count<3 abort: it was" in result.stdout


def test_the_documented_table_has_every_code_once() -> None:
    page = (Path(__file__).parents[2] / "docs/running.md").read_text()

    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]

    assert sorted(codes) == [0, 1, 2, 3, 4, 5, 130]
