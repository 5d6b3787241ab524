"""The launcher: imports the load test and forks engines. It has no threads, so that what it forks is whole."""

from __future__ import annotations

import ctypes
import gc
import io
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gaggle import engine, parcel
from gaggle._core import Arena
from gaggle.channel import Channel, Message
from gaggle.engine import Order
from gaggle.errors import LoadTestError
from gaggle.loadtest import LoadTest, load, local_files
from gaggle.user import feeds

PR_SET_PDEATHSIG = 1  # linux/prctl.h
BROKEN = 70  # exit code of an engine that gaggle itself broke: EX_SOFTWARE of sysexits.h


class Launcher:
    """Does what the supervisor asks, and tells it when an engine dies."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.load_test: LoadTest | None = None
        self.engines: dict[int, int] = {}
        self.wake_reader, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the supervisor has gone."""
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, ignored)
        heard: list[Channel | int] = [self.channel, self.wake_reader]
        while True:
            readable, _, _ = select.select(heard, [], [])
            self.reap()
            if self.channel in readable:
                message = self.channel.receive()
                HANDLERS[message.kind](self, message)

    def load(self, message: Message) -> None:
        """Import the load test and describe it, or say why not."""
        try:
            self.load_test = load(message.fields["path"], message.fields["only"])
            self.channel.send("loaded", **self.load_test.describe())
        except LoadTestError as error:
            self.channel.send("refused", error=str(error))
        except Exception:
            self.channel.send("refused", error=traceback.format_exc()[-engine.LONGEST_TRACEBACK :])
        engine.flush()  # what stays in a buffer would come out of every engine
        gc.collect()
        gc.freeze()

    def parcel(self, message: Message) -> None:
        """Hand the supervisor the load test's files, packed, in a memfd; or say why they cannot be sent to workers."""
        load_test = self.loaded
        fed = [each.path for each in feeds]
        try:
            packed = parcel.pack(parcel.gathered(load_test.path, [*local_files(load_test.path), *fed]))
        except LoadTestError as error:
            self.channel.send("refused", error=str(error))
            return
        except OSError as error:
            self.channel.send("refused", error=f"{error.filename} cannot be read: {error.strerror}")
            return
        with open(os.memfd_create("gaggle-parcel"), "wb") as file:
            file.write(packed)
            file.flush()
            self.channel.send("packed", fds=(file.fileno(),))

    def fork(self, message: Message) -> None:
        """Fork one engine; hand the supervisor its arena and its channel."""
        order = Order.of(message.fields["order"])
        arena = Arena.create()
        self.spawn(lambda channel: engine.run(arena, channel, self.loaded, order), fds=(arena.fd,), index=order.index)
        arena.close()

    def errand(self, message: Message) -> None:
        """Fork a process that runs the test's start or stop."""
        name, settings, own = (message.fields[each] for each in ("name", "settings", "own"))
        self.spawn(lambda channel: engine.run_errand(channel, self.loaded, name, settings, own), index=-1)

    @property
    def loaded(self) -> LoadTest:
        assert self.load_test is not None
        return self.load_test

    def spawn(self, work: Callable[[Channel], None], *, index: int, fds: tuple[int, ...] = ()) -> None:
        ours, theirs = Channel.pair()
        launcher = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self.become(lambda: work(theirs), launcher)
        theirs.close()
        self.engines[pid] = index
        self.channel.send("forked", index=index, pid=pid, fds=(ours.fileno(), *fds))
        ours.close()

    def become(self, work: Callable[[], None], parent: int) -> None:
        """In the child: forget the launcher, work, and leave without running what was meant for the launcher's end."""
        code = 0
        try:
            die_with(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.channel.close()
            work()
        except BaseException:
            traceback.print_exc()
            code = BROKEN
        finally:
            engine.flush()
            os._exit(code)

    def reap(self) -> None:
        """Tell of every child that has ended."""
        with suppress(BlockingIOError):
            os.read(self.wake_reader, 4096)
        while self.engines:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            index = self.engines.pop(pid, None)
            if index is not None:
                self.channel.send("died", pid=pid, index=index, status=os.waitstatus_to_exitcode(status))


HANDLERS: dict[str, Callable[[Launcher, Message], None]] = {
    "load": Launcher.load,
    "parcel": Launcher.parcel,
    "fork": Launcher.fork,
    "errand": Launcher.errand,
}


def ignored(number: int, frame: Any) -> None:
    """Take a signal without dying of it. A handler, and not SIG_IGN, which programs started from here would inherit."""


def die_with(parent: int) -> None:
    """Be killed by the kernel when the parent dies, also when it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Serve the supervisor at the other end of the descriptor that is the first argument; the second is its pid."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    # Ctrl-C reaches the whole process group: what it means is for the supervisor to say.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignored)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # the supervisor held them back
    sys.argv = sys.argv[:1]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a load test prints comes at once, and is not lost at the end
    with suppress(EOFError):
        Launcher(Channel.of_descriptor(descriptor)).run()


if __name__ == "__main__":
    main()
