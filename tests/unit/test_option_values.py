"""What the values of options may be, by their own parsers."""

from __future__ import annotations

import pytest

from gaggle.options import SPECS, Options
from gaggle.policy import headers_of, settings_of, source
from gaggle.sources import parse

TAKEN = [
    # option, text, value
    ("throttle_requests", "500", 500),
    ("throttle_requests", "0.5", 0.5),
    ("throttle_requests", "1000000", 1_000_000),
    ("startup_time", "1m30s", 90),
    ("iterations", "3", 3),
    ("timeout", "0.5", 0.5),
    ("timeout", "250ms", 0.25),
    ("classes", "Anon*", "Anon*"),
    ("tags", "v1.2-beta", "v1.2-beta"),
    ("http_version", "3", "3"),
    ("resolve", "shop.example:443:10.0.0.7", "shop.example:443:10.0.0.7"),
    ("resolve", "*:80:[::1],10.0.0.7", "*:80:[::1],10.0.0.7"),
    ("resolve", "[::1]:80:::2", "[::1]:80:::2"),
    ("connect_to", "shop.example:443:10.0.0.7:8443", "shop.example:443:10.0.0.7:8443"),
    ("connect_to", "::10.0.0.7:", "::10.0.0.7:"),
    ("connect_to", "a:80:[::1]:81", "a:80:[::1]:81"),
    ("interface", "10.0.0.7", "10.0.0.7"),
    ("interface", "fe80::1", "fe80::1"),
    ("interface", "eth0.5", "eth0.5"),
    ("header", "X-Test: a: b, c", "X-Test: a: b, c"),
    ("header", "Accept:", "Accept:"),
    ("user_agent", "Geese/1.0 (a flock)", "Geese/1.0 (a flock)"),
    (
        "ciphers",
        "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256",
    ),
    ("ciphers", "HIGH:!aNULL", "HIGH:!aNULL"),
    ("ciphers", "", ""),
    ("tls_version", "1.3", "1.3"),
]


@pytest.mark.parametrize(("option", "text", "value"), TAKEN)
def test_a_value_is_taken(option, text, value):
    assert SPECS[option].parse(text) == value


REFUSED = [
    # option, text, why
    ("throttle_requests", "-1", "must be a number"),
    ("throttle_requests", "1000001", "can not be set to more than 1,000,000 requests per second"),
    ("throttle_requests", "fast", "must be a number"),
    ("iterations", "-1", "must be set to at least 0"),
    ("startup_time", "soon", "must be a time"),
    ("timeout", "0", "must be greater than 0"),
    ("classes", "Anon User", "must be the name of a user class"),
    ("tags", "a b", "must be a tag"),
    ("tags", "", "must be a tag"),
    ("http_version", "1.0", "must be 1.1, 2 or 3"),
    ("resolve", "shop.example:443", "must be HOST:PORT:ADDRESS"),
    ("resolve", "shop.example:443:elsewhere.example", "must be HOST:PORT:ADDRESS"),
    ("resolve", "shop.example:0:10.0.0.7", "must be HOST:PORT:ADDRESS"),
    ("resolve", "shop.example:70000:10.0.0.7", "must be HOST:PORT:ADDRESS"),
    ("connect_to", "shop.example:443", "must be HOST:PORT:HOST:PORT"),
    ("connect_to", "shop.example:443::", "must be HOST:PORT:HOST:PORT"),
    ("connect_to", "shop.example:443:a:99999", "must be HOST:PORT:HOST:PORT"),
    ("interface", "", "must be an address of this machine"),
    ("interface", "an interface", "must be an address of this machine"),
    ("header", "no colon", "must be a header"),
    ("header", "X: a\r\nEvil: yes", "must be a header"),
    ("header", ": empty", "must be a header"),
    ("user_agent", "two\nlines", "must be one line"),
    ("ciphers", "NO-SUCH-CIPHER", "there is no NO-SUCH-CIPHER"),
    ("ciphers", "TLS_NO_SUCH", "there is no TLS_NO_SUCH"),
    ("ciphers", "HIGH:", "there is no empty one"),
    ("tls_version", "1.1", "must be any, 1.2 or 1.3"),
]


@pytest.mark.parametrize(("option", "text", "why"), REFUSED)
def test_a_value_is_refused_with_a_reason(option, text, why):
    with pytest.raises(ValueError, match=why):
        SPECS[option].parse(text)


def test_headers_of_the_options_are_put_over_each_other():
    options = Options(no_gzip=True, user_agent="Goose", header=("X-A: 1", "x-a: 2", "Accept:", "user-agent: Gander"))

    assert headers_of(options) == {"Accept-Encoding": None, "x-a": "2", "Accept": None, "user-agent": "Gander"}


def test_an_address_is_not_taken_for_an_interface():
    assert [source(text) for text in ("10.0.0.7", "::1", "eth0")] == ["host!10.0.0.7", "host!::1", "if!eth0"]


def test_an_option_for_all_requests_is_in_the_policy_of_every_engine():
    options = Options(sticky_follow=True, resolve=("a:80:127.0.0.1",), tls_version="1.2", cert="c.pem", key="k.pem")

    settings = settings_of(options)

    assert settings["sticky"] is True
    assert settings["resolve"] == ("a:80:127.0.0.1",)
    assert (settings["tls_version"], settings["cert"], settings["key"]) == ("1.2", "c.pem", "k.pem")


SEVERAL = [
    # command line, environment, option, its value
    ("--tags a,b --tags c", {}, "tags", ("a", "b", "c")),
    ("", {"GAGGLE_TAGS": "a,b"}, "tags", ("a", "b")),
    ("--interface 127.0.0.1,127.0.0.2", {}, "interface", ("127.0.0.1", "127.0.0.2")),
    ("--header X:a,b --header Y:c", {}, "header", ("X:a,b", "Y:c")),
    ("", {"GAGGLE_HEADER": "X: a, b\nY: c\n"}, "header", ("X: a, b", "Y: c")),
    ("--resolve a:80:::1,10.0.0.7", {}, "resolve", ("a:80:::1,10.0.0.7",)),
    ("--scenarios Anon*,Auth", {}, "classes", ("Anon*", "Auth")),
]


@pytest.mark.parametrize(("argv", "environ", "option", "value"), SEVERAL)
def test_several_values_may_be_given(argv, environ, option, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert getattr(parse(argv.split(), environ).options, option) == value
