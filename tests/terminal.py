"""A terminal with a program in it: what can be read on its screen, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pyte
from processes import PATIENCE


class Terminal:
    """Runs a command on a terminal of its own, of so many columns and lines."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        columns: int = 100,
        lines: int = 30,
        ignores: Sequence[signal.Signals] = (),
    ) -> None:
        """The command starts with some signals ignored, as nohup would have it."""

        def prepare() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for number in ignores:
                signal.signal(number, signal.SIG_IGN)

        self.main, self.other = pty.openpty()
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""  # all that was ever written to it
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.other)
        self.process = subprocess.Popen(
            command,
            stdin=self.other,
            stdout=self.other,
            stderr=self.other,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            start_new_session=True,
            preexec_fn=prepare,
        )

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as a window manager would."""
        fcntl.ioctl(self.other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self.main, keys.encode())

    @property
    def text(self) -> str:
        """What can be read now."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float) -> None:
        """Show what the program writes."""
        if select.select([self.main], [], [], seconds)[0]:
            data = os.read(self.main, 65_536)
            self.written += data
            self.stream.feed(data)

    def wait(self, happened: Callable[[str], bool], seconds: float = 10.0) -> str:
        """Return what can be read once something has happened. Raises AssertionError when it does not in time."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not happened(self.text):
            assert time.monotonic() < deadline, f"not seen within {seconds} s:\n{self.text}"
            self.read(0.1)
        return self.text

    def finish(self, seconds: float = 20.0) -> int:
        """Return the exit code, once the program has ended."""
        deadline = time.monotonic() + seconds * PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.text}"
            self.read(0.1)
        while select.select([self.main], [], [], 0)[0]:
            self.read(0)
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the terminal, whoever still writes to it."""
        for descriptor in (self.main, self.other):
            with suppress(OSError):  # it was hung up before
                os.close(descriptor)

    def close(self) -> None:
        """End what still runs, and the terminal."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.hang_up()
