"""Cores that do not fall asleep while a bench measures.

To wake a core that sleeps costs who wakes it: in a virtual machine an exit to the host, some 5 us. A client that leaves
the server time to sleep pays that for each request, and one that keeps it busy does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

LATENCY_FILE = "/dev/cpu_dma_latency"  # the longest that a core may take to wake, in us: as long as the file is open
NONE_US = (0).to_bytes(4, "little")


def may_keep_awake() -> bool:
    """Return whether we may decide that; root may."""
    return os.access(LATENCY_FILE, os.W_OK)


@contextmanager
def awake() -> Iterator[None]:
    """Let idle cores spin instead of sleep, as long as the `with` lasts, where we may."""
    if not may_keep_awake():
        yield
        return
    file = os.open(LATENCY_FILE, os.O_WRONLY)
    try:
        os.write(file, NONE_US)
        yield
    finally:
        os.close(file)
