"""What all requests of a run have in common, and which software makes them."""

from __future__ import annotations

import platform
from importlib.metadata import version
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
    }


def versions() -> dict[str, str]:
    return {"gaggle": VERSION, "libcurl": transfer_version(), "python": platform.python_version()}
