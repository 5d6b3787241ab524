"""What this machine allows: descriptors, ports, certificates. Looked at before a test starts."""

from __future__ import annotations

import os
import resource
from pathlib import Path

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
SPARE_DESCRIPTORS = 200  # of a process beside its users' connections
# Where distributions keep the certificates of public authorities, as Go's crypto/x509 looks for them.
CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def raise_descriptors() -> int:
    """Raise the limit of open files to what is allowed; return it. Engines inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def ports() -> int:
    """Return how many connections one source address may have to one server."""
    try:
        first, last = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return 28_232
    return last - first + 1


def warnings(users: int, engines: int, hosts: int, descriptors: int, sources: int = 1) -> list[str]:
    """Return what stands in the way of so many users that each keep a connection open, a line each.

    `sources` is how many addresses they connect from.
    """
    found = []
    needed = -(-users // engines) + SPARE_DESCRIPTORS
    if needed > descriptors:
        found.append(
            f"{users:,} users on {engines} engines need {needed:,} open files each, the limit is {descriptors:,}: "
            f"raise it (ulimit -n {needed}), or connections will fail"
        )
    if users > ports() * max(1, hosts) * max(1, sources):
        found.append(
            f"{users:,} users need as many connections, and an address of this machine has {ports():,} ports to one "
            f"server: widen {PORT_RANGE}, or give more addresses with --interface, or connections will fail"
        )
    return found


def ca_file(chosen: str | None) -> str:
    """Return the certificates to trust: those chosen, SSL_CERT_FILE, the system's, certifi's; "" leaves it open."""
    for path in (chosen, os.environ.get("SSL_CERT_FILE"), *CA_FILES):
        if path and os.path.exists(path):
            return path
    try:
        import certifi
    except ImportError:
        return ""
    return certifi.where()
