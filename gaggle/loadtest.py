"""A load test, imported and checked: its classes, their tasks and hooks. Never runs in the control plane."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

from gaggle._core import Url
from gaggle.errors import LoadTestError
from gaggle.own import MARK as OWN_MARK
from gaggle.units import printable
from gaggle.user import MARK, Job, Mark, User, feeds

MODULE_NAME = "loadtest_under_way"
Chosen = dict[str, list[int]]
"""By the name of a user class, which of its tasks take part (from 0). Classes that do not are not in it."""
TAG = re.compile(r"[\w.-]+")
WEIGHT = "must be a whole number, at least 1"


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that a user does. `name` is its row; `request_name` names its requests, None: they have their paths."""

    name: str
    function: Job
    weight: int = 1
    request_name: str | None = None
    has_row: bool = True
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserClass:
    """A user class and what its users do, in order."""

    cls: type[User]
    starts: tuple[Task, ...]
    tasks: tuple[Task, ...]
    stops: tuple[Task, ...]

    @property
    def name(self) -> str:
        return self.cls.__name__

    def with_tasks(self, places: list[int]) -> UserClass:
        """Return the class with these of its tasks."""
        return replace(self, tasks=tuple(self.tasks[place] for place in places))

    @property
    def rows(self) -> list[str]:
        """Names of the rows of the report, in order."""
        return [task.name for task in (*self.starts, *self.tasks, *self.stops) if task.has_row]


@dataclass(frozen=True, slots=True)
class LoadTest:
    """What a file of the person's defines."""

    path: Path
    classes: tuple[UserClass, ...]
    test_starts: tuple[Job, ...]
    test_stops: tuple[Job, ...]
    hooks: tuple[Any, ...]
    defaults: dict[str, Any]
    own: type | None = None  # the class of its own options

    def chosen(self, kept: Chosen | None) -> tuple[UserClass, ...]:
        """Return the classes with the tasks that take part; all without a choice."""
        if kept is None:
            return self.classes
        return tuple(item.with_tasks(kept[item.name]) for item in self.classes if item.name in kept)

    def describe(self) -> dict[str, Any]:
        """Return what the control plane needs to know, as plain data."""
        return {
            "classes": [
                {
                    "name": item.name,
                    "weight": item.cls.weight,
                    "fixed_count": item.cls.fixed_count,
                    "host": item.cls.default_host,
                    "rows": item.rows,
                    "tasks": [[task.name, task.weight, list(task.tags)] for task in item.tasks],
                }
                for item in self.classes
            ],
            "hash": fingerprint(self),
            "has_test_start": bool(self.test_starts),
            "has_test_stop": bool(self.test_stops),
            "defaults": self.defaults,
            "own": getattr(self.own, OWN_MARK, []),
        }


def fingerprint(load_test: LoadTest) -> str:
    """Return a hash of what all machines must have: classes, tasks, files of the load test's folder, feeds."""
    digest = hashlib.sha256()
    for item in load_test.classes:
        tasks = [(task.name, task.weight) for task in (*item.starts, *item.tasks, *item.stops)]
        digest.update(repr((item.name, item.cls.weight, item.cls.fixed_count, item.cls.default_host, tasks)).encode())
    for file in sorted(local_files(load_test.path), key=lambda file: str(file)):
        digest.update(file.read_bytes())
    for each in feeds:
        digest.update(each.path.read_bytes())
    return digest.hexdigest()


def local_files(path: Path) -> set[Path]:
    """Return the load test and the modules it imports from its own folder."""
    files = {Path(str(getattr(module, "__file__", None))) for module in list(sys.modules.values())}
    return {path, *(file for file in files if path.parent in file.parents and "site-packages" not in file.parts)}


