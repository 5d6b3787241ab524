"""What waits for the disk: words, acknowledgements; and the file itself."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from gaggle.errors import LoadTestError
from gaggle.keeping import Keeper
from gaggle.protocol import Ack, Go, Lease, Message
from gaggle.standing import unpack
from gaggle.statefile import StateFile

GO, ACK, LEASE = Go(1, 1), Ack(1), Lease(1, 1, 1)


class Desk:
    """A keeper, and everything that leaves it in its order."""

    def __init__(self, path: Path) -> None:
        self.log: list[object] = []
        self.file = StateFile(path)
        self.keeper = Keeper(self.file, self.pack, self.send, self.acknowledge, self.log.append)

    def pack(self) -> bytes:
        self.log.append("packed")
        return b"state"

    def send(self, peer: bytes, message: Message) -> None:
        self.log.append(message)

    def acknowledge(self, node: str, number: int) -> None:
        self.log.append((node, number))

    async def turn(self) -> None:
        self.keeper.tick(is_running=False)
        await self.keeper.settle()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_words_that_give_users_wait_for_the_disk_and_keep_their_turn(path: Path) -> None:
    async def scenario() -> list[object]:
        desk = Desk(path)
        for message in (ACK, GO, ACK, LEASE):
            desk.keeper.say(b"1", message)
        await desk.turn()
        return desk.log

    assert asyncio.run(scenario()) == [ACK, LEASE, "packed", GO, ACK]


def test_a_delta_is_acknowledged_when_the_state_that_holds_it_is_on_disk(path: Path) -> None:
    async def scenario() -> list[object]:
        desk = Desk(path)
        desk.keeper.count("a", 1)
        desk.keeper.count("a", 2)
        await desk.turn()
        return desk.log

    assert asyncio.run(scenario()) == ["packed", ("a", 2)]
    assert path.read_bytes() == b"state"


def test_a_word_that_comes_while_the_disk_writes_waits_for_the_next_time(path: Path) -> None:
    async def scenario() -> list[object]:
        desk = Desk(path)
        desk.keeper.say(b"1", GO)
        desk.keeper.tick(is_running=False)
        await asyncio.sleep(0)
        desk.keeper.say(b"1", GO)
        await desk.keeper.settle()
        desk.log.append("written")
        await desk.turn()
        return desk.log

    assert asyncio.run(scenario()) == ["packed", GO, "written", "packed", GO]


def test_a_disk_that_takes_no_more_holds_nobody_up(path: Path) -> None:
    async def scenario() -> list[object]:
        desk = Desk(path)
        os.mkdir(path)  # nothing can be put in its place
        desk.keeper.say(b"1", GO)
        desk.keeper.count("a", 1)
        await desk.turn()
        desk.keeper.say(b"1", GO)
        desk.keeper.count("a", 2)
        return desk.log

    packed, error, *rest = asyncio.run(scenario())

    assert (packed, type(error)) == ("packed", IsADirectoryError)
    assert rest == [GO, ("a", 1), GO, ("a", 2)]


def test_a_state_file_is_its_owner_s_alone(path: Path) -> None:
    file = StateFile(path)
    file.write(b"token")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.read() == b"token"


def test_two_managers_do_not_write_one_state_file(path: Path) -> None:
    file = StateFile(path)

    with pytest.raises(LoadTestError, match="in use: the manager that writes it still runs"):
        StateFile(path)
    file.close()
    StateFile(path).close()


def test_the_end_of_a_test_leaves_nothing_behind(path: Path) -> None:
    file = StateFile(path)
    file.write(b"state")

    file.remove()
    file.close()

    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"gaggle-state/0\n", b"gaggle-state/1\n", b"gaggle-state/1\n\x81\xa1a\x01"])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it holds no test"):
        unpack(data)
