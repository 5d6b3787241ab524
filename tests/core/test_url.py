"""Absolute URLs: RFC 3986's own examples, what people and servers really write, and what libcurl makes of it."""

from __future__ import annotations

import socketserver
import string
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urljoin

import idna
import pycurl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gaggle._core import Url

PLAIN = frozenset(string.ascii_letters + string.digits + "!$%&'()*+,-./:;=?@[]_~")


# parse


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("http://example.com/a?b", "http://example.com/a?b", "nothing to do"),
        ("http://example.com", "http://example.com/", "an empty path is /"),
        ("http://example.com?a", "http://example.com/?a", "also before a query"),
        ("http://example.com#a", "http://example.com/", "a fragment stays at home"),
        ("http://example.com/a?#b", "http://example.com/a?", "an empty query is a query"),
        ("HTTP://EXAMPLE.com/A", "http://example.com/A", "scheme and host have no case, the path has"),
        ("  http://example.com/  ", "http://example.com/", "spaces around it are from copying"),
        ("http://example.com:80/", "http://example.com/", "the scheme's own port is left out"),
        ("https://example.com:443/", "https://example.com/", "https has another one"),
        ("http://example.com:443/", "http://example.com:443/", "another scheme's port stays"),
        ("http://example.com:/", "http://example.com/", "an empty port is the default (RFC 3986 3.2.3)"),
        ("http://example.com:0080/", "http://example.com/", "zeros in front count nothing"),
        ("http://example.com:65535/", "http://example.com:65535/", "the last port"),
        ("http://example.com./", "http://example.com./", "a dot at the end means something to DNS"),
        ("http://my_host-1.local/", "http://my_host-1.local/", "Docker names hosts like that"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/", "an address"),
        ("http://[::1]:8080/", "http://[::1]:8080/", "an IPv6 address"),
        ("http://[2001:DB8::A]/", "http://[2001:db8::a]/", "has no case either"),
        ("http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]/", "and may end as IPv4"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "IDNA"),
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example/", "IDNA has no case"),
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/", "an ideographic dot is a dot"),
        ("http://straße.de/", "http://xn--strae-oqa.de/", "IDNA 2008, not strasse"),
        ("http://example.com/ä b", "http://example.com/%C3%A4%20b", "UTF-8, percent-encoded"),
        ("http://example.com/?ä b", "http://example.com/?%C3%A4%20b", "in the query too"),
        ("http://example.com/%c3%A4%zz%", "http://example.com/%c3%A4%zz%", "what is encoded stays as it is"),
        ('http://example.com/"<>\\^`{|}', "http://example.com/%22%3C%3E%5C%5E%60%7B%7C%7D", "what browsers encode"),
        ("http://example.com/!$&'()*+,;=:@[]~-._", "http://example.com/!$&'()*+,;=:@[]~-._", "what they leave"),
        ("http://example.com/a?b?c/../d", "http://example.com/a?b?c/../d", "a query has no segments"),
        ("http://example.com/a/./b/../c", "http://example.com/a/c", "dot segments go (RFC 3986 5.2.4)"),
        ("http://example.com/../../a", "http://example.com/a", "there is nothing above the top"),
        ("http://example.com/a/..", "http://example.com/", "a last .. leaves its slash"),
        ("http://example.com/a/%2e%2e/b", "http://example.com/a/%2e%2e/b", "encoded dots are no dot segments here"),
        ("http://example.com/a//b", "http://example.com/a//b", "empty segments stay"),
        ("http://example.com/a\udcff", "http://example.com/a%FF", "a byte that Python could not decode"),
        ("http://u:p@example.com/", "http://example.com/", "userinfo is not for the request line"),
        ("http://example.com/@b:c", "http://example.com/@b:c", "an @ in the path is no userinfo"),
        ("http://example.com?@b", "http://example.com/?@b", "nor in the query"),
    ],
)
def test_a_url_is_written_as_it_is_requested(text: str, expected: str, reason: str) -> None:
    assert Url.parse(text).text == expected, reason


