"""The launcher and the engines of this machine, as the supervisor holds them: started, heard, and ended."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from gaggle._core import Arena
from gaggle.channel import Channel, Message
from gaggle.engine import BLOCKED_NS, BLOCKED_SIGNAL, Order
from gaggle.errors import InternalError, LoadTestError

DYING_SECONDS = 1.0  # a killed process may have memory to give back
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Hand:
    """One engine: its process, its arena, and where it stands."""

    def __init__(self, order: Order, pid: int, channel: Channel, arena: Arena) -> None:
        self.order, self.pid, self.channel, self.arena = order, pid, channel, arena
        self.is_done = False
        self.asked_ns = 0  # the turn that the engine was last asked about

    @property
    def index(self) -> int:
        return self.order.index

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used; 0.0 when it has gone."""
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                numbers = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(numbers[11]) + int(numbers[12])) / TICKS_PER_SECOND

    def turn_ns(self) -> int:
        """Return how long the engine's loop has been in Python without a look at its events; 0 when it waits."""
        began = self.arena.turn_started_ns
        return time.monotonic_ns() - began if began else 0

    def ask_if_blocked(self) -> None:
        """Let an engine whose turn is long say which task holds it. Once a turn."""
        began = self.arena.turn_started_ns
        if began and began != self.asked_ns and time.monotonic_ns() - began > BLOCKED_NS:
            self.asked_ns = began
            self.kill(BLOCKED_SIGNAL)

    def wait(self) -> None:
        """Wait until the process has ended, also when it is not our child; at most DYING_SECONDS."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # it has, or the kernel cannot tell us
            return
        select.select([descriptor], [], [], DYING_SECONDS)
        os.close(descriptor)

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Crew:
    """Starts the launcher, and through it everything else. What happens by itself goes to the three callbacks."""

    def __init__(
        self,
        heard: Callable[[Hand, Message], None],
        died: Callable[[Hand, int], None],
        lost: Callable[[], None],
    ) -> None:
        self.heard, self.died, self.lost = heard, died, lost
        self.loop = asyncio.get_running_loop()
        self.hands: dict[int, Hand] = {}  # by pid
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        self.errand_pid = 0
        self.is_closed = False
        self.channel, self.process = start_launcher()
        self.loop.add_reader(self.channel.fileno(), self._readable)

    async def load(self, path: str, only: Sequence[str]) -> dict[str, Any]:
        """Let the launcher import the load test; return its description. Raises LoadTestError."""
        self.channel.send("load", path=path, only=list(only))
        answer = await self._answer(f"imported {path}")
        if answer.kind == "refused":
            raise LoadTestError(answer.fields["error"])
        return answer.fields

    async def fork(self, order: Order) -> Hand:
        """Start an engine; it waits to be told when to begin."""
        self.channel.send("fork", order=asdict(order))
        answer = await self._answer("started an engine")
        channel_fd, arena_fd = answer.fds
        hand = Hand(order, answer.fields["pid"], Channel.of_descriptor(channel_fd), Arena.attach(arena_fd))
        self.hands[hand.pid] = hand
        self.loop.add_reader(channel_fd, self._engine_readable, hand)
        return hand

    async def errand(self, name: str, settings: dict[str, Any]) -> Any:
        """Run the load test's `test_start` or `test_stop`; return what it returned. Raises LoadTestError."""
        self.channel.send("errand", name=name, settings=settings)
        answer = await self._answer(f"started @{name}")
        channel = Channel.of_descriptor(answer.fds[0])
        self.errand_pid = answer.fields["pid"]
        try:
            message = await self.loop.run_in_executor(None, channel.receive)
        except EOFError:
            raise LoadTestError(f"@{name}: its process died") from None
        finally:
            channel.close()
            self.errand_pid = 0
        if "error" in message.fields:
            raise LoadTestError(f"@{name} failed: {message.fields['error']}\n{message.fields['text']}")
        return message.fields["value"]

    def tell_all(self, kind: str, **fields: Any) -> None:
        for hand in self.hands.values():
            hand.channel.send(kind, **fields)

    def take_all(self) -> list[Hand]:
        """Kill all engines and give them up; return them when they count no more, whoever their parent is by now."""
        hands, self.hands = list(self.hands.values()), {}
        for hand in hands:
            self._drain(hand)
            self.loop.remove_reader(hand.channel.fileno())
            hand.channel.close()
            hand.kill()
            hand.wait()
        return hands

    def hear_out(self) -> None:
        """Hear at once what the engines have said up to now."""
        for hand in list(self.hands.values()):
            self._drain(hand)

    def close(self) -> None:
        """End every process that is left. Nothing is lost by it: what was counted is in the arenas."""
        if self.is_closed:
            return
        self.is_closed = True
        self.loop.remove_reader(self.channel.fileno())
        for hand in self.hands.values():
            self.loop.remove_reader(hand.channel.fileno())
            hand.kill()
            hand.channel.close()
        if self.errand_pid:
            with suppress(ProcessLookupError):
                os.kill(self.errand_pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.channel.close()

    async def _answer(self, doing: str) -> Message:
        answer = await self.answers.get()
        if answer.kind == "lost":
            self.answers.put_nowait(answer)  # for who asks next
            raise LoadTestError(f"the launcher {how_ended(self.process.wait())} while it {doing}")
        return answer

    def _readable(self) -> None:
        try:
            message = self.channel.receive()
        except EOFError:
            self.loop.remove_reader(self.channel.fileno())
            self.answers.put_nowait(Message("lost"))
            self.lost()
            return
        if message.kind == "died":
            self._died(message)
        else:
            self.answers.put_nowait(message)

    def _died(self, message: Message) -> None:
        hand = self.hands.pop(message.fields["pid"], None)
        if hand is None:
            return
        self._drain(hand)
        self.loop.remove_reader(hand.channel.fileno())
        hand.channel.close()
        self.died(hand, message.fields["status"])

    def _drain(self, hand: Hand) -> None:
        """Hear all that an engine has said, and do not wait for more."""
        with suppress(EOFError, BlockingIOError):
            while True:
                self.heard(hand, hand.channel.receive(socket.MSG_DONTWAIT))

    def _engine_readable(self, hand: Hand) -> None:
        try:
            self.heard(hand, hand.channel.receive(socket.MSG_DONTWAIT))
        except BlockingIOError:  # heard out since
            pass
        except EOFError:  # the launcher tells of its death
            self.loop.remove_reader(hand.channel.fileno())


def how_ended(status: int) -> str:
    """Return what became of a process: "was killed by SIGSEGV", "ended with exit code 3"."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"


def start_launcher() -> tuple[Channel, subprocess.Popen[bytes]]:
    """Start the launcher by exec: this process has threads, and nothing that has threads may fork engines."""
    ours, theirs = Channel.pair()
    command = [sys.executable, "-P", "-m", "gaggle.launcher", str(theirs.fileno()), str(os.getpid())]
    try:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InternalError(f"cannot start {sys.executable}: {error}") from error
    theirs.close()
    return ours, process
