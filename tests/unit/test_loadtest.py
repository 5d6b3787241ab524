"""A load test's file: what is found in it, and what is said of one that cannot run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaggle.errors import LoadTestError
from gaggle.loadtest import MODULE_NAME, LoadTest, load

Load = Callable[..., LoadTest]
HEAD = "from gaggle import *\nclass Visitor(User):\n"
TASK = "    @task\n    async def look(self): pass\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "loadtest.py"


@pytest.fixture
def load_source(path: Path) -> Iterator[Load]:
    """Return `load_source(source, only=())`, which loads it, as the launcher does in a process of its own."""
    before, modules = sys.path[:], set(sys.modules)

    def written(source: str | bytes, only: tuple[str, ...] = ()) -> LoadTest:
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return load(str(path), only)

    yield written
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name == MODULE_NAME or str(path.parent) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def refusal(load_source: Load, path: Path, source: str | bytes) -> str:
    """Return what is said, `{file}` for the load test's path."""
    with pytest.raises(LoadTestError) as caught:
        load_source(source)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "{file}")


IMPORTS = [
    (b"\0\1\2", "{file}: .*null bytes", "no text at all"),
    (b"x = 'caf\xe9'\n", r"{file}:1: \(unicode error\) 'utf-8' codec can't decode.*", "another encoding"),
    ("if 1:\n\tx = 1\n        y = 2\n", "{file}:3: inconsistent use of tabs and spaces.*", "tabs"),
    ("compile('x =', 'made up', 'exec')", "made up:1: invalid syntax", "the syntax error is elsewhere"),
    ("from gaggle import Users\n", "{file}:1: ImportError: cannot import name 'Users' .*", "no such name"),
    (
        "from . import helper\n",
        "{file}:1: ImportError: attempted relative import with no known parent package: "
        "name the module alone, files beside the load test are found",
        "it is a script, not a package",
    ),
    ("import json\njson.loads('x')\n", "{file}:2: JSONDecodeError: Expecting value: .*", "the fault is in a library"),
    ("raise KeyboardInterrupt\n", "{file}:1: KeyboardInterrupt", "no Exception"),
    ("import asyncio\nraise asyncio.CancelledError\n", "{file}:2: CancelledError", "nor this"),
    ("raise ValueError\n", "{file}:1: ValueError", "nothing is said"),
    ("from gaggle import feed\nfeed('no.csv')\n", r"{file}:2: feed\('no.csv'\): .*No such file.*", "no such rows"),
]


@pytest.mark.parametrize(("source", "said", "reason"), IMPORTS, ids=[reason for _, _, reason in IMPORTS])
def test_a_file_that_cannot_be_imported_is_named_with_line_and_reason(load_source, path, source, said, reason):
    found = refusal(load_source, path, source)

    assert re.fullmatch(said.replace("{file}", r"\{file\}"), found), found


def body(lines: str) -> str:
    return HEAD + lines + TASK


WHOLE = "must be a whole number, at least 1, got"
WAIT = "give two times in seconds, the shorter one first, and neither below 0"
CLASSES = [
    ("x = 1\n", "{file}: no user is defined: write a class that derives from gaggle.User, with a @task"),
    (HEAD + "    pass\n", "{file}:2: Visitor has no task: mark an `async def` with @task"),
    (HEAD + "    @task\n    def look(self): pass\n", "{file}:3: look must be an `async def`"),
    (HEAD + "    def on_start(self): pass\n" + TASK, "{file}:3: on_start must be an `async def`"),
    ("from gaggle import *\n@test_start\ndef begin(): pass\n" + HEAD + TASK, "{file}:2: begin must be an `async def`"),
    (body("    weight = 0\n"), f"{{file}}:2: the weight of Visitor {WHOLE} 0"),
    (body("    weight = -1\n"), f"{{file}}:2: the weight of Visitor {WHOLE} -1"),
    (body("    weight = 1.5\n"), f"{{file}}:2: the weight of Visitor {WHOLE} 1.5"),
    (body("    weight = '3'\n"), f"{{file}}:2: the weight of Visitor {WHOLE} '3'"),
    (HEAD + TASK.replace("@task", "@task(0)"), f"{{file}}:3: the weight of look {WHOLE} 0"),
    (HEAD + TASK.replace("@task", "@task(-1)"), f"{{file}}:3: the weight of look {WHOLE} -1"),
    (HEAD + TASK.replace("@task", "@task(1.5)"), f"{{file}}:3: the weight of look {WHOLE} 1.5"),
    (HEAD + TASK.replace("@task", "@task('3')"), f"{{file}}:3: the weight of look {WHOLE} '3'"),
    (
        body("    fixed_count = -1\n"),
        "{file}:2: fixed_count of Visitor must be a whole number, at least 0, got -1",
    ),
    (body("    session = 'task'\n"), '{file}:2: session of Visitor must be "user" or "pass", got \'task\''),
    (body("    wait_time = between(3, 1)\n"), f"{{file}}:3: between(3, 1): {WAIT}"),
    (body("    wait_time = between(-1, 1)\n"), f"{{file}}:3: between(-1, 1): {WAIT}"),
    (body("    wait_time = between('1', 2)\n"), f"{{file}}:3: between('1', 2): {WAIT}"),
    (body("    wait_time = between(1, float('inf'))\n"), f"{{file}}:3: between(1, inf): {WAIT}"),
    (body("    wait_time = between(float('nan'), 1)\n"), f"{{file}}:3: between(nan, 1): {WAIT}"),
    (body("    wait_time = constant(-1)\n"), "{file}:3: constant(-1): give a time in seconds, not below 0"),
    (body("    wait_time = constant(None)\n"), "{file}:3: constant(None): give a time in seconds, not below 0"),
    (body("    wait_time = pacing(-1)\n"), "{file}:3: pacing(-1): give a time in seconds, not below 0"),
    (
        body("    wait_time = 3\n"),
        "{file}:2: wait_time of Visitor must be between(1, 3), constant(2), pacing(5) or a method that returns seconds"
        ", got 3",
    ),
    (
        body("    host = 'local.dev'\n"),
        "{file}:2: host of Visitor: 'local.dev' is not a URL to request: it has no scheme: "
        "write http:// or https:// in front",
    ),
    (body("    host = 3\n"), "{file}:2: host of Visitor: a URL is a str, not int"),
    ("defaults = [1]\n" + HEAD + TASK, '{file}: defaults must be a dict such as {"users": 8}, got [1]'),
]


