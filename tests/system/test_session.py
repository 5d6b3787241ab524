"""`gaggle.run(...)`: a load test run from Python."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from processes import Process, children_of, eventually
from runs import clean_environment
from sites import Server

import gaggle
from gaggle import User, logs, task
from gaggle.errors import InvalidOption, LoadTestError
from gaggle.report.model import Report

LOAD_TEST = """
from gaggle import *

class Visitor(User):
    wait_time = constant(0.01)

    @task
    async def front_page(self):
        await self.get("/")

class Reader(User):
    wait_time = constant(0.01)

    @task
    async def read(self):
        await self.get("/text")
"""
SHORT = {"users": 2, "hatch_rate": 100, "run_time": "200ms", "no_reset_metrics": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "visitors.py"
    path.write_text(LOAD_TEST)
    return path


@pytest.fixture
def visitors(file: Path) -> Iterator[ModuleType]:
    """The load test, imported by name, as a test of a person's would."""
    spec = spec_from_file_location("visitors", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["visitors"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["visitors"]


@pytest.fixture(autouse=True)
def nothing_is_left(server: Server) -> Iterator[None]:
    before = set(children_of(os.getpid()))
    yield
    logs.close()
    assert set(children_of(os.getpid())) == before


@pytest.fixture
def script(tmp_path: Path, server: Server) -> Iterator[Callable[[str], Process]]:
    """Return `script(source)`, which starts a script of somebody's; HOST is the server, SHORT are options."""
    started: list[Process] = []

    def start(source: str) -> Process:
        path = tmp_path / "script.py"
        path.write_text(f"import gaggle\nHOST, SHORT = {server.url!r}, {SHORT!r}\n{dedent(source)}")
        started.append(Process([sys.executable, path], tmp_path, clean_environment()))
        return started[-1]

    yield start
    for process in started:
        process.end()


def answered(report: Report) -> dict[str, int]:
    return {f"{row.key.label} {row.key.name}": row.answered for row in report.snapshot.requests()}


def test_a_file_is_run_and_its_report_has_the_counts(file: Path, server: Server) -> None:
    report = gaggle.run(file, host=server.url, **SHORT)

    assert answered(report) == {"GET /": server.seen("GET /"), "GET /text": server.seen("GET /text")}
    assert report.snapshot.users_exited == report.users == 2
    assert not report.nothing_succeeded


def test_classes_are_run_and_no_others_of_their_file(visitors: ModuleType, server: Server) -> None:
    report = gaggle.run(visitors.Reader, host=server.url, **SHORT)

    assert answered(report) == {"GET /text": server.seen().total}
    assert [known.name for known in report.classes] == ["Reader"]


def test_report_files_are_written(file: Path, tmp_path: Path, server: Server) -> None:
    names = [str(tmp_path / "report.json"), str(tmp_path / "report.txt")]

    report = gaggle.run(str(file), host=server.url, report_file=names, **SHORT)

    written = json.loads((tmp_path / "report.json").read_text())
    assert {f"{row['method']} {row['name']}": row["answered"] for row in written["requests"]} == answered(report)
    assert "GET /text" in (tmp_path / "report.txt").read_text()


def test_nothing_is_printed(file: Path, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    gaggle.run(file, host=server.url, users=1, run_time="100ms")

    assert capfd.readouterr() == ("", "")


def test_it_runs_where_an_event_loop_runs_already(file: Path, server: Server) -> None:
    """As in a notebook."""

    async def cell() -> Report:
        return gaggle.run(file, host=server.url, **SHORT)

    report = asyncio.run(cell())

    assert sum(answered(report).values()) == server.seen().total > 0


def test_the_environment_has_no_say(file: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAGGLE_USERS", "5")

    assert gaggle.run(file, host=server.url, hatch_rate=100, run_time="100ms").users == len(os.sched_getaffinity(0))


def test_a_test_that_fails_wholly_is_a_report_too(file: Path) -> None:
    report = gaggle.run(file, host="http://127.0.0.1:9", **SHORT)

    assert report.nothing_succeeded


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"user": 3}, "There is no such option. Did you mean users?"),
        ({"users": 0}, "The argument users must be set to at least 1."),
        ({"run_time": "5mins"}, "The argument run_time must be a time such as 90, 20s, 1h30m or 500ms."),
        ({"list": True}, "list can only be set on the command line."),
        ({"cacert": "none.pem"}, "The certificates can not be read: No such file or directory."),
        ({}, "A host must be defined via the --host option, or as `host` of the user class"),
    ],
)
def test_a_wrong_option_is_an_error(file: Path, options: dict[str, object], detail: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        gaggle.run(file, **options)

    assert caught.value.detail.startswith(detail)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="No such file or directory"):
        gaggle.run(tmp_path / "none.py")


