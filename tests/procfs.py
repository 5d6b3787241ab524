"""What /proc says of a process: its state, CPU time, memory, descriptors, and the TCP sockets of this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ESTABLISHED, CLOSE_WAIT = 0x01, 0x08  # include/net/tcp_states.h; CLOSE_WAIT: the other side has closed, we have not


def is_alive(pid: int) -> bool:
    """Return whether the process is there and has not ended; a zombie has."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """Return R, S, D, T, Z ... of proc(5); "" when there is no such process."""
    fields = stat(pid)
    return fields[0] if fields else ""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, of user and kernel, that the process has used."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def own_bytes(pid: int) -> int:
    """Return the resident memory that is the process's own: without files and what it shares, such as its arena."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * PAGE_BYTES


def descriptors(pid: int) -> list[str]:
    """Return what the open descriptors of a process point to: "socket:[123]", "/memfd:gaggle-arena (deleted)"."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def arenas(pid: int) -> int:
    """Return how many arenas the process has open."""
    return sum("memfd:gaggle-arena" in target for target in descriptors(pid))


def sockets_to(port: int, wanted: int) -> int:
    """Return how many TCP sockets of this machine have `port` at their other end and are in the state `wanted`."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, shown, *_ = line.split()
        found += int(remote.rpartition(":")[2], 16) == port and int(shown, 16) == wanted
    return found
