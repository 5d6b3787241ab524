"""A user's life in an engine's loop: tasks are asyncio's own, whoever wakes them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest
from in_process import EngineLoop
from processes import eventually
from sites import Server

from gaggle import User
from gaggle.life import Life, Roster
from gaggle.loadtest import Task, UserClass
from gaggle.metrics import Row, Snapshot
from gaggle.user import UserStopped

Function = Callable[[Any], Awaitable[Any]]


class Office:
    """An engine's, without the engine: what failed is in `errors`."""

    def __init__(self, engine: EngineLoop, passes: int) -> None:
        self.engine, self.pump, self.iterations, self.stop_timeout = engine, engine.pump, passes, 5.0
        self.records: Any = SimpleNamespace(task=None, passed=None)
        self.errors: list[BaseException] = []

    def task_failed(self, name: str, duty: Any, error: BaseException) -> None:
        self.errors.append(error)

    def begin(self, *functions: Function, cls: type[User] = User, **more: Any) -> Life:
        """Let a user of these tasks live. `starts` and `stops` are those of its ends."""
        ends = [
            tuple(Task(each.__name__, each, has_row=False) for each in more.get(end, ())) for end in ("starts", "stops")
        ]
        tasks = tuple(Task(each.__name__, each, getattr(each, "weight", 1)) for each in functions)
        user = self.engine.user(cls, number=1)
        user.seed_luck(7, 1)
        life = Life(self, Roster.of(self.engine.arena, UserClass(cls, ends[0], tasks, ends[1])), user)
        life.task = self.engine.loop.create_task(life.run())
        return life

    def live(self, *functions: Function, cls: type[User] = User, **more: Any) -> Life:
        life = self.begin(*functions, cls=cls, **more)
        assert life.task is not None
        self.engine.run(life.task)
        return life

    def row(self, name: str) -> Row:
        rows = {row.key.name: row for row in Snapshot.read(self.engine.arena).tasks()}
        return rows[name] if name in rows else Row(("", "", name))  # type: ignore[arg-type]

    def passes(self) -> Row:
        (row,) = Snapshot.read(self.engine.arena).users()
        return row


@pytest.fixture
def office(engine: EngineLoop) -> Office:
    return Office(engine, 1)


# Cancelling.


async def in_a_request(user: User) -> None:
    await user.get("/stall")


async def in_the_second_request(user: User) -> None:
    await user.get("/")
    await user.get("/stall")


async def in_a_pause(user: User) -> None:
    await user.pause(60)


async def in_a_sleep(user: User) -> None:
    await user.get("/")
    await asyncio.sleep(60)


async def among_several(user: User) -> None:
    await asyncio.gather(user.get("/stall"), user.pause(60))


async def in_another_task(user: User) -> None:
    await user.get("/")
    await asyncio.create_task(in_a_request(user))


async def in_a_turn_of_the_loop(user: User) -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "way",
    [
        in_a_request,
        in_the_second_request,
        in_a_pause,
        in_a_sleep,
        among_several,
        in_another_task,
        in_a_turn_of_the_loop,
    ],
    ids=lambda way: way.__name__,
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_cancel_ends_a_task_and_what_it_waits_for(office: Office, server: Server, way: Function, times: int) -> None:
    seen: list[BaseException] = []
    left: list[str] = []

    async def task(user: User) -> None:
        try:
            await way(user)
        except BaseException as error:
            seen.append(error)
            raise

    async def last(user: User) -> None:
        left.append((await user.get("/text")).text[:5])

    async def cut() -> None:
        life = office.begin(task, stops=(last,))
        await asyncio.sleep(0.05)
        assert life.task is not None
        for _ in range(times):
            life.task.cancel()
        await life.task

    office.engine.run(cut())

    assert [type(error) for error in seen] == [asyncio.CancelledError]
    assert office.row("task").unfinished == office.passes().unfinished == 1
    assert len(left) == 1, "on_stop has run"
    assert not office.errors
    assert not office.engine.complaints
    if way is not in_a_pause and office.engine.row("GET /stall").started:
        assert eventually(lambda: server.seen().aborted) == 1


@pytest.mark.parametrize("way", [in_a_request, in_a_sleep, among_several], ids=lambda way: way.__name__)
def test_a_task_that_cancels_itself_is_cut_where_it_waits(office: Office, way: Function) -> None:
    async def task(user: User) -> None:
        await user.get("/")
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await way(user)

    office.live(task)

    assert office.row("task").unfinished == 1
    assert not office.errors
    assert not office.engine.complaints


def test_what_is_cancelled_by_its_own_task_is_cancelled(office: Office) -> None:
    """A task that cancels itself and then awaits another one takes that one with it, as everywhere in asyncio."""
    others: list[asyncio.Task[None]] = []

    async def task(user: User) -> None:
        await user.get("/")
        others.append(asyncio.create_task(asyncio.sleep(60)))
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await others[0]

    office.live(task)

    assert others[0].cancelled()


