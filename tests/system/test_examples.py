"""The examples work as they stand: run against the demo site, whose own counts the report must match."""

from __future__ import annotations

import re
import socketserver
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Process
from runs import Result, assert_accounts
from sites import DemoSite

EXAMPLES = Path(__file__).parents[2] / "examples"
HELPERS = {"demo_site"}
LOAD_TESTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in HELPERS)

RunExample = Callable[..., Result]


@pytest.fixture
def run_example(run_gaggle: Callable[..., Result], demo_site: DemoSite) -> RunExample:
    """Return `run_example(name, users=8, run_time="1s", **more)`; all that is counted is reported, also the start."""

    def run(name: str, users: int = 8, run_time: str = "1s", env: dict[str, str] | None = None) -> Result:
        options = ["--users", users, "--hatch-rate", 100, "--run-time", run_time, "--no-reset-metrics"]
        return run_gaggle(EXAMPLES / f"{name}.py", *options, host=demo_site.url, env=env)

    return run


def assert_all_is_well(result: Result, site: DemoSite) -> None:
    """Nothing failed, and the site has served what the report says, not one request more or less."""
    assert result.returncode == 0, str(result)
    assert result.report["errors"] == []
    assert result.incidents == []
    columns = ("started", "answered", "broken", "unfinished", "hops", "resent")
    assert_accounts({name: result.total(name) for name in columns}, sum(site.seen().values()))
    assert result.total("failed") == sum(task.failed for task in result.tasks) == 0


def test_drupal_loadtest_counts_what_the_site_served(run_example: RunExample, demo_site: DemoSite) -> None:
    result = run_example("drupal_loadtest", users=10, run_time="3s")

    assert_all_is_well(result, demo_site)
    count = {f"{row.method} {row.name}": row.count for row in result.requests}
    hops = {f"{row.method} {row.name}": row.hops for row in result.requests}
    served = demo_site.seen()
    assert served["GET /"] == count["GET (Anon) front page"] + count["GET (Auth) front page"]
    assert served["GET /misc/{file}"] + served["GET /themes/{file}"] == count["GET static asset"]
    assert served["GET /user"] == count["GET (Auth) login"] == 2
    assert served["POST /user"] == count["POST (Auth) login"] == hops["POST (Auth) login"] == 2
    assert served["POST /comment/reply/{nid}"] == count["POST (Auth) comment form"]
    nodes = ["GET (Anon) node page", "GET (Auth) node page", "GET (Auth) comment form"]
    assert served["GET /node/{nid}"] == sum(count[name] for name in nodes) + hops["POST (Auth) comment form"]


def test_drupal_loadtest_loads_six_assets_a_front_page(run_example: RunExample) -> None:
    """The seed's report has 46,782 assets for 7,798 front pages."""
    result = run_example("drupal_loadtest", users=5)

    pages = (
        result.task("AnonBrowsingUser", "(Anon) front page").count
        + result.task("AuthBrowsingUser", "(Auth) front page").count
    )
    assert result.request("GET static asset").count == 6 * pages > 0


def test_simple_names_its_pages_by_their_template(run_example: RunExample, demo_site: DemoSite) -> None:
    result = run_example("simple", users=40, run_time="2s")

    assert_all_is_well(result, demo_site)
    assert result.request("GET /node/{id}").count == demo_site.seen("GET /node/{nid}") > 0
    assert result.request("GET /").count == demo_site.seen("GET /") > 0


def test_login_with_token_counts_an_expected_401_as_a_success(run_example: RunExample, demo_site: DemoSite) -> None:
    result = run_example("login_with_token")

    assert_all_is_well(result, demo_site)
    assert result.request("POST sign in").count == demo_site.seen("POST /api/token", 200) == 8
    assert result.request("GET /api/profile").count == demo_site.seen("GET /api/profile", 200) > 0
    assert result.request("GET /api/profile (no token)").count == demo_site.seen("GET /api/profile", 401) > 0


