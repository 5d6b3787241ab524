"""What a load test is written with: users, tasks, waits, feeds and hooks."""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, overload

from gaggle._core import Client, Response
from gaggle.errors import LoadTestError
from gaggle.units import LONGEST

Job = Callable[..., Awaitable[Any]]
JobType = TypeVar("JobType", bound=Callable[..., Any])
ClassType = TypeVar("ClassType", bound=type)
WaitTime = Callable[[Any], float]

# What a decorator leaves on a function, and where.
MARK = "__gaggle__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator said of a function. `kind` is task, on_start, on_stop, test_start, test_stop or on_request."""

    kind: str
    weight: int = 1
    name: str | None = None
    tags: Sequence[str] | str = ()


class UserStopped(Exception):
    """Ends the user that raises it; not a failure."""


class FeedEmpty(UserStopped):
    """A feed with `once=True` has no rows left: the user that asked ends."""


class User(Client):
    """One simulated person. Subclass it, and mark what the person does with `@task`.

    Class attributes: `weight` (users of a class are made in proportion), `fixed_count` (exactly so many, whatever the
    weights say), `wait_time` (see `between`), `host` (where --host is not given), `headers` (sent with every request),
    `session` ("user": cookies and connections last as long as the user; "pass": as one pass over its tasks).
    """

    weight: ClassVar[int] = 1
    fixed_count: ClassVar[int | None] = None
    session: ClassVar[str] = "user"
    sequential: ClassVar[bool] = False
    default_host: ClassVar[str | None] = None
    default_headers: ClassVar[dict[str, str]] = {}

    shared: Any = None
    own: Any = None  # the load test's own options, see own.py; annotate it with their class
    run_seed: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take `host` and `headers` as defaults: on a user they are its own, which it may change."""
        super().__init_subclass__(**kwargs)
        if "host" in cls.__dict__:
            cls.default_host = cls.__dict__["host"]
            del cls.host
        if "headers" in cls.__dict__:
            cls.default_headers = {**cls.default_headers, **cls.__dict__["headers"]}
            del cls.headers

    @cached_property
    def random(self) -> random.Random:
        """A source of random numbers of this user's own: the same again with the same --seed."""
        return random.Random(f"{self.run_seed}:{self.number}")

    def log_debug(self, tag: str, response: Response | None = None, headers: Any = None, body: Any = None) -> None:
        """Write to the debug log, if there is one: the tag, the request behind `response`, and what it brought.

        `headers` (a mapping or pairs) and `body` (text or bytes) stand in for those of the response. A request that
        fails is in that log by itself, its reason the tag.
        """
        for listener in debug_listeners:
            listener(self, tag, response, headers, body)

    def stop(self) -> None:
        """Let this user leave after its present task."""
        self.is_stopped = True

    async def wait(self) -> None:
        """Wait once more, as after a task."""
        await self.pause(self.wait_time())


def mark(function: JobType, **said: Any) -> JobType:
    """Note on `function` what a decorator said of it."""
    setattr(function, MARK, Mark(**said))
    return function


@overload
def task(function: JobType, /) -> JobType: ...
@overload
def task(
    weight: int = 1, /, *, name: str | None = None, tags: Sequence[str] | str = ()
) -> Callable[[JobType], JobType]: ...
def task(first: Any = 1, /, *, name: str | None = None, tags: Sequence[str] | str = ()) -> Any:
    """Mark an `async def` as something a user does. A pass over the tasks does it as often as its weight says.

    `name` is its row in the report, and names its requests that have no name of their own. By its `tags` --tags and
    --exclude-tags choose it.
    """
    if callable(first):
        return mark(first, kind="task")
    return lambda function: mark(function, kind="task", weight=first, name=name, tags=tags)


class Marker(Protocol):
    """A decorator that works with and without a name: `@on_start` and `@on_start(name="login")`."""

    @overload
    def __call__(self, function: JobType, /) -> JobType: ...
    @overload
    def __call__(self, /, *, name: str | None = None) -> Callable[[JobType], JobType]: ...


def _marker(kind: str) -> Marker:
    """Return the decorator that marks what it decorates as of this kind."""

    def decorate(function: Any = None, /, *, name: str | None = None) -> Any:
        if function is None:
            return lambda function: mark(function, kind=kind, name=name)
        return mark(function, kind=kind, name=name)

    return decorate


