"""Workers that are started without a load test: what they are sent, where it is kept, and what else they are told."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from flock import Flock
from processes import eventually
from runs import Result
from sites import Server

LONG = 30.0

LoadTestFile = Callable[..., Path]
RunGaggle = Callable[..., Result]

SHOP = """
    from goods.names import PATH

    class Shopper(User):
        people = feed("data/people.csv")

        @task
        async def shop(self):
            response = await self.get(PATH)
            self.check("is there", response.ok)
            self.check("is somebody", self.people.next()["name"] == "nobody")
            self.count("items", 3)
            self.gauge("number", self.number)
            await self.pause(0.02)
"""


@pytest.fixture
def shop(load_test: LoadTestFile, tmp_path: Path) -> Path:
    """A load test with a module and a data file of its own, each in a folder."""
    for name, text in (("goods/names.py", 'PATH = "/"\n'), ("data/people.csv", "name\nAda\nBob\n")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return load_test(SHOP)


@pytest.fixture
def flock_file(shop: Path) -> Path:
    return shop


@pytest.fixture
def flock(flock: Flock, tmp_path: Path) -> Flock:
    (tmp_path / "tmp").mkdir()
    flock.env["TMPDIR"] = str(tmp_path / "tmp")
    return flock


def test_a_worker_without_a_load_test_runs_the_manager_s(flock: Flock, server: Server, tmp_path: Path) -> None:
    """And what it counts itself is in the manager's report, from both workers."""
    manager = flock.manager("--expect-workers", 2, "--host", server.url, "-u4", "-r50", "--ship")
    flock.workers(1, "--engines", 1)
    newcomer = flock.newcomer("--engines", 1)
    newcomer.wait_for_line("launched 2 users", LONG)
    (home,) = (tmp_path / "tmp").iterdir()
    mode = home.stat().st_mode & 0o777
    there = {str(path.relative_to(home)) for path in home.rglob("*.*") if "__pycache__" not in path.parts}
    eventually(lambda: server.seen("GET /") > 40)

    manager.signal(signal.SIGINT)
    lead, *others = flock.finish(LONG)

    assert [result.returncode for result in (lead, *others)] == [0, 0, 0], f"{lead}\n{others}"
    assert there == {"loadtest.py", "goods/names.py", "data/people.csv"}
    assert mode == 0o700
    assert not list((tmp_path / "tmp").iterdir())
    assert "gaggle --worker --ship --manager-host" in manager.output("stdout")
    seen = lead.request("GET /").answered
    assert seen == server.seen("GET /")
    checks = {check["name"]: check for check in lead.report["checks"]}
    assert checks["is there"] == {"name": "is there", "times": seen, "passed": seen, "failed": 0}
    assert checks["is somebody"] == {"name": "is somebody", "times": seen, "passed": 0, "failed": seen}
    assert lead.report["counts"] == [{"name": "items", "times": seen, "sum": 3 * seen}]
    (gauge,) = lead.report["gauges"]
    assert gauge["times"] == seen
    assert 1 <= gauge["min"] <= gauge["last"] <= gauge["max"] <= 4
    assert "=== CUSTOM METRICS ===" in lead.stdout


def test_a_worker_without_a_load_test_is_told_when_there_is_none_for_it(flock: Flock) -> None:
    manager = flock.manager("--expect-workers", 1, "--host", "http://127.0.0.1:9/", "-u1")

    refused = flock.newcomer().finish(LONG)

    why = "it has no load test: name its file, or start the manager with --ship"
    assert refused.stderr.splitlines()[-1] == f"Error: the manager refused this worker: {why}"
    assert refused.returncode == 1
    manager.signal(signal.SIGINT)


def test_a_data_file_that_cannot_be_sent_is_named_before_anybody_waits(
    run_gaggle: RunGaggle, load_test: LoadTestFile, tmp_path: Path, zeromq: None
) -> None:
    (tmp_path / "elsewhere.csv").write_text("name\nAda\n")
    (tmp_path / "tests").mkdir()
    source = SHOP.replace("data/people.csv", "../elsewhere.csv").replace("from goods.names import PATH", "PATH = '/'")

    result = run_gaggle(load_test(source, "tests/loadtest.py"), "--manager", "--expect-workers", 1, "--ship")

    why = f"it is not in the load test's folder {tmp_path}/tests"
    assert result.stderr == f"Error: {tmp_path}/elsewhere.csv cannot be sent to workers: {why}\n"
    assert result.returncode == 1