def test_a_url_has_parts() -> None:
    url = Url.parse("https://user:pass@Example.com:8443/a/b?c=d#e")

    assert (url.scheme, url.host, url.port, url.secure) == ("https", "example.com", 8443, True)
    assert (url.path, url.target) == ("/a/b", "/a/b?c=d")
    assert (url.origin, url.userinfo) == ("https://example.com:8443", "user:pass")
    assert url.text == str(url) == "https://example.com:8443/a/b?c=d"
    assert repr(url) == "Url('https://example.com:8443/a/b?c=d')"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user@h/", "user"),
        ("http://user:@h/", "user:"),
        ("http://:pass@h/", ":pass"),
        ("http://@h/", ""),
        ("http://us%40er:p%3Aa%2Fss@h/", "us@er:p:a/ss"),
        ("http://me@example.com:pass@h/", "me@example.com:pass"),
        ("http://ü:%C3%BC@h/", "ü:ü"),
        ("http://a+b:c d@h/", "a+b:c d"),
    ],
)
def test_userinfo_ends_at_the_last_at_sign_and_is_decoded(text: str, expected: str) -> None:
    url = Url.parse(text)

    assert (url.userinfo, url.host) == (expected, "h")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("example.com/", "no scheme"),
        ("/path", "no scheme"),
        ("//example.com/", "no scheme"),
        ("://example.com/", "no scheme"),
        ("localhost:8080/", "scheme is 'localhost'"),
        ("ftp://example.com/", "scheme is 'ftp', not http or https"),
        ("http:", "no host"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http:/example.com", "no host"),
        ("http:\\\\example.com\\", "no host"),
        ("http://:80/", "no host"),
        ("http://user@/", "no host"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:99999999999999999999/", "port"),
        ("http://example.com:http/", "port"),
        ("http://example.com:-1/", "port"),
        ("http://example.com:+1/", "port"),
        ("http://example.com: 1/", "port"),
        ("http://example.com:\u0661/", "port"),
        ("http://a:b:c/", "port"),
        ("http://exa mple.com/", "host"),
        ("http://exa%6dple.com/", "host"),
        ("http://evil.com\\@example.com\\", "host"),
        ("http://exa<mple.com/", "host"),
        ("http://example.com,other.com/", "host"),
        ("http://" + 255 * "a" + "/", "longer than the 253"),
        ("http://\u2100.com/", "host"),
        ("http://-ü-.com/", "international"),
        ("http://ü..com/", "international"),
        ("http://[::1/", "IPv6"),
        ("http://[]/", "IPv6"),
        ("http://[1.2.3.4]/", "IPv6"),
        ("http://[fe80::1%25eth0]/", "IPv6"),
        ("http://[::1]x/", "IPv6"),
        ("http://[::1]:x/", "port"),
        ("http://exam\tple.com/", "control character"),
        ("http://example.com/\n", "control character"),
        ("http://example.com/a\r\nX: y", "control character"),
        ("http://example.com/\0", "control character"),
        ("http://example.com/\x7f", "control character"),
        ("http://example.com/\ud800", "surrogate"),
    ],
)
def test_what_cannot_be_requested_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Url.parse(text)


def test_a_long_url_is_shortened_in_the_error_only() -> None:
    long = "http://example.com/" + 100_000 * "ä"

    assert len(Url.parse(long).path) == 1 + 6 * 100_000
    with pytest.raises(ValueError) as caught:
        Url.parse(long[3:])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("host", ["bücher.de", "faß.de", "例え.テスト", "xn--bcher-kva.de", "ünï.çode.example."])
def test_a_host_is_encoded_as_the_idna_package_does(host: str) -> None:
    assert Url.parse(f"http://{host}/").host == idna.encode(host, uts46=True).decode()


# join


BASE = "http://a/b/c/d;p?q"

NORMAL = {  # RFC 3986 section 5.4.1; fragments left out of the answers
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q",
    "g#s": "http://a/b/c/g",
    "g?y#s": "http://a/b/c/g?y",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
}

ABNORMAL = {  # section 5.4.2; of the two readings of "http:g" the one that browsers have
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g",
    "g#s/../x": "http://a/b/c/g",
    "http:g": "http://a/b/c/g",
}


@pytest.mark.parametrize(("reference", "expected"), [*NORMAL.items(), *ABNORMAL.items()])
def test_a_reference_means_what_rfc_3986_says(reference: str, expected: str) -> None:
    assert Url.parse(BASE).join(reference).text == expected


@pytest.mark.parametrize("reference", [reference for reference in [*NORMAL, *ABNORMAL] if reference != "//g"])
def test_a_reference_means_what_the_standard_library_says(reference: str) -> None:
    assert Url.parse(BASE).join(reference).text == urljoin(BASE, reference).partition("#")[0]