def test_a_load_test_that_cannot_be_imported_is_an_error(file: Path) -> None:
    file.write_text("1 / 0\n")

    with pytest.raises(LoadTestError, match=r"visitors\.py:1: ZeroDivisionError"):
        gaggle.run(file)


def test_a_test_that_is_aborted_is_an_error(file: Path, server: Server) -> None:
    file.write_text(LOAD_TEST.replace('await self.get("/text")', 'abort("enough")'))

    with pytest.raises(LoadTestError, match="enough"):
        gaggle.run(file, host=server.url, users=2, hatch_rate=100)


def test_a_class_of_a_function_is_refused() -> None:
    class Local(User):
        @task
        async def look(self) -> None: ...

    with pytest.raises(LoadTestError, match=r"<locals>\.Local cannot be imported by name"):
        gaggle.run(Local)


def test_what_is_no_user_is_refused() -> None:
    with pytest.raises(LoadTestError, match="got <class 'int'>"):
        gaggle.run(int)  # type: ignore[type-var]


def test_classes_of_two_files_are_refused(visitors: ModuleType) -> None:
    class Other(User):
        @task
        async def look(self) -> None: ...

    Other.__qualname__ = "Other"

    with pytest.raises(LoadTestError, match="must stand in one file"):
        gaggle.run(visitors.Visitor, Other)


def finished(process: Process) -> tuple[int, str, list[str]]:
    """Return the exit code of a script, its last line, and what it has left behind."""
    code = process.wait(20)
    survivors = process.survivors()
    return code, process.output().splitlines()[-1], survivors


def test_a_class_of_the_script_itself_is_refused(script: Callable[[str], Process]) -> None:
    process = script(
        """
        class Visitor(gaggle.User):
            @gaggle.task
            async def look(self): pass

        gaggle.run(Visitor, host=HOST)
        """
    )

    code, line, survivors = finished(process)

    assert (code, survivors) == (1, [])
    assert line.startswith("gaggle.errors.LoadTestError: Visitor cannot be imported by name")


SCRIPT_WITH_USER = """
class Visitor(gaggle.User):
    @gaggle.task
    async def look(self):
        await self.get("/")

"""


def test_a_script_can_run_itself(script: Callable[[str], Process], server: Server) -> None:
    process = script(
        f"""{SCRIPT_WITH_USER}
if __name__ == "__main__":
    print(gaggle.run(__file__, host=HOST, **SHORT).snapshot.requests()[0].answered)
"""
    )

    code, line, survivors = finished(process)

    assert (code, line, survivors) == (0, str(server.seen("GET /")), [])


def test_a_script_that_runs_itself_without_end_is_refused(script: Callable[[str], Process]) -> None:
    process = script(f"{SCRIPT_WITH_USER}\ngaggle.run(__file__, host=HOST)")

    code, line, survivors = finished(process)

    assert (code, survivors) == (1, [])
    assert line.endswith('run() is called by a load test that runs: put it under `if __name__ == "__main__":`')


@pytest.mark.parametrize("call", ["run()", "asyncio.run(cell())"])
def test_ctrl_c_ends_a_run_early_and_gives_its_report(
    script: Callable[[str], Process], server: Server, call: str
) -> None:
    process = script(
        f"""
import asyncio, logging

def run():
    report = gaggle.run("test.py", host=HOST, users=2, hatch_rate=100, no_reset_metrics=True)
    print(report.snapshot.requests()[0].answered)

async def cell():
    run()

if __name__ == "__main__":
    open("test.py", "w").write("import gaggle\\n" + '''{SCRIPT_WITH_USER}''')
    {call}
"""
    )
    wait_until_seen(server)

    process.signal(signal.SIGINT)

    code, line, survivors = finished(process)
    assert (code, line, survivors) == (0, str(server.seen("GET /")), [])


def wait_until_seen(server: Server) -> None:
    eventually(lambda: server.seen("GET /") > 3, 10, "the users are at work")
