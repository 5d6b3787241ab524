"""Another machine, made of a network namespace: it has addresses of its own, and cables that a test can pull.

Two cables lead to it, so that one can be cut while the other holds: by `control` manager and worker talk, by `load` its
users reach the server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType

from flock import Worker
from processes import Process
from runs import clean_environment

_numbers = count()


class Cable:
    """A link between this machine and the other; `here` and `there` are the addresses at its ends."""

    def __init__(self, name: str, subnet: str, first: int) -> None:
        self.near, self.far = f"{name}n", f"{name}f"
        self.here, self.there = f"{subnet}.{first}", f"{subnet}.{first + 1}"

    def lay(self, namespace: str) -> None:
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", namespace)
        ip("address", "add", f"{self.here}/30", "dev", self.near)
        ip("-n", namespace, "address", "add", f"{self.there}/30", "dev", self.far)
        ip("link", "set", self.near, "up")
        ip("-n", namespace, "link", "set", self.far, "up")

    def cut(self) -> None:
        """Neither side hears of it: packets vanish from now on."""
        ip("link", "set", self.near, "down")

    def mend(self) -> None:
        ip("link", "set", self.near, "up")


class Machine:
    """A namespace of this test process, removed with its cables at the end of the `with`."""

    def __init__(self) -> None:
        own = (os.getpid() * 16 + next(_numbers)) % 0x3FFF
        subnet = f"10.{192 + own // 256}.{own % 256}"
        self.name = f"gaggle{os.getpid()}x{own}"
        self.control = Cable(f"gc{own}", subnet, 1)
        self.load = Cable(f"gl{own}", subnet, 5)

    def __enter__(self) -> Machine:
        ip("netns", "add", self.name)
        try:
            ip("-n", self.name, "link", "set", "lo", "up")
            self.control.lay(self.name)
            self.load.lay(self.name)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it. The ends of the cables that are in it go with it, and so do those that are here."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
        for cable in (self.control, self.load):
            subprocess.run(["ip", "link", "delete", cable.near], check=False, capture_output=True)

    def inside(self, words: Sequence[str | Path]) -> list[str | Path]:
        """Return the command that runs `words` on that machine."""
        return ["ip", "netns", "exec", self.name, *words]


class FarWorker(Worker):
    """A worker on another machine, which a shell there has started with `command`, as a person would paste it."""

    def __init__(self, machine: Machine, command: str, *more: object, folder: Path) -> None:
        self.report_file = folder / "no_report.json"
        line = " ".join(["exec env", command, "-v", *map(str, more)])
        Process.__init__(self, machine.inside(["sh", "-c", line]), folder, far_environment(folder))


def far_environment(folder: Path) -> Mapping[str, str]:
    """Return the environment of a person on another machine: who has installed gaggle, and knows no token."""
    env = clean_environment() | {"XDG_RUNTIME_DIR": str(folder)}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def why_not() -> str:
    """Return why there can be no other machine here; "" where there can."""
    if not shutil.which("ip"):
        return "another machine needs `ip` (Debian: iproute2)"
    if os.geteuid() != 0:
        return "another machine needs root: ip netns add"
    name = f"gg{os.getpid()}try"
    done = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    return f"no namespace can be made here: {done.stderr.strip()}" if done.returncode else ""