@pytest.mark.parametrize(
    ("reference", "expected", "reason"),
    [
        ("/node/7", "http://u.com:81/node/7", "an absolute path"),
        ("/node/7?x=1&y=?", "http://u.com:81/node/7?x=1&y=?", "with a query"),
        ("/a.css", "http://u.com:81/a.css", "a dot in a word"),
        ("/.well-known/x", "http://u.com:81/.well-known/x", "a dot in front of one"),
        ("/a/../b", "http://u.com:81/b", "dot segments"),
        ("/a?/../b", "http://u.com:81/a?/../b", "are not in the query"),
        ("/a b", "http://u.com:81/a%20b", "a space is encoded"),
        (" /a ", "http://u.com:81/a", "not around it"),
        ("/a#b", "http://u.com:81/a", "no fragment"),
        ("/ä", "http://u.com:81/%C3%A4", "UTF-8 from a Location header"),
        ("/\xc3\xa4", "http://u.com:81/%C3%83%C2%A4", "the same, read as Latin-1, is still a URL"),
        ("/\x80\x9f", "http://u.com:81/%C2%80%C2%9F", "so are the control characters of Latin-1"),
        ("\\a", "http://u.com:81/p/%5Ca", "a backslash is no slash"),
        ("/\\evil.com/", "http://u.com:81/%5Cevil.com/", "so this is a path, not another host"),
        ("//h", "http://h/", "another host keeps the scheme"),
        ("//h:82/x?y", "http://h:82/x?y", "with all that follows"),
        ("https://h/x", "https://h/x", "an absolute URL"),
        ("http://u.com:81/x?y", "http://u.com:81/x?y", "one on the same origin"),
        ("http://u.com:811/x", "http://u.com:811/x", "one that only begins like it"),
        ("http://u.com:81", "http://u.com:81/", "one without a path"),
        ("http://u.com:81//x", "http://u.com:81//x", "one with an empty segment"),
        ("http://u.com:81/a/../b#c", "http://u.com:81/b", "one that is to be cleaned"),
        ("HTTP:/x", "http://u.com:81/x", "browsers read the same scheme without // as relative"),
        ("?a b", "http://u.com:81/p/q?a%20b", "only a query"),
        ("?", "http://u.com:81/p/q?", "an empty one"),
        ("x:y", None, "a scheme that is none of ours"),
        ("1:2", "http://u.com:81/p/1:2", "no scheme starts with a digit"),
        ("./x:y", "http://u.com:81/p/x:y", "how to write a colon"),
        ("mailto:a@b.c", None, "no page"),
        ("javascript:void(0)", None, "no page"),
        ("data:,x", None, "no page"),
        ("//", None, "no host"),
        ("https:/x", None, "another scheme without a host"),
        ("///x", None, "no host"),
        ("/a\tb", None, "a control character"),
        ("/a\r\nb", None, "a control character"),
        ("\n/a", None, "a control character around it"),
    ],
)
def test_a_reference_from_a_page_or_a_redirect(reference: str, expected: str | None, reason: str) -> None:
    base = Url.parse("http://u.com:81/p/q?r")

    if expected is None:
        with pytest.raises(ValueError, match="is not a URL to request"):
            base.join(reference)
    else:
        assert base.join(reference).text == expected, reason


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("/x", "u:p"), ("x", "u:p"), ("?x", "u:p"), ("", "u:p"), ("http://h/x", ""), ("//h/x", ""), ("//v@h/x", "v")],
)
def test_userinfo_goes_with_a_path_and_not_with_an_authority(reference: str, expected: str) -> None:
    assert Url.parse("http://u:p@h/a").join(reference).userinfo == expected


@given(st.text(st.sampled_from("/.ab?"), max_size=12))
@example("/..//a/.")
@example("/a/..//")
def test_any_mix_of_slashes_and_dots_is_joined_as_the_standard_library_does(reference: str) -> None:
    """Not where it is known to be wrong: it drops empty segments, and an empty query."""
    path, mark, query = reference.partition("?")
    if "//" in path or (mark and not query):
        return

    assert Url.parse("http://h/x/y").join(reference).text == urljoin("http://h/x/y", reference)


@given(st.text(max_size=30))
def test_whatever_is_joined_can_be_requested_and_joined_again(reference: str) -> None:
    base = Url.parse("http://h:81/x/y?z")
    try:
        url = base.join(reference)
    except ValueError:
        return

    assert PLAIN.issuperset(url.target)
    assert url.target.startswith("/")
    assert Url.parse(url.text) == url == base.join(url.text)