def test_a_timeout_is_a_failure_of_its_task_and_the_user_goes_on(office: Office) -> None:
    office.iterations = 3

    async def task(user: User) -> None:
        async with asyncio.timeout(0.05):
            await user.get("/stall")

    life = office.live(task)

    assert life.passes == office.row("task").failures == 3
    assert [type(error) for error in office.errors] == [TimeoutError] * 3


def test_a_cancelled_error_of_its_own_is_a_failure(office: Office) -> None:
    async def task(user: User) -> None:
        await user.get("/")
        raise asyncio.CancelledError

    office.live(task)

    assert office.row("task").failures == office.passes().answered == 1


# What a task sees.


def test_every_step_runs_in_the_user_s_own_task_and_context(office: Office) -> None:
    where: list[Any] = []
    mine = contextvars.ContextVar("mine", default=0)

    async def task(user: User) -> None:
        for wait in (user.get("/"), asyncio.sleep(0.001), user.pause(0.001), asyncio.sleep(0), user.get("/text")):
            await wait
            where.append(asyncio.current_task())
            mine.set(mine.get() + 1)
        where.append(mine.get())

    office.iterations = 2
    life = office.live(task)

    assert where == [*[life.task] * 5, 5, *[life.task] * 5, 10]
    assert asyncio.current_task(office.engine.loop) is None


def test_who_awaits_the_same_request_gets_the_same_response(office: Office) -> None:
    shared: list[Any] = []
    found: list[Any] = []

    async def task(user: User) -> None:
        if not shared:
            shared.append(user.get("/slow?ms=50"))
        found.append(await shared[0])

    async def live() -> None:
        lives = [office.begin(task) for _ in range(3)]
        await asyncio.gather(*(life.task for life in lives if life.task is not None))

    office.engine.run(live())

    assert len(found) == 3
    assert len({id(each) for each in found}) == 1


class Thrice:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Generator[None, None, str]:
        for _ in range(3):
            yield
        return "thrice"


def test_a_task_may_be_whatever_can_be_awaited(office: Office) -> None:
    def awaitable(user: User) -> Any:
        return Thrice()

    def request(user: User) -> Any:
        return user.get("/")

    def nothing(user: User) -> Any:
        return None

    life = office.live(awaitable, request, nothing)

    assert life.passes == 1
    assert [office.row(name).failures for name in ("awaitable", "request", "nothing")] == [0, 0, 1]
    assert office.engine.row("GET /").answered == 1
    assert isinstance(office.errors[0], TypeError)


def test_a_task_that_raises_shows_where(office: Office) -> None:
    async def task(user: User) -> None:
        await user.get("/")
        raise KeyError("token")

    office.live(task)

    (error,) = Snapshot.read(office.engine.arena).errors.values()
    assert error.text.startswith("KeyError: 'token' (test_lives.py:")


def test_an_interrupt_goes_through(office: Office) -> None:
    async def task(user: User) -> None:
        await user.get("/")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        office.live(task)
    assert office.row("task").answered == 0


# Passes.


def test_tasks_come_in_the_order_that_the_seed_gives(office: Office) -> None:
    """A card at a time is drawn from those that are left of the pass, by the user's chances alone."""
    drawn: list[str] = []

    def named(name: str, weight: int) -> Function:
        async def task(user: User) -> None:
            drawn.append(name)
            await user.get("/")

        task.__name__, task.weight = name, weight  # type: ignore[attr-defined]
        return task

    office.iterations = 5
    office.live(named("a", 3), named("b", 2), named("c", 1))

    reference = office.engine.user()
    reference.seed_luck(7, 1)
    wanted = []
    for _ in range(5):
        cards = list("aaabbc")
        while cards:
            wanted.append(cards.pop(int(reference.chance() * len(cards))))
    assert drawn == wanted


def test_a_user_that_stops_ends_its_pass_there(office: Office) -> None:
    class InOrder(User):
        sequential = True

    async def first(user: User) -> None:
        await user.get("/")

    async def second(user: User) -> None:
        raise UserStopped

    async def third(user: User) -> None:
        raise AssertionError("the user has left")

    office.iterations = 0
    life = office.live(first, second, third, cls=InOrder)

    assert [office.row(name).answered for name in ("first", "second", "third")] == [1, 1, 0]
    assert (life.passes, office.passes().started, office.passes().unfinished) == (0, 1, 1)


def test_the_wait_after_a_task_is_asked_for_each_time(office: Office) -> None:
    """Also where a task has just replaced it. What it returns may be whatever float() takes."""
    waits = iter([0, "0.01", 0.01, 0])

    async def task(user: Any) -> None:
        user.wait_time = lambda: next(waits)
        await user.get("/")

    office.iterations = 4
    life = office.live(task)

    assert life.passes == 4
    assert list(waits) == []
