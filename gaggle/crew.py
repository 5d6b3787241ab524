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
from dataclasses import asdict, dataclass
from typing import Any

from gaggle._core import Arena
from gaggle.channel import Channel, Message
from gaggle.engine import BLOCKED_NS, BLOCKED_SIGNAL, Order
from gaggle.errors import InternalError, LoadTestError
from gaggle.joining import VARIABLE as JOIN_TOKEN

DYING_SECONDS = 1.0  # a killed process may have memory to give back
LEFT_TO_US = (signal.SIGINT, signal.SIGTERM)  # signals whose meaning the supervisor decides
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOKS_BEFORE_ASKING = 4  # at one turn. A machine that stands still as a whole makes it long too, but we look less often


@dataclass(slots=True)
class Turn:
    """One turn of an engine's loop, from a look at its events to the next one, as it is seen from outside."""

    began_ns: int = 0  # 0: it waits for events
    looks: int = 0  # that have found it as it was before
    cpu_before: float = 0.0  # seconds that the engine had used at the first of them
    is_asked: bool = False


class Hand:
    """One engine: its process, its arena, and where it stands."""

    def __init__(self, order: Order, pid: int, channel: Channel, arena: Arena) -> None:
        self.order, self.pid, self.channel, self.arena = order, pid, channel, arena
        self.is_done = self.is_ready = self.is_started = False
        self.turn = Turn()

    @property
    def index(self) -> int:
        return self.order.index

    def start(self, t0_ns: int) -> None:
        """Let its users begin, at `t0_ns` of the monotonic clock. Once: said again, it changes nothing."""
        if not self.is_started:
            self.is_started = True
            self.channel.send("start", t0_ns=t0_ns)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used; 0.0 when it has gone."""
        return self.state()[1]

    def state(self) -> tuple[str, float]:
        """Return its state, a letter of proc(5), and the CPU time (s) that it has used; ("", 0.0) when it has gone."""
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return "", 0.0
        return fields[0], (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def look(self) -> None:
        """See, once a tick, whether the engine is still in the same turn; let it say, once, which task holds it."""
        began = self.arena.turn_started_ns
        if began == 0 or began != self.turn.began_ns:
            self.turn = Turn(began)
            return
        self.turn.looks += 1
        if self.turn.looks == 1:
            self.turn.cpu_before = self.cpu_seconds()
        elif not self.turn.is_asked and self.is_blocked():
            self.turn.is_asked = True
            self.kill(BLOCKED_SIGNAL)

    def is_blocked(self) -> bool:
        """Whether the load test makes the turn long, asleep or at work, and not a machine that has no core to spare."""
        if self.turn.looks < LOOKS_BEFORE_ASKING or time.monotonic_ns() - self.turn.began_ns <= BLOCKED_NS:
            return False
        state, cpu = self.state()
        return state in ("S", "D") or cpu - self.turn.cpu_before >= BLOCKED_NS / 2e9

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

    async def parcel(self) -> bytes:
        """Return the load test's files, packed. Raises LoadTestError where they cannot be sent."""
        self.channel.send("parcel")
        answer = await self._answer("packed the load test")
        if answer.kind == "refused":
            raise LoadTestError(answer.fields["error"])
        with open(answer.fds[0], "rb") as file:
            file.seek(0)
            return file.read()

    async def fork(self, order: Order) -> Hand:
        """Start an engine; it waits to be told when to begin."""
        self.channel.send("fork", order=asdict(order))
        answer = await self._answer("started an engine")
        channel_fd, arena_fd = answer.fds
        hand = Hand(order, answer.fields["pid"], Channel.of_descriptor(channel_fd), Arena.attach(arena_fd))
        self.hands[hand.pid] = hand
        self.loop.add_reader(channel_fd, self._engine_readable, hand)
        return hand

    async def errand(self, name: str, settings: dict[str, Any], own: dict[str, Any]) -> Any:
        """Run the load test's `test_start` or `test_stop`; return what it returned. Raises LoadTestError."""
        self.channel.send("errand", name=name, settings=settings, own=own)
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
            raise LoadTestError(f"@{name} failed: {message.fields['error']}\n{message.fields['text']}".rstrip())
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
    # Ctrl-C reaches the whole process group, and would end the launcher with a traceback before it has handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_US)
    # The load test has no business with the token: what it starts could read it.
    environ = {name: value for name, value in os.environ.items() if name != JOIN_TOKEN}
    try:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environ)
    except OSError as error:
        raise InternalError(f"cannot start {sys.executable}: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process
