"""The arena: one process counts, others read, whatever happens to the first."""

from __future__ import annotations

import mmap
import os
import select
import signal
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from reference import Arena as Reference
from reference import latencies, seeded

from gaggle import _core
from gaggle._core import (
    ARENA_ERRORS,
    ARENA_SLOTS,
    ARENA_STATUSES,
    KIND_CHECK,
    KIND_REQUEST,
    KIND_TASK,
    KIND_USER,
    Arena,
)

COUNTERS = (
    *("STARTED", "ANSWERED", "BROKEN", "FAILED", "FORGIVEN", "UNFINISHED"),
    *("HOPS", "RESENT", "BYTES_IN", "BYTES_OUT", "SUM_US"),
)
STARTED, ANSWERED, SUM_US = (COUNTERS.index(name) for name in ("STARTED", "ANSWERED", "SUM_US"))
OTHER = "(other)"
Rows = dict[tuple[int, str, str], tuple[Any, ...]]


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    made.close()


def rows(arena: Arena) -> Rows:
    """Return what rows() says, by key: counts, minimum, maximum, statuses, times, first_byte."""
    return {row[:3]: row[3:] for row in arena.rows()}


def size_kb(arena: Arena) -> int:
    """Return how much of the memfd exists."""
    return os.fstat(arena.fd).st_blocks // 2


