"""The report is true: what it counts is what the server has logged, whatever the server and the end of the test do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from processes import PATIENCE, eventually, lasting
from runs import Gaggle, Result, Row, assert_accounts
from sites import Nginx, Server, free_port

from gaggle._core import Arena, Histogram
from gaggle.metrics import Snapshot

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

LANES = ("auto", "libcurl")
ALL = ("--no-reset-metrics", "--hatch-rate", 1000)  # everything is counted, from the first request on
COLUMNS = ("started", "answered", "broken", "unfinished", "hops", "resent")

# `ask` tells the server the name under which a request is counted, also with the redirects that it leads to.
ASKING = """
    class Asking(User):
        def ask(self, method, url, **options):
            name = url.partition("?")[0]
            headers = {"X-Case": f"{method} {name}"}
            return self.request(method, url, name=name, headers=headers, **options)
"""

# All kinds of answers, and none, with pauses in which the server closes connections, also while they are used again.
TROUBLE = f"""
    {ASKING}
    URLS = [
        "/", "/bytes?n=20000", "/status/404", "/status/500", "/redirect/2", "/redirect-to?url=/text", "/close",
        "/close-idle?ms=0", "/close-idle?ms=2", "/close-idle?ms=5", "/close-silently", "/reset", "/garbage", "/half",
        "/until-close", "/chunked?n=500", "/slow?ms=30", "/redirect-to?url=/close-silently",
    ]
    FORMS = ["/post", "/close-idle", "/close-silently", "/reset", "/redirect-to?url=/post"]

    class Troubled(Asking):
        @task(6)
        async def visit(self):
            await self.ask("GET", self.random.choice(URLS), timeout=2)
            await asyncio.sleep(self.random.choice((0, 0, 0.001, 0.003, 0.006)))

        @task(2)
        async def form(self):
            await self.ask("POST", self.random.choice(FORMS), data=b"x" * 2000)

        @task(1)
        async def nine_at_once(self):
            await asyncio.gather(*(self.ask("GET", self.random.choice(URLS), timeout=2) for _ in range(9)))

        @task(1)
        async def impatient(self):
            async with asyncio.timeout(0.02):
                await self.ask("GET", "/stall")

        @task(1)
        async def broken(self):
            await self.ask("GET", "/")
            raise KeyError("token")