@given(st.text(max_size=30))
def test_a_path_is_the_same_on_the_fast_way_and_on_the_slow_one(tail: str) -> None:
    base = Url.parse("http://h:81/x/y?z")
    try:
        slow = Url.parse("http://h:81/" + tail)
    except ValueError:
        return

    assert base.join("http://h:81/" + tail) == slow
    if tail[:1] != "/":
        assert base.join("/" + tail) == slow
    assert slow.target.partition("?")[0] == slow.path


# with_params


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("http://h/", {}, "/"),
        ("http://h/", {"a": "b"}, "/?a=b"),
        ("http://h/?x", {"a": "b"}, "/?x&a=b"),
        ("http://h/?", {"a": "b"}, "/?a=b"),
        ("http://h/?x&", {"a": "b"}, "/?x&a=b"),
        ("http://h/", [("a", 1), ("a", 2.5)], "/?a=1&a=2.5"),
        ("http://h/", {"a": [1, "x", None], "b": ()}, "/?a=1&a=x"),
        ("http://h/", {"yes": True, "no": False, "none": None}, "/?yes=true&no=false"),
        ("http://h/", {"a b": "c d&e=f+g/h?ä~*"}, "/?a+b=c+d%26e%3Df%2Bg%2Fh%3F%C3%A4%7E*"),
        ("http://h/", {"a": b"\xff b"}, "/?a=%FF+b"),
        ("http://h/", {"a": ""}, "/?a="),
        ("http://h/", "a=b&c=d e", "/?a=b&c=d%20e"),
    ],
)
def test_params_are_appended_as_a_form_writes_them(text: str, params: Any, expected: str) -> None:
    url = Url.parse(text).with_params(params)

    assert url.target == expected
    assert url.text == "http://h" + expected


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), min_size=1))
def test_params_come_back_as_they_went(params: list[tuple[str, str]]) -> None:
    url = Url.parse("http://h/p").with_params(params)

    assert parse_qsl(url.target.removeprefix("/p?"), keep_blank_values=True) == params


# as a value


def test_urls_are_equal_by_what_is_requested() -> None:
    url = Url.parse("http://EXAMPLE.com:80/a#b")

    assert url == Url.parse("http://example.com/a") == "http://example.com/a"
    assert url != Url.parse("http://example.com/b")
    assert url != Url.parse("http://u@example.com/a")
    assert url != 5
    assert {url: 1}[Url.parse("http://example.com/a")] == 1


def test_a_url_never_changes() -> None:
    url = Url.parse("http://example.com/")

    with pytest.raises(AttributeError):
        url.host = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="made by Url"):
        Url()
    with pytest.raises(TypeError):
        url.join(None)  # type: ignore[arg-type]


# libcurl as the oracle: it parses our text once more, and must ask the same host for the same thing.


class Noting(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n")).decode().split("\r\n")
        host = next(line for line in head if line.startswith("Host: "))
        self.server.noted.append((head[0].split(" ")[1], host.removeprefix("Host: ")))  # type: ignore[attr-defined]
        self.wfile.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def site() -> Iterator[socketserver.TCPServer]:
    with socketserver.TCPServer(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com",
        "http://EXAMPLE.com:8080/a/b?c",
        "http://example.com:80?x#y",
        "http://user:p%40ss@example.com/",
        "http://[::1]:8080/",
        "http://[2001:DB8::A]/",
        "http://bücher.example/ä?ö",
        "http://my_host./",
        "http://example.com/a b?c d",
        "http://example.com//a//b/",
        "http://example.com/a/%2E%2E/%2F?%zz",
        "http://example.com/!$&'()*+,;=:@[]~-._%?!$&'()*+,;=:@[]~-._%/?",
        'http://example.com/"<>\\^`{|}?"<>\\^`{|}',
        "http://example.com/a;p/../b/./c?d/../e",
        "http://example.com/?",
    ],
)
def test_libcurl_asks_for_exactly_what_the_url_says(site: socketserver.TCPServer, text: str) -> None:
    site.noted = []  # type: ignore[attr-defined]
    url = Url.parse(text)
    curl = pycurl.Curl()
    curl.setopt(pycurl.CONNECT_TO, [f"::127.0.0.1:{site.server_address[1]}"])
    curl.setopt(pycurl.PATH_AS_IS, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.TIMEOUT, 5)
    curl.setopt(pycurl.URL, url.text)

    curl.perform()
    curl.close()

    assert site.noted == [(url.target, url.origin.partition("//")[2])]  # type: ignore[attr-defined]
