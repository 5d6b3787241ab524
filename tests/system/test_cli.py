"""The command `gaggle`, whatever it is given: a clear line, the right exit code, no traceback, no process left."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pytest
from processes import Process, eventually, lasting
from runs import clean_environment

from gaggle.usage import help_text

# -P, as for the installed command: the working directory is not searched for modules.
GAGGLE = [sys.executable, "-P", "-m", "gaggle"]
NOWHERE = "http://127.0.0.1:9"
VISITOR = """
from gaggle import *

class Visitor(User):
    wait_time = constant(0.01)

    @task
    async def front_page(self):
        await self.get("/")
"""


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str


Start = Callable[..., Process]
Run = Callable[..., Ended]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return `start(*arguments, env={}, shell="")`, which starts gaggle in tmp_path, from bash if `shell` is given."""
    started: list[Process] = []

    def start(*arguments: object, env: Mapping[str, str] | None = None, shell: str = "") -> Process:
        command = [*GAGGLE, *map(str, arguments)]
        if shell:
            command = ["bash", "-c", shell, *command]
        started.append(Process(command, tmp_path, clean_environment() | dict(env or {})))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def run(start: Start) -> Run:
    """Return `run(*arguments, ...)`: as `start`, to the end, which must be one without tracebacks and survivors."""

    def run(*arguments: object, timeout: float = 20.0, **more: object) -> Ended:
        return finish(start(*arguments, **more), timeout)

    return run