"""


def visitors(*urls: str) -> str:
    """Return a load test each of whose users sticks to one of `urls`."""
    return f"""
    {ASKING}
    class Visitor(Asking):
        @task
        async def visit(self):
            await self.ask("GET", URLS[self.number % len(URLS)], timeout={0.4 * PATIENCE:g})

    URLS = {urls!r}
    """


def assert_true(result: Result, logged: Mapping[str, int]) -> None:
    """Hold every row of the requests against what the server has logged under its name, and nothing else was logged."""
    rows = {f"{row.method} {row.name}": row for row in result.requests}
    for name, row in rows.items():
        assert_accounts(row, logged.get(name, 0))
    assert set(logged) <= set(rows)


def assert_at_rest(result: Result) -> None:
    """Nothing is under way: all that was begun has ended in one of three ways, and its time is in the histogram."""
    assert "Exception" not in result.stderr, str(result)  # of asyncio, for callbacks and tasks that break
    report = result.report
    rows = [*result.requests, *result.tasks, *report["users_by_class"], *report["totals"].values()]
    for row in map(Row, rows):
        assert row.started == row.answered + row.broken + row.unfinished, row
        assert row.count == row.answered + row.broken == row.response_time["count"], row
        assert 0 <= row.failures <= row.count, row
    for row in result.requests:
        assert sum(row.statuses.values()) == row.answered, row
        assert histogram(row).total == row.count, row


def histogram(row: Row) -> Histogram:
    return Histogram.decode(b64decode(row.response_time["histogram"]))


def logged_by(server: Server) -> dict[str, int]:
    """Return what the server has logged by the names that `ask` has told it."""
    return {case: sum(paths.values()) for case, paths in server.seen().cases.items()}


def total(result: Result) -> Row:
    return Row({column: result.total(column) for column in COLUMNS})


# What the server does.

ANSWERS = ("/", "/status/500", "/redirect/3", "/close", "/close-idle?ms=1", "/until-close", "/chunked", "/hints")
NO_ANSWERS = ("/close-silently", "/reset", "/garbage", "/half", "/stall", "/stall-body", "/redirect-loop")


@pytest.mark.parametrize("lane", LANES)
def test_every_answer_is_counted_as_often_as_the_server_has_given_it(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(visitors(*ANSWERS), "-u", 2 * len(ANSWERS), "-t", lasting(0.5), "--lane", lane, *ALL)

    assert len(result.requests) == len(ANSWERS)
    for row in result.requests:
        assert row.answered == row.started > 4
        assert row.answered + row.hops == logged_by(server)[f"GET {row.name}"]
    assert_true(result, logged_by(server))
    assert_at_rest(result)
    assert result.returncode == 0


@pytest.mark.parametrize("lane", LANES)
def test_every_request_that_gets_no_answer_is_counted_once_as_broken(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(visitors(*NO_ANSWERS), "-u", 2 * len(NO_ANSWERS), "-t", lasting(0.5), "--lane", lane, *ALL)

    assert len(result.requests) == len(NO_ANSWERS)
    for row in result.requests:
        assert row.broken == row.started == row.failures > 0
        assert (
            row.started + row.hops + row.resent == logged_by(server)[f"GET {row.name}"]
        )  # the server has read them all
    assert sum(error["count"] for error in result.report["errors"]) == result.total("broken")
    assert_at_rest(result)
    assert result.returncode == 1


def test_a_server_that_is_not_there_is_asked_again_and_again_but_not_hammered(run_gaggle: RunGaggle) -> None:
    result = run_gaggle(visitors("/"), "-u", 4, "-t", lasting(1), *ALL, host=f"http://127.0.0.1:{free_port()}")

    row = result.request("GET /")
    assert row.broken == row.started == row.failures
    assert 4 * 2 <= row.started <= 4 * 20
    assert row.statuses == {}
    assert_at_rest(result)
    assert result.returncode == 1


@pytest.mark.parametrize("lane", LANES)
def test_a_server_in_all_kinds_of_trouble_is_counted_right_in_every_row(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(TROUBLE, "-u", 20, "-t", lasting(1.5), "--lane", lane, *ALL)

    assert_true(result, logged_by(server))
    assert_at_rest(result)
    assert len(result.requests) > 15
    assert total(result).resent > 0
    assert result.task("Troubled", "broken").failures == result.task("Troubled", "broken").count > 0
    assert result.task("Troubled", "impatient").failures == result.task("Troubled", "impatient").count > 0
    assert result.request("GET /stall").unfinished == result.task("Troubled", "impatient").count
    assert result.returncode == 0


CLOSED_WHEN_USED = f"""
    {ASKING}
    class Visitor(Asking):
        @task
        async def visit(self):
            await self.ask("GET", "/close-idle?ms=3")
            await asyncio.sleep(self.random.uniform(0, 0.006))
            await self.ask("POST", "/post", data=b"once")
"""


@pytest.mark.parametrize("lane", LANES)
def test_a_request_that_meets_a_closing_connection_is_sent_again_and_counted_once(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    result = run_gaggle(CLOSED_WHEN_USED, "-u", 30, "-t", lasting(1.5), "--lane", lane, *ALL)

    row, seen = total(result), server.seen()
    assert row.started == row.answered > 100
    assert row.answered <= seen.total <= row.answered + row.resent
    assert result.request("POST /post").resent > 0
    assert_true(result, logged_by(server))
    assert_at_rest(result)


REUSED_THEN_CLOSED = f"""
    {ASKING}
    class Visitor(Asking):
        @task
        async def visit(self):
            await self.ask("GET", "/")
            await self.ask("GET", "/close-silently")
