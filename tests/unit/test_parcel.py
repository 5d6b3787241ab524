"""A load test on its way to a worker: what is packed, what is refused, and that nothing is written elsewhere."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from reference import seeded

from gaggle import parcel
from gaggle.errors import LoadTestError, ProtocolError
from gaggle.fetcher import Fetcher, Unpack
from gaggle.parcel import LENGTH, Parcel
from gaggle.protocol import Fetch, Piece, Refused
from gaggle.worker import End

FILES = {"loadtest.py": b"from gaggle import User\n", "parts/shop.py": b"", "data/users.csv": b"name\nx\n" * 200}
PARCEL = Parcel("loadtest.py", FILES)


@pytest.fixture
def rng() -> Random:
    return seeded()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A load test's folder, as a person has it."""
    parcel.write(PARCEL, tmp_path)
    return tmp_path


def packed(files: object, load_test: object = "loadtest.py", contents: bytes = b"") -> bytes:
    head = json.dumps({"load_test": load_test, "files": files}).encode()
    return LENGTH.pack(len(head)) + head + contents


# Packing.


def test_what_was_packed_is_written_as_it_was(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("there")
    gathered = parcel.gathered(folder / "loadtest.py", [folder / name for name in FILES])

    file = parcel.write(parcel.unpack(parcel.pack(gathered)), there)

    assert file == there / "loadtest.py"
    assert {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()} == FILES
    assert {path.stat().st_mode & 0o077 for path in there.rglob("*") if path.is_file()} == {0}


def test_a_link_in_the_folder_is_sent_as_the_file_it_leads_to(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "big.csv"
    elsewhere.write_bytes(b"a\n1\n")
    (folder / "linked.csv").symlink_to(elsewhere)

    gathered = parcel.gathered(folder / "loadtest.py", [folder / "linked.csv"])

    assert gathered.files["linked.csv"] == b"a\n1\n"


@pytest.mark.parametrize("name", ["../users.csv", "/etc/hostname", "data/../../users.csv"])
def test_a_file_outside_of_the_folder_is_not_sent(folder: Path, name: str) -> None:
    with pytest.raises(LoadTestError, match="not in the load test's folder"):
        parcel.gathered(folder / "loadtest.py", [folder / name])


def test_a_load_test_that_is_too_large_is_not_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "MOST_BYTES", 100)
    with pytest.raises(LoadTestError, match=r"have 1,424 bytes: at most 100 are sent"):
        parcel.gathered(folder / "loadtest.py", [folder / "data/users.csv"])
    monkeypatch.setattr(parcel, "MOST_FILES", 1)
    with pytest.raises(LoadTestError, match="has 2 files: at most 1"):
        parcel.gathered(folder / "loadtest.py", [folder / "data/users.csv"])


def test_pieces_fit_into_messages_and_add_up() -> None:
    data = bytes(range(256)) * 8_000

    pieces = parcel.pieces_of(data)

    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == parcel.PIECE < 1_000_000


# What a manager that is broken, or no manager of ours, may send.

HOSTILE_NAMES = {
    "absolute": "/etc/cron.d/gaggle",
    "out of the folder": "../.bashrc",
    "out of the folder, from within": "data/../../.bashrc",
    "only dots": "..",
    "the folder itself": ".",
    "nothing": "",
    "a slash at the end": "data/",
    "two slashes": "data//users.csv",
    "NUL": "users.csv\0.py",
    "an end of line": "users\n.csv",
    "an escape sequence": "\x1b[2Jusers.csv",
    "from right to left": "users\u202evsc.py",
    "half a surrogate pair": "\ud800.csv",
    "too long": "x" * 256,
    "too deep": "x/" * 500 + "y",
}


@pytest.mark.parametrize("name", [pytest.param(name, id=reason) for reason, name in HOSTILE_NAMES.items()])
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is called"):
        parcel.unpack(packed([["loadtest.py", 0], [name, 0]]))


MALFORMED = {
    "nothing": b"",
    "no head": LENGTH.pack(2**32 - 1),
    "no JSON": LENGTH.pack(1) + b"x",
    "no object": LENGTH.pack(2) + b"[]",
    "nested too deeply": LENGTH.pack(200_000) + b"[" * 200_000,
    "files without sizes": packed(["loadtest.py"]),
    "files that are no list": packed(7),
    "a size below 0": packed([["loadtest.py", 5], ["x", -5]]),
    "a size that is no number": packed([["loadtest.py", "0"]]),
    "a size that is a boolean": packed([["loadtest.py", True]], contents=b"x"),
    "a name that is no text": packed([["loadtest.py", 0], [7, 0]]),
    "more than there is": packed([["loadtest.py", 9]], contents=b"x"),
    "less than there is": packed([["loadtest.py", 1]], contents=b"xy"),
    "a size without end": packed([["loadtest.py", 10**30]]),
    "too many files": packed([[f"{n}.py", 0] for n in range(1_001)], "0.py"),
    "the same file twice": packed([["loadtest.py", 0], ["loadtest.py", 0]]),
    "a file that is also a folder": packed([["loadtest.py", 0], ["loadtest.py/x", 0]]),
    "no load test": packed([["other.py", 0]]),
    "a load test that is no text": packed([["loadtest.py", 0]], 7),
    "a load test in another folder": packed([["x/loadtest.py", 0]], "x/loadtest.py"),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=reason) for reason, data in MALFORMED.items()])
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parcel.unpack(data)


