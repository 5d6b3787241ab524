"""What others can do to a gaggle that runs: those that know the token and are broken, and those that do not know it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("zmq", reason="a gaggle needs pyzmq: pip install 'gaggle-loadtest[gaggle]'")

import zmq
from flock import Flock
from hostile import Hostile, of_managers, of_workers
from peers import Worker as Peer
from peers import until
from processes import eventually
from procfs import own_bytes
from runs import assert_accounts
from sites import Server

from gaggle.errors import ProtocolError
from gaggle.joining import Keys, Token
from gaggle.protocol import Hello, decode_manager
from gaggle.transport import ManagerTransport, wire
from gaggle.worker import Numbers, Worker

LONG = 60.0
GROWTH = 12_000_000  # bytes of the manager's own memory, most of them what a session takes
A_SESSION = 25  # hostile messages; then comes another one
TOKEN = Token(b"t" * 32)
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"

LoadTestFile = Callable[..., Path]

QUICK = """
    class Quick(User):
        wait_time = constant(0.01)
        @task
        async def front(self): await self.get("/", name="front")
"""

few_or_many = pytest.mark.parametrize(
    "messages", [1_000, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)


@pytest.fixture
def flock(tmp_path: Path, load_test: LoadTestFile) -> Iterator[Flock]:
    with Flock(load_test(QUICK), tmp_path) as flock:
        yield flock


@pytest.fixture
def seed() -> int:
    """What made-up messages are drawn with; printed, so that a failure can be repeated."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    return seed


def hash_of(load_test: Path) -> str:
    code = "import sys; from gaggle.loadtest import load; print(load(sys.argv[1]).describe()['hash'])"
    done = subprocess.run([sys.executable, "-c", code, load_test], capture_output=True, text=True, check=True)
    return done.stdout.strip()


# Against a manager.