"""


@pytest.mark.parametrize("lane", LANES)
def test_a_request_that_a_server_reads_and_leaves_is_sent_once_more_on_a_new_connection(
    lane: str, run_gaggle: RunGaggle, server: Server
) -> None:
    """The server has read it twice: once on the connection that was used before, where closing may mean "too late"."""
    result = run_gaggle(REUSED_THEN_CLOSED, "-u", 2, "-t", lasting(0.3), "--lane", lane, *ALL)

    row = result.request("GET /close-silently")
    assert row.broken == row.started == row.resent > 0
    assert server.seen("GET /close-silently") == 2 * row.started
    assert_at_rest(result)


# How the test ends.


@pytest.mark.parametrize("requests", [0, 1, 30, 300])
def test_ctrl_c_at_any_moment_leaves_no_request_uncounted(
    requests: int, start_gaggle: StartGaggle, server: Server
) -> None:
    gaggle = start_gaggle(TROUBLE, "-u", 20, "--hatch-rate", 100, "--no-reset-metrics", "-v")
    gaggle.wait_for_line("launching user 1 ")
    eventually(lambda: server.seen().total >= requests)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    assert_true(result, logged_by(server))
    assert_at_rest(result)
    assert total(result).unfinished == sum(row.unfinished for row in result.requests if row.name == "/stall")


@pytest.mark.parametrize("users", [1, 5])
def test_ctrl_c_in_the_ramp_counts_those_who_have_come(users: int, start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(visitors("/"), "-u", 100, "--hatch-rate", 10)
    eventually(lambda: len(server.seen().connections) >= users)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    assert total(result).answered == total(result).started == server.seen().total > 0
    assert_at_rest(result)
    assert users <= len(server.seen().connections) < 100
    assert result.returncode == 0


CUT = f"""
    {ASKING}
    class Stalled(Asking):
        @task
        async def visit(self):
            await self.ask("GET", "/")
            await asyncio.gather(*(self.ask("GET", "/stall") for _ in range(8)), self.ask("GET", "/stall-body"))
