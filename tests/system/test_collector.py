"""Python's collector of garbage has no business with users who are there to stay."""

from __future__ import annotations

from collections.abc import Callable

from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

LOOKING = """
    import gc, sys

    class Visitor(User):
        here, looked = 0, asyncio.Event()

        @task
        async def look(self):
            await self.get("/")
            Visitor.here += 1
            if self.number > 1:
                await self.looked.wait()
            else:
                while Visitor.here < 400:
                    await asyncio.sleep(0.05)
                print("looked at:", sum(len(gc.get_objects(age)) for age in range(3)), file=sys.stderr)
                ring = []
                ring.append(ring)
                del ring
                print("collected:", gc.collect(), file=sys.stderr)
                self.looked.set()
            self.stop()
"""


def test_the_collector_looks_at_no_user_that_has_hatched(run_gaggle: RunGaggle, server: Server) -> None:
    """At 10,000 users it stopped the engine for 120 ms: 19 objects a user, and all that was imported."""
    result = run_gaggle(LOOKING, "-u", 400, "--hatch-rate", 4000, "--engines", 1)

    assert value(result, "looked at") < 400 * 5
    assert value(result, "collected") > 0


def value(result: Result, name: str) -> int:
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"{name}: ")]
    assert len(lines) == 1, result.stderr
    return int(lines[0].rpartition(" ")[2])