def assail(port: int, keys: Keys, hostile: Hostile, messages: int) -> None:
    """Say so many things to the manager, in sessions of their own, and do not wait for what it says."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        for _ in range(0, messages, A_SESSION):
            with session(context, port, keys) as dealer:
                for _ in range(A_SESSION):
                    with suppress(zmq.Again):  # cut off, after something too long
                        dealer.send_multipart(hostile.message())
                with suppress(zmq.Again):
                    dealer.recv_multipart()  # so that what was said has been heard
    finally:
        context.destroy(0)


def session(context: zmq.Context[zmq.Socket[bytes]], port: int, keys: Keys) -> zmq.Socket[bytes]:
    """Return a socket that knows the token, and none of our manners."""
    dealer = context.socket(zmq.DEALER)
    dealer.linger, dealer.sndtimeo, dealer.rcvtimeo = 200, 1_000, 1_000
    dealer.curve_serverkey, dealer.curve_publickey = wire.public_key(keys.manager), wire.public_key(keys.worker)
    dealer.curve_secretkey = keys.worker
    dealer.connect(f"tcp://127.0.0.1:{port}")
    return dealer


def say_too_much(port: int, keys: Keys) -> None:
    """Send a frame that is longer than any of ours may be: libzmq ends the session, before anything is kept of it."""
    with zmq.Context() as context, session(context, port, keys) as dealer:
        dealer.send_multipart([b"gaggle/1", bytes(3 << 20)])
        with suppress(zmq.Again):
            dealer.recv_multipart()


def knock(port: int, drawn: random.Random) -> None:
    """200 port scans, and 200 handshakes that begin and do not go on, all open at once."""
    for _ in range(200):
        socket.create_connection(("127.0.0.1", port), 5.0).close()
    held = [socket.create_connection(("127.0.0.1", port), 5.0) for _ in range(200)]
    for number, connection in enumerate(held):
        with suppress(OSError):
            connection.sendall((b"", SIGNATURE, SIGNATURE + b"\x03\x01CURVE", drawn.randbytes(100))[number % 4])
    for connection in held:
        connection.close()


@few_or_many
def test_a_gaggle_counts_as_if_nobody_had_spoken(
    flock: Flock, server: Server, load_test: LoadTestFile, seed: int, messages: int
) -> None:
    manager = flock.manager("--expect-workers", 1, "-u", 2, "-r", 50, "-H", server.url)
    [worker] = flock.workers(1, "--engines", 1)
    eventually(lambda: server.seen("GET /") > 0, LONG, "its users are at work")
    keys = Token.parse(flock.token_file.read_text()).keys()
    hostile = Hostile(seed, of_workers(hash_of(flock.load_test)), of_managers())

    assail(flock.port, keys, hostile, messages // 4)
    before = own_bytes(manager.pid)
    say_too_much(flock.port, keys)
    knock(flock.port, hostile.drawn)
    assail(flock.port, keys, hostile, messages)
    after = own_bytes(manager.pid)
    seen = server.seen("GET /")
    eventually(lambda: server.seen("GET /") > seen, LONG, "its users are at work still")
    manager.signal(signal.SIGINT)
    result = manager.finish(LONG)

    assert result.returncode == 0, result
    assert "Traceback" not in result.stderr
    assert result.stderr.count("was refused") <= 21
    assert after - before < GROWTH
    assert [text for _, text in result.incidents] == []
    assert worker.finish(LONG).returncode == 0
    assert_accounts(result.request("GET front"), server.seen("GET /"))


# Against a worker.


def hello() -> Hello:
    return Hello("n", "h", 1, "hash", 1, "b", ())


class Listener(Peer):
    """A worker without engines: what is said to it goes to a state machine, as in working.py."""

    def __init__(self, keys: Keys, address: tuple[str, int]) -> None:
        self.worker, self.refused, self.count = Worker(hello(), state="waiting"), 0, 0
        self.errors: list[BaseException] = []
        super().__init__(keys, address)

    def hear(self, frames: list[bytes]) -> None:
        self.count += 1
        try:
            self.worker.hear(decode_manager(frames), time.monotonic_ns())
            self.worker.tick(time.monotonic_ns(), Numbers())
        except ProtocolError:
            self.refused += 1  # the real one ends, and says why
            self.worker = Worker(hello(), state="waiting")
            self.worker.connected()
        except Exception as error:
            self.errors.append(error)
        self.worker.outbox.clear()
        self.worker.todo.clear()


@few_or_many
def test_a_worker_hears_anything_and_refuses_what_it_cannot_take(seed: int, messages: int) -> None:
    async def talk() -> Listener:
        keys, peers = TOKEN.keys(), []
        manager = ManagerTransport(lambda peer, frames: peers.append(peer), lambda address, reason: None)
        manager.bind("127.0.0.1", 0, keys)
        listener = Listener(keys, ("127.0.0.1", manager.port))
        await listener.opened
        listener.send([b"hello"])
        await until(lambda: peers)
        hostile = Hostile(seed, of_managers(), of_workers("hash"))
        for _ in range(messages):
            frames = hostile.message()
            await until(lambda frames=frames: manager.send(peers[0], frames), LONG)
        await until(lambda: listener.count == messages, LONG)
        return listener

    try:
        listener = asyncio.run(asyncio.wait_for(talk(), 300.0))
    finally:
        wire.finish()

    assert not listener.errors, listener.errors[0]
    assert messages / 4 < listener.refused < messages


def test_a_worker_that_is_told_nonsense_ends_with_one_line(flock: Flock, seed: int) -> None:
    """By a manager that has the token: it is of another version, or broken."""

    async def talk() -> str:
        keys, peers = TOKEN.keys(), []
        manager = ManagerTransport(lambda peer, frames: peers.append(peer), lambda address, reason: None)
        manager.bind("127.0.0.1", 0, keys)
        file = flock.folder / "token"
        file.write_text(TOKEN.written)
        flock.port = manager.port
        worker = flock.worker("--join-token-file", file)
        await until(lambda: peers, LONG)
        manager.send(peers[0], [b"gaggle/1", random.Random(seed).randbytes(50)])
        result = await asyncio.to_thread(worker.finish, LONG)
        assert result.returncode == 1, result
        return result.stderr

    try:
        said = asyncio.run(asyncio.wait_for(talk(), 100.0))
    finally:
        wire.finish()

    [error] = [line for line in said.splitlines() if line.startswith("Error:")]
    assert error.startswith("Error: the manager said something that cannot be understood")
    assert "Traceback" not in said
