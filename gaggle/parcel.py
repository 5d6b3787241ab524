"""A load test as it travels from the manager to workers: files and their names, as bytes; what may be in it, and where.

parcel = length of the head (4 bytes, big-endian), head, contents one after the other
head   = {"load_test": name, "files": [[name, size], ...]} as JSON
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gaggle.errors import LoadTestError

MOST_BYTES = 64 * 1024**2  # kept in memory on both sides; what is larger belongs on a file server
MOST_FILES = 1_000
LONGEST_NAME = 1_000  # bytes; a path has 4,096, and the directory is before it
LONGEST_PART = 255  # bytes of a name between two slashes: NAME_MAX
PIECE = 900_000  # bytes: a message of the gaggle has at most 1 MiB
LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Parcel:
    """The files of a load test by name, relative to its folder, and which of them is the load test."""

    load_test: str
    files: dict[str, bytes]


def gathered(load_test: Path, files: Iterable[Path]) -> Parcel:
    """Return these files as a parcel. Raises LoadTestError for one outside the load test's folder, OSError."""
    folder = load_test.parent
    found: dict[str, bytes] = {}
    for file in sorted({load_test, *files}):
        name = _relative(file, folder)
        if wrong := wrong_with(name):
            raise LoadTestError(f"{file} cannot be sent to workers: {wrong}")
        found[name] = file.read_bytes()
    if len(found) > MOST_FILES:
        raise LoadTestError(f"the load test has {len(found):,} files: at most {MOST_FILES:,} are sent to workers")
    if (size := sum(map(len, found.values()))) > MOST_BYTES:
        raise LoadTestError(
            f"the load test and its data have {size:,} bytes: at most {MOST_BYTES:,} are sent to workers; "
            "copy the files to each, and start it with the load test's name"
        )
    return Parcel(load_test.name, found)


def _relative(file: Path, folder: Path) -> str:
    path = os.path.normpath(file)
    if os.path.commonpath((path, folder)) != str(folder):
        raise LoadTestError(f"{path} cannot be sent to workers: it is not in the load test's folder {folder}")
    return os.path.relpath(path, folder)


def pack(parcel: Parcel) -> bytes:
    """Return the parcel as bytes."""
    files = [[name, len(data)] for name, data in parcel.files.items()]
    head = json.dumps({"load_test": parcel.load_test, "files": files}).encode()
    return b"".join((LENGTH.pack(len(head)), head, *parcel.files.values()))


def digest_of(data: bytes) -> str:
    """Return what a worker holds the bytes against, which come in pieces."""
    return hashlib.sha256(data).hexdigest()


def pieces_of(data: bytes) -> tuple[bytes, ...]:
    """Return the bytes in pieces that fit into a message each."""
    return tuple(data[at : at + PIECE] for at in range(0, len(data), PIECE))


def unpack(data: bytes) -> Parcel:
    """Return what `pack` has packed. Raises ValueError for anything else, and for names that lead out of a folder."""
    load_test, sizes, contents = _head(data)
    names = [name for name, _ in sizes]
    for name in names:
        if wrong := wrong_with(name):
            raise ValueError(f"a file of the load test is called {name[:200]!a}: {wrong}")
    folders = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
    if len(set(names)) < len(names) or folders & set(names):
        raise ValueError("two files of the load test have the same place")
    if load_test not in names or "/" in load_test:
        raise ValueError("the load test is not among its files")
    ends = list(accumulate((size for _, size in sizes), initial=contents))
    if ends[-1] != len(data):
        raise ValueError("the files of the load test are longer or shorter than announced")
    return Parcel(
        load_test, {name: data[at : ends[n + 1]] for n, (name, at) in enumerate(zip(names, ends, strict=False))}
    )


def _head(data: bytes) -> tuple[str, list[tuple[str, int]], int]:
    """Return the load test's name, the files' names and sizes, and where their contents begin. Raises ValueError."""
    if not LENGTH.size <= len(data) <= MOST_BYTES + 2**20:
        raise ValueError(f"a load test in {len(data):,} bytes cannot be")
    (length,) = LENGTH.unpack_from(data)
    try:
        head = json.loads(data[LENGTH.size : LENGTH.size + length])
        load_test, files = head["load_test"], [(name, size) for name, size in head["files"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("a load test without a list of its files") from None
    are_right = all(type(name) is str and type(size) is int and size >= 0 for name, size in files)
    if not are_right or type(load_test) is not str or len(files) > MOST_FILES:
        raise ValueError("a load test whose list of files cannot be")
    return load_test, files, LENGTH.size + length


def wrong_with(name: str) -> str | None:
    """Return why a file may not be called so: it must be a place below the folder, which a reader can see."""
    if not name.isprintable():
        return "its name has characters that cannot be printed"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads out of the folder"
    if len(name.encode()) > LONGEST_NAME or any(len(part.encode()) > LONGEST_PART for part in parts):
        return "its name is too long"
    return None


def write(parcel: Parcel, directory: Path) -> Path:
    """Write the files into an empty directory of our own; return the load test. Raises LoadTestError.

    O_EXCL and O_NOFOLLOW: nothing that is there is replaced, and no link is followed, whatever the names are.
    """
    try:
        for name, data in parcel.files.items():
            path = directory / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
    except OSError as error:
        raise LoadTestError(f"the load test cannot be written to {directory}: {error.strerror}") from error
    return directory / parcel.load_test