@contextmanager
def child(run: Callable[[], None]) -> Iterator[int]:
    """Fork a process that does `run`; it is killed with SIGKILL at the end, if it is still there, and waited for."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until `true` says so. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


# Names.


def test_the_order_of_the_counters_is_the_one_that_is_exported() -> None:
    assert [getattr(_core, name) for name in COUNTERS] == list(range(_core.COUNTS))
    assert (KIND_REQUEST, KIND_TASK, KIND_USER) == (0, 1, 2)


def test_a_name_keeps_its_slot_and_a_kind_or_label_has_its_own(arena: Arena) -> None:
    first = arena.slot(KIND_REQUEST, "GET", "/")

    others = [
        arena.slot(KIND_REQUEST, "POST", "/"),
        arena.slot(KIND_TASK, "GET", "/"),
        arena.slot(KIND_USER, "", "User"),
    ]

    assert arena.slot(KIND_REQUEST, "GET", "/") == first
    assert len({first, *others}) == 4
    assert list(rows(arena)) == [(0, "GET", "/"), (0, "POST", "/"), (1, "GET", "/"), (2, "", "User")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("x" * 255, "x" * 255, id="as long as can be"),
        pytest.param("x" * 256, "x" * 255, id="one byte too long"),
        pytest.param("ä" * 128, "ä" * 127, id="cut before a character of two bytes"),
        pytest.param("x" + "😀" * 64, "x" + "😀" * 63, id="cut before a character of four bytes"),
        pytest.param("a\0b", "a b", id="a NUL"),
        pytest.param("a\ud800b", "a?b", id="half a surrogate pair"),
        pytest.param("line\nbreak\t", "line\nbreak\t", id="control characters stay"),
    ],
)
def test_a_name_is_cut_on_a_character(arena: Arena, name: str, shown: str) -> None:
    index = arena.slot(KIND_REQUEST, "GET", name)

    assert list(rows(arena)) == [(0, "GET", shown)]
    assert arena.slot(KIND_REQUEST, "GET", shown) == index == arena.slot(KIND_REQUEST, "GET", name)


def test_a_label_is_cut_too(arena: Arena) -> None:
    arena.slot(KIND_TASK, "é" * 40, "task")

    assert list(rows(arena)) == [(1, "é" * 31, "task")]


def test_names_that_are_the_same_once_cut_share_a_slot(arena: Arena) -> None:
    """And take no memory each: a load test may make them up without end."""
    indices = {arena.slot(KIND_REQUEST, "GET", "/" + "x" * 300 + str(number)) for number in range(100)}

    assert len(indices) == len(rows(arena)) == 1


def test_names_beyond_the_limit_fall_into_other(arena: Arena) -> None:
    for number in range(ARENA_SLOTS):
        arena.slot(KIND_REQUEST, "GET", f"/{number}")
    before = len(rows(arena))

    lost = {arena.slot(KIND_REQUEST, method, f"/lost/{number}") for method in ("GET", "PUT") for number in range(500)}
    task = arena.slot(KIND_TASK, "User", "lost")
    arena.count(task, STARTED, 3)
    arena.time(lost.pop(), 1_500)

    read = rows(arena)
    assert not lost
    assert (before, len(read), arena.names_lost) == (4_000, 4_002, 1_001)
    assert list(read)[-2:] == [(KIND_REQUEST, "", OTHER), (KIND_TASK, "", OTHER)]
    assert read[KIND_TASK, "", OTHER][0][STARTED] == 3
    assert read[KIND_REQUEST, "", OTHER][4].total == 1
    assert arena.slot(KIND_REQUEST, "GET", "/17") == 17


def test_a_name_may_be_called_other(arena: Arena) -> None:
    index = arena.slot(KIND_REQUEST, "", OTHER)

    assert arena.slot(KIND_REQUEST, "", OTHER) == index
    assert (list(rows(arena)), arena.names_lost) == ([(0, "", OTHER)], 0)


@pytest.mark.parametrize("kind", [-1, KIND_CHECK + 1, 2**31 - 1])
def test_a_kind_that_does_not_exist_is_refused(arena: Arena, kind: int) -> None:
    with pytest.raises(ValueError, match="kind"):
        arena.slot(kind, "", "x")

    assert arena.rows() == []


# Counting.


def test_it_counts_as_the_reference_does() -> None:
    rng = seeded()
    arena, reference = Arena.create(), Reference()
    names = [(rng.choice((0, 0, 1, 2)), rng.choice(("GET", "POST", "")), f"/{number}") for number in range(30)]

    for us in latencies(rng, 20_000):
        step(rng, rng.choice(names), us, arena, reference)

    assert rows(arena) == expected(reference)
    assert {row[:4]: row[4] for row in arena.errors()} == {
        (*key, text): count for (key, text), count in reference.errors.items() if count > 0
    }
    arena.close()


def step(rng: Random, key: tuple[int, str, str], us: int, arena: Arena, reference: Reference) -> None:
    """Do one random thing to both."""
    index, slot = arena.slot(*key), reference.slot(*key)
    match rng.randrange(8):
        case 0 | 1:
            arena.time(index, us)
            reference.time(slot, us)
        case 2:
            arena.first_byte(index, us)
            slot.first_byte.record(max(us, 1))
        case 3:
            status = rng.choice((200, 200, 200, 404, 500, rng.randint(100, 599)))
            arena.status(index, status)
            reference.status(slot, status)
        case 4:
            which, amount = rng.choice(COUNTERS[:-1]), rng.randint(0, 2**30)
            arena.count(index, COUNTERS.index(which), amount)
            slot.counts[which.lower()] += amount
        case 5:
            text = f"error {rng.randint(0, 20)}"
            arena.error(index, text)
            reference.error(key, text)
        case 6:
            text = f"error {rng.randint(0, 20)}"
            arena.forgive(index, text)
            if (key, text) not in reference.errors:
                reference.errors[key, text] = 0
            reference.forgive(key, text)
        case 7:
            if rng.random() < 0.01:
                arena.epoch += 1
                reference.epoch += 1


def expected(reference: Reference) -> Rows:
    return {
        key: (
            tuple(slot.counts[name.lower()] for name in COUNTERS),
            *slot.extremes.get(reference.epoch, (0, 0)),
            dict(slot.statuses),
            Equal(slot.times.buckets()),
            Equal(slot.first_byte.buckets()),
        )
        for key, slot in reference.rows().items()
    }


class Equal(list[tuple[int, int]]):
    """Buckets that are equal to a histogram that has them."""

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other.buckets()) if isinstance(other, _core.Histogram) else super().__eq__(other)


def test_the_extremes_are_those_of_the_epoch(arena: Arena) -> None:
    busy, idle = arena.slot(KIND_REQUEST, "GET", "/busy"), arena.slot(KIND_REQUEST, "GET", "/idle")
    seen = []
    for times in ([300, 100, 200], [], [70_000], [0, -4]):
        for us in times:
            arena.time(busy, us)
        read = rows(arena)
        seen.append(read[0, "GET", "/busy"][1:3])
        assert read[0, "GET", "/idle"][1:3] == (0, 0)
        arena.epoch += 1

    assert idle == 1
    assert seen == [(100, 300), (0, 0), (70_000, 70_000), (1, 1)]
    assert rows(arena)[0, "GET", "/busy"][0][SUM_US] == 70_602


def test_an_epoch_is_never_0(arena: Arena) -> None:
    with pytest.raises(ValueError, match="epoch"):
        arena.epoch = 0

    assert arena.epoch == 1


def test_statuses_beyond_the_limit_fall_into_one(arena: Arena) -> None:
    index = arena.slot(KIND_REQUEST, "GET", "/")

    for status in [*range(ARENA_STATUSES + 30), 7, 7]:
        arena.status(index, status)

    statuses = rows(arena)[0, "GET", "/"][3]
    assert statuses == {**dict.fromkeys(range(ARENA_STATUSES), 1), 7: 3, 0xFFFF: 30}


def test_only_what_exists_can_be_counted(arena: Arena) -> None:
    index = arena.slot(KIND_REQUEST, "GET", "/")

    for slot in (-1, index + 1, ARENA_SLOTS - 1, ARENA_SLOTS + KIND_CHECK + 1):
        for act in (arena.count, arena.time, arena.first_byte, arena.status):
            with pytest.raises(IndexError):
                act(slot, 1)
        with pytest.raises(IndexError):
            arena.error(slot, "x")
    for counter in (-1, _core.COUNTS):
        with pytest.raises(IndexError):
            arena.count(index, counter)
    with pytest.raises(ValueError, match="only grow"):
        arena.count(index, STARTED, -1)


# Errors.


def test_errors_are_counted_by_slot_and_text(arena: Arena) -> None:
    before = time.time_ns()
    get, post = arena.slot(KIND_REQUEST, "GET", "/"), arena.slot(KIND_REQUEST, "POST", "/")

    for slot, text in ((get, "404"), (get, "404"), (post, "404"), (get, "refused")):
        arena.error(slot, text)

    errors = {error[:4]: error[4:] for error in arena.errors()}
    assert {key: count for key, (count, _, _) in errors.items()} == {
        (0, "GET", "/", "404"): 2,
        (0, "POST", "/", "404"): 1,
        (0, "GET", "/", "refused"): 1,
    }
    assert all(before <= first <= last <= time.time_ns() for _, first, last in errors.values())


def test_a_forgiven_error_is_not_shown(arena: Arena) -> None:
    slot = arena.slot(KIND_REQUEST, "GET", "/")
    for text in ("404", "404", "500"):
        arena.error(slot, text)

    arena.forgive(slot, "404")
    arena.forgive(slot, "500")

    assert [(error[3], error[4]) for error in arena.errors()] == [("404", 1)]


def test_errors_beyond_the_limit_fall_into_other(arena: Arena) -> None:
    slot = arena.slot(KIND_REQUEST, "GET", "/")

    for number in range(ARENA_ERRORS + 50):
        arena.error(slot, f"error {number}")
    arena.error(slot, "error 3")
    arena.forgive(slot, "error 1049")

    errors = {error[:4]: error[4] for error in arena.errors()}
    assert (len(errors), arena.errors_lost) == (1_001, 50)
    assert errors[0, "", OTHER, OTHER] == 49
    assert errors[0, "GET", "/", "error 3"] == 2


def test_an_error_of_a_lost_name_is_one_of_other(arena: Arena) -> None:
    for number in range(ARENA_SLOTS):
        arena.slot(KIND_TASK, "", str(number))

    arena.error(arena.slot(KIND_TASK, "User", "lost"), "ValueError: x")

    assert [error[:5] for error in arena.errors()] == [(KIND_TASK, "", OTHER, "ValueError: x", 1)]


def test_texts_that_are_the_same_once_cut_are_one_error(arena: Arena) -> None:
    slot = arena.slot(KIND_REQUEST, "GET", "/")

    for number in range(50):
        arena.error(slot, "ü" * 130 + str(number))

    assert [(error[3], error[4]) for error in arena.errors()] == [("ü" * 127, 50)]


# The header.


def test_what_one_process_sets_the_other_sees(arena: Arena) -> None:
    other = Arena.attach(os.dup(arena.fd))
    fields = {"epoch": 7, "state": 3, "lease_until_ns": 2**62, "heartbeat_ns": 5, "turn_started_ns": 6}
    fields |= {"users_running": 1, "users_started": 2, "users_exited": -1}

    for name, value in fields.items():
        setattr(arena, name, value)
    arena.late(250)

    assert {name: getattr(other, name) for name in fields} == fields
    assert list(other.lag().buckets()) == [(250, 1)]
    other.close()


def test_a_closed_arena_refuses_everything(arena: Arena) -> None:
    arena.error(arena.slot(KIND_REQUEST, "GET", "/"), "known")
    fd = arena.fd

    arena.close()
    arena.close()

    acts: list[Callable[[], object]] = [
        arena.rows,
        arena.errors,
        arena.lag,
        lambda: arena.epoch,
        lambda: arena.late(1),
        lambda: arena.count(0, STARTED),
        lambda: arena.slot(KIND_REQUEST, "GET", "/"),
        lambda: arena.slot(KIND_REQUEST, "GET", "/new"),
        lambda: arena.error(0, "known"),
        lambda: arena.error(0, "new"),
        lambda: arena.forgive(0, "new"),
    ]
    for act in acts:
        with pytest.raises(ValueError, match="closed"):
            act()
    assert arena.fd == -1
    with pytest.raises(OSError):
        os.fstat(fd)


# Other processes.


def test_a_killed_child_loses_nothing_that_it_counted(arena: Arena) -> None:
    """It tells through a pipe, before each request, which one it begins: the arena may have at most that one more."""
    reader, writer = os.pipe()

    def run() -> None:
        rng = Random(5)
        slots = [arena.slot(KIND_REQUEST, "GET", f"/{number}") for number in range(20)]
        for number in range(10**9):
            slot = slots[number % 20]
            arena.count(slot, STARTED)
            arena.time(slot, rng.randint(1, 10**7))
            arena.count(slot, ANSWERED)
            os.write(writer, struct.pack("Q", number + 1))

    told = 0
    with child(run) as pid:
        while told < 20_000:
            told = struct.unpack("Q", os.read(reader, 8))[0]
        os.kill(pid, signal.SIGKILL)
    while select.select([reader], [], [], 0)[0]:
        told = struct.unpack("Q", os.read(reader, 8))[0]

    read = rows(arena).values()
    assert told <= sum(row[0][ANSWERED] for row in read) <= told + 1
    assert told <= sum(row[4].total for row in read) <= told + 1
    os.close(reader)
    os.close(writer)


def test_a_reader_never_sees_half_a_slot_or_a_counter_that_shrinks(arena: Arena) -> None:
    def run() -> None:
        for number in range(10**9):
            slot = arena.slot(KIND_REQUEST, "GET", "/" + f"{number % 3_000:x}" * 20)
            arena.count(slot, STARTED)
            arena.status(slot, 200 + number % 7)
            arena.time(slot, 1 + number % 90_000)
            arena.count(slot, ANSWERED)
            if number % 3_000 < ARENA_ERRORS:
                arena.error(slot, f"error {number % 3_000}")

    reads: list[Rows] = []
    with child(run):
        until(lambda: len(rows(arena)) > 0)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            reads.append(rows(arena))
            assert all(error[3].startswith("error ") and error[2][1:] for error in arena.errors())

    assert len(reads[-1]) > len(reads[0])
    for earlier, later in pairwise(reads):
        assert later.keys() >= earlier.keys()
        for key, (counts, _, _, statuses, times, _) in earlier.items():
            assert key[2][1:]
            assert set(key[2][1:]) <= set("0123456789abcdef")
            assert counts[ANSWERED] <= counts[STARTED]
            assert all(map(int.__le__, counts, later[key][0]))
            assert all(count <= later[key][3][status] for status, count in statuses.items())
            assert later[key][4] - times is not None


def test_an_engine_that_takes_over_goes_on_with_the_names(arena: Arena) -> None:
    def first() -> None:
        arena.count(arena.slot(KIND_REQUEST, "GET", "/é"), STARTED)
        arena.error(0, "boom")

    def second() -> None:
        mine = Arena.attach(os.dup(arena.fd))
        mine.count(mine.slot(KIND_REQUEST, "GET", "/é"), STARTED)
        mine.error(mine.slot(KIND_REQUEST, "GET", "/é"), "boom")

    for run in (first, second):
        with child(run) as pid:
            assert os.waitstatus_to_exitcode(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_status) == 0

    assert [(key, row[0][STARTED]) for key, row in rows(arena).items()] == [((0, "GET", "/é"), 2)]
    assert [(error[3], error[4]) for error in arena.errors()] == [("boom", 2)]


def test_two_threads_may_read_while_one_writes(arena: Arena) -> None:
    """The GIL is all the lock there is inside of one process."""
    stop = threading.Event()

    def write() -> None:
        slot = arena.slot(KIND_REQUEST, "GET", "/")
        while not stop.is_set():
            arena.time(slot, 5)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: bool(arena.rows()))
    totals = [arena.rows()[0][7].total for _ in range(500)]
    stop.set()
    writer.join()

    assert totals == sorted(totals)


# Memory.


def test_a_new_arena_takes_one_page(arena: Arena) -> None:
    assert os.fstat(arena.fd).st_size > 1_500_000_000
    assert size_kb(arena) <= 8


def test_reading_makes_no_memory(arena: Arena) -> None:
    """Reading a page of a memfd that was never written makes it: 200 names would take 75 MB."""
    for number in range(200):
        slot = arena.slot(KIND_REQUEST if number % 2 else KIND_TASK, "", f"/{number}")
        arena.count(slot, STARTED)
        if number % 3:
            arena.time(slot, 40 * number)
            arena.time(slot, 60_000_000)
        if number % 5 == 1:
            arena.first_byte(slot, 30 * number)
    arena.error(0, "x")
    before = size_kb(arena)
    reader = Arena.attach(os.dup(arena.fd))

    reader.rows(), reader.errors(), reader.lag(), reader.epoch, reader.names_lost

    assert size_kb(arena) == before <= 200 * 5 * 4
    reader.close()


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer needs memory of its own")
def test_the_memory_of_a_reader_stays_small(arena: Arena) -> None:
    for number in range(ARENA_SLOTS):
        arena.time(arena.slot(KIND_REQUEST, "GET", f"/{number}"), 1_000)
    before = private_kb()

    def read() -> None:
        mine = Arena.attach(os.dup(arena.fd))
        assert len(mine.rows()) == ARENA_SLOTS
        assert private_kb() - before < 20_000

    with child(read) as pid:
        assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_status == 0


def private_kb() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def test_a_closed_arena_gives_its_address_space_back() -> None:
    for _ in range(100):
        arena = Arena.create()
        fd = arena.fd
        arena.close()

    with open("/proc/self/maps") as maps:
        assert "gaggle-arena" not in maps.read()
    with pytest.raises(OSError):
        os.fstat(fd)


# Descriptors that are not an arena.


def memfd(size: int, start: bytes) -> int:
    fd = os.memfd_create("wrong")
    os.ftruncate(fd, size)
    os.pwrite(fd, start, 0)
    return fd


def test_attach_refuses_what_is_no_arena(arena: Arena, tmp_path: Path) -> None:
    size, start = os.fstat(arena.fd).st_size, os.pread(arena.fd, 24, 0)
    another_version = start[:8] + struct.pack("I", 99) + start[12:]
    wrong = {
        "nothing is in it": memfd(0, b""),
        "another magic": memfd(size, b"x" + start[1:]),
        "another version": memfd(size, another_version),
        "too short": memfd(size - mmap.PAGESIZE, start),
        "too long": memfd(size + 1, start),
        "a pipe": os.pipe()[0],
        "a directory": os.open("/", os.O_RDONLY),
        "a file": os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT),
        "a terminal or so": os.open("/dev/null", os.O_RDONLY),
    }

    for reason, fd in wrong.items():
        with pytest.raises(ValueError, match=f"descriptor {fd} is"):
            Arena.attach(fd)
        os.close(fd), reason


def test_attach_refuses_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(OSError):
        Arena.attach(987_654)


def test_nobody_can_make_an_arena_shorter_under_its_readers(arena: Arena) -> None:
    """They would die of SIGBUS."""
    for size in (0, os.fstat(arena.fd).st_size + mmap.PAGESIZE):
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, size)
