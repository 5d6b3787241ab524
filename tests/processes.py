"""Processes that tests start: their lines as they come, their descendants, and their certain end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar
from uuid import uuid4

# In the environment of a process and so of all it starts, whoever their parent is by now: how survivors are found.
MARK = "TEST_RUN"
POLL_SECONDS = 0.01
# So many times as long a test waits for what must come, and `lasting` runs last: what is right may be slow.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))
GRACE_SECONDS = 5.0  # in which descendants must notice that the process has gone

Found = TypeVar("Found")


def eventually(predicate: Callable[[], Found], timeout: float = 5.0, what: str = "") -> Found:
    """Return the first true value of `predicate`, asked every 10 ms. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout * PATIENCE
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or predicate}"
        time.sleep(POLL_SECONDS)
    return found


def lasting(seconds: float) -> str:
    """Return a run time in which each user does something, also on a slow machine."""
    return f"{seconds * min(PATIENCE, 4):g}s"


class Line(NamedTuple):
    """One line that a process has printed; `stream` is stdout or stderr, `at` is time.monotonic()."""

    stream: str
    text: str
    at: float


class Process:
    """A running command, whose output is read while it runs."""

    def __init__(
        self, command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] = os.environ
    ) -> None:
        self.mark = uuid4().hex
        self.command = [str(word) for word in command]
        self.popen = subprocess.Popen(
            self.command,
            cwd=cwd,
            env={**env, MARK: self.mark},
            stdin=subprocess.PIPE,  # kept open: who was started with --with-parent ends when we do
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.lines: list[Line] = []
        self.news = threading.Condition()
        self.open_streams = 2
        self.readers = [self.follow("stdout", self.popen.stdout), self.follow("stderr", self.popen.stderr)]

    def follow(self, name: str, stream: IO[str] | None) -> threading.Thread:
        thread = threading.Thread(target=self.read, args=(name, stream), daemon=True)
        thread.start()
        return thread

    def read(self, name: str, stream: IO[str]) -> None:
        for text in stream:
            with self.news:
                self.lines.append(Line(name, text, time.monotonic()))
                self.news.notify_all()
        with self.news:
            self.open_streams -= 1
            self.news.notify_all()

    def wait_for_line(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Return the match in the first line that `pattern` is found in, printed already or still to come.

        Raises AssertionError with what was printed when none comes in `timeout` seconds, or the process has ended.
        """
        deadline = time.monotonic() + timeout * PATIENCE
        with self.news:
            while not (found := self.find(pattern)):
                left = deadline - time.monotonic()
                may_come = left > 0 and self.open_streams > 0
                assert may_come, f"no line has {pattern!r}:\n{self.output()}"
                self.news.wait(left)
        return found

    def find(self, pattern: str) -> re.Match[str] | None:
        matches = (re.search(pattern, line.text) for line in self.lines)
        return next(filter(None, matches), None)

    def output(self, stream: str = "") -> str:
        """Return what came on `stream` so far; on both without it."""
        return "".join(line.text for line in self.lines if stream in ("", line.stream))

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to none of its children."""
        self.popen.send_signal(number)

    def family(self) -> list[int]:
        """Return the pids of all that descend from this process and are alive, whoever their parent is by now."""
        return [pid for pid in marked(self.mark) if pid != self.pid]

    def children(self) -> list[int]:
        """Return the pids of the direct children, in order of their age."""
        return children_of(self.pid)

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code, once all output is in. Raises AssertionError, after ending all, if it takes longer."""
        try:
            code = self.popen.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"{self} still ran after {timeout} s:\n{self.output()}") from None
        self.read_to_end()
        return code

    def read_to_end(self) -> None:
        """Let the readers end, unless a descendant keeps their streams open."""
        for reader in self.readers:
            reader.join(GRACE_SECONDS)

    def survivors(self) -> list[str]:
        """Once the process has ended: end what it has left behind after five seconds, and return what that was."""
        deadline = time.monotonic() + GRACE_SECONDS
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        found = [f"{pid} {words_of(pid)}" for pid in left]
        kill(left)
        self.read_to_end()
        return found

    def end(self) -> None:
        """End the process and its descendants, without a chance to object."""
        kill([self.pid] if self.popen.poll() is None else [])
        self.popen.wait()
        kill(self.family())

    def __repr__(self) -> str:
        return f"<{self.pid} {' '.join(self.command)}>"


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def marked(mark: str) -> Iterator[int]:
    """Yield the pids of the processes that have `mark` in their environment; one that has ended (a zombie) has none."""
    wanted = f"{MARK}={mark}".encode()
    for pid in pids():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if wanted in environ.split(b"\0"):
            yield pid


def children_of(parent: int) -> list[int]:
    """Return the living children of `parent`, in order of their age."""
    found = []
    for pid in pids():
        try:
            state, ppid, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(ppid) == parent and state != "Z":
            found.append((int(rest[17]), pid))  # field 22 of proc(5): the time it started, in ticks since boot
    return [pid for _, pid in sorted(found)]


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"