def test_mutated_bytes_are_refused_or_stay_in_the_folder(rng: Random, tmp_path: Path) -> None:
    original = parcel.pack(PARCEL)
    for number in range(2_000):
        data = bytearray(original)
        data[rng.randrange(120)] = rng.randrange(256)
        try:
            found = parcel.unpack(bytes(data))
        except ValueError:
            continue
        directory = tmp_path / str(number)
        directory.mkdir()
        parcel.write(found, directory)

        assert all(Path(os.path.normpath(directory / name)).is_relative_to(directory) for name in found.files)


def test_nothing_that_is_there_is_replaced_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "loadtest.py").symlink_to(tmp_path / "victim")

    with pytest.raises(LoadTestError, match="cannot be written to"):
        parcel.write(PARCEL, tmp_path / "there")

    assert not (tmp_path / "victim").exists()


# Fetching.


def serve(fetcher: Fetcher, data: bytes, most: int = 100, size: int = 1_000) -> int:
    """Answer what the fetcher asks for, at most `most` times; return how often it was answered."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    answered = 0
    while fetcher.outbox and answered < most:
        asked = fetcher.outbox.pop(0)
        assert isinstance(asked, Fetch)
        fetcher.hear(Piece(parcel.digest_of(data), asked.part, len(pieces), pieces[asked.part]), 0)
        answered += 1
    return answered


def test_a_load_test_comes_in_pieces() -> None:
    fetcher = Fetcher()
    fetcher.connected()

    serve(fetcher, parcel.pack(PARCEL))

    assert fetcher.todo == [Unpack(PARCEL)]


def test_a_session_that_is_lost_is_gone_on_with() -> None:
    fetcher, data = Fetcher(), parcel.pack(PARCEL)
    fetcher.connected()
    serve(fetcher, data, most=1)
    fetcher.outbox.clear()
    fetcher.disconnected()

    fetcher.connected()
    again = serve(fetcher, data)

    assert fetcher.todo == [Unpack(PARCEL)]
    assert again == len(data) // 1_000


def test_a_manager_that_came_back_with_another_load_test_is_asked_from_the_start() -> None:
    fetcher, other = Fetcher(), Parcel("loadtest.py", {"loadtest.py": b"x" * 3_000})
    fetcher.connected()
    serve(fetcher, parcel.pack(PARCEL), most=1)

    serve(fetcher, parcel.pack(other))

    assert fetcher.todo == [Unpack(other)]


def test_a_refused_worker_says_why() -> None:
    fetcher = Fetcher()

    fetcher.hear(Refused("it has no load test"), 0)

    assert fetcher.todo == [End("the manager refused this worker: it has no load test")]


Answer = Callable[[bytes], Piece]
WRONG: dict[str, Answer] = {
    "another part": lambda data: Piece(parcel.digest_of(data), 1, 2, data),
    "a part of nothing": lambda data: Piece(parcel.digest_of(data), 0, 0, data),
    "an empty part": lambda data: Piece(parcel.digest_of(b""), 0, 2, b""),
    "another digest than announced": lambda data: Piece(parcel.digest_of(b""), 0, 1, data),
    "no load test": lambda data: Piece(parcel.digest_of(b"x"), 0, 1, b"x"),
}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=reason) for reason, answer in WRONG.items()])
def test_what_cannot_be_a_load_test_is_refused(answer: Answer) -> None:
    fetcher = Fetcher()
    fetcher.connected()

    with pytest.raises(ProtocolError):
        fetcher.hear(answer(parcel.pack(PARCEL)), 0)

    assert not fetcher.todo


def test_a_load_test_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "MOST_BYTES", 2**20)
    fetcher = Fetcher()
    fetcher.connected()

    parts = (Piece("same", part, 2**40, b"x" * 900_000) for part in range(99))
    with pytest.raises(ProtocolError, match="too large"):
        deque((fetcher.hear(part, 0) for part in parts), maxlen=0)
