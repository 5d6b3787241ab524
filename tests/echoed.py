"""How a request looked on the wire, as the test server's /echo says; and ways to get there."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sites import Server


class Echoed:
    """One request as the server saw it. `headers` are by lower-cased name, `names` as they were written."""

    def __init__(self, response: Any) -> None:
        seen = response.json()
        self.method: str = seen["method"]
        self.target: str = seen["target"]
        self.query: dict[str, str] = seen["query"]
        self.body: bytes = seen["body"].encode("latin-1")
        self.names: list[str] = [name for name, _ in seen["headers"]]
        self.headers: dict[str, str] = {name.lower(): value for name, value in seen["headers"]}


def to(url: str, status: int = 302) -> str:
    """Return a path that redirects to `url`."""
    return f"/redirect-to?status={status}&url={quote(url, safe='')}"


def elsewhere(server: Server) -> str:
    """Return the server's URL by another name: another host, for a client."""
    return server.url.replace("127.0.0.1", "localhost")
