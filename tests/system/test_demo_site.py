"""The demo site: forms that a load test has to fill in correctly, and `--run`."""

from __future__ import annotations

import json
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from processes import Process
from sites import HERE, DemoSite

SCRIPT = HERE.parent / "examples" / "demo_site.py"
COMMENT = {"subject": "Honk", "comment_body[und][0][value]": "<b>a goose</b>"}


class Page(NamedTuple):
    status: int
    url: str  # after redirects
    text: str

    def hidden(self) -> dict[str, str]:
        return dict(re.findall(r"""name="(form_\w+)" value=['"](.*?)['"]""", self.text))


class Visitor:
    """Keeps cookies, follows redirects."""

    def __init__(self, site: DemoSite) -> None:
        self.host = site.url
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def open(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Page:
        request = urllib.request.Request(self.host + path, body, dict(headers or {}))
        try:
            with self.opener.open(request, timeout=10) as response:
                return Page(response.status, response.url.removeprefix(self.host), response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Page(error.code, path, error.read().decode())

    def submit(self, path: str, *forms: Mapping[str, str]) -> Page:
        return self.open(path, urlencode({key: value for form in forms for key, value in form.items()}).encode())

    def log_in(self, **fields: str) -> Page:
        form = self.open("/user").hidden()
        return self.submit("/user", form, {"name": "user5001", "pass": "12345", "op": "Log+in"}, fields)


@pytest.fixture
def visitor(demo_site: DemoSite) -> Visitor:
    return Visitor(demo_site)


def test_the_front_page_has_six_assets(visitor: Visitor) -> None:
    sources = re.findall(r'src="(.*?)"', visitor.open("/").text)

    assert len([source for source in sources if "/misc" in source or "/themes" in source]) == 6
    assert [visitor.open(source).status for source in sources] == [200] * 6


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/about", 200),
        ("/node/1", 200),
        ("/node/9999", 200),
        ("/node/0", 404),
        ("/node/10000", 404),
        ("/node/x", 404),
        ("/user/2", 200),
        ("/user/5000", 200),
        ("/user/1", 404),
        ("/misc/other.js", 404),
        ("/nowhere", 404),
        ("/api/profile", 401),
    ],
)
def test_a_page_is_there_or_not(visitor: Visitor, path: str, status: int) -> None:
    assert visitor.open(path).status == status


def test_who_signs_in_sees_a_comment_form(visitor: Visitor) -> None:
    anonymous = visitor.open("/node/7")
    profile = visitor.log_in()

    assert anonymous.hidden() == {}
    assert (profile.status, profile.url) == (200, "/user/5001")
    assert set(visitor.open("/node/7").hidden()) == {"form_build_id", "form_token", "form_id"}


def test_a_wrong_password_shows_the_form_again(visitor: Visitor) -> None:
    page = visitor.log_in(**{"pass": "honk"})

    assert (page.status, "Sorry, unrecognized" in page.text) == (200, True)
    assert visitor.open("/node/7").hidden() == {}


@pytest.mark.parametrize("field", ["form_build_id", "form_id"])
def test_a_login_form_that_is_not_the_sites_is_refused(visitor: Visitor, field: str) -> None:
    assert visitor.log_in(**{field: "form-é"}).status == 403


def test_a_comment_shows_up_on_its_node(visitor: Visitor, demo_site: DemoSite) -> None:
    visitor.log_in()

    page = visitor.submit("/comment/reply/8", visitor.open("/node/8").hidden(), COMMENT)

    assert (page.status, page.url) == (200, "/node/8#comment-1")
    assert "&lt;b&gt;a goose&lt;/b&gt;" in page.text
    assert (demo_site.seen("POST /comment/reply/{nid}", 302), demo_site.seen("GET /node/{nid}", 200)) == (1, 2)


@pytest.mark.parametrize("field", ["form_build_id", "form_token", "form_id"])
def test_a_comment_with_a_wrong_token_is_refused(visitor: Visitor, field: str) -> None:
    visitor.log_in()

    page = visitor.submit("/comment/reply/9", visitor.open("/node/9").hidden(), COMMENT, {field: "é"})

    assert page.status == 403
    assert "goose</b>" not in visitor.open("/node/9").text


def test_a_comment_with_the_token_of_another_session_is_refused(visitor: Visitor, demo_site: DemoSite) -> None:
    other = Visitor(demo_site)
    for each in (visitor, other):
        each.log_in()

    page = visitor.submit("/comment/reply/9", other.open("/node/9").hidden(), COMMENT)

    assert page.status == 403


def test_a_token_of_the_api_opens_the_profile(visitor: Visitor) -> None:
    given = visitor.open("/api/token", json.dumps({"name": "user7", "password": "12345"}).encode())
    token = json.loads(given.text)["token"]

    assert (
        json.loads(visitor.open("/api/profile", headers={"Authorization": f"Bearer {token}"}).text)["name"] == "user7"
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "user7", "password": "x"}', 403),
        (b'{"name": "user1", "password": "12345"}', 403),
        (b"{}", 400),
        (b"[1]", 400),
        (b"honk", 400),
    ],
)
def test_a_token_is_not_given_to_anyone(visitor: Visitor, body: bytes, status: int) -> None:
    assert visitor.open("/api/token", body).status == status


def test_a_session_cookie_cannot_be_a_token_or_a_form(visitor: Visitor) -> None:
    """All are signed with one secret: what is signed as one must not pass as another."""
    token = json.loads(visitor.open("/api/token", b'{"name": "user7", "password": "12345"}').text)["token"]
    build_id = visitor.open("/user").hidden()["form_build_id"]

    for forged in (token, build_id):
        page = visitor.open("/node/7", headers={"Cookie": f"SESSefedaceb4e982dfe9c547a514b6a8616={forged}"})
        assert (page.status, page.hidden()) == (200, {})


def test_it_counts_by_route_and_status(visitor: Visitor, demo_site: DemoSite) -> None:
    for path in ("/node/1", "/node/2", "/node/0", "/nowhere", "/_seen"):
        visitor.open(path)

    assert demo_site.seen() == {"GET /node/{nid}": 3, "GET (unknown)": 1}
    assert demo_site.seen("GET /node/{nid}", 404) == 1


def run_site(*command: str) -> Process:
    return Process([sys.executable, SCRIPT, "--run", *command])


def test_run_fills_in_the_host_and_ends_as_the_command_did() -> None:
    code = "import sys, urllib.request as r; r.urlopen(sys.argv[1]).read(); sys.exit(7)"

    process = run_site(sys.executable, "-c", code, "{host}/node/1")

    assert process.wait() == 7
    assert re.search(r"^GET /node/\{nid\} +200 +1$", process.output("stdout"), re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "kill -9 $$"], 137),  # as shells say it
        (["no-such-command"], 127),
    ],
)
def test_run_ends_as_a_shell_would(command: list[str], code: int) -> None:
    assert run_site(*command).wait() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_passes_signals_on_once(number: signal.Signals) -> None:
    code = (
        "import signal\n"
        f"numbers = {{{int(number)}}}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, numbers)\n"
        "print('ready', flush=True)\n"
        "print('told', signal.sigwait(numbers))\n"
        "print('again', signal.sigtimedwait(numbers, 0.2))\n"
    )
    process = run_site(sys.executable, "-c", code)
    process.wait_for_line("ready")

    process.signal(number)

    assert process.wait() == 0
    assert process.output("stdout").startswith(f"ready\ntold {int(number)}\nagain None\n")
