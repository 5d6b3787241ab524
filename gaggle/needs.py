"""What options need: another option beside them, or something of this machine. What excludes what is in CONFLICTS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping

from gaggle._core import transfer_has_http3, transfer_version
from gaggle.errors import InvalidOption
from gaggle.options import Options, flag


def check_needs(options: Options, sources: Mapping[str, str]) -> None:
    """Raise InvalidOption for the first option that lacks what it needs."""
    for name, lacks in NEEDS:
        for value, why in lacks(options):
            source = sources.get(name, flag(name))
            subject = f"The {source} option" if source.startswith("-") else source[0].upper() + source[1:]
            raise InvalidOption(source, value, f"{subject} {why}.")


Lacks = Iterator[tuple[object, str]]
"""A value that cannot be, and why: what follows the option's name."""


def _two_users(wish: str) -> Callable[[Options], Lacks]:
    def lacks(options: Options) -> Lacks:
        if getattr(options, wish) and options.users < 2:
            yield options.users, f"must be set to at least 2 when {flag(wish)} is set"

    return lacks


def _certificate_of_key(options: Options) -> Lacks:
    if options.key and not options.cert:
        yield options.key, "can not be set without --cert, whose key it is"


def _usable_certificate(options: Options) -> Lacks:
    if options.cert is None:
        return
    try:
        # An encrypted key would be asked for at the terminal, by every engine.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(options.cert, options.key, password=_no_password)
    except ssl.SSLError as error:
        yield options.cert, f"needs a certificate and its key, in PEM: {(error.reason or str(error)).lower()}"
    except (OSError, ValueError) as error:
        yield options.cert, f"can not be read: {getattr(error, 'strerror', None) or error}"


def _no_password() -> str:
    raise ValueError("the key has a password, which gaggle does not take")


def _own_addresses(options: Options) -> Lacks:
    for text in options.interface:
        try:
            _try_source(text)
        except OSError as error:
            yield text, f"must be an address of this machine, or an interface: {error.strerror or error}"


def _try_source(text: str) -> None:
    """Raise OSError unless a connection can come from this address or interface."""
    if not ("." in text or ":" in text):
        socket.if_nametoindex(text)
        return
    with socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET) as probe:
        probe.bind((text, 0))


def _http3(options: Options) -> Lacks:
    if options.http_version != "3":
        return
    if not transfer_has_http3():
        yield "3", f"needs HTTP/3, which libcurl {transfer_version()} was built without: pip install -U 'pycurl>=7.48'"
    if options.host and not options.host.startswith("https:"):
        yield "3", f"needs a host with https, and --host is {options.host}"


NEEDS: tuple[tuple[str, Callable[[Options], Lacks]], ...] = (
    ("users", _two_users("startup_time")),
    ("users", _two_users("decrease_time")),
    ("key", _certificate_of_key),
    ("cert", _usable_certificate),
    ("interface", _own_addresses),
    ("http_version", _http3),
)
