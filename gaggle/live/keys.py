"""The keyboard while a test runs: q is Ctrl-C, and nothing that is typed is shown."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import Any

STOP = b"qQ"


class Keys:
    """Reads single keys from the terminal, if it is ours to read from."""

    def __init__(self) -> None:
        self.before: list[Any] | None = None  # the terminal's settings
        self.has_stopped = False

    @property
    def is_open(self) -> bool:
        return self.before is not None

    def open(self) -> None:
        """Let keys be read. In the background (`gaggle … &`) the keyboard belongs to others."""
        try:
            self.descriptor = sys.stdin.fileno()
            if os.tcgetpgrp(self.descriptor) != os.getpgrp():
                return
            self.before = termios.tcgetattr(self.descriptor)
        except (OSError, ValueError, AttributeError, termios.error):
            return
        self.take()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.descriptor, self.read)
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(signal.SIGCONT, self.take)  # after Ctrl-Z and fg

    def take(self) -> None:
        """Read keys as they are typed; Ctrl-C and Ctrl-Z stay what they are."""
        if self.before is not None:
            tty.setcbreak(self.descriptor, termios.TCSANOW)

    def read(self) -> None:
        """Hear a key."""
        keys = os.read(self.descriptor, 64)
        if not keys:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(self.descriptor)
        elif not self.has_stopped and any(key in STOP for key in keys):
            self.has_stopped = True  # q twice is no second Ctrl-C
            os.kill(os.getpid(), signal.SIGINT)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self.before is None:
            return
        with suppress(RuntimeError):  # its loop may have ended
            asyncio.get_running_loop().remove_reader(self.descriptor)
        with suppress(OSError, termios.error):
            termios.tcsetattr(self.descriptor, termios.TCSANOW, self.before)
        self.before = None
