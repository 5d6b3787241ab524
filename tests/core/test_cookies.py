"""Cookies against RFC 6265, libcurl and http.cookiejar: one table of Set-Cookie lines, with a reason each."""

from __future__ import annotations

import email.message
import http.cookiejar
import random
import socketserver
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pycurl
import pytest
import trustme

from gaggle._core import Cookie, Cookies, Url, cookies_shift_clock

CURL, JAR = ("libcurl",), ("http.cookiejar",)
BOTH = CURL + JAR
SITE = "http://www.example.com/"
DEEP = SITE + "u/v"
SHOP = "https://shop.example.com/"
SISTER = "http://shop.example.com/"
BARE, BELOW, HUB = "http://example.com/", "http://x.www.example.com/", "http://github.io/"


@dataclass(frozen=True)
class Case:
    """One answer from `page` has `lines`; a request to `then` (or `page`) carries `expected`, None: no Cookie header.

    `apart` names the oracles that are known to do otherwise: libcurl strips quotes and slashes, takes any number that
    strtol takes, refuses tabs and has older rules for prefixes; http.cookiejar has no public suffixes and no new rules.
    """

    reason: str
    lines: str | tuple[str, ...]
    expected: str | None
    page: str = SITE
    then: str = ""
    apart: tuple[str, ...] = ()