on_start = _marker("on_start")  # once a user, before its tasks; a method called on_start does as well
on_stop = _marker("on_stop")  # once a user, when it leaves
test_start = _marker("test_start")  # once for the whole test, before the first user; what it returns is `self.shared`
test_stop = _marker("test_stop")  # once for the whole test, after the last user
on_request = _marker("on_request")  # called with every Response


def sequence(cls: ClassType) -> ClassType:
    """Let the users of this class do their tasks in order of definition, each as often as its weight says."""
    cls.sequential = True  # type: ignore[attr-defined]
    return cls


def is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and 0 <= seconds <= LONGEST


def between(low: float, high: float) -> WaitTime:
    """Wait from `low` to `high` seconds after each task, all equally likely."""
    if not (is_time(low) and is_time(high) and low <= high):
        wants = "two times in seconds, the shorter one first, and neither below 0"
        raise LoadTestError(f"between({low!r}, {high!r}): give {wants}")
    return lambda user: low + (high - low) * user.chance()


def constant(seconds: float) -> WaitTime:
    """Wait so many seconds after each task."""
    if not is_time(seconds):
        raise LoadTestError(f"constant({seconds!r}): give a time in seconds, not below 0")
    return lambda user: seconds


def pacing(seconds: float) -> WaitTime:
    """Begin a task every `seconds`: wait for what the task has left of them."""
    if not is_time(seconds):
        raise LoadTestError(f"pacing({seconds!r}): give a time in seconds, not below 0")
    return lambda user: max(0.0, seconds - (time.monotonic() - user.task_began))


class Feed:
    """Rows of a file, handed out one after the other; each engine has rows of its own."""

    def __init__(self, path: Path, rows: list[Any], once: bool) -> None:
        self.path, self.rows, self.once = path, rows, once
        self._places: Iterator[int] = iter(range(len(rows)))
        self.share(0, 1)

    def share(self, part: int, parts: int) -> None:
        """Hand out only every `parts`-th row from now on, beginning with row `part`."""
        self._part, self._parts = part, parts
        self._places = iter(range(part, len(self.rows), parts))

    def next(self) -> Any:
        """Return the next row. After the last one: the first again, or FeedEmpty when each is to be had once."""
        place = next(self._places, None)
        if place is not None:
            return self.rows[place]
        if self.once or self._part >= len(self.rows):
            raise FeedEmpty(f"{self.path.name} has no rows left")
        self.share(self._part, self._parts)
        return self.next()

    __next__ = next

    def __iter__(self) -> Feed:
        return self

    def __len__(self) -> int:
        return len(self.rows)


# Every feed of the load test: the engine gives each its share of the rows.
feeds: list[Feed] = []


def feed(path: str, once: bool = False) -> Feed:
    """Open a file of rows: .csv gives dicts by the header line, .json a list, .jsonl a value a line.

    A relative path starts from the file that calls. With `once=True` no row is handed out twice over the whole test,
    and a user that finds no row left ends.
    """
    caller = Path(sys._getframe(1).f_globals.get("__file__", "."))
    found = caller.parent / path
    reader = READERS.get(found.suffix)
    if reader is None:
        raise LoadTestError(f"feed({path!r}): the file must end in {', '.join(READERS)}")
    try:
        rows = reader(found.read_text(encoding="utf-8"))
    except (OSError, ValueError, csv.Error) as error:
        raise LoadTestError(f"feed({path!r}): {error}") from error
    if not rows:
        raise LoadTestError(f"feed({path!r}): the file has no rows")
    feeds.append(Feed(found, rows, once))
    return feeds[-1]


READERS: dict[str, Callable[[str], list[Any]]] = {
    ".csv": lambda text: list(csv.DictReader(text.splitlines())),
    ".json": lambda text: list(json.loads(text)),
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines() if line.strip()],
}


def abort(reason: str) -> None:
    """End the whole test now: users leave, the report is printed, the exit code is 1.

    Outside of a user's life (in `@test_start`, say) there is nobody to tell: it raises LoadTestError, which ends the
    test too.
    """
    if not abort_listeners:
        raise LoadTestError(reason)
    for listener in abort_listeners:
        listener(reason)


# Who hears of `User.log_debug`: the engine that runs in this process.
debug_listeners: list[Callable[[User, str, Response | None, Any, Any], None]] = []
# Who hears of `abort`: the engine that runs in this process.
abort_listeners: list[Callable[[str], None]] = []
