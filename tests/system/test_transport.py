"""What manager and workers send through real sockets: who gets in, who is told what, and what others can do to them."""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("zmq", reason="a gaggle needs pyzmq: pip install 'gaggle-loadtest[gaggle]'")

import peers
import zmq
from peers import Manager, Worker, until
from processes import PATIENCE, Process
from procfs import cpu_seconds, own_bytes
from runs import clean_environment

from gaggle import joining
from gaggle.joining import Token
from gaggle.transport import MAX_FRAME, ManagerTransport, Reason, dialling, door, resolve, wire

TOKEN, OTHER = Token(b"s" * 32), Token(b"w" * 32)
KEYS = TOKEN.keys()
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"


def in_a_loop(test):
    """Run an async test, for at most 60 s; all sockets that it has left open are closed."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        try:
            asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60.0))
        finally:
            wire.finish()

    return run


async def joined(manager, keys=KEYS, host="127.0.0.1"):
    """Return a worker that the manager has let in."""
    worker = Worker(keys, (host, manager.port))
    await worker.opened
    return worker


async def echoed(worker, *messages):
    """Send messages, and return once the manager has sent as many back."""
    wanted = len(worker.heard) + len(messages)
    for message in messages:
        await until(functools.partial(worker.send, message), what="room in the queue")
    await until(lambda: len(worker.heard) >= wanted, what="the echo")


# Who gets in.


@in_a_loop
async def test_who_has_the_token_is_heard_and_answered():
    manager = Manager(KEYS)
    worker = await joined(manager)

    await echoed(worker, [b"hello", b"", b"\0\xff"])

    assert worker.heard == [[b"hello", b"", b"\0\xff"]]
    [(peer, frames)] = manager.heard
    assert frames == [b"hello", b"", b"\0\xff"]
    assert len(peer) == 5
    assert manager.refusals == []


@in_a_loop
async def test_an_open_gaggle_needs_no_token():
    manager = Manager(None)
    worker = await joined(manager, None)

    await echoed(worker, [b"hello"])

    assert manager.refusals == []


LOCKED_OUT = [
    # manager's keys, worker's keys, what the worker says, what the manager may say
    (KEYS, OTHER.keys(), Reason.WRONG_TOKEN, {door.WRONG_TOKEN}),
    (KEYS, joining.Keys(KEYS.manager, OTHER.keys().worker), Reason.WRONG_TOKEN, {door.WRONG_TOKEN}),
    (KEYS, None, Reason.WANTS_TOKEN, {door.OTHER_MODE, door.LEFT}),
    (None, KEYS, Reason.IS_OPEN, {door.OTHER_MODE, door.LEFT}),
]


@pytest.mark.parametrize(("ours", "theirs", "reason", "said"), LOCKED_OUT, ids=lambda value: getattr(value, "name", ""))
@in_a_loop
async def test_both_sides_say_why_a_worker_is_not_let_in(ours, theirs, reason, said):
    manager = Manager(ours)
    worker = Worker(theirs, ("127.0.0.1", manager.port))

    end = await worker.end()

    assert end.reason is reason
    assert str(end) == f"tcp://127.0.0.1:{manager.port}: {reason.value}"
    await until(lambda: manager.refusals)
    address, why = manager.refusals[0]
    assert why in said
    assert address in ("127.0.0.1", door.UNKNOWN)
    assert not manager.heard
    assert not worker.send([b"let me in"])


@in_a_loop
async def test_the_manager_names_the_address_of_who_is_silent(monkeypatch):
    monkeypatch.setitem(wire.OPTIONS, zmq.HANDSHAKE_IVL, 200)
    manager = Manager(KEYS)

    with socket.create_connection(("127.0.0.1", manager.port)):
        await until(lambda: manager.refusals)

    assert manager.refusals == [("127.0.0.1", "it did not say who it is within 5 s")]


@in_a_loop
async def test_nobody_is_accused_when_workers_leave():
    manager = Manager(KEYS)

    workers = [await joined(manager) for _ in range(20)]
    for worker in workers:
        await echoed(worker, [b"hello"])
        worker.close()
    await echoed(await joined(manager), [b"hello"])

    assert manager.refusals == []


@in_a_loop
async def test_a_name_that_a_peer_brings_along_is_not_trusted():
    """It could be that of a worker which has just left, and the next message for that one would be the thief's."""
    manager, arrived = Manager(KEYS), []
    worker = await joined(manager)
    take = manager.wire.take
    manager.wire.take = lambda message: (arrived.append(message), take(message))

    with thief(manager.port, b"mine") as socket:
        socket.send(b"hello")
        await until(lambda: arrived)
        await echoed(worker, [b"hello"])

    assert arrived[0] == [b"mine", b"hello"]
    assert [len(peer) for peer, _ in manager.heard] == [5]


