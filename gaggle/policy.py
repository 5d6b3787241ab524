"""What all requests of a run have in common, and which software makes them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any

from gaggle import limits
from gaggle._core import transfer_version
from gaggle.options import Options

VERSION = version("gaggle-loadtest")


def settings_of(options: Options) -> dict[str, Any]:
    """Return the policy that every engine's requests follow: the fields of `_core.Settings`."""
    return {
        "base": options.host,
        "timeout": options.timeout,
        "connect_timeout": options.connect_timeout,
        "max_body": options.max_body,
        "cacert": limits.ca_file(options.cacert),
        "verify": not options.accept_invalid_certs,
        "proxy": options.proxy,
        "keepalive": not options.no_keepalive,
        "max_connection_age": options.max_connection_age,
        "tls_resume": options.tls_resume,
        "lane": options.lane,
        "http_version": options.http_version,
        "user_agent": f"gaggle/{VERSION}",
        "headers": headers_of(options),
        "sticky": options.sticky_follow,
        "sources": [source(text) for text in options.interface],
        "resolve": options.resolve,
        "connect_to": options.connect_to,
        "cert": options.cert or "",
        "key": options.key or "",
        "ciphers": options.ciphers,
        "tls_version": "" if options.tls_version == "any" else options.tls_version,
    }


def headers_of(options: Options) -> dict[str, str | None]:
    """Return the headers that every request has, whatever a user class says; None takes one away."""
    found: dict[str, str | None] = {}
    if options.no_gzip:
        found["Accept-Encoding"] = None
    if options.user_agent is not None:
        found["User-Agent"] = options.user_agent or None
    for text in options.header:
        name, _, value = text.partition(":")
        found.pop(next((known for known in found if known.lower() == name.lower()), ""), None)
        found[name] = value.strip() or None
    return found


def source(text: str) -> str:
    """Return what CURLOPT_INTERFACE calls an address or an interface, so that it takes neither for the other."""
    try:
        ip_address(text)
    except ValueError:
        return f"if!{text}"
    return f"host!{text}"


def versions() -> dict[str, str]:
    return {"gaggle": VERSION, "libcurl": transfer_version(), "python": platform.python_version()}
