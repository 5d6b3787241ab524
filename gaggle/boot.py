"""The boot of this machine: which one it is, and how long ago. Other processes here say the same."""

from __future__ import annotations

import time
from pathlib import Path


def boot_id() -> str:
    """Return the name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME, which goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