def thief(port, name):
    """Return a socket that knows the token, and is not ours."""
    socket = wire.new_socket(zmq.DEALER, {})
    socket.routing_id = name
    socket.curve_serverkey, socket.curve_publickey = wire.public_key(KEYS.manager), wire.public_key(KEYS.worker)
    socket.curve_secretkey = KEYS.worker
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


@in_a_loop
async def test_an_error_while_a_worker_is_checked_refuses_that_one_only(monkeypatch, caplog):
    """pyzmq's own handler never answers again after an exception."""
    manager = Manager(KEYS)
    answers = iter([ValueError("boom"), KeyError("boom")])
    check = door.ZapHandler.is_welcome

    def failing(self, request):
        for error in answers:
            raise error
        return check(self, request)

    monkeypatch.setattr(door.ZapHandler, "is_welcome", failing)

    ends = [await Worker(KEYS, ("127.0.0.1", manager.port)).end() for _ in range(2)]
    worker = await joined(manager)

    assert [end.reason for end in ends] == [Reason.WRONG_TOKEN] * 2
    assert caplog.text.count("boom") >= 2
    await echoed(worker, [b"hello"])


@in_a_loop
async def test_without_the_handler_nobody_gets_in(monkeypatch):
    """By default libzmq lets every key in when nobody checks them."""
    monkeypatch.setitem(dialling.OPTIONS, zmq.HANDSHAKE_IVL, 300)
    manager = Manager(KEYS)
    manager.zap.close()

    await Worker(KEYS, ("127.0.0.1", manager.port)).end()

    assert not manager.heard


@pytest.mark.parametrize(
    "request_frames",
    [
        [],
        [b"1.0"],
        [b"1.0", b"1", b"gaggle", b"127.0.0.1", b"", b"CURVE"],
        [b"1.0", b"1", b"gaggle", b"127.0.0.1", b"", b"NULL"],
        [b"1.0", b"1", b"gaggle", b"127.0.0.1", b"", b"CURVE", b"x" * 32],
        [b"1.0", b"1", b"other", b"127.0.0.1", b"", b"CURVE", b"k" * 32],
        [b"2.0", b"1", b"gaggle", b"127.0.0.1", b"", b"CURVE", b"k" * 32],
        [b"1.0", b"1", b"gaggle", b"127.0.0.1", b"", b"PLAIN", b"k" * 32],
        [b"1.0", b"1", b"gaggle", b"127.0.0.1", b"", b"CURVE", b"k" * 32, b"k" * 32],
    ],
)
@in_a_loop
async def test_only_the_one_key_is_welcome(request_frames):
    handler = door.ZapHandler(b"k" * 32)
    client = wire.new_socket(zmq.REQ, {})
    client.connect(door.ZAP_ENDPOINT)

    for frames in (request_frames or [b""], [b"1.0", b"7", b"gaggle", b"127.0.0.1", b"", b"CURVE", b"k" * 32]):
        client.send_multipart(frames)
        await until(lambda: client.poll(0))
        *_, status, _text, _user, _metadata = answer = client.recv_multipart()
        assert status == (b"200" if frames[1:2] == [b"7"] else b"400")
        assert len(answer) == 6

    handler.close()


# Where a worker finds no manager.


async def http(reader, writer):
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


