"""The file in which a manager keeps its test: written whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from gaggle.errors import LoadTestError


class StateFile:
    """A file and the lock beside it. It holds the join token too, so only its owner may read it."""

    def __init__(self, path: Path) -> None:
        """Lock the file. Raises LoadTestError when another process has it, or the lock cannot be made."""
        self.path = path
        self.lock_path = path.with_name(f".{path.name}.lock")
        try:
            self.lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LoadTestError(f"the state file {path} cannot be locked: {error.strerror}") from None
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.lock)
            raise LoadTestError(f"the state file {path} is in use: the manager that writes it still runs") from None

    def read(self) -> bytes | None:
        """Return what was written last; None when there is nothing. Raises LoadTestError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LoadTestError(f"the state file {self.path} cannot be read: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """Put `data` in place of what was there, and return when it is on disk. Raises OSError."""
        draft = self.path.with_name(f".{self.path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, self.path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """The new name must be on disk as well."""
        folder = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self) -> None:
        """The test has ended: nobody shall take it up. Raises OSError when the file stays."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock."""
        with suppress(OSError):
            if not self.path.exists():
                self.lock_path.unlink()
        os.close(self.lock)