def finish(process: Process, timeout: float = 20.0) -> Ended:
    code = process.wait(timeout)
    assert not process.survivors()
    ended = Ended(code, process.output("stdout"), process.output("stderr"))
    assert "Traceback" not in ended.stdout + ended.stderr, ended
    return ended


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return `write(source, name="loadtest.py")`, which writes a file, its first line the first that is not empty."""

    def write(source: str | bytes, name: str = "loadtest.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else dedent(source).lstrip("\n").encode())
        return path

    return write


def error(ended: Ended, code: int) -> str:
    """Return the one line that was printed, without its beginning."""
    assert ended.code == code, ended
    assert ended.stdout == "", ended
    assert re.fullmatch(r"Error: [^\n]+\n", ended.stderr), ended
    return ended.stderr.removeprefix("Error: ").rstrip("\n")


def invalid(option: str, value: str, detail: str) -> str:
    return f'InvalidOption {{ option: "{option}", value: "{value}", detail: "{detail}" }}'


# A load test that is none.

USER = "from gaggle import *\nclass Visitor(User):\n"
TASK = "    @task\n    async def look(self): pass\n"
NO_LOAD_TESTS = {  # tests/unit/test_loadtest.py has more
    "syntax": ("x = 1\nclass Visitor(:\n", "{file}:2: invalid syntax"),
    "a module that is not there": (
        "import gagle\n",
        "{file}:1: ModuleNotFoundError: No module named 'gagle': "
        "install it where gaggle is, or put its file beside the load test",
    ),
    "exception": ("def f():\n    return 1 / 0\nf()\n", "{file}:2: ZeroDivisionError: division by zero"),
    "exception of several lines": ("raise ValueError('a\\nb\\x1b[31m')\n", r"{file}:1: ValueError: a\nb\x1b[31m"),
    "sys.exit": ("import sys\nsys.exit(0)\n", "{file}:2: SystemExit: 0"),
    "os._exit": ("import os\nos._exit(0)\n", "the launcher ended with exit code 0 while it imported loadtest.py"),
    "crash": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "the launcher was killed by SIGSEGV while it imported loadtest.py",
    ),
    "a run within a run": (
        "import gaggle\ngaggle.run(__file__)\n",
        '{file}:2: run() is called by a load test that runs: put it under `if __name__ == "__main__":`',
    ),
    "no user": ("x = 1\n", "{file}: no user is defined: write a class that derives from gaggle.User, with a @task"),
    "weight": (
        f"{USER}    weight = 0\n{TASK}",
        "{file}:2: the weight of Visitor must be a whole number, at least 1, got 0",
    ),
}


@pytest.mark.parametrize(("source", "line"), NO_LOAD_TESTS.values(), ids=NO_LOAD_TESTS.keys())
def test_a_load_test_that_cannot_run_is_named_with_line_and_reason(run, write, source, line):
    file = write(source)

    said = error(run("loadtest.py", "--host", NOWHERE, env={"PYTHONFAULTHANDLER": ""}), code=1)

    assert said == line.replace("{file}", str(file))


def test_an_exception_in_a_file_beside_the_load_test_is_named_with_that_file(run, write):
    write("import helper\n")
    helper = write("x = 1\nraise ValueError('honk')\n", "helper.py")

    assert error(run("loadtest.py"), code=1) == f"{helper}:2: ValueError: honk"


def test_a_user_that_cannot_be_made_ends_the_test(run, write):
    write(f"{USER}    def __init__(self):\n        raise ValueError('honk')\n{TASK}")

    ended = run("loadtest.py", "--host", NOWHERE, "--users", 3, "--hatch-rate", 100, "-qq", "--no-print-metrics")

    assert error(ended, code=1) == (
        "aborted by the load test: Visitor cannot be made: ValueError: honk (loadtest.py:4)"
    )


# FILE.


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.py", "The load test can not be read: No such file or directory."),
        ("folder", "The load test can not be read: Is a directory."),
        ("notes.txt", "A load test is a Python file, and its name ends in .py."),
    ],
)
def test_a_file_that_is_no_load_test_is_refused(run, tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("geese\n")

    assert error(run(name), code=2) == invalid("FILE", name, reason)


def test_without_a_file_and_a_loadtest_py_the_error_says_what_to_give(run):
    assert error(run(), code=2) == invalid(
        "FILE", "", "No load test is given, and there is no loadtest.py here: gaggle FILE."
    )


def test_without_a_file_it_is_loadtest_py(run, write, server):
    write(VISITOR)

    ended = run("--host", server.url, "--users", 1, "--run-time", "1s", "--no-reset-metrics")

    assert ended.code == 0
    assert "GET /" in ended.stdout
    assert server.seen("GET /") > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("load tests/the first one.py", id="blanks"),
        pytest.param("tests/gänse-🪿.py", id="unicode"),
        pytest.param("caf\udce9.py", id="not UTF-8"),  # bytes that are none, as Python writes them
        pytest.param("-x.py", id="a dash"),
        pytest.param("queue.py", id="a module of Python"),
        pytest.param("gaggle.py", id="our own"),
    ],
)
def test_a_load_test_may_have_any_name(run, write, tmp_path, server, name):
    write(VISITOR, name)

    words = ("--host", server.url, "--users=1", f"-t{lasting(0.2)}", "--report-file=r.json", "--report-file=r.txt")
    ended = run(*words, "--", name)

    assert (ended.code, ended.stderr) == (0, "")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["load_test"] == name.encode("utf-8", "backslashreplace").decode() or report["load_test"] == name
    assert server.seen("GET /") > 0


def test_a_load_test_imports_what_is_beside_it(run, write, server):
    write("PATH = '/echo'\n", "folder/paths.py")
    write("import paths\n" + VISITOR.replace('"/"', "paths.PATH"), "folder/mine.py")

    assert run("folder/mine.py", "--host", server.url, "--users", 1, "--run-time", lasting(0.2)).code == 0
    assert server.seen("GET /echo") == server.seen().total > 0


# Options.

UNREACHED = 'open("imported", "w").close()\n' + USER + TASK
REFUSED = [
    ("--users 0", invalid("--users", "0", "The --users option must be set to at least 1.")),
    ("--users 2 -u3", invalid("--users", "3", "The --users option is given twice: once is enough.")),
    (
        "--run-time 5mins",
        invalid("--run-time", "5mins", "The --run-time option must be a time such as 90, 20s, 1h30m or 500ms."),
    ),
    ("--run-time -1", invalid("--run-time", "-1", "The --run-time option must not be negative.")),
    (
        "--host local.dev",
        invalid(
            "--host", "local.dev", "The --host option must be a URL such as http://local.dev:8080, with http or https."
        ),
    ),
    (
        "--report-file no/report.json",
        invalid("--report-file", "no/report.json", "The report can not be written: No such file or directory."),
    ),
    (
        "--log-file no/gaggle.log",
        invalid("--log-file", "no/gaggle.log", "The log file can not be written: No such file or directory."),
    ),
    ("--cacert no.pem", invalid("--cacert", "no.pem", "The certificates can not be read: No such file or directory.")),
    (
        "-v -q",
        invalid(
            "--verbose",
            "1",
            "The --verbose flag can not be set together with the --quiet flag: "
            "one asks for more lines, the other for fewer.",
        ),
    ),
    ("other.py", invalid("FILE", "other.py", "Only one load test runs at a time, and loadtest.py is given already.")),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED, ids=[arguments for arguments, _ in REFUSED])
def test_a_wrong_option_is_refused_before_the_load_test_is_imported(run, write, tmp_path, arguments, line):
    write(UNREACHED)

    assert error(run("loadtest.py", *arguments.split()), code=2) == line
    assert not (tmp_path / "imported").exists()


def test_a_flag_that_is_not_the_load_tests_own_either_is_refused(run, write):
    write(VISITOR)

    said = error(run("--hatchrate", 5, "loadtest.py"), code=2)

    assert said == invalid("--hatchrate", "", "There is no such option. Did you mean --hatch-rate?")


def test_a_config_file_is_taken_and_named_in_errors(run, write):
    write(VISITOR)
    write("[tool.gaggle]\nrun-time = 'soon'\n", "pyproject.toml")

    said = error(run(), code=2)

    name = "tool.gaggle.run-time in pyproject.toml"
    assert said == invalid(name, "soon", f"{name} must be a time such as 90, 20s, 1h30m or 500ms.")


def test_the_configuration_is_shown_with_its_sources(run, write):
    write(f"defaults = {{'users': 7}}\n{VISITOR}")
    write("hatch-rate = 0.5\n", "gaggle.toml")

    ended = run("--show-config", "-t20s", env={"GAGGLE_SEED": "3"})

    assert (ended.code, ended.stderr) == (0, "")
    lines = {
        line.partition(" = ")[0]: line.split(" = ")[1].split() for line in ended.stdout.splitlines() if "=" in line
    }
    assert lines["users"] == ["7", "#", "the", "load", "test's", "users"]
    assert lines["hatch-rate"] == ["0.5", "#", "hatch-rate", "in", "gaggle.toml"]
    assert lines["run-time"] == ['"20s"', "#", "--run-time"]
    assert lines["seed"] == ["3", "#", "GAGGLE_SEED"]
    assert lines["timeout"] == ['"1m"', "#", "default"]


def test_a_wrong_variable_is_refused_by_its_name(run, write):
    write(UNREACHED)

    said = error(run("loadtest.py", env={"GAGGLE_USERS": "many"}), code=2)

    assert said == invalid("GAGGLE_USERS", "many", "GAGGLE_USERS must be a whole number, at least 1.")


def test_a_test_without_a_host_says_where_one_may_be_named(run, write):
    write(VISITOR)

    said = error(run("loadtest.py"), code=2)

    detail = (
        "A host must be defined via the --host option, or as `host` of the user class (no host defined for Visitor)."
    )
    assert said == invalid("--host", "", detail)


def test_a_load_test_has_defaults_of_its_own_which_a_flag_overrules(run, write, tmp_path, server):
    defaults = {"host": server.url, "users": 3, "hatch_rate": 1000, "run_time": 60, "verbose": 1, "log_level": 1}
    write(f"""