CASES = (
    # Names and values: RFC 6265 section 5.2.
    Case("a plain pair", "a=b", "a=b"),
    Case("the white space around name and value goes", " a \t=\t b ", "a=b"),
    Case("white space inside a value stays", "a=b c", "a=b c"),
    Case("an empty value is a value", "a=", "a="),
    Case("a value may hold =", "a=b=c==", "a=b=c=="),
    Case("quotes belong to the value", 'a="b c"', 'a="b c"'),
    Case("a semicolon ends the value even inside quotes", 'a="b;c"', 'a="b'),
    Case("a lonely quote belongs to the value", 'a="', 'a="'),
    Case("a comma belongs to the value: Set-Cookie is never a list", "a=b, c=d", "a=b, c=d"),
    Case("a line without = is ignored", "abc", None, apart=JAR),
    Case("a line without = is ignored, also with attributes", "abc; Path=/", None, apart=JAR),
    Case("an empty name is ignored", "=b", None),
    Case("a blank name is ignored", "  =b", None),
    Case("an empty line is ignored", "", None),
    Case("only attributes are no cookie", "; Path=/", None),
    Case("only = is no cookie", "=", None),
    Case("names keep their case", ("A=1", "a=2"), "A=1; a=2"),
    Case("a name may look like an attribute", "path=b", "path=b"),
    Case("names from old frameworks have brackets", "a[0]=b", "a[0]=b"),
    Case("a $ is nothing special", "$Version=1", "$Version=1"),
    Case("UTF-8 goes back byte for byte", "a=\u00e9", "a=\u00e9"),
    Case("a tab inside a value stays, as in browsers", "a=b\tc", "a=b\tc", apart=CURL),
    Case("another control character spoils the cookie (6265bis 5.6)", "a=b\x01c", None, apart=JAR),
    Case("DEL is a control character", "a=b\x7fc", None, apart=JAR),
    Case("a control character in an attribute spoils the cookie too", "a=b; Path=/\x02", None),
    Case("name and value of 4,096 bytes fit", "a=" + 4095 * "b", "a=" + 4095 * "b"),
    Case("one byte more does not", "a=" + 4096 * "b", None, apart=JAR),
    Case("an attribute above 1,024 bytes is ignored, the cookie stays", "a=b; Path=/" + 1024 * "x", "a=b", apart=BOTH),
    Case("unknown attributes are ignored", "a=b; Priority=High; Partitioned; x", "a=b"),
    Case("SameSite is ignored: there is no cross-site page here", "a=b; SameSite=Strict", "a=b"),
    Case("HttpOnly cookies are sent", "a=b; HttpOnly", "a=b"),
    Case("empty attributes are ignored", "a=b;;; ;HttpOnly;", "a=b"),
    Case("attribute names have no case", "a=b; pATH=/x", None),
    # Paths: sections 5.1.4 and 5.2.4.
    Case("the default path is the page's folder", "a=b", "a=b", page=SITE + "x/y", then=SITE + "x/z"),
    Case("and so not the folder above", "a=b", None, page=SITE + "x/y", then=SITE),
    Case("a page at the top has the default path /", "a=b", "a=b", page=SITE + "x", then=SITE + "y/z"),
    Case("the query has no part in the default path", "a=b", "a=b", page=SITE + "x?q=/u/v", then=SITE + "y"),
    Case("a path matches itself", "a=b; Path=/x", "a=b", then=SITE + "x"),
    Case("a path matches what is below it", "a=b; Path=/x", "a=b", then=SITE + "x/y"),
    Case("a path does not match a longer word", "a=b; Path=/x", None, then=SITE + "xy"),
    Case("a path with a slash at its end matches below", "a=b; Path=/x/", "a=b", then=SITE + "x/y"),
    Case("but not itself without the slash", "a=b; Path=/x/", None, then=SITE + "x", apart=CURL),
    Case("the query has no part in the match", "a=b; Path=/x", "a=b", then=SITE + "x?y"),
    Case("paths have case", "a=b; Path=/X", None, then=SITE + "x"),
    Case(
        "without a slash in front it is the default path", "a=b; Path=x", "a=b", page=DEEP, then=SITE + "u/", apart=JAR
    ),
    Case("an empty path is the default path", "a=b; Path=", None, page=DEEP, then=SITE),
    Case("a quoted path does not start with /", 'a=b; Path="/"', None, page=DEEP, then=SITE, apart=CURL),
    Case("a page may set a cookie for another path", "a=b; Path=/x", "a=b", page=DEEP, then=SITE + "x"),
    Case("the last Path counts", "a=b; Path=/x; Path=/y", "a=b", then=SITE + "y", apart=JAR),
    Case("an encoded slash is no slash", "a=b; Path=/x", None, then=SITE + "x%2Fy"),
    # Domains: sections 5.1.3, 5.2.3 and 5.3.
    Case("without Domain the cookie stays with its host", "a=b", None, then=BELOW, apart=JAR),
    Case("and does not go to a sister", "a=b", None, then=SISTER),
    Case("Domain spans the hosts below", "a=b; Domain=example.com", "a=b", then=SISTER),
    Case("and the domain itself", "a=b; Domain=example.com", "a=b", then=BARE),
    Case("a dot in front is dropped", "a=b; Domain=.example.com", "a=b", then=BARE),
    Case("a domain has no case", "a=b; Domain=EXAMPLE.com", "a=b", then=BARE),
    Case("an empty Domain is no Domain", "a=b; Domain=", None, then=BELOW),
    Case("a Domain that is a dot is no Domain", "a=b; Domain=.", "a=b", apart=BOTH),
    Case("its own host as Domain spans what is below", "a=b; Domain=www.example.com", "a=b", then=BELOW),
    Case("a foreign domain is refused", "a=b; Domain=example.org", None, then="http://example.org/"),
    Case("a sister is refused", "a=b; Domain=shop.example.com", None, then=SISTER),
    Case("a host below is refused", "a=b; Domain=x.www.example.com", None, then=BELOW),
    Case("the end of a word is not a domain", "a=b; Domain=ample.com", None),
    Case("a domain with a port is refused", "a=b; Domain=www.example.com:80", None),
    Case("a top-level domain is refused", "a=b; Domain=com", None),
    Case("a top-level domain with a dot is refused", "a=b; Domain=.com", None),
    Case("a public suffix is refused", "a=b; Domain=co.uk", None, page="http://www.example.co.uk/", apart=JAR),
    Case("a domain below a public suffix is not", "a=b; Domain=example.co.uk", "a=b", page="http://www.example.co.uk/"),
    Case("a private suffix is refused as well", "a=b; Domain=github.io", None, page="http://me.github.io/", apart=JAR),
    Case("a wildcard rule is a suffix", "a=b; Domain=foo.ck", None, page="http://www.foo.ck/", apart=JAR),
    Case("an exception to a wildcard is not", "a=b; Domain=www.ck", "a=b", page="http://x.www.ck/"),
    Case("a suffix itself may set a cookie for its own host", "a=b; Domain=github.io", "a=b", page=HUB),
    Case(
        "which stays with the host alone",
        "a=b; Domain=github.io",
        None,
        page=HUB,
        then="http://x.github.io/",
        apart=JAR,
    ),
    Case("an unknown top-level domain is a suffix", "a=b; Domain=internal", None, page="http://app.internal/"),
    Case("below an unknown one all is well", "a=b; Domain=app.internal", "a=b", page="http://x.app.internal/"),
    Case("localhost may name itself", "a=b; Domain=localhost", "a=b", page="http://localhost/", apart=JAR),
    Case("an address may name itself", "a=b; Domain=127.0.0.1", "a=b", page="http://127.0.0.1/"),
    Case("an address has no subdomains", "a=b; Domain=0.0.1", None, page="http://127.0.0.1/", apart=JAR),
    Case("an address has no top-level domain", "a=b; Domain=1", None, page="http://127.0.0.1/"),
    Case("an IPv6 address keeps its cookies", "a=b", "a=b", page="http://[::1]/"),
    Case("a port makes no other host", "a=b", "a=b", then="http://www.example.com:8080/"),
    Case("the last Domain counts", "a=b; Domain=x.org; Domain=example.com", "a=b", then=BARE, apart=BOTH),
    # Secure and the name prefixes: section 5.2.5 and 6265bis section 4.1.3.
    Case("a Secure cookie goes to https", "a=b; Secure", "a=b", page=SHOP),
    Case("and not to http", "a=b; Secure", None, page=SHOP, then=SISTER),
    Case("http may not set a Secure cookie", "a=b; Secure", None, then="https://www.example.com/", apart=JAR),
    Case("Secure may have a value", "a=b; Secure=no", None, page=SHOP, then=SISTER),
    Case("localhost counts as secure", "a=b; Secure", "a=b", page="http://localhost/", apart=JAR),
    Case("127.0.0.1 counts as secure", "a=b; Secure", "a=b", page="http://127.0.0.1/", apart=JAR),
    Case("other loopback addresses do not", "a=b; Secure", None, page="http://127.0.0.2/"),
    Case("what https sets http gets as well", "a=b", "a=b", page=SHOP, then=SISTER),
    Case("__Secure- without Secure is refused", "__Secure-a=b", None, page=SHOP, apart=JAR),
    Case("__Secure- with Secure is taken", "__Secure-a=b; Secure", "__Secure-a=b", page=SHOP),
    Case("__Secure- from http is refused", "__Secure-a=b; Secure", None),
    Case("the prefix has no case", "__SECURE-a=b", None, page=SHOP, apart=BOTH),
    Case("__Host- with all that it promises", "__Host-a=b; Secure; Path=/", "__Host-a=b", page=SHOP),
    Case("__Host- without Secure", "__Host-a=b; Path=/", None, page=SHOP, apart=JAR),
    Case("__Host- without Path", "__Host-a=b; Secure", None, page=SHOP, apart=BOTH),
    Case("__Host- with another path", "__Host-a=b; Secure; Path=/x", None, page=SHOP, then=SHOP + "x", apart=JAR),
    Case("__Host- with a Domain", "__Host-a=b; Secure; Path=/; Domain=shop.example.com", None, page=SHOP, apart=JAR),
    # Max-Age and Expires: sections 5.2.1, 5.2.2 and 5.1.1.
    Case("Max-Age in the future", "a=b; Max-Age=60", "a=b"),
    Case("Max-Age=0 is over at once", "a=b; Max-Age=0", None),
    Case("a negative Max-Age is over at once", "a=b; Max-Age=-1", None),
    Case("a Max-Age that is no number is ignored", "a=b; Max-Age=soon", "a=b", apart=BOTH),
    Case("a Max-Age with a plus sign is ignored", "a=b; Max-Age=+0", "a=b", apart=BOTH),
    Case("a Max-Age with a fraction is ignored", "a=b; Max-Age=0.0", "a=b", apart=BOTH),
    Case("an empty Max-Age is ignored", "a=b; Max-Age=", "a=b", apart=JAR),
    Case("a lonely minus sign is ignored", "a=b; Max-Age=-", "a=b", apart=BOTH),
    Case("a Max-Age in quotes is ignored", 'a=b; Max-Age="0"', "a=b", apart=BOTH),
    Case("a Max-Age beyond all numbers is for ever", "a=b; Max-Age=" + 400 * "9", "a=b", apart=JAR),
    Case("the last Max-Age counts", "a=b; Max-Age=0; Max-Age=60", "a=b"),
    Case("Max-Age beats Expires", "a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a=b"),
    Case("Max-Age beats Expires in any order", "a=b; Expires=Fri, 01 Jan 2100 00:00:00 GMT; Max-Age=0", None),
    Case("a senseless Max-Age beats nothing", "a=b; Max-Age=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
    Case("Expires in the past", "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
    Case("Expires in the future", "a=b; Expires=Fri, 01 Jan 2100 00:00:00 GMT", "a=b"),
    Case("Expires as PHP wrote it", "a=b; expires=Thu, 01-Jan-1970 00:00:01 GMT", None),
    Case("a two-digit year from 70 on is of the last century", "a=b; Expires=Monday, 01-Jan-90 00:00:00 GMT", None),
    Case("one below 70 is of this one", "a=b; Expires=Tuesday, 01-Jan-69 00:00:00 GMT", "a=b"),
    Case("asctime's form", "a=b; Expires=Sun Nov  6 08:49:37 1994", None, apart=JAR),
    Case("a senseless date is ignored", "a=b; Expires=never", "a=b"),
    Case("an empty date is ignored", "a=b; Expires=", "a=b"),
    Case("a 0 is no date", "a=b; Expires=0", "a=b"),
    Case("a day that does not exist is ignored", "a=b; Expires=Tue, 30 Feb 1999 00:00:00 GMT", "a=b", apart=BOTH),
    Case("an hour that does not exist is ignored", "a=b; Expires=Mon, 01 Feb 1999 24:00:00 GMT", "a=b", apart=JAR),
    Case("a year before 1601 is ignored", "a=b; Expires=Mon, 01 Feb 1600 00:00:00 GMT", "a=b", apart=CURL),
    Case("a date without a time is ignored", "a=b; Expires=Mon, 01 Feb 1999", "a=b", apart=BOTH),
    # Several cookies: sections 5.3 and 5.4.
    Case("earlier cookies go first", ("a=1", "b=2", "c=3"), "a=1; b=2; c=3"),
    Case("longer paths go first", ("a=1; Path=/", "b=2; Path=/x", "c=3; Path=/x/"), "c=3; b=2; a=1", then=SITE + "x/y"),
    Case("a new value keeps the place of the old", ("a=1", "b=2", "a=3"), "a=3; b=2"),
    Case("a deletion keeps the order of the others", ("a=1", "b=2", "c=3", "b=; Max-Age=0"), "a=1; c=3"),
    Case("after a deletion the cookie is a new one", ("a=1", "b=2", "a=; Max-Age=0", "a=3"), "b=2; a=3"),
    Case("another path makes another cookie", ("a=1; Path=/", "a=2; Path=/x"), "a=2; a=1", then=SITE + "x"),
    Case("a deletion needs the same path", ("a=1; Path=/x", "a=; Max-Age=0; Path=/"), "a=1", then=SITE + "x"),
    Case("host and domain cookies are two", ("a=1", "a=2; Domain=www.example.com"), "a=1; a=2"),
)


def ids(case: Case) -> str:
    return case.reason


def lines_of(case: Case) -> tuple[bytes, ...]:
    lines = (case.lines,) if isinstance(case.lines, str) else case.lines
    return tuple(line.encode() for line in lines)


def told(jar: Cookies, page: str, *lines: bytes) -> Cookies:
    """Return `jar` after an answer from `page` that had `lines`."""
    url = Url.parse(page)
    for line in lines:
        jar.store_line(line, url.host, url.path, url.secure)
    return jar


def asked(jar: Cookies, page: str) -> str | None:
    """Return the Cookie header of a request to `page`."""
    url = Url.parse(page)
    value = jar.header_for(url.host, url.path, url.secure)
    return None if value is None else value.decode()


@pytest.fixture
def later() -> Iterator[Callable[[float], None]]:
    yield cookies_shift_clock
    cookies_shift_clock(0)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_line_is_kept_and_sent_as_browsers_do(case: Case) -> None:
    jar = told(Cookies(), case.page, *lines_of(case))

    assert asked(jar, case.then or case.page) == case.expected


# The oracles: what libcurl and the standard library do with the same lines.


class Answering(socketserver.StreamRequestHandler):
    """Answers one request with the server's Set-Cookie lines and notes its Cookie header."""

    server: Server

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n")).split(b"\r\n")
        cookies = [line[8:].decode() for line in head if line.lower().startswith(b"cookie: ")]
        self.server.noted.append(cookies[0] if cookies else None)
        lines = b"".join(b"Set-Cookie: " + line + b"\r\n" for line in self.server.lines)
        self.wfile.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n" + lines + b"\r\n")


class Server(socketserver.TCPServer):
    """A site whose next answer sets the cookies in `lines`; `noted` has the Cookie header of each request."""

    lines: tuple[bytes, ...] = ()

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.noted: list[str | None] = []
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("shop.example.com").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def sites(tls: ssl.SSLContext) -> Iterator[dict[str, Server]]:
    """The same site by scheme."""
    with Server() as plain, Server(tls) as secure:
        servers = {"http": plain, "https": secure}
        threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers.values()]
        for thread in threads:
            thread.start()
        yield servers
        for server, thread in zip(servers.values(), threads, strict=True):
            server.shutdown()
            thread.join(5)


def ask_libcurl(sites: dict[str, Server], case: Case) -> str | None:
    """Return what libcurl sends to `case.then` after `case.page`, whatever their hosts."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.COOKIEFILE, "")
    curl.setopt(pycurl.TIMEOUT, 5)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.SSL_VERIFYPEER, 0)
    curl.setopt(pycurl.SSL_VERIFYHOST, 0)
    for page, lines in ((case.page, lines_of(case)), (case.then or case.page, ())):
        site = sites[Url.parse(page).scheme]
        site.lines = lines
        curl.setopt(pycurl.CONNECT_TO, [f"::127.0.0.1:{site.server_address[1]}"])
        curl.setopt(pycurl.URL, page)
        curl.perform()
    curl.close()
    return site.noted[-1]


def ask_cookiejar(case: Case) -> str | None:
    """Return what the standard library sends."""
    jar = http.cookiejar.CookieJar()
    for line in lines_of(case):
        answer = email.message.Message()
        answer["Set-Cookie"] = line.decode()
        jar.extract_cookies(Answer(answer), urllib.request.Request(case.page))  # type: ignore[arg-type]
    request = urllib.request.Request(case.then or case.page)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")


@dataclass
class Answer:
    """What a CookieJar wants of a response."""

    message: email.message.Message

    def info(self) -> email.message.Message:
        return self.message


def pairs(header: str | None) -> list[str]:
    return sorted(header.split("; ")) if header else []


@pytest.mark.parametrize("case", [case for case in CASES if CURL[0] not in case.apart], ids=ids)
def test_libcurl_sends_the_same(case: Case, sites: dict[str, Server]) -> None:
    """Not in the same order: libcurl sends the newest first, where RFC 6265 says the oldest."""
    assert pairs(ask_libcurl(sites, case)) == pairs(case.expected)


@pytest.mark.parametrize("case", [case for case in CASES if JAR[0] not in case.apart], ids=ids)
def test_the_standard_library_sends_the_same(case: Case) -> None:
    assert ask_cookiejar(case) == case.expected


# What one line cannot show: several pages, time, limits.


def test_http_may_not_hide_a_secure_cookie() -> None:
    """6265bis 5.7, "leave secure cookies alone": who can write into http answers must not choose the https session."""
    jar = told(Cookies(), SHOP, b"a=1; Secure; Path=/x; Domain=example.com", b"b=1; Secure; Path=/x")

    told(jar, "http://shop.example.com/x/y", b"a=2; Path=/x", b"a=3; Path=/x/y", b"a=4; Path=/", b"c=5; Path=/x")

    assert asked(jar, SHOP + "x/y") == "a=1; b=1; c=5; a=4"


def test_https_may_replace_a_secure_cookie() -> None:
    jar = told(Cookies(), SHOP, b"a=1; Secure", b"a=2")

    assert asked(jar, "http://shop.example.com/") == "a=2"


@pytest.mark.parametrize("lasting", [b"Max-Age=100", b"Expires=%s"], ids=["Max-Age", "Expires"])
def test_an_answer_that_is_kept_ends_with_its_first_cookie(later: Callable[[float], None], lasting: bytes) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100)).encode()
    jar = told(Cookies(), SITE, b"a=1", b"b=2; " + lasting.replace(b"%s", date))
    before = asked(jar, SITE)

    later(98)
    kept = asked(jar, SITE)
    later(101)

    assert before == kept == "a=1; b=2"
    assert asked(jar, SITE) == "a=1"
    assert [cookie.name for cookie in jar] == ["a"]


def test_a_cookie_of_another_path_ends_a_kept_answer_too(later: Callable[[float], None]) -> None:
    jar = told(Cookies(), SITE, b"a=1; Path=/", b"b=2; Path=/x; Max-Age=10")
    assert asked(jar, SITE + "x") == "b=2; a=1"

    later(11)

    assert asked(jar, SITE + "x") == "a=1"


def test_a_kept_answer_is_for_its_own_question_only() -> None:
    jar = told(Cookies(), SHOP, b"a=1; Secure; Path=/", b"b=2; Path=/x", b"c=3; Domain=example.com")
    questions = (SHOP, SHOP + "x", "http://shop.example.com/", "https://example.com/", "https://example.org/", SHOP)

    assert [asked(jar, page) for page in questions] == ["a=1; c=3", "b=2; a=1; c=3", "c=3", "c=3", None, "a=1; c=3"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda jar: told(jar, SITE, b"a=2"), "a=2"),
        (lambda jar: told(jar, SITE, b"b=2"), "a=1; b=2"),
        (lambda jar: told(jar, SITE, b"a=; Max-Age=0"), None),
        (lambda jar: jar.set("b", "2"), "a=1; b=2"),
        (lambda jar: jar.delete("a"), None),
        (lambda jar: jar.clear(), None),
    ],
    ids=["replaced", "another", "deleted by the server", "set by hand", "deleted by hand", "cleared"],
)
def test_a_change_ends_a_kept_answer(change: Callable[[Cookies], object], expected: str | None) -> None:
    jar = told(Cookies(), SITE, b"a=1")
    assert asked(jar, SITE) == "a=1"

    change(jar)

    assert asked(jar, SITE) == expected


def expected_header(jar: Cookies, page: str) -> str | None:
    """Return what RFC 6265 section 5.4 says, by the book and without any memory."""
    url = Url.parse(page)
    found = [cookie for cookie in jar if goes(cookie, url)]
    found.sort(key=lambda cookie: -len(cookie.path))
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in found) or None


def goes(cookie: Cookie, url: Url) -> bool:
    below = not cookie.host_only and url.host.endswith("." + cookie.domain)
    folder = cookie.path if cookie.path.endswith("/") else cookie.path + "/"
    path = url.path == cookie.path or url.path.startswith(folder)
    return (url.host == cookie.domain or below) and path and (url.secure or not cookie.secure)


def test_no_mix_of_answers_questions_and_time_gets_a_wrong_header(later: Callable[[float], None]) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance, jar, now = random.Random(seed), Cookies(), 0.0
    pages = [s + h + p for s in ("http://", "https://") for h in ("example.com", "a.example.com") for p in ("/", "/x")]
    ends = ["", "; Max-Age=0", "; Max-Age=5", "; Max-Age=50"]
    marks = ["", "; Secure", "; Domain=example.com", "; Path=/", "; Path=/x"]

    for turn in range(3000):
        page = chance.choice(pages)
        if chance.random() < 0.1:
            line = f"{chance.choice('ab')}={turn}{chance.choice(ends)}{chance.choice(marks)}{chance.choice(marks)}"
            told(jar, page, line.encode())
        now += chance.choice([0, 0, 0, 2])
        later(now)

        assert asked(jar, page) == expected_header(jar, page), f"seed {seed}, turn {turn}"


def test_a_domain_has_50_cookies_at_most_and_loses_its_oldest() -> None:
    jar = told(Cookies(), "http://other.com/", b"other=1")

    told(jar, SITE, *(f"c{number}=1".encode() for number in range(52)))

    assert [cookie.name for cookie in jar] == ["other", *(f"c{number}" for number in range(2, 52))]


def test_a_jar_has_3000_cookies_at_most_and_loses_its_oldest() -> None:
    jar = Cookies()

    for number in range(3002):
        told(jar, f"http://h{number // 40}.com/", f"c{number}=1".encode())

    assert [cookie.name for cookie in jar] == [f"c{number}" for number in range(2, 3002)]


def test_what_is_over_makes_room_first(later: Callable[[float], None]) -> None:
    jar = told(Cookies(), SITE, b"old=1", b"short=1; Max-Age=5", *(f"c{number}=1".encode() for number in range(48)))
    later(6)

    told(jar, SITE, b"new=1")

    assert [cookie.name for cookie in jar][:1] == ["old"]
    assert len(jar) == 50


def test_no_line_makes_store_raise() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance, jar = random.Random(seed), Cookies()
    words = (
        b"a|=|;| |\t|'|\xff|\0|Expires|Max-Age|Domain|Path|.|/|1999|31|Feb|:|23:59:60|-|999999999|com|Secure|__Host-"
    )

    for _ in range(20_000):
        jar.store_line(b"".join(chance.choices(words.split(b"|"), k=chance.randrange(25))), "www.example.com", "/x")

    assert len(jar) <= 50


DATES = (
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
    ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
    ("Sun Nov  6 08:49:37 1994", 784111777),
    ("Tue, 19 Jan 2038 03:14:08 GMT", 2**31),
    ("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199),
    ("Mon, 31 Dec 9999 23:59:59 GMT", 253402300799),
    ("Mon, 01 Jan 1601 00:00:00 GMT", -11644473600),
    ("Wed, 1 Mar 1900 0:0:0", -2203891200),
    ("08:49:37 1994 6 november", 784111777),
    ("6-nov-1994,08:49:37", 784111777),
    ("Sun, 06 Nov 1994 08:49:37.5 GMT+1", 784111777),
    ("6th Nov 1994abc 08:49:37x", 784111777),
    ("Sun, 29 Feb 1900 08:49:37 GMT", None),
    ("Sun, 31 Apr 1994 08:49:37 GMT", None),
    ("Sun, 0 Nov 1994 08:49:37 GMT", None),
    ("Sun, 00 Nov 6 1994 08:49:37 GMT", None),
    ("Sun, 32 Nov 1994 08:49:37 GMT", None),
    ("Sun, 06 Nov 1994 08:60:37 GMT", None),
    ("Sun, 06 Nov 1994 08:49:60 GMT", None),
    ("Sun, 06 Nov 1994 008:49:37 GMT", None),
    ("Sun, 06 Nov 19945 08:49:37 GMT", None),
    ("Sun, 06 Nov 994 08:49:37 GMT", None),
    ("Sun, 06 Nov 1994 08:49 GMT", None),
    ("Sun, 06 11 1994 08:49:37 GMT", None),
)


@pytest.mark.parametrize(("text", "expected"), DATES, ids=[text for text, _ in DATES])
def test_a_date_is_read_as_rfc_6265_says(later: Callable[[float], None], text: str, expected: int | None) -> None:
    """Section 5.1.1. The clock is turned back, since what is over is not kept."""
    later(-12_000_000_000 - time.time())
    jar = told(Cookies(), SITE, f"a=b; Expires={text}".encode())

    assert [cookie.expires for cookie in jar] == [expected]


# As a mapping, for the load test's author.


def test_a_jar_reads_like_a_mapping() -> None:
    jar = told(Cookies(), SITE, b"a=1; Path=/x", b"b=2; Domain=example.com; HttpOnly; Max-Age=1000", b"a=3")

    assert jar["b"] == "2"
    assert jar["a"] == "3" == jar.get("a")
    assert "a" in jar
    assert "c" not in jar
    assert jar.get("c") is None
    assert jar.get("c", "none") == "none"
    assert dict(jar) == {"a": "3", "b": "2"} == dict(jar.items())
    assert len(jar) == 3
    assert jar
    with pytest.raises(KeyError, match="c"):
        jar["c"]


def test_a_cookie_tells_what_it_is() -> None:
    (cookie,) = told(Cookies(), SHOP + "x/y", b"a=\xff; Secure; HttpOnly; Domain=example.com; Max-Age=100")

    assert (cookie.name, cookie.value, cookie.domain, cookie.path) == ("a", "\xff", "example.com", "/x")
    assert (cookie.secure, cookie.http_only, cookie.host_only) == (True, True, False)
    assert cookie.expires == pytest.approx(time.time() + 100, abs=5)
    assert repr(cookie) == "Cookie('a', '\xff', domain='example.com', path='/x')"


def test_a_new_jar_is_empty_and_small() -> None:
    jar = Cookies()

    assert not jar
    assert len(jar) == 0
    assert list(jar) == []
    assert sys.getsizeof(jar) < 200


def test_a_cookie_set_by_hand_goes_to_every_host_or_to_its_domain() -> None:
    jar = Cookies()

    jar.set("everywhere", "1")
    jar.set("here", "2", domain=".Example.com", path="/x", secure=True)
    jar["short"] = "3"

    assert asked(jar, "https://www.example.com/x") == "here=2; everywhere=1; short=3"
    assert asked(jar, "http://www.example.com/x") == "everywhere=1; short=3"
    assert asked(jar, "https://example.org/x") == "everywhere=1; short=3"


def test_a_cookie_set_by_hand_can_expire(later: Callable[[float], None]) -> None:
    jar = Cookies()
    jar.set("a", "1", expires=time.time() + 10)
    assert asked(jar, SITE) == "a=1"

    later(11)

    assert asked(jar, SITE) is None
    assert "a" not in jar


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        (5, "x"),
        ("a", None),
        ("a=b", "x"),
        ("a;", "x"),
        ("a", "x;y"),
        ("a", "x\ny"),
        (" a", "x"),
        ("a", "x "),
        ("a", "x" * 5000),
    ],
)
def test_what_no_cookie_can_hold_is_refused(name: Any, value: Any) -> None:
    jar = Cookies()

    with pytest.raises(ValueError, match="no cookie can have the name"):
        jar.set(name, value)
    with pytest.raises(ValueError, match="starts with a slash"):
        jar.set("a", "b", path="x")


def test_deleting_by_hand_takes_all_of_a_name_and_may_find_none() -> None:
    jar = told(Cookies(), SITE, b"a=1", b"a=2; Path=/x", b"b=3")

    jar.delete("a")
    jar.delete("never")

    assert dict(jar) == {"b": "3"}


def test_iterating_survives_a_change() -> None:
    jar = told(Cookies(), SITE, b"a=1", b"b=2")

    for cookie in jar:
        jar.delete(cookie.name)

    assert not jar


def test_a_cookie_is_made_by_a_jar_only() -> None:
    with pytest.raises(TypeError, match="made by Cookies"):
        Cookie()
