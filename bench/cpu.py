"""What processes cost: CPU seconds and memory of one and its descendants, CPU seconds of the whole machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # of the line "cpu" in /proc/stat: all but idle and iowait


class Cpu(NamedTuple):
    """CPU seconds."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        return self.user + self.system

    def plus(self, other: Cpu) -> Cpu:
        return Cpu(self.user + other.user, self.system + other.system)

    def minus(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def used_by(pids: Iterable[int]) -> Cpu:
    """Return what these processes have used since they started, each with all its threads; 10 ms exact."""
    found = Cpu()
    for pid in pids:
        if fields := stat(pid):
            found = found.plus(Cpu(int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND))
    return found


def used_by_all() -> float:
    """Return the CPU seconds of everybody, and those that the hypervisor took, since the machine started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[place]) for place in BUSY_FIELDS) / TICKS_PER_SECOND


def family(pid: int) -> list[int]:
    """Return the process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for each in found:
        found += sorted(children.get(each, ()))
    return found


def memory_kb(pid: int, field: str = "VmRSS") -> int:
    """Return a field of /proc/PID/status in KB, such as VmRSS or RssAnon; 0 when the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def machine() -> str:
    """Return "AMD EPYC, 2 cores, Linux 6.18.44"."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{(models or [platform.machine()])[0]}, {os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}"
    )
