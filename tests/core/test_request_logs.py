"""Records: whole ones, from several writers, whatever is in them and whatever becomes of the file."""

from __future__ import annotations

import ast
import csv
import gc
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import Scripted
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import User
from gaggle._core import RecordFile, Scope
from gaggle.records import FIELDS, KINDS, Records, Wanted, header_of

LostCall = tuple[str, int, str]


def read_json(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().splitlines()]


def read_raw(data: bytes) -> list[dict[str, Any]]:
    return [ast.literal_eval(line) for line in data.decode().splitlines()]


def read_pretty(data: bytes) -> list[dict[str, Any]]:
    text, found = data.decode(), []
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        found.append(value)
        text = text[end + 1 :]
    return found


def read_csv(data: bytes) -> list[dict[str, Any]]:
    csv.field_size_limit(1 << 30)
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


READERS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    "json": read_json,
    "raw": read_raw,
    "pretty": read_pretty,
    "csv": read_csv,
}


class Logged:
    """An engine's logs in a folder, and a user whose requests they have."""

    def __init__(self, engine: EngineLoop, folder: Path, format: str = "json", kinds: Any = KINDS, **more: Any) -> None:
        self.engine, self.format = engine, format
        self.lost: list[LostCall] = []
        self.paths = {kind: folder / f"{kind}.log" for kind in kinds}
        wanted = Wanted({kind: (str(path), format) for kind, path in self.paths.items()}, **more)
        assert all(error is None for _, _, error in wanted.begin())
        self.records = Records(wanted, engine.pump, 7, lambda *words: self.lost.append(words))
        self.user = engine.user(User, number=3, scope=Scope(None, "Visitor", "a task"))

    def read(self, kind: str) -> list[dict[str, Any]]:
        """Return what stands in a log, once it is closed."""
        self.records.close()
        return READERS[self.format](self.paths[kind].read_bytes())


def test_a_request_is_a_line_that_says_all_about_it(engine: EngineLoop, server: Server, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path, request_body=True)

    response = engine.run(logged.user.post("/post?a=1", data=b"body", name="a name", headers={"X-A": "b"}))

    (line,) = logged.read("request")
    assert tuple(line) == FIELDS["request"]
    assert (line["user"], line["user_class"], line["task"]) == (3, "Visitor", "a task")
    assert (line["method"], line["url"], line["name"]) == ("POST", f"{server.url}/post?a=1", "a name")
    assert (line["final_url"], line["redirected"]) == (line["url"], False)
    assert line["headers"] == {"User-Agent": "gaggle", "X-A": "b"}
    assert line["body"] == "body"
    assert (line["status"], line["success"], line["error"], line["update"]) == (200, True, "", False)
    assert line["response_time_us"] == round(response.elapsed * 1e6)
    assert 0 < line["first_byte_us"] <= line["response_time_us"]
    assert logged.read("error") == []


