"""The server of Python's library, a thread a connection. Usage: http_library.py FOLDER, as real_servers.py says."""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
PAGES = {path: (FOLDER / "files" / path[1:]).read_bytes() for path in ("/page", "/form", "/big")}
log = (FOLDER / "access.log").open("a", buffering=1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def __init__(self, door: dict[str, Any], *arguments: Any) -> None:
        self.door, self.nth = door, 0
        super().__init__(*arguments)

    def answer(self) -> None:
        self.nth += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        body, status = PAGES.get(path, b""), 302 if path == "/redirect" else 200
        log.write(f"{self.door['port']} {self.command} {self.path} {status} {self.nth}\n")
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"/page?{query}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Id", query.partition("=")[2])
        if self.nth >= self.door["limit"]:
            self.send_header("Connection", "close")  # and so the handler does
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Not to stderr."""


class Server(ThreadingHTTPServer):
    request_queue_size = 4096
    daemon_threads = True


def serve(door: dict[str, Any], context: ssl.SSLContext) -> None:
    server = Server(("127.0.0.1", door["port"]), partial(Handler, door))
    if door["scheme"] == "https":
        # The handshake belongs to the connection's thread, not to the one that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "both.pem")
    for door in json.loads((FOLDER / "doors.json").read_text()):
        serve(door, context)
    while True:
        signal.pause()


main()