@pytest.mark.parametrize(("source", "said"), CLASSES, ids=[said for _, said in CLASSES])
def test_what_is_wrong_is_named_with_its_line_and_what_was_given(load_source, path, source, said):
    assert refusal(load_source, path, source) == said


def test_a_wait_that_must_be_awaited_is_refused(load_source, path):
    said = refusal(load_source, path, body("    async def wait_time(self): return 1\n"))

    assert said.startswith("{file}:2: wait_time of Visitor must be between(1, 3), ")


def test_two_users_of_one_name_are_refused(load_source, path):
    (path.parent / "other_users.py").write_text(HEAD + TASK)

    said = refusal(load_source, path, "from other_users import Visitor as Other\n" + HEAD + TASK)

    assert said == f"{{file}}:3: a user is called Visitor already, at {path.parent}/other_users.py:2: rename one"


def test_a_task_called_as_a_method_of_users_is_refused(load_source, path):
    """Inside it, `self.get` would be the task."""
    said = refusal(load_source, path, HEAD + TASK.replace("look", "get"))

    assert said.startswith("{file}:3: a task must not be called get")


def test_classes_tasks_and_weights_are_found_in_their_order(load_source):
    found = load_source(
        """
from gaggle import *

class Base(User):
    @task(2, name="look around")
    async def look(self): pass

    @on_start
    async def begin(self): pass

class Member(Base):
    weight = 3
    host = "http://local.dev"

    @on_start(name="login")
    async def log_in(self): pass

    @task
    async def comment(self): pass

    async def on_stop(self): pass
"""
    )

    base, member = found.describe()["classes"]
    assert (base["name"], base["weight"], base["tasks"]) == ("Base", 1, [["look around", 2, []]])
    assert (member["name"], member["weight"], member["host"]) == ("Member", 3, "http://local.dev")
    assert member["tasks"] == [["look around", 2, []], ["comment", 1, []]]
    assert member["rows"] == ["login", "look around", "comment"]


def test_a_class_without_tasks_is_there_to_be_derived_from(load_source):
    found = load_source(f"{HEAD}    wait_time = constant(1)\nclass Reader(Visitor):\n{TASK}")

    assert [item.name for item in found.classes] == ["Reader"]


def test_only_the_classes_asked_for_are_kept(load_source):
    found = load_source(f"{HEAD}{TASK}class Reader(User):\n{TASK}", only=("Reader",))

    assert [item.name for item in found.classes] == ["Reader"]


@pytest.mark.parametrize(
    ("given", "tags"),
    [('"slow"', ["slow"]), ('["slow", "v1.2", "slow"]', ["slow", "v1.2"]), ("()", []), ('{"a-b"}', ["a-b"])],
)
def test_a_task_may_have_tags(given, tags, load_source):
    found = load_source(f"{HEAD}    @task(2, tags={given})\n    async def one(self): pass\n")

    assert found.describe()["classes"][0]["tasks"] == [["one", 2, tags]]


@pytest.mark.parametrize("given", ["3", '["a b"]', '[""]', "[None]"])
def test_what_cannot_be_a_tag_is_refused_with_its_place(given, load_source):
    with pytest.raises(LoadTestError, match=r"loadtest\.py:\d+: a tag of one must be made of letters"):
        load_source(f"{HEAD}    @task(tags={given})\n    async def one(self): pass\n")


def test_only_the_tasks_that_take_part_are_kept(load_source):
    source = f"{HEAD}{TASK}class Reader(User):\n{TASK}    @task\n    async def two(self): pass\n"
    found = load_source(source)

    classes = found.chosen({"Reader": [1]})

    assert [(item.name, [task.name for task in item.tasks]) for item in classes] == [("Reader", ["two"])]
    assert found.chosen(None) == found.classes


def test_defaults_become_what_can_be_sent(load_source):
    source = """
from pathlib import Path
defaults = {"users": 8, "hatch_rate": 0.5, "strict": True, "host": None, "report_file": (Path("a.txt"), "b.json"), 1: 2}
"""

    assert load_source(source + HEAD + TASK).describe()["defaults"] == {
        "users": 8,
        "hatch_rate": 0.5,
        "strict": True,
        "host": None,
        "report_file": ["a.txt", "b.json"],
        "1": 2,
    }


def test_a_file_that_is_written_again_at_once_is_not_taken_for_the_first(load_source, path):
    """Python's cache of bytecode cannot tell two files of one second and one size apart."""
    load_source(HEAD + TASK)

    found = load_source(HEAD + TASK.replace("look", "read"))

    assert found.classes[0].rows == ["read"]
    assert not list(path.parent.glob("__pycache__"))