def test_parallel_assets_records_whole_pages(run_example: RunExample, demo_site: DemoSite) -> None:
    result = run_example("parallel_assets")

    pages = result.request("PAGE /")
    assert pages.count == result.request("GET /").count == demo_site.seen("GET /") > 0
    assert pages.failed == 0
    served = demo_site.seen("GET /misc/{file}") + demo_site.seen("GET /themes/{file}")
    assert result.request("GET asset").count == served == 6 * pages.count


def test_sequence_posts_as_often_as_it_opens(run_example: RunExample, demo_site: DemoSite) -> None:
    result = run_example("sequence", run_time="2s")

    assert_all_is_well(result, demo_site)
    steps = [result.task("Commenter", name).count for name in ("sign_in", "open_article", "comment", "find_comment")]
    assert steps == sorted(steps, reverse=True)
    assert 0 < steps[-1] >= steps[0] - 8  # each of eight users may have been stopped on its way
    assert demo_site.seen("POST /user", 302) == steps[0]
    assert demo_site.seen("POST /comment/reply/{nid}", 302) == steps[2]


def test_rows_from_csv_signs_each_person_in_once(run_example: RunExample, demo_site: DemoSite) -> None:
    """There are 20 people in the file, so five of 25 users find no row left and end."""
    result = run_example("rows_from_csv", users=25)

    assert_all_is_well(result, demo_site)
    assert result.request("POST sign in").count == demo_site.seen("POST /api/token", 200) == 20
    assert result.request("GET /node/{id}").count == demo_site.seen("GET /node/{nid}") > 0


class Redis(socketserver.ThreadingTCPServer):
    """Enough of one for the example: counts its commands and answers them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RedisClient)
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def count(self, command: str) -> None:
        with self.lock:
            self.seen[command] += 1


class RedisClient(socketserver.StreamRequestHandler):
    server: Redis

    def handle(self) -> None:
        carts: dict[bytes, bytes] = {}
        while line := self.rfile.readline():
            words = [self.word() for _ in range(int(line[1:]))]
            self.server.count(words[0].decode())
            self.wfile.write(self.answer(words, carts))

    def word(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:-2]

    def answer(self, words: list[bytes], carts: dict[bytes, bytes]) -> bytes:
        if words[0] == b"SET":
            carts[words[1]] = words[2]
            return b"+OK\r\n"
        found = carts.get(words[1])
        return b"$-1\r\n" if found is None else b"$%d\r\n%b\r\n" % (len(found), found)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_non_http_counts_what_redis_saw(run_example: RunExample, redis: Redis, demo_site: DemoSite) -> None:
    result = run_example("non_http", env={"REDIS": f"127.0.0.1:{redis.server_address[1]}"})

    assert result.returncode == 0, str(result)
    assert {row.name: row.count for row in result.requests} == redis.seen
    assert redis.seen["GET"] > redis.seen["SET"] > 0
    assert result.total("failed") == demo_site.seen().total() == 0


def test_the_site_runs_a_load_test_and_tells_what_it_served(tmp_path: Path) -> None:
    """As the README of the examples says, in one command."""
    options = ["--host", "{host}", "--users", "4", "--hatch-rate", "100", "--run-time", "1s"]
    gaggle = [sys.executable, "-m", "gaggle", str(EXAMPLES / "drupal_loadtest.py"), *options]
    process = Process([sys.executable, EXAMPLES / "demo_site.py", "--run", *gaggle], tmp_path)

    assert process.wait() == 0
    assert process.survivors() == []
    table = process.output("stdout").partition("The demo site served")[2]
    assert re.search(r"^GET / +200 +[1-9][0-9,]*$", table, re.MULTILINE)


@pytest.mark.parametrize("name", LOAD_TESTS)
def test_every_example_is_in_the_readme_and_tested(name: str) -> None:
    assert f"`{name}.py`" in (EXAMPLES / "README.md").read_text()
    assert f'run_example("{name}"' in Path(__file__).read_text()