def test_bodies_are_in_the_log_only_where_they_are_wanted(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    engine.run(logged.user.post("/post", data=b"body"))

    assert logged.read("request")[0]["body"] == ""


def test_a_redirect_is_one_request_with_two_urls(engine: EngineLoop, server: Server, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    engine.run(logged.user.get("/redirect/2"))

    (line,) = logged.read("request")
    assert (line["url"], line["final_url"]) == (f"{server.url}/redirect/2", f"{server.url}/redirect/0")
    assert line["redirected"]


def test_a_logged_request_is_not_left_to_the_collector(engine: EngineLoop, tmp_path: Path) -> None:
    """It and its answer held each other: two objects a request, and a log that cost three times what it had to."""
    logged = Logged(engine, tmp_path)

    async def ask(times: int) -> None:
        for _ in range(times):
            await logged.user.get("/")

    gc.collect()
    gc.disable()
    try:
        engine.run(ask(100))
        assert gc.collect() < 100
    finally:
        gc.enable()
    assert len(logged.read("request")) == 100


def test_what_the_load_test_decides_later_is_an_update(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    engine.run(logged.user.get("/")).fail("no goose")
    engine.run(logged.user.get("/status/404")).succeed()

    verdicts = [(line["success"], line["error"], line["update"]) for line in logged.read("request")]
    not_found = "404 Not Found"
    assert verdicts == [(True, "", False), (False, "no goose", True), (False, not_found, False), (True, "", True)]
    assert [(line["error"], line["update"]) for line in logged.read("error")] == [
        ("no goose", True),
        (not_found, False),
    ]


def test_a_request_without_an_answer_is_logged_with_its_error(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    engine.run(logged.user.get("/close-silently"))

    (line,) = logged.read("request")
    assert (line["status"], line["success"], line["first_byte_us"]) == (0, False, 0)
    assert logged.read("error") == [line]


def test_what_is_cut_off_is_in_no_log(engine: EngineLoop, server: Server, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    request = logged.user.get("/stall")
    request.cancel()

    assert logged.read("request") == logged.read("error") == logged.read("debug") == []


def test_what_a_load_test_records_itself_is_logged_too(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    logged.user.record("SQL", "select", 0.25)
    logged.user.record("SQL", "select", 0.5, "deadlock")

    first, second = logged.read("request")
    assert tuple(first) == FIELDS["request"]
    assert (first["method"], first["name"], first["response_time_us"], first["success"]) == (
        "SQL",
        "select",
        250_000,
        True,
    )
    assert (second["success"], second["error"]) == (False, "deadlock")
    (error,) = logged.read("error")
    assert (error["name"], error["error"]) == ("select", "deadlock")


def test_a_streamed_body_is_not_there_to_be_logged(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path, request_body=True)

    engine.run(logged.user.post("/post", data=iter([b"a", b"b"])))

    assert logged.read("request")[0]["body"] is None


def test_a_stream_is_logged_at_its_end(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)

    async def read() -> None:
        response = await logged.user.get("/status/500", stream=True)
        await response.read()

    engine.run(read())

    (line,) = logged.read("request")
    assert (line["status"], line["success"]) == (500, False)
    assert [each["tag"] for each in logged.read("debug")] == ["500 Internal Server Error"]


# The debug log.


def test_a_failure_is_in_the_debug_log_with_all_that_was_said(
    engine: EngineLoop, server: Server, tmp_path: Path
) -> None:
    logged = Logged(engine, tmp_path)
    logged.user.cookies.set("a", "b", "127.0.0.1")

    engine.run(logged.user.put("/status/503", json={"a": 1}))

    (line,) = logged.read("debug")
    assert tuple(line) == FIELDS["debug"]
    assert line["tag"] == "503 Service Unavailable"
    assert (line["user"], line["user_class"], line["task"]) == (3, "Visitor", "a task")
    request = line["request"]
    assert (request["method"], request["url"], request["status"]) == ("PUT", f"{server.url}/status/503", 503)
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["Cookie"] == "a=b"
    assert request["headers"]["Host"] == server.url.removeprefix("http://")
    assert request["body"] == '{"a":1}'
    assert line["headers"]["Content-Type"].startswith("text/plain")
    assert line["body"] == "status 503\n"


def test_a_load_test_writes_into_the_debug_log(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path)
    response = engine.run(logged.user.get("/text"))

    logged.records.debug(logged.user, "odd", response, None, None)
    logged.records.debug(logged.user, "own", None, {"X-A": 1}, b"\xff\0")

    odd, own = logged.read("debug")
    assert (odd["tag"], odd["request"]["status"], odd["body"]) == ("odd", 200, response.text)
    assert (own["tag"], own["request"], own["headers"], own["body"]) == ("own", None, {"X-A": "1"}, "\ufffd\0")


def test_bodies_can_be_kept_out_of_the_debug_log(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path, debug_body=False)

    engine.run(logged.user.put("/status/503", json={"a": 1}))

    (line,) = logged.read("debug")
    assert (line["body"], line["request"]["body"]) == ("", "")


# Hostile content.

NAME = 'a "name",\nof\0 two \r\nlines \x85 \u2028 grüße \udcff \x1b[31m'
BODY = b'=1+1,"\r\n\0\xff\xfe\xc0\x80\xed\xa0\x80\xf5 \xe2\x80\xa8 \xf0\x9f\xaa\xbf' + b"x" * 1_000_000
PAGE = b'<a href="x">,\r\n\0\xff=cmd|\xe2\x80\xa9' * 30_000


@pytest.mark.parametrize("format", READERS)
def test_hostile_content_is_read_back_by_a_standard_parser(
    engine_loop: MakeEngineLoop, tmp_path: Path, format: str
) -> None:
    answer = b'HTTP/1.1 500 \xff"oh, no"\r\nX-Odd: =\xff"\'\r\nContent-Length: %d\r\n\r\n%s' % (len(PAGE), PAGE)
    with Scripted(answer) as listener:
        engine = engine_loop()
        logged = Logged(engine, tmp_path, format, request_body=True)
        logged.user.scope = Scope(None, '"Class",\n', "=task\0")
        engine.run(logged.user.post("/status/500", data=BODY, name=NAME, headers={"X-Q": '"\\,='}))
        engine.run(logged.user.get(f"{listener.url}/p", name=NAME))

    for kind in ("request", "error", "debug"):
        lines = logged.read(kind)
        assert len(lines) == 2
        assert all(list(line) == list(FIELDS[kind]) for line in lines)
    requests = logged.read("request")
    assert all(line["name"].startswith('a "name",\nof') for line in requests)
    assert [str(line["status"]) for line in requests] == ["500", "500"]
    body = requests[0]["body"]
    assert body.removeprefix("'").startswith('=1+1,"\r\n')
    assert "\ufffd" in body
    assert "\U0001fabf" in body
    assert body.endswith("x" * 1_000_000)
    assert len(logged.read("debug")[1]["body"]) > 500_000
    assert logged.lost == []


# Sampling.


def test_a_sample_is_the_same_again_with_the_same_seed(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path, kinds=("request",), sample=0.25)
    again = Logged(engine, tmp_path / "..", kinds=(), sample=0.25)

    for number in range(200):
        engine.run(logged.user.get("/", name=str(number)))

    names = [int(line["name"]) for line in logged.read("request")]
    assert names == sorted(set(names))
    assert 20 < len(names) < 90
    other = Logged(engine, tmp_path, kinds=("request",), sample=0.25)
    for number in range(200):
        engine.run(other.user.get("/", name=str(number)))
    assert [int(line["name"]) for line in other.read("request")] == names
    assert again.lost == []


# Files.

WRITER = """
import sys
from gaggle._core import RecordFile
file = RecordFile(sys.argv[1])
letter = sys.argv[2].encode()
for number in range(400):
    file.write(letter * (1 + number * 97 % 9_000) + b"\\n")
file.close()
print(file.lost)
"""


def test_several_writers_do_not_tear_each_others_records(tmp_path: Path) -> None:
    path = tmp_path / "shared.log"
    command = [sys.executable, "-c", WRITER, str(path)]

    writers = [subprocess.Popen([*command, letter], stdout=subprocess.PIPE, text=True) for letter in "abc"]
    lost = [int(writer.communicate()[0]) for writer in writers]

    lines = path.read_bytes().splitlines()
    assert lost == [0, 0, 0]
    assert len(lines) == 1200
    assert all(len(set(line)) == 1 for line in lines)


def test_a_pipe_that_several_write_to_has_whole_records(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER.replace("file.lost)", "file.lost, file=sys.stderr)"), "-"]
    reader, writer = os.pipe()

    writers = [subprocess.Popen([*command, letter], stdout=writer, stderr=subprocess.PIPE) for letter in "abc"]
    os.close(writer)
    with open(reader, "rb") as stream:
        lines = stream.read().splitlines()

    lost = [int(each.communicate()[1]) for each in writers]
    assert lost == [0, 0, 0]
    assert len(lines) == 1200
    assert all(len(set(line)) == 1 for line in lines)


def test_a_disk_that_is_full_loses_records_and_nothing_else() -> None:
    file = RecordFile("/dev/full")

    file.write(b"one\n")
    file.write(b"two\n")
    file.close()

    assert (file.lost, file.trouble) == (2, "No space left on device")


def test_what_a_full_disk_did_not_take_leaves_no_half_record(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: it takes a part of a write, too."""
    path = tmp_path / "limited.log"
    program = """
        import resource, sys
        from gaggle._core import RecordFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        file = RecordFile(sys.argv[1])
        for number in range(30):
            file.write(b"x" * 9_999 + b"\\n")
        file.close()
        print(file.lost, file.trouble)
    """
    command = [
        sys.executable,
        "-c",
        "\n".join(line.strip() for line in program.splitlines()).replace("file.write", " file.write"),
        str(path),
    ]

    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    lines = path.read_bytes().splitlines()
    assert all(line == b"x" * 9_999 for line in lines)
    assert said == f"{30 - len(lines)} File too large\n"
    assert lines


@pytest.mark.parametrize("whole", [b"", b"one\n", b"one\ntwo\n"])
def test_the_half_record_of_an_engine_that_was_killed_is_cut_off(whole: bytes, tmp_path: Path) -> None:
    """The kernel ends a write of a killed process between two pages."""
    path = tmp_path / "torn.log"
    path.write_bytes(whole + b"x" * 5_000)
    file = RecordFile(str(path))

    file.write(b"mine\n")
    file.close()

    assert path.read_bytes() == whole + b"mine\n"


def test_a_log_that_may_only_be_written_is_written(tmp_path: Path) -> None:
    path = tmp_path / "shut.log"
    path.touch(0o200)
    file = RecordFile(str(path))

    file.write(b"one\n")
    file.close()

    path.chmod(0o600)
    assert (path.read_bytes(), file.lost) == (b"one\n", 0)


def test_a_reader_that_has_gone_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = RecordFile(str(fifo))

    file.write(b"one\n")
    file.flush()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    file.write(b"two\n")
    file.flush()
    file.write(b"three\n")
    file.close()

    assert (file.lost, file.trouble) == (2, "Broken pipe")


def test_a_reader_that_sleeps_costs_records_and_no_time(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = RecordFile(str(fifo))

    for _ in range(20):
        file.write(b"x" * 999_999 + b"\n")

    assert file.lost == 20 - 17
    found = bytearray()
    drained = threading.Thread(target=lambda: found.extend(drain(reader)))
    drained.start()
    file.close()
    file = None  # type: ignore[assignment]
    drained.join()
    assert found == (b"x" * 999_999 + b"\n") * 17


def drain(reader: int) -> bytes:
    os.set_blocking(reader, True)
    with open(reader, "rb") as stream:
        return stream.read()


def test_records_are_written_within_a_second_by_the_pump(engine: EngineLoop, tmp_path: Path) -> None:
    import asyncio

    path = tmp_path / "quiet.log"
    file = RecordFile(str(path), engine.pump)
    file.write(b"one\n")

    async def written() -> None:
        while not path.read_bytes():
            await asyncio.sleep(0.01)

    engine.run(written(), seconds=10)

    assert path.read_bytes() == b"one\n"
    file.close()


def test_a_log_on_a_socket_is_written_too() -> None:
    ours, theirs = socket.socketpair()
    program = "from gaggle._core import RecordFile\nf = RecordFile('-')\nf.write(b'one\\n')\nf.close()"

    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True)

    assert ours.recv(100) == b"one\n"


def test_files_that_vanish_before_the_engine_opens_them_are_told_of(engine: EngineLoop, tmp_path: Path) -> None:
    lost: list[LostCall] = []

    Records(Wanted({"task": (str(tmp_path / "no" / "x"), "json")}), engine.pump, 1, lambda *words: lost.append(words))

    assert lost == [("task", 0, "No such file or directory")]


def test_tasks_and_passes_have_their_own_fields(engine: EngineLoop, tmp_path: Path) -> None:
    logged = Logged(engine, tmp_path, "csv")
    assert logged.records.task is not None
    assert logged.records.passed is not None

    logged.records.task(3, "Visitor", 0, task="look", success=False, error="KeyError: 'x'")
    logged.records.passed(3, "Visitor", 0)

    (task,) = logged.read("task")
    assert list(task) == list(FIELDS["task"])
    assert (task["user"], task["task"], task["success"], task["error"]) == ("3", "look", "false", "KeyError: 'x'")
    assert int(task["run_time_us"]) > 0
    assert list(logged.read("pass")[0]) == list(FIELDS["pass"])
    assert (tmp_path / "request.log").read_bytes() == header_of("request", "csv")
