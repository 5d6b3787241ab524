"""When the screen is drawn, and where: below all that is printed, and gone when the test is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.live import Live

from gaggle.live.keys import Keys
from gaggle.live.view import Scene, drawn
from gaggle.recorder import Moment
from gaggle.supervisor import Supervisor


class Display:
    """Looks on at a run. What is printed meanwhile on stdout and stderr goes above it, whole lines at a time."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self.keys = Keys()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Let it be drawn from the first second of the test to the end of this context."""
        self.supervisor.recorder.observers.append(self)
        try:
            yield
        finally:
            self.close()

    def __call__(self, moment: Moment) -> None:
        """Draw the moment. A terminal that hangs up ends no load test."""
        try:
            if not self.live.is_started:
                self.live.start()
                self.keys.open()
            width, height = self.console.size
            self.live.update(drawn(moment, self.scene(), width, height - 1), refresh=True)
        except OSError:
            self.close()

    def scene(self) -> Scene:
        """Return what does not change from second to second."""
        supervisor = self.supervisor
        name = supervisor.parsed.file.name if supervisor.parsed.file else ""
        return Scene(name, tuple(supervisor.hosts), supervisor.plan, self.keys.is_open)

    def close(self) -> None:
        """Take it off the terminal, which is then as it was before."""
        self.keys.close()
        with suppress(OSError):
            self.live.stop()
        if self in self.supervisor.recorder.observers:
            self.supervisor.recorder.observers.remove(self)
