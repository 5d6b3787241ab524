"""The request, task, pass, error and debug logs: what stands in them, in which format. Engines write them."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gaggle._core import Pump, RecordFile, RequestLog, Response
from gaggle.options import Options

STDOUT = "-"
KINDS = ("request", "task", "pass", "error", "debug")
TELL_SECONDS = 1.0

_WHO = ("time", "elapsed_us", "user", "user_class")
_REQUEST = ("task", "name", "method", "url", "headers", "body", "final_url", "redirected")
_ANSWER = ("response_time_us", "first_byte_us", "status", "success", "error", "update")
# The fields of each log, in the order of its columns. Those of requests are written by core/requestlog.pxi.
FIELDS = {
    "request": (*_WHO, *_REQUEST, *_ANSWER),
    "error": (*_WHO, *_REQUEST, *_ANSWER),
    "task": (*_WHO, "task", "run_time_us", "success", "error"),
    "pass": (*_WHO, "run_time_us"),
    "debug": (*_WHO, "task", "tag", "request", "headers", "body"),
}

Record = Mapping[str, Any]

# Formats. Each is read back by a parser that everybody has: json, csv, ast.literal_eval.

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}  # ends of lines for str.splitlines
_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # what a spreadsheet runs


def as_json(record: Record) -> bytes:
    """Return an object on one line. Every line is UTF-8, whatever servers and load tests put into it."""
    return _json(record).translate(_LINE_ENDS).encode() + b"\n"


def as_pretty(record: Record) -> bytes:
    """Return an object on several lines."""
    return _json(record, indent=2).translate(_LINE_ENDS).encode() + b"\n"


def as_raw(record: Record) -> bytes:
    """Return a dict on one line, as Python writes it."""
    return repr(dict(record)).encode("utf-8", "backslashreplace") + b"\n"


def as_csv(record: Record) -> bytes:
    """Return a row. Text that a spreadsheet would take for a formula begins with an apostrophe."""
    return ",".join(map(_cell, record.values())).encode() + b"\n"


FORMATS: dict[str, Callable[[Record], bytes]] = {"json": as_json, "pretty": as_pretty, "raw": as_raw, "csv": as_csv}


def header_of(kind: str, format: str) -> bytes:
    """Return what the file of a log begins with: the names of the columns, where it has columns."""
    return ",".join(FIELDS[kind]).encode() + b"\n" if format == "csv" else b""


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))
    return _SURROGATE.sub("\ufffd", text)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else str(value).lower()
    text = value if isinstance(value, str) else _json(value)
    text = _SURROGATE.sub("\ufffd", text).replace("\0", "\\x00")  # not every reader of CSV knows a NUL
    return '"' + ("'" if text.startswith(_FORMULA) else "") + text.replace('"', '""') + '"'


def convert(format: str) -> Callable[[bytes], bytes] | None:
    """Return what makes this format of a line of JSON; None for JSON."""
    return None if format == "json" else lambda line: FORMATS[format](json.loads(line))


# What was asked for.


@dataclass(frozen=True, slots=True)
class Wanted:
    """The logs that an engine writes: kind -> (file, format); plain data, as it is sent to it."""

    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    sample: float = 1.0
    request_body: bool = False
    debug_body: bool = True

    @classmethod
    def of(cls, options: Options) -> Wanted:
        names = {kind: (getattr(options, f"{kind}_log"), getattr(options, f"{kind}_format")) for kind in KINDS}
        return cls(
            files={kind: (name, format) for kind, (name, format) in names.items() if name is not None},
            sample=options.request_log_sample,
            request_body=options.request_body,
            debug_body=not options.no_debug_body,
        )

    @property
    def has_stdout(self) -> bool:
        """Whether stdout belongs to a log, so that nothing else may be printed there."""
        return any(name == STDOUT for name, _ in self.files.values())

    def begin(self) -> Iterator[tuple[str, str, OSError | None]]:
        """Make each file anew, with its header; yield (kind, file, None or why that failed)."""
        for kind, (name, format) in self.files.items():
            try:
                begin_file(name, header_of(kind, format))
                yield kind, name, None
            except OSError as error:
                yield kind, name, error


def begin_file(name: str, header: bytes) -> None:
    """Empty a file, or make it, and write its header. What is no plain file is only written to. Raises OSError."""
    if name != STDOUT:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY, 0o666))
    file = RecordFile(name)
    if header:
        file.write(header)
    file.close()
    if file.trouble:
        raise OSError(0, file.trouble)


def probe(name: str) -> None:
    """Raise OSError unless a log can be written to `name`. What stands in the file is not touched."""
    if name == STDOUT:
        return
    path = Path(name)
    is_new = not path.exists()
    descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    try:
        if path.is_file():
            size = os.fstat(descriptor).st_size
            try:
                os.write(descriptor, b"\n" * 4_096)  # a full disk takes a name, but no bytes
            finally:
                os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)
        if is_new and path.is_file():
            path.unlink()


# What an engine does.

Lost = Callable[[str, int, str], None]


class Records:
    """The logs of one engine. `lost` hears of records that could not be written: kind, how many so far, why."""

    def __init__(self, wanted: Wanted, pump: Pump, seed: int, lost: Lost) -> None:
        self.wanted, self.pump, self.lost = wanted, pump, lost
        self.t0_ns = 0
        self.files: dict[str, RecordFile] = {}
        self.formats = {kind: FORMATS[format] for kind, (_, format) in wanted.files.items()}
        self.told: dict[str, int] = {}
        for kind, (name, _) in wanted.files.items():
            self._open(kind, name)
        requests, errors = (self._request_log(kind, seed) for kind in ("request", "error"))
        self.request_logs = [requests, errors]
        has_debug = "debug" in self.files
        if self.files:
            self.pump.watch(requests, errors, self.failed if has_debug else None, has_debug)
        # None where there is no such log: a task asks before it makes a record.
        self.task = partial(self._done, "task") if "task" in self.files else None
        self.passed = partial(self._done, "pass") if "pass" in self.files else None

    def _open(self, kind: str, name: str) -> None:
        try:
            self.files[kind] = RecordFile(name, self.pump)
        except OSError as error:  # it could be opened when the test began
            self.lost(kind, 0, error.strerror or str(error))

    def _request_log(self, kind: str, seed: int) -> RequestLog | None:
        if kind not in self.files:
            return None
        return RequestLog(
            self.files[kind],
            with_body=self.wanted.request_body,
            sample=self.wanted.sample if kind == "request" else 1.0,
            seed=seed,
            convert=convert(self.wanted.files[kind][1]),
        )

    def begin(self, t0_ns: int) -> None:
        """Count `elapsed_us` from this moment of the monotonic clock."""
        self.t0_ns = t0_ns
        for log in filter(None, self.request_logs):
            log.t0_ns = t0_ns
        if self.files:
            self.tell()

    def tell(self) -> None:
        """Say every second what was lost."""
        self.pump.loop.call_later(TELL_SECONDS, self.tell)
        self._tell_once()

    def _tell_once(self) -> None:
        for kind, file in self.files.items():
            if file.lost != self.told.get(kind, 0):
                self.told[kind] = file.lost
                self.lost(kind, file.lost, file.trouble or "")

    def close(self) -> None:
        """Write what is left, and say what could not be."""
        for file in self.files.values():
            file.close()
        self._tell_once()

    def put(self, kind: str, record: Record) -> None:
        self.files[kind].write(self.formats[kind](record))

    def who(self, number: int, user_class: str, began_ns: int) -> dict[str, Any]:
        """Return the fields that each record begins with, for what began at `began_ns` of the monotonic clock."""
        now = time.monotonic_ns()
        return {
            "time": round(time.time() - (now - began_ns) / 1e9, 6),
            "elapsed_us": max(began_ns - self.t0_ns, 0) // 1_000,
            "user": number,
            "user_class": user_class,
        }

    def _done(self, kind: str, number: int, user_class: str, began_ns: int, **more: Any) -> None:
        """A task or a pass has ended now."""
        record = self.who(number, user_class, began_ns)
        if "task" in more:
            record["task"] = more.pop("task")
        record["run_time_us"] = (time.monotonic_ns() - began_ns + 500) // 1_000
        self.put(kind, {**record, **more})

    # The debug log.

    def failed(self, response: Response) -> None:
        """A request has become a failure: its reason is the tag."""
        self.debug(response.user, response.fault or "", response, None, None)

    def debug(self, user: Any, tag: object, response: Response | None, headers: Any, body: Any) -> None:
        """Log what somebody will want to see. `headers` and `body` stand in for those of the response."""
        if "debug" not in self.files:
            return
        scope = getattr(user, "scope", None)
        record = self.who(getattr(user, "number", 0), scope.label if scope else "", time.monotonic_ns())
        record["task"] = response.task if response is not None else scope.task if scope else ""
        record["tag"] = str(tag)
        record["request"] = None if response is None else self.request_of(response)
        if headers is None and response is not None:
            headers = response.headers.multi_items()
        record["headers"] = headers_of(headers)
        record["body"] = self.body_of(content_of(response) if body is None and response is not None else body)
        self.put("debug", record)

    def request_of(self, response: Response) -> dict[str, Any]:
        """Return what was asked of the server, in the last hop."""
        method, url, head, body = response.sent or (response.method, response.url, b"", None)
        return {
            "method": method,
            "url": url,
            "name": response.name,
            "headers": headers_of(lines_of(head)),
            "body": self.body_of(body),
            "redirected": bool(response.history),
            "response_time_us": round(response.elapsed * 1e6),
            "status": response.status,
            "error": response.fault or "",
        }

    def body_of(self, body: Any) -> str:
        """Return a body as text; bytes that are no UTF-8 become U+FFFD."""
        if body is None or not self.wanted.debug_body:
            return ""
        return bytes(body).decode("utf-8", "replace") if isinstance(body, bytes | bytearray | memoryview) else str(body)


def content_of(response: Response) -> str:
    """Return a body as text; "" for a stream, which only its reader has."""
    try:
        return response.text
    except RuntimeError:
        return ""


def lines_of(head: bytes) -> list[tuple[str, str]]:
    """Return the fields of a head as pairs."""
    lines = head.decode("utf-8", "replace").split("\r\n")
    return [(name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]


def headers_of(headers: Any) -> dict[str, str]:
    """Return headers as name -> value; a name that comes again has its values on lines of their own."""
    found: dict[str, str] = {}
    for name, value in headers.items() if hasattr(headers, "items") else headers or ():
        found[str(name)] = f"{found[str(name)]}\n{value}" if str(name) in found else str(value)
    return found