def load(path: str, only: Iterable[str] = ()) -> LoadTest:
    """Import the file and check it; `only` names the user classes to keep. Raises LoadTestError with file and line."""
    file = Path(path).resolve()
    module = import_file(file)
    kept = [cls for cls in user_classes(module) if not only or cls.__name__ in set(only)]
    if not kept:
        raise LoadTestError(f"{file}: no user is defined: write a class that derives from gaggle.User, with a @task")
    check_names(kept)
    functions = [value for value in vars(module).values() if isinstance(getattr(value, MARK, None), Mark)]
    return LoadTest(
        path=file,
        classes=tuple(user_class(cls) for cls in kept),
        test_starts=tuple(check_async(each) for each in functions if marked(each, "test_start")),
        test_stops=tuple(check_async(each) for each in functions if marked(each, "test_stop")),
        hooks=tuple(check_plain(each) for each in functions if marked(each, "on_request")),
        defaults=plain_defaults(file, getattr(module, "defaults", {})),
        own=own_class(module),
    )


def import_file(file: Path) -> ModuleType:
    """Import `file` under a name of its own, its folder first in the search path, as python does with a script."""
    loader = SourceFileLoader(MODULE_NAME, str(file))
    spec = spec_from_file_location(MODULE_NAME, file, loader=loader)
    assert spec is not None  # there is a loader
    sys.path.insert(0, str(file.parent))
    module = sys.modules[MODULE_NAME] = module_from_spec(spec)
    try:
        # Not exec_module: its cache takes a file that was written twice in a second for the first one.
        exec(loader.source_to_code(file.read_bytes(), str(file)), vars(module))
    except LoadTestError as error:
        raise LoadTestError(f"{place_of(error) or file}: {error}") from error
    except BaseException as error:  # also what would end a script: sys.exit() and the like
        raise LoadTestError(f"{place_of(error) or file}: {reason(error)}") from error
    return module


def reason(error: BaseException) -> str:
    """Return what is wrong with a file that cannot be imported, "NameError: name 'x' is not defined", and a way out."""
    if isinstance(error, SyntaxError):
        return error.msg
    text = f"{type(error).__name__}: {printable(str(error))}" if str(error) else type(error).__name__
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f"{text}: name the module alone, files beside the load test are found"
    if isinstance(error, ModuleNotFoundError):
        return f"{text}: install it where gaggle is, or put its file beside the load test"
    return text


def place_of(error: BaseException) -> str:
    """Return "file:line" of the last place in the person's own files that the error passed; "" when there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_of_load_test(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def is_of_load_test(filename: str) -> bool:
    """Whether a file is the person's own: not gaggle's, not Python's, not an installed package's."""
    return not (filename.startswith((GAGGLE, STDLIB, "<")) or "site-packages" in filename or filename.endswith(".pxi"))


GAGGLE = __file__.rpartition("/")[0] + "/"
STDLIB = asyncio.__file__.rpartition("/asyncio/")[0] + "/"


def plain_defaults(file: Path, defaults: Any) -> dict[str, Any]:
    """Return the load test's `defaults` with values that can be sent: numbers, text, lists of them."""
    if not isinstance(defaults, Mapping):
        raise LoadTestError(f'{file}: defaults must be a dict such as {{"users": 8}}, got {defaults!r}')
    return {str(name): plain(value) for name, value in defaults.items()}


def own_class(module: ModuleType) -> type | None:
    """Return the class that `@own_options` marks, if there is one."""
    found = {value for value in vars(module).values() if inspect.isclass(value) and OWN_MARK in vars(value)}
    if len(found) > 1:
        names = " and ".join(sorted(cls.__name__ for cls in found))
        raise LoadTestError(f"{module.__file__}: {names} are both @own_options: a load test has one class of them")
    return next(iter(found), None)


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def user_classes(module: ModuleType) -> list[type[User]]:
    """Return the classes with tasks that the module defines or imports, in order; those without are to derive from."""
    found = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, User)]
    return [cls for cls in dict.fromkeys(found) if cls is not User and (has_tasks(cls) or not has_subclass(cls, found))]


def check_names(classes: list[type[User]]) -> None:
    """Refuse classes that the report could not tell apart."""
    for one, other in combinations(classes, 2):
        if one.__name__ == other.__name__:
            raise LoadTestError(f"{where(other)}: a user is called {one.__name__} already, at {where(one)}: rename one")


def has_tasks(cls: type[User]) -> bool:
    return any(marked(value, "task") for value in members(cls).values())


