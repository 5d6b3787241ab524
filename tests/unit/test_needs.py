"""What options need: of each other, and of this machine."""

from __future__ import annotations

import pytest
import trustme

from gaggle import needs
from gaggle.errors import InvalidOption
from gaggle.needs import check_needs
from gaggle.options import Options


@pytest.fixture(autouse=True)
def in_a_directory_with_certificates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    issued = trustme.CA().issue_cert("user@shop.example")
    issued.cert_chain_pems[0].write_to_path("cert.pem")
    issued.private_key_pem.write_to_path("key.pem")
    issued.private_key_and_cert_chain_pem.write_to_path("both.pem")
    trustme.CA().issue_cert("else@shop.example").private_key_pem.write_to_path("other.pem")


LACKING = [
    ({"users": 1, "startup_time": 5.0}, "--users", "must be set to at least 2 when --startup-time is set"),
    ({"users": 1, "decrease_time": 5.0}, "--users", "must be set to at least 2 when --decrease-time is set"),
    ({"key": "key.pem"}, "--key", "can not be set without --cert, whose key it is"),
    ({"cert": "none.pem"}, "--cert", "can not be read: No such file or directory"),
    ({"cert": "cert.pem"}, "--cert", "needs a certificate and its key, in PEM"),
    ({"cert": "cert.pem", "key": "other.pem"}, "--cert", "needs a certificate and its key, in PEM: "),
    ({"interface": ("127.0.0.1", "192.0.2.1")}, "--interface", "must be an address of this machine, or an interface"),
    ({"interface": ("none0",)}, "--interface", "must be an address of this machine, or an interface"),
    ({"http_version": "3", "host": "http://local.dev"}, "--http-version", "needs a host with https"),
]


@pytest.mark.parametrize(("given", "option", "why"), LACKING)
def test_what_is_lacking_is_said(given, option, why):
    with pytest.raises(InvalidOption) as caught:
        check_needs(Options(**given), {})

    assert caught.value.option == option
    assert caught.value.detail.startswith(f"The {option} option {why}")


def test_a_libcurl_without_http3_is_said(monkeypatch):
    monkeypatch.setattr(needs, "transfer_has_http3", lambda: False)

    with pytest.raises(InvalidOption, match=r"GAGGLE_HTTP_VERSION needs HTTP/3, which libcurl .* was built without"):
        check_needs(Options(http_version="3"), {"http_version": "GAGGLE_HTTP_VERSION"})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"users": 2, "startup_time": 5.0, "decrease_time": 5.0},
        {"cert": "both.pem"},
        {"cert": "cert.pem", "key": "key.pem"},
        {"interface": ("127.0.0.1", "127.0.0.2", "lo")},
        {"http_version": "3", "host": "https://local.dev"},
    ],
)
def test_what_is_there_is_taken(given):
    check_needs(Options(**given), {})