"""


def test_what_the_end_cuts_is_neither_success_nor_failure(start_gaggle: StartGaggle, server: Server) -> None:
    gaggle = start_gaggle(CUT, "-u", 5, "--stop-timeout", "0.3s", *ALL)
    eventually(lambda: server.seen("GET /stall") >= 5 * 5)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    stalled = result.request("GET /stall")
    assert (stalled.started, stalled.unfinished, stalled.count, stalled.failures) == (5 * 8, 5 * 8, 0, 0)
    assert 5 * 5 <= server.seen("GET /stall") <= 5 * 6  # six connections a host: the others had not been sent
    assert result.task("Stalled", "visit").unfinished == 5
    assert result.report["users_by_class"][0]["unfinished"] == 5
    assert result.report["errors"] == []
    assert_true(result, logged_by(server))
    assert_at_rest(result)


@pytest.mark.parametrize("lane", LANES)
def test_what_a_killed_engine_had_counted_is_in_the_report(
    lane: str, start_gaggle: StartGaggle, server: Server
) -> None:
    gaggle = start_gaggle(TROUBLE, "-u", 20, "-t", lasting(2), "--engines", 2, "--lane", lane, *ALL)
    eventually(lambda: server.seen().total >= 200)

    os.kill(eventually(gaggle.engines)[0], signal.SIGKILL)
    result = gaggle.finish()

    assert_true(result, logged_by(server))
    assert_at_rest(result)
    assert len(result.incidents) == 1


class Fickle:
    """A server that answers the first request of its life, reads and leaves the second one, and stalls all others."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.kept: list[socket.socket] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed at the end of the test
            while True:
                self.kept.append(self.listener.accept()[0])
                while self.read(self.kept[-1]) == 1:
                    self.kept[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                if len(self.logged) == 2:
                    self.kept.pop().close()

    def read(self, connection: socket.socket) -> int:
        """Read a request and return how many that makes."""
        head = connection.recv(65_536)
        self.logged.append(head.split(b" HTTP/")[0].decode())
        return len(self.logged)

    def close(self) -> None:
        for each in (self.listener, *self.kept):
            each.close()


@pytest.mark.parametrize("lane", LANES)
def test_a_request_that_is_sent_again_is_counted_so_before_its_engine_is_killed(
    lane: str, start_gaggle: StartGaggle
) -> None:
    """It was counted when it had ended, so that a server could have logged more than the report admits."""
    source = """
        class Visitor(User):
            @task
            async def visit(self):
                await self.get("/first")
                await self.get("/second")
    """
    fickle = Fickle()
    gaggle = start_gaggle(source, "-u", 1, "--stop-timeout", "0.1s", "--lane", lane, *ALL, host=fickle.url)
    eventually(lambda: fickle.logged == ["GET /first", "GET /second", "GET /second"])

    os.kill(gaggle.engines()[0], signal.SIGKILL)
    gaggle.wait_for_line("start again")
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    fickle.close()
    row = result.request("GET /second")
    assert (row.started, row.resent, row.answered, row.unfinished) == (1, 1, 0, 1)
    assert_true(result, Counter(fickle.logged))


# nginx, whose access log is somebody else's count.

NGINX = f"""
    {ASKING}
    URLS = ["/", "/small.txt", "/page.html", "/big.bin", "/404", "/500", "/204", "/redirect"]

    class Visitor(Asking):
        @task
        async def visit(self):
            await self.ask("GET", self.random.choice(URLS))

        @task
        async def several(self):
            await asyncio.gather(*(self.ask("GET", url) for url in URLS))
"""


def logged_by_nginx(nginx: Nginx) -> Counter[str]:
    return Counter(hit.case for hit in nginx.log())


def wait_for_requests(nginx: Nginx, count: int) -> None:
    """Wait until nginx has had `count` requests more than now. Its log is no place to look at while it grows."""
    wanted = nginx.status()["requests"] + count
    eventually(lambda: nginx.status()["requests"] > wanted)


@pytest.mark.parametrize("lane", LANES)
def test_nginx_has_logged_what_the_report_says(lane: str, run_gaggle: RunGaggle, nginx: Nginx) -> None:
    result = run_gaggle(NGINX, "-u", 10, "-t", lasting(1), "--lane", lane, *ALL, host=nginx.url)

    logged = logged_by_nginx(nginx)
    assert {f"{row.method} {row.name}": row.answered + row.hops for row in result.requests} == logged
    assert len(logged) == 8
    assert total(result).answered == total(result).started
    assert_at_rest(result)


def test_nginx_has_logged_what_the_report_says_after_ctrl_c(start_gaggle: StartGaggle, nginx: Nginx) -> None:
    gaggle = start_gaggle(NGINX, "-u", 10, *ALL, host=nginx.url)
    wait_for_requests(nginx, 500)

    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    assert total(result).answered == total(result).started
    assert {f"{row.method} {row.name}": row.answered + row.hops for row in result.requests} == logged_by_nginx(nginx)
    assert_at_rest(result)


def test_nginx_has_logged_what_the_report_says_of_a_killed_engine(start_gaggle: StartGaggle, nginx: Nginx) -> None:
    gaggle = start_gaggle(NGINX, "-u", 10, "-t", lasting(1), "--engines", 2, *ALL, host=nginx.url)
    eventually(lambda: len(gaggle.engines()) == 2)
    wait_for_requests(nginx, 500)

    os.kill(gaggle.engines()[1], signal.SIGKILL)
    result = gaggle.finish()

    assert_true(result, logged_by_nginx(nginx))
    assert_at_rest(result)


# Engines, and the beginning of the measuring.


def test_two_engines_add_up_to_what_the_server_has_seen(run_gaggle: RunGaggle, nginx: Nginx) -> None:
    result = run_gaggle(NGINX, "-u", 10, "-t", lasting(1), "--engines", 2, *ALL, host=nginx.url)

    shares = [engine["requests"] for engine in result.report["engines"]]
    assert len(shares) == 2
    assert min(shares) > 0
    assert sum(shares) == sum(row.count for row in result.requests)
    assert {f"{row.method} {row.name}": row.count + row.hops for row in result.requests} == logged_by_nginx(nginx)
    assert all(histogram(row).total == row.count for row in result.requests)


RAMP = """
    GO = {go!r}

    class Early(User):
        fixed_count = 3

        @on_start
        async def arrive(self):
            for _ in range(5):
                await self.get("/")

        @task
        async def wait_for_the_go(self):
            while not os.path.exists(GO):
                await asyncio.sleep(0.01)
            await self.get("/")

    class Late(User):
        @task
        async def nothing(self):
            await asyncio.sleep(0.01)

    import os
"""


def test_what_is_counted_from_the_reset_on_and_what_it_dropped_are_all_that_the_server_has_seen(
    start_gaggle: StartGaggle, server: Server, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    gaggle = start_gaggle(RAMP.format(go=str(go)), "-u", 4, "--hatch-rate", 8 / PATIENCE)
    gaggle.wait_for_line("All 4 users hatched, resetting metrics")

    go.touch()
    eventually(lambda: server.seen("GET /") > 3 * 5 + 100)
    gaggle.signal(signal.SIGINT)
    result = gaggle.finish()

    dropped = 3 * 5
    assert result.request("GET /").started == result.request("GET /").answered
    assert result.request("GET /").answered + dropped == server.seen("GET /")
    assert result.request("GET /").statuses == {"200": result.request("GET /").answered}


def test_a_reset_in_full_flight_leaves_counts_and_times_that_agree(run_gaggle: RunGaggle, nginx: Nginx) -> None:
    """What was under way at the reset counts where it ends. Each row has as many times as it has ends."""
    result = run_gaggle(visitors("/"), "-u", 8, "-r", 20, "-t", lasting(0.5), host=nginx.url)

    rows = [*result.requests, *result.tasks]
    for row in rows:
        assert row.count == row.response_time["count"]
        assert row.count - 8 <= row.started <= row.count
    assert result.request("GET /").statuses == {"200": result.request("GET /").count}
    assert result.request("GET /").count < nginx.seen("GET /")


COUNTING = """
import sys
from gaggle._core import KIND_REQUEST, Arena, Tally
tally = Tally(Arena.attach(int(sys.argv[1])), KIND_REQUEST, "GET", "/")
print("counting", flush=True)
while True:
    for us in range(1, 5_000, 7):
        tally.record(us / 1e6)
        sum(range(1_000))  # an engine does other things too: some ten microseconds a request
"""


def test_a_row_that_is_read_while_it_counts_agrees_with_itself() -> None:
    """The baseline of a reset was such a row: one time more than ends, and so one less for all of the report."""
    arena = Arena.create()
    command = [sys.executable, "-c", COUNTING, str(arena.fd)]
    with subprocess.Popen(command, pass_fds=[arena.fd], stdout=subprocess.PIPE, text=True) as counting:
        assert counting.stdout is not None
        counting.stdout.readline()

        rows = [row for _ in range(2_000) for row in Snapshot.read(arena).requests()]

        counting.kill()
    assert rows[0].count < rows[-1].count
    assert [row.count - row.times.total for row in rows] == [0] * len(rows)


OF_ALL_KINDS = """
    class Visitor(User):
        @task
        async def fine(self):
            await self.get("/")

        @task
        async def raises(self):
            await self.get("/")
            raise ValueError("no")

        @task
        async def fails(self):
            (await self.get("/")).fail("not what I wanted")

        @task
        async def succeeds(self):
            (await self.get("/status/404")).succeed()

        @task
        async def leaves(self):
            if self.number % 2:
                self.stop()
            await asyncio.sleep(0.02)
"""


def test_tasks_and_passes_are_counted_as_often_as_they_began(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(OF_ALL_KINDS, "-u", 6, "-t", lasting(0.5), *ALL)

    row = {task.name: task for task in result.tasks}
    assert row["fine"].count + row["raises"].count + row["fails"].count == server.seen("GET /")
    assert row["succeeds"].count == server.seen("GET /status/404") == result.request("GET /status/404").count
    assert row["raises"].failures == row["raises"].count > 0
    assert row["fails"].failures == row["fine"].failures == row["leaves"].failures == 0
    assert result.request("GET /").failures == row["fails"].count
    assert result.request("GET /status/404").failures == 0
    assert result.report["users_by_class"][0]["unfinished"] > 0
    assert_at_rest(result)
