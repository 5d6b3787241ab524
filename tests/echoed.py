"""What the test server's /echo says of a request: how it looked on the wire."""

from __future__ import annotations

from typing import Any


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
