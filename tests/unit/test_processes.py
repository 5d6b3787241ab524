"""How tests start and end processes: nothing that they started may outlive them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from processes import Process, eventually

# A process whose child has a child of its own; it prints when all are there.
FAMILY = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("all here", flush=True)
    time.sleep(60)
time.sleep(60)
"""


@pytest.fixture
def family() -> Iterator[Process]:
    process = Process([sys.executable, "-c", FAMILY])
    yield process
    process.end()


def test_a_line_is_found_whenever_it_comes() -> None:
    process = Process([sys.executable, "-c", "import sys; print('a 1'); print('b 2', file=sys.stderr)"])

    assert process.wait_for_line(r"b (\d)")[1] == "2"
    assert process.wait_for_line(r"a (\d)")[1] == "1"
    assert process.wait() == 0
    assert process.survivors() == []
    assert (process.output("stdout"), process.output("stderr")) == ("a 1\n", "b 2\n")


def test_a_line_that_cannot_come_any_more_is_not_waited_for() -> None:
    process = Process([sys.executable, "-c", "print('goodbye')"])

    with pytest.raises(AssertionError, match=r"no line has 'hello':\ngoodbye"):
        process.wait_for_line("hello", timeout=60)


def test_the_family_is_known(family: Process) -> None:
    family.wait_for_line("all here")

    assert len(family.family()) == 2
    assert len(family.children()) == 1
    assert family.children()[0] in family.family()


def test_survivors_are_found_and_ended_after_their_parents_have_gone(
    family: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.GRACE_SECONDS", 0.1)
    family.wait_for_line("all here")
    family.signal(signal.SIGTERM)

    assert family.wait() == -signal.SIGTERM
    assert len(family.survivors()) == 2
    eventually(lambda: not family.family())


def test_a_process_that_takes_too_long_is_ended_with_its_family(family: Process) -> None:
    family.wait_for_line("all here")

    with pytest.raises(AssertionError, match="still ran after"):
        family.wait(0.1)

    eventually(lambda: not family.family())
    assert family.popen.returncode == -signal.SIGKILL


def test_waiting_for_what_never_comes_names_it() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: spring"):
        eventually(lambda: False, timeout=0.05, what="spring")
