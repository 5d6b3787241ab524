"""What the launcher forks: it ends with the launcher, however early that is."""

from __future__ import annotations

import subprocess
import sys

ORPHAN = """
import os
from gaggle import launcher
from gaggle.channel import Channel

def slow(fork=os.fork, parent=os.getpid()):
    pid = fork()
    while pid == 0 and os.getppid() == parent:
        pass
    return pid

os.fork = slow
launcher.Launcher(Channel.pair()[1]).spawn(lambda channel: print("at work"), index=0)
os._exit(0)  # before its child has done anything
"""


def test_a_child_that_the_launcher_did_not_live_to_see_does_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60, check=True)

    assert (run.stdout, run.stderr) == ("", "")
