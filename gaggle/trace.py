"""What --once prints: every request with its headers, phases and body, the command that repeats it, every failure."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from gaggle import units
from gaggle._core import Response
from gaggle.curl import curl
from gaggle.visit import Step, Visit, Witness

EXCERPT = 500  # characters of a body
EXCERPT_LINES = 10
PHASES = {
    "dns": "dns",
    "connect": "connect",
    "tls": "tls",
    "send": "send",
    "first_byte": "first byte",
    "last_byte": "last byte",
}


class Trace(Witness):
    """Prints a visit as it goes on, by `say`, which is given whole lines."""

    def __init__(self, say: Callable[[str], None], settings: dict[str, Any]) -> None:
        self.say, self.settings = say, settings

    def begins(self, step: Step) -> None:
        self.say(f"\n{step.kind} {units.printable(step.name)}\n")

    def answered(self, response: Response) -> None:
        for hop in (*response.history, response):
            self.say("\n".join(hop_lines(hop, self.settings)) + "\n")

    def ended(self, step: Step) -> None:
        """Say how it ended: the failures in full."""
        lines = [f"  FAILED {units.printable(line)}" for line in step.failures]
        if step.error is not None:
            lines += indented("".join(traceback.format_exception(step.error)).rstrip(), "    ")
        self.say(
            "\n".join([*lines, f"  {'failed' if lines else 'ok'} after {units.milliseconds(step.seconds * 1e6)} ms"])
            + "\n"
        )


def hop_lines(response: Response, settings: dict[str, Any]) -> list[str]:
    """Return the lines about one hop, without their ends."""
    method, url, head, body = response.sent or (response.method, response.url, b"", None)
    lines = [f"  {method} {url}", *(f"    > {line}" for line in head_lines(head))]
    if body is not None:
        lines += excerpt(body, "    > ")
    if response.status:
        lines.append(f"    < HTTP/{response.http_version} {response.status} {units.printable(response.reason)}")
        lines += [f"    < {units.printable(f'{name}: {value}')}" for name, value in response.headers.multi_items()]
        lines += excerpt(response_body(response), "    | ")
        lines.append(f"    {size_of(response)}")
    lines.append(f"    {times_of(response)}")
    if response.fault is not None:
        lines.append(f"    FAILED {units.printable(response.fault)}")
    return [*lines, f"    {curl(response, settings)}"]


def head_lines(head: bytes) -> list[str]:
    return [units.printable(line) for line in head.decode("utf-8", "replace").split("\r\n") if line]


def response_body(response: Response) -> bytes:
    """Return the body; of a stream nothing, as its reader has it."""
    try:
        return response.body
    except RuntimeError:
        return b""


def excerpt(body: bytes, mark: str) -> list[str]:
    """Return the beginning of a body, as text where it is text."""
    try:
        text = body[: EXCERPT * 4].decode()
    except UnicodeDecodeError as error:
        if error.end < len(body[: EXCERPT * 4]) - 4:
            return [f"{mark}{units.thousands(len(body))} bytes that are no text: {body[:32].hex(' ')} …"]
        text = body[: error.start].decode()
    shown = text[:EXCERPT].splitlines()[:EXCERPT_LINES]
    is_cut = len("\n".join(shown)) + 1 < len(text) or len(body) > EXCERPT * 4
    return [f"{mark}{units.printable(line)}" for line in shown] + ([f"{mark}…"] if is_cut else [])


def size_of(response: Response) -> str:
    size = units.thousands(len(response_body(response)))
    return f"{size} bytes of body" + (f", {units.thousands(response.dropped)} more dropped" if response.dropped else "")


def times_of(response: Response) -> str:
    """Return the time of the request, and where that of this hop went; phases that there were not are left out."""
    phases = response.phases or {}
    parts = [f"{PHASES[name]} {units.milliseconds(phases[name] * 1e6)}" for name in PHASES if phases.get(name)]
    total = sum(phases.values()) if not response.elapsed else response.elapsed
    return f"{units.milliseconds(total * 1e6)} ms" + (f": {', '.join(parts)}" if parts else "")


def indented(text: str, by: str) -> list[str]:
    return [by + units.printable(line) for line in text.splitlines()]


def summary(visit: Visit) -> str:
    """Return the last lines: how many requests, and everything that failed."""
    count = len(visit.responses)
    lines = [
        "",
        f"{visit.user_class}: {units.thousands(count)} request{'s' * (count != 1)}, {len(visit.failures)} failed",
    ]
    return "\n".join([*lines, *(f"  {units.printable(line)}" for line in visit.failures)]) + "\n"