async def ssh(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    await reader.read(100)


async def proxy_without_a_server(reader, writer):
    """docker-proxy takes every connection, and closes those for which it finds nothing."""


async def noise(reader, writer):
    writer.write(os.urandom(3_000))
    await reader.read(10)


async def half_a_greeting(reader, writer):
    writer.write(SIGNATURE)
    await reader.read(10)


async def rubbish_after_a_greeting(reader, writer):
    writer.write(SIGNATURE + b"\x03\x01CURVE" + bytes(47) + b"\x04\xff" + os.urandom(300))
    await reader.read(1_000)


async def silence(reader, writer):
    await reader.read()


SPEAKS_CURVE = {Reason.STRANGER, Reason.WRONG_TOKEN}
LISTENERS = [
    # what a worker with a token says, and one without. ZMTP 1 had no greeting: for that one noise can be a session.
    (http, {Reason.STRANGER}, {Reason.STRANGER}),
    (ssh, {Reason.STRANGER}, {Reason.STRANGER}),
    (proxy_without_a_server, {Reason.STRANGER}, {Reason.STRANGER}),
    (noise, {Reason.STRANGER}, {Reason.STRANGER, Reason.LOST}),
    (half_a_greeting, SPEAKS_CURVE, {Reason.STRANGER}),
    (rubbish_after_a_greeting, SPEAKS_CURVE, {Reason.WANTS_TOKEN}),
    (silence, {Reason.SILENT}, {Reason.SILENT}),
]


@asynccontextmanager
async def listening(behaviour):
    """Run a server on a free port of the loopback; yield its address."""

    async def serve(reader, writer):
        try:
            await behaviour(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


@pytest.mark.parametrize(("behaviour", "closed", "open"), LISTENERS, ids=lambda value: getattr(value, "__name__", ""))
@in_a_loop
async def test_a_worker_knows_what_is_no_manager(behaviour, closed, open, monkeypatch):
    monkeypatch.setitem(wire.OPTIONS, zmq.HANDSHAKE_IVL, 500)
    for keys, reasons in ((KEYS, closed), (None, open)):
        async with listening(behaviour) as address:
            end = await Worker(keys, address).closed

        assert end.reason in reasons
        assert end.where == f"tcp://127.0.0.1:{address[1]}"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


UNREACHABLE = [
    closed_port(),
    ("::1", closed_port()[1]),  # also where there is no IPv6
    ("fe80::1%4711", 5115),  # a link that is not here
]


@pytest.mark.parametrize("address", UNREACHABLE)
@in_a_loop
async def test_where_nothing_listens_a_worker_says_so_at_once(address):
    end = await Worker(KEYS, address).end()

    assert end.reason is Reason.UNREACHABLE


@in_a_loop
async def test_an_address_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setitem(dialling.OPTIONS, zmq.CONNECT_TIMEOUT, 300)

    end = await Worker(KEYS, ("192.0.2.1", 5115)).end()

    assert end.reason is Reason.UNREACHABLE


@in_a_loop
async def test_an_address_of_which_libzmq_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(dialling, "CONNECT_SECONDS", -5.9)
    monkeypatch.setattr(dialling.Attempt, "_connect", lambda self: None)

    end = await Worker(KEYS, ("127.0.0.1", 5115)).end()

    assert end.reason is Reason.UNREACHABLE


@in_a_loop
async def test_every_address_of_a_name_is_tried():
    manager = Manager(KEYS)
    async with listening(http) as other:
        worker = Worker(KEYS, closed_port(), other, ("127.0.0.1", manager.port))

        await worker.opened

    await echoed(worker, [b"hello"])


@in_a_loop
async def test_of_many_refusals_that_one_is_told_which_came_the_furthest():
    manager = Manager(OTHER.keys())
    async with listening(http) as other:
        end = await Worker(KEYS, closed_port(), ("127.0.0.1", manager.port), other, closed_port()).end()

    assert (end.reason, end.where) == (Reason.WRONG_TOKEN, f"tcp://127.0.0.1:{manager.port}")


@in_a_loop
async def test_names_are_resolved_to_all_their_addresses():
    addresses = await resolve("localhost", 5115)

    assert ("127.0.0.1", 5115) in addresses
    assert len(set(addresses)) == len(addresses)
    with pytest.raises(OSError, match=r".+"):
        await resolve("no-such-host.invalid", 5115)


@in_a_loop
async def test_an_address_of_a_link_keeps_the_link():
    assert await resolve("fe80::1%1", 5115) == [("fe80::1%1", 5115)]


# Where a manager listens.


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(("bound", "dialled"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")])
@in_a_loop
async def test_ipv6_addresses_work(bound, dialled):
    manager = Manager(KEYS, bound)
    worker = await joined(manager, KEYS, dialled)
    await echoed(worker, [b"hello"])

    end = await Worker(OTHER.keys(), (dialled, manager.port)).end()

    assert end.reason is Reason.WRONG_TOKEN
    await until(lambda: manager.refusals)
    assert {address for address, _ in manager.refusals} <= {dialled, door.UNKNOWN}


@in_a_loop
async def test_a_name_is_listened_on_at_all_its_addresses():
    manager = Manager(KEYS, "localhost")

    worker = await joined(manager)

    await echoed(worker, [b"hello"])


@pytest.mark.parametrize("host", ["10.255.255.254", "no-such-host.invalid"])
@in_a_loop
async def test_an_address_that_is_not_here_is_an_os_error(host):
    with pytest.raises(OSError, match=r".+"):
        Manager(KEYS, host, 5115)


@in_a_loop
async def test_a_port_that_is_taken_is_an_os_error_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError) as caught:
            Manager(KEYS, "127.0.0.1", port)

    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value) == f"[Errno 98] Address already in use: 'tcp://127.0.0.1:{port}'"


# What is sent.


@in_a_loop
async def test_thousands_of_messages_arrive_both_ways_in_order():
    manager = Manager(KEYS)
    workers = [await joined(manager) for _ in range(3)]
    messages = [[b"%d" % number, b"x" * (number % 700)] for number in range(2_000)]
    manager.send = lambda peer, frames: asyncio.create_task(answer(peer, frames))
    order = asyncio.Lock()

    async def answer(peer, frames):
        async with order:
            await until(lambda: ManagerTransport.send(manager, peer, frames))

    await asyncio.gather(*(echoed(worker, *messages) for worker in workers))

    assert [worker.heard for worker in workers] == [messages] * 3
    for name in {peer for peer, _ in manager.heard}:
        assert [frames for peer, frames in manager.heard if peer == name] == messages


@in_a_loop
async def test_an_error_in_a_callback_delays_no_other_message():
    manager, errors = Manager(KEYS), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    worker = await joined(manager)
    heard = []

    def failing(frames):
        heard.append(frames)
        raise ValueError(frames[0])

    worker.attempt.on_message = failing
    for number in range(40):
        worker.send([b"%d" % number])
    await until(lambda: len(heard) == 40)

    assert [error.args[0] for error in errors] == [b"%d" % number for number in range(40)]


@in_a_loop
async def test_a_full_queue_is_told_and_loses_nothing():
    manager = Manager(KEYS)
    worker = await joined(manager)
    await echoed(worker, [b"hello"])
    peer = manager.heard[0][0]
    worker.loop.remove_reader(worker.attempt.wire.descriptor)  # it stands still

    sent, last = 0, time.monotonic()
    while time.monotonic() - last < 0.3 * PATIENCE:
        if manager.send(peer, [b"%d" % sent, b"x" * 100_000]):
            sent, last = sent + 1, time.monotonic()
        await asyncio.sleep(0.001)
    assert 64 < sent < 1_000  # the queues of both sides, and what TCP takes
    worker.loop.add_reader(worker.attempt.wire.descriptor, worker.attempt.wire._readable)
    worker.attempt.wire._readable()
    await until(lambda: len(worker.heard) == sent + 1)

    assert [int(frames[0]) for frames in worker.heard[1:]] == list(range(sent))


@in_a_loop
async def test_what_is_sent_to_a_peer_that_is_not_there_is_told():
    manager = Manager(KEYS)
    worker = await joined(manager)
    await echoed(worker, [b"hello"])
    peer = manager.heard[0][0]
    assert manager.send(peer, [b"still here"])

    worker.close()

    assert not worker.send([b"hello"])
    assert not manager.send(b"\0\1\2\3\4", [b"hello"])
    await until(lambda: not manager.send(peer, [b"hello"]))


@in_a_loop
async def test_a_message_that_is_too_long_is_not_sent():
    manager = Manager(KEYS)
    worker = await joined(manager)

    with pytest.raises(ValueError, match="1,048,513"):
        worker.send([b"hello", b"x" * (MAX_FRAME + 1)])

    await echoed(worker, [b"hello", b"x" * MAX_FRAME])


@in_a_loop
async def test_a_message_that_is_too_long_ends_the_session_of_who_sent_it(monkeypatch):
    manager = Manager(KEYS)
    good, bad = await joined(manager), await joined(manager)
    monkeypatch.setattr(wire, "MAX_FRAME", 2 * MAX_FRAME)

    bad.send([b"x" * wire.LONGEST])
    end = await bad.closed

    assert end.reason is Reason.LOST
    await echoed(good, [b"hello"])
    assert not bad.heard
    assert not good.closed.done()


@in_a_loop
async def test_drain_hears_what_has_arrived_without_a_turn_of_the_loop():
    """A manager that was stopped for a while hears the beats before it sees that they are late."""
    manager = Manager(KEYS)
    worker = await joined(manager)
    await echoed(worker, [b"hello"])
    for _ in range(50):
        worker.send([b"beat"])

    for _ in range(1_000):
        manager.drain()
        if len(manager.heard) == 51:
            break
        select_for(0.005)

    assert len(manager.heard) == 51


def select_for(seconds):
    """Let other threads work, and not the loop."""
    import select

    select.select([], [], [], seconds)


# How a session ends.


@in_a_loop
async def test_the_last_words_of_a_manager_arrive(monkeypatch):
    """With RECONNECT_IVL -1 libzmq drops what was received and not yet read when the other side closes."""
    monkeypatch.setattr(wire, "BATCH", 5)  # so that the end is heard of before they are
    for _ in range(10):
        manager = Manager(KEYS)
        worker = await joined(manager)
        await echoed(worker, [b"hello"])
        for number in range(30):
            assert manager.send(manager.heard[0][0], [b"%d" % number])

        manager.close(1.0)
        select_for(0.02)  # all is there before the loop has seen any of it
        end = await worker.closed

        assert end.reason is Reason.LOST
        assert [frames[0] for frames in worker.heard[1:]] == [b"%d" % number for number in range(30)]


@in_a_loop
async def test_the_last_words_of_a_worker_that_ends_arrive():
    manager = Manager(KEYS)
    manager.send = lambda peer, frames: True  # no echo: a kernel drops what it has to send with what nobody reads

    process = peer_process("last", manager.port)
    assert await asyncio.to_thread(process.wait, 30.0) == 0, process.output()
    await until(lambda: manager.heard[-1][1] == [b"bye"])

    assert [frames[0] for _, frames in manager.heard] == [*(b"%d" % number for number in range(40)), b"bye"]


@in_a_loop
async def test_a_session_never_comes_back_by_itself():
    """libzmq would connect again, and send what was left to a manager that has never heard of this worker."""
    manager = Manager(None)
    worker = await joined(manager, None)
    await echoed(worker, [b"hello"])

    manager.close()
    again = successor(manager.port)
    worker.send([b"stale"])  # we have not heard yet that nobody is there
    select_for(0.3)
    end = await worker.closed
    await echoed(await joined(again, None), [b"other"])

    assert end.reason is Reason.LOST
    assert not worker.send([b"hello"])
    assert [frames for _, frames in again.heard] == [[b"other"]]


def successor(port):
    """Return an open manager on the port of one that has closed, without a turn of the loop."""
    for _ in range(100):
        select_for(0.01)
        with suppress(OSError):
            return Manager(None, "127.0.0.1", port)
    raise AssertionError(f"port {port} stays taken")


@in_a_loop
async def test_a_worker_that_closes_hears_nothing_more():
    manager = Manager(KEYS)
    worker = await joined(manager)
    trying = Worker(KEYS, closed_port())

    worker.close()
    trying.close()
    manager.close()
    await asyncio.sleep(0.05)

    assert not worker.closed.done()
    assert not trying.closed.done()


@in_a_loop
async def test_a_manager_that_is_killed_ends_the_session():
    process = peer_process("manager")
    worker = Worker(KEYS, ("127.0.0.1", await port_of(process)))
    await worker.opened

    process.signal(signal.SIGKILL)
    end = await worker.closed

    assert end.reason is Reason.LOST
    await asyncio.to_thread(process.wait)


# What the sockets do to their process.


@in_a_loop
async def test_a_fork_does_not_touch_the_sockets_of_its_parent():
    manager = Manager(KEYS)
    worker = await joined(manager)
    parents = wire.context()

    pid = os.fork()
    if pid == 0:
        wire.finish()
        os._exit(0 if wire.context() is not parents and not parents.closed else 1)
    assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)

    await echoed(worker, [b"hello"])


def test_without_pyzmq_the_extra_is_named():
    code = "import sys; sys.modules['zmq'] = None; import gaggle.transport"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "FeatureNotEnabled" in done.stderr
    assert "pip install 'gaggle-loadtest[gaggle]'" in done.stderr.splitlines()[-1]
    assert 'feature: "gaggle"' in done.stderr.splitlines()[-1]


def test_nothing_stays_open():
    """Sessions that come and go leave no descriptor behind."""

    @in_a_loop
    async def come_and_go():
        manager = Manager(KEYS)
        for _ in range(5):
            worker = await joined(manager)
            await echoed(worker, [b"hello"])
            worker.close()
        await Worker(OTHER.keys(), ("127.0.0.1", manager.port), closed_port()).end()
        manager.close()

    come_and_go()
    before = len(os.listdir("/proc/self/fd"))
    come_and_go()

    assert len(os.listdir("/proc/self/fd")) == before


# Real processes: hostile ones, and many.


def peer_process(role, *arguments):
    env = clean_environment() | {joining.VARIABLE: TOKEN.written, "PYTHONPATH": os.pathsep.join(sys.path)}
    return Process([sys.executable, Path(peers.__file__), role, *map(str, arguments)], env=env)


async def port_of(process):
    match = await asyncio.to_thread(process.wait_for_line, r"^(\d+)$")
    return int(match[1])


def attack(port, data, wait):
    """Connect, send, and read until the manager has had enough; or leave at once."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
        try:
            connection.sendall(data)
            while wait and connection.recv(1_000):
                pass
        except OSError:
            return


def assault(port, seed):
    """200 port scans, 200 half-open handshakes, 400 that send rubbish of several kinds."""
    import random

    drawn = random.Random(seed)
    for _ in range(200):
        attack(port, b"", False)
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for connection in held[::2]:
        connection.sendall(SIGNATURE)
    greeting = SIGNATURE + b"\x03\x01CURVE" + bytes(47)
    for _ in range(100):
        junk = drawn.randbytes(drawn.randrange(1, 2_000))
        attack(port, junk, False)
        attack(port, b"GET / HTTP/1.1\r\nHost: me\r\n\r\n", True)
        attack(port, greeting + junk, False)
        attack(port, greeting + b"\x04\xc8\x05HELLO\x01\x00" + drawn.randbytes(192), True)
    for connection in held:
        connection.close()


@in_a_loop
async def test_strangers_change_nothing_for_the_others():
    """No crash, no growth, no message of theirs heard, and those of the others in time."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    process = peer_process("manager")
    port = await port_of(process)
    worker = Worker(KEYS, ("127.0.0.1", port))
    await worker.opened

    sizes, sent = [], 0
    for round in range(4):
        over = asyncio.create_task(asyncio.to_thread(assault, port, seed + round))
        while not over.done():
            await echoed(worker, [b"beat"])
            sent += 1
            await asyncio.sleep(0.005)
        await over
        sizes.append(own_bytes(process.pid))
    await echoed(worker, [b"tell"])
    told = json.loads(worker.heard[-1][0])

    assert told["heard"] == {"beat": sent, "tell": 1}
    assert sum(told["refused"].values()) >= 4 * 300
    assert sizes[-1] - sizes[1] < 2_000_000, sizes
    process.popen.stdin.close()
    assert await asyncio.to_thread(process.wait) == 0, process.output()


@in_a_loop
async def test_300_workers_join_within_seconds():
    process = peer_process("manager")
    port = await port_of(process)

    crowds = [peer_process("workers", port, 100) for _ in range(3)]
    took = [float((await asyncio.to_thread(crowd.wait_for_line, r"^([\d.]+)$", 60.0))[1]) for crowd in crowds]
    cpu = cpu_seconds(process.pid)

    print(f"joined in {max(took):.2f} s; the manager used {cpu:.2f} s of CPU, its start included")
    assert max(took) < 5.0 * PATIENCE
    for each in (*crowds, process):
        each.popen.stdin.close()
        assert await asyncio.to_thread(each.wait) == 0, each.output()