from pathlib import Path
defaults = {{**{defaults!r}, "log_file": Path("gaggle.log"), "report_file": [Path("report.json")]}}
{VISITOR}""")

    ended = run("--run-time", "1s")

    report = json.loads((tmp_path / "report.json").read_text())
    assert ended.code == 0
    assert report["users"] == 3
    assert report["duration_s"] < 30
    assert "INFO" in ended.stderr
    assert "launching user 3 from Visitor" in (tmp_path / "gaggle.log").read_text()


@pytest.mark.parametrize(
    ("defaults", "line"),
    [
        ({"users": 0}, invalid("the load test's users", "0", "The load test's users must be set to at least 1.")),
        ({"user": 3}, invalid("the load test's user", "3", "There is no such option. Did you mean users?")),
        (
            {"report_file": "no/r.txt"},
            invalid(
                "the load test's report_file", "no/r.txt", "The report can not be written: No such file or directory."
            ),
        ),
    ],
)
def test_a_wrong_default_is_refused(run, write, defaults, line):
    write(f"defaults = {defaults!r}\n{VISITOR}")

    assert error(run("--host", NOWHERE), code=2) == line


# What needs no test to run.


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed(run, flag):
    ended = run("--users", "none", flag)

    assert ended == Ended(0, help_text(), "")


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_versions_are_printed(run, flag):
    ended = run(flag)

    ours = re.escape(version("gaggle-loadtest"))
    assert ended.code == 0
    assert re.fullmatch(rf"gaggle {ours}, libcurl 8\.\d+\.\d+, Python 3\.\d+\.\S+\n", ended.stdout)


def test_a_list_is_what_is_in_the_load_test(run, write):
    write(
        """
        from gaggle import *

        class Visitor(User):
            weight = 4

            @task(15, name="front page")
            async def front_page(self): pass

            @task
            async def about(self): pass

        class Member(User):
            @on_start(name="login")
            async def log_in(self): pass

            @task(2)
            async def look(self): pass
        """
    )

    ended = run("loadtest.py", "--list")

    assert ended == Ended(
        0,
        "Available tasks:\n"
        " - Visitor (weight: 4)\n"
        "    o front page (weight: 15)\n"
        "    o about (weight: 1)\n"
        " - Member (weight: 1)\n"
        "    o look (weight: 2)\n",
        "",
    )


# Streams.


def test_what_a_load_test_prints_comes_once_and_at_once(start, write, server):
    write("print('imported', end=' ')\n" + VISITOR + "        print(f'user {self.number} was here')\n")

    process = start("loadtest.py", "-H", server.url, "-u2", "-r100", "--engines", 2, "-q")
    process.wait_for_line("user 1 was here")
    process.wait_for_line("user 2 was here")
    process.signal(signal.SIGINT)

    assert finish(process).stdout.count("imported") == 1


def test_a_reader_that_goes_away_ends_no_load_test(run, write, tmp_path, server):
    write(VISITOR)
    arguments = ["-H", server.url, "-u1", f"-t{lasting(0.3)}", "--report-file", "report.json", "--no-reset-metrics"]

    ended = run("loadtest.py", *arguments, shell='set -o pipefail; "$0" "$@" | true')

    report = json.loads((tmp_path / "report.json").read_text())
    assert (ended.code, ended.stderr) == (0, "")
    assert report["requests"][0]["answered"] == server.seen("GET /") > 0


def test_the_reset_is_told_and_its_reader_may_go_away_then(run, write, tmp_path, server):
    write(VISITOR)
    arguments = ["-H", server.url, "-u2", "-r100", f"-t{lasting(0.3)}", "--report-file", "report.txt"]

    ended = run("loadtest.py", *arguments, shell='set -o pipefail; "$0" "$@" | head -1')

    first = "All 2 users hatched, resetting metrics (disable with --no-reset-metrics).\n"
    assert ended == Ended(0, first, "")
    assert "GET /" in (tmp_path / "report.txt").read_text()


@pytest.mark.parametrize("argument", ["--help", "loadtest.py"])
def test_a_disk_that_is_full_is_told_of(run, write, tmp_path, server, argument):
    write(VISITOR)
    arguments = ["-H", server.url, "-u1", f"-t{lasting(0.1)}", "--report-file", "report.txt"]

    ended = run(argument, *arguments, shell='exec "$0" "$@" >/dev/full')

    assert error(ended, code=1) == "stdout could not be written: No space left on device"
    assert (tmp_path / "report.txt").exists() == (argument != "--help")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_disturb_nothing(start, write, tmp_path, server, closed):
    """What is opened next would get their numbers, and whoever prints would write into it."""
    noise = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n"
    write(noise + VISITOR + "        print('out')\n        print('err', file=sys.stderr)\n        1 / 0\n")
    arguments = [
        "-H",
        server.url,
        "-u2",
        "-r100",
        f"-t{lasting(0.3)}",
        "--no-reset-metrics",
        "--report-file",
        "report.json",
        "-v",
    ]

    process = start("loadtest.py", *arguments, shell=f'exec "$0" "$@" {closed}')
    code = process.wait(20)

    report = json.loads((tmp_path / "report.json").read_text())
    assert (code, process.survivors()) == (0, [])
    assert report["requests"][0]["answered"] == server.seen("GET /") > 0


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_an_error_goes_to_stderr_or_nowhere(run, closed):
    ended = run("none.py", shell=f'exec "$0" "$@" {closed}')

    assert (ended.code, ended.stdout) == (2, "")
    assert ("none.py" in ended.stderr) == (closed == ">&-")


# Signals before the start.


@pytest.mark.parametrize("busy", ["while True: pass", "import time; time.sleep(60)"])
def test_ctrl_c_ends_an_import_that_does_not_end(start, write, tmp_path, busy):
    write(f"open('importing', 'w').close()\n{busy}\n")
    process = start("loadtest.py", "--host", NOWHERE)
    eventually((tmp_path / "importing").exists, 10, "the import begins")

    process.signal(signal.SIGINT)

    assert finish(process, timeout=5).code == 130


def test_sigterm_ends_an_import_that_does_not_end(start, write, tmp_path):
    write("open('importing', 'w').close()\nwhile True: pass\n")
    process = start("loadtest.py", "--host", NOWHERE)
    eventually((tmp_path / "importing").exists, 10, "the import begins")

    process.signal(signal.SIGTERM)

    assert finish(process, timeout=5).code == -signal.SIGTERM


SLOW_LAUNCHER = """
import sys, time
if "gaggle.launcher" in sys.orig_argv:
    open("starting", "w").close()
    time.sleep(1)
"""


def test_ctrl_c_is_for_the_supervisor_also_when_the_launcher_has_just_begun(start, write, tmp_path, server):
    """A terminal sends SIGINT to all processes of the group; the launcher printed where it was in its own imports."""
    write(VISITOR)
    write(SLOW_LAUNCHER, "sitecustomize.py")
    process = start("loadtest.py", "-H", server.url, "-u1", f"-t{lasting(0.1)}", env={"PYTHONPATH": str(tmp_path)})
    eventually((tmp_path / "starting").exists, 10, "the launcher starts")

    os.kill(process.children()[0], signal.SIGINT)

    ended = finish(process)
    assert (ended.code, ended.stderr) == (0, "")