def has_subclass(cls: type[User], classes: list[type[User]]) -> bool:
    return any(other is not cls and issubclass(other, cls) for other in classes)


def members(cls: type[User]) -> dict[str, Any]:
    """Return what the class and its bases define, in order; a derived definition takes the place of the first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return found


def marked(value: Any, kind: str) -> bool:
    mark = getattr(value, MARK, None)
    return isinstance(mark, Mark) and mark.kind == kind


def user_class(cls: type[User]) -> UserClass:
    """Check one class and gather its tasks."""
    check_numbers(cls)
    check_host(cls)
    found = members(cls)
    tasks = tuple(make_task(key, value) for key, value in found.items() if marked(value, "task"))
    if not tasks:
        raise LoadTestError(f"{where(cls)}: {cls.__name__} has no task: mark an `async def` with @task")
    return UserClass(cls, edge_tasks(found, "on_start"), tasks, edge_tasks(found, "on_stop"))


def edge_tasks(found: dict[str, Any], kind: str) -> tuple[Task, ...]:
    """Gather what runs at one end of a user's life: what is marked, and the method of that very name."""
    chosen = {key: value for key, value in found.items() if marked(value, kind) or (key == kind and callable(value))}
    return tuple(make_task(key, value) for key, value in chosen.items())


def make_task(key: str, function: Any) -> Task:
    mark = getattr(function, MARK, Mark(key))
    check_async(function)
    if mark.kind == "task" and hasattr(User, key):
        raise LoadTestError(f"{where(function)}: a task must not be called {key}, which a user has already: rename it")
    if not isinstance(mark.weight, int) or mark.weight < 1:
        raise LoadTestError(f"{where(function)}: the weight of {key} {WEIGHT}, got {mark.weight!r}")
    has_row = mark.kind == "task" or mark.name is not None
    return Task(mark.name or key, function, mark.weight, mark.name, has_row, check_tags(function, mark.tags))


def check_tags(function: Any, tags: Any) -> tuple[str, ...]:
    """Return the tags of a task, of which one may be given alone."""
    found = tuple(tags) if isinstance(tags, list | tuple | set | frozenset) else (tags,)
    for tag in found:
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            wants = "letters, digits, _ . and -"
            raise LoadTestError(f"{where(function)}: a tag of {function.__name__} must be made of {wants}, got {tag!r}")
    return tuple(dict.fromkeys(found))


def check_async(function: Any) -> Any:
    if not inspect.iscoroutinefunction(function):
        raise LoadTestError(f"{where(function)}: {function.__name__} must be an `async def`")
    return function


def check_plain(function: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        raise LoadTestError(
            f"{where(function)}: {function.__name__} must be a plain `def`: nobody waits for what @on_request marks"
        )
    return function


def check_numbers(cls: type[User]) -> None:
    if not isinstance(cls.weight, int) or cls.weight < 1:
        raise LoadTestError(f"{where(cls)}: the weight of {cls.__name__} {WEIGHT}, got {cls.weight!r}")
    if cls.fixed_count is not None and (not isinstance(cls.fixed_count, int) or cls.fixed_count < 0):
        wants = "must be a whole number, at least 0"
        raise LoadTestError(f"{where(cls)}: fixed_count of {cls.__name__} {wants}, got {cls.fixed_count!r}")
    if cls.session not in ("user", "pass"):
        raise LoadTestError(f'{where(cls)}: session of {cls.__name__} must be "user" or "pass", got {cls.session!r}')
    if not callable(cls.wait_time) or inspect.iscoroutinefunction(cls.wait_time):
        wants = "between(1, 3), constant(2), pacing(5) or a method that returns seconds"
        raise LoadTestError(f"{where(cls)}: wait_time of {cls.__name__} must be {wants}, got {cls.wait_time!r}")


def check_host(cls: type[User]) -> None:
    if cls.default_host is None:
        return
    try:
        Url.parse(cls.default_host)
    except (ValueError, TypeError) as error:
        raise LoadTestError(f"{where(cls)}: host of {cls.__name__}: {error}") from error


def where(thing: Any) -> str:
    """Return "file:line" of a class or function."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return getattr(thing, "__qualname__", str(thing))
