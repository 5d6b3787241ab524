"""What load tests are aimed at: the test server, plain and with TLS, nginx, and the demo site; each is a process."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, overload

import trustme
from processes import Process, eventually

HERE = Path(__file__).parent
STARTING_SECONDS = 20.0


class Seen(Mapping[str, int]):
    """What the test server has seen: requests by "GET /path", and more about its connections."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.requests: dict[str, int] = data["requests"]
        self.cases: dict[str, dict[str, int]] = data["cases"]  # by the header X-Case
        self.connections: list[dict[str, Any]] = data["connections"]  # {"id", "requests", "users"}, those with requests
        self.opened: int = data["opened"]  # connections
        self.aborted: int = data["aborted"]  # connections that the client reset, or left in the middle of a request
        self.refused: int = data["refused"]  # what was not HTTP
        self.body_bytes: int = data["body_bytes"]
        self.open: int = data["open"]  # requests that are being answered
        self.max_open: int = data["max_open"]

    def __getitem__(self, name: str) -> int:
        """Return how often "GET /path" was requested; "/path" stands for all methods."""
        if name.startswith("/"):
            return sum(times for key, times in self.requests.items() if key.partition(" ")[2] == name)
        return self.requests.get(name, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)

    def __contains__(self, name: object) -> bool:
        return self[str(name)] > 0

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def __repr__(self) -> str:
        return f"Seen({vars(self)})"


class Server:
    """tests/server.py, running."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = Process([sys.executable, HERE / "server.py", "--with-parent", *arguments])
        self.url = self.process.wait_for_line(r"server on (\S+)", STARTING_SECONDS)[1]

    @overload
    def seen(self) -> Seen: ...
    @overload
    def seen(self, name: str) -> int: ...
    def seen(self, name: str | None = None) -> Seen | int:
        """Return all that was seen, or how often "GET /path" ("/path": by any method) was."""
        seen = Seen(json.loads(fetch(f"{self.url}/seen")))
        return seen if name is None else seen[name]

    def reset(self) -> None:
        """Forget what was seen."""
        fetch(f"{self.url}/reset-seen", b"")

    def start_over(self) -> None:
        """Drop all connections, then forget: nothing of an earlier test can be counted any more."""
        fetch(f"{self.url}/reset-seen?close=1", b"")

    def stop(self) -> None:
        self.process.end()


class HttpsServer(Server):
    """The test server with a good certificate of `ca_file`; `wrong_host` and `expired` are others, with bad ones."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        super().__init__(*self.files("good", self.ca.issue_cert("127.0.0.1", "localhost")))

    @cached_property
    def wrong_host(self) -> Server:
        return Server(*self.files("wrong_host", self.ca.issue_cert("elsewhere.example")))

    @cached_property
    def expired(self) -> Server:
        past = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
        certificate = self.ca.issue_cert("127.0.0.1", "localhost", not_before=past[0], not_after=past[1])
        return Server(*self.files("expired", certificate))

    def files(self, name: str, certificate: trustme.LeafCert) -> list[str | Path]:
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.private_key_pem.write_to_path(key)
        for place, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(chain, append=place > 0)
        return ["--cert", chain, "--key", key]

    def servers(self) -> list[Server]:
        """Return those that run."""
        return [self, *(vars(self)[name] for name in ("wrong_host", "expired") if name in vars(self))]


class Hit(NamedTuple):
    """One line of nginx's access log."""

    connection: int
    nth: int  # of its connection
    method: str
    target: str
    status: int  # 499: the client went away first
    body_bytes: int
    seconds: float
    protocol: str
    case: str  # the header X-Case, "-" without

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


NGINX_CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 16384; }}
worker_rlimit_nofile 32768;
http {{
    log_format hits '$connection\\t$connection_requests\\t$request_method\\t$request_uri\\t$status\\t$body_bytes_sent'
                    '\\t$request_time\\t$server_protocol\\t$http_x_case';
    access_log {folder}/access.log hits;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/plain txt; application/octet-stream bin; }}
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        {tls}
        root {folder}/files;
        location = / {{ default_type text/plain; return 200 "hello\\n"; }}
        location = /status {{ stub_status; }}
        location /marker {{ return 204; }}
        location = /204 {{ return 204; }}
        location = /404 {{ return 404; }}
        location = /500 {{ return 500; }}
        location = /redirect {{ return 302 /; }}
    }}
}}
"""
NGINX_FILES = {"small.txt": b"a goose\n", "page.html": b"<h1>geese</h1>\n" * 1_000, "big.bin": bytes(1 << 20)}
TLS_LISTEN = "listen 127.0.0.1:{port} ssl http2; ssl_certificate {chain}; ssl_certificate_key {key};"


class Nginx:
    """Debian's nginx, one process: / answers "hello", /small.txt, /page.html and /big.bin are files, /status counts.

    With a certificate `https_url` serves the same, HTTP/2 included.
    """

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self.folder, self.log_file, self.markers = folder, folder / "access.log", count(1)
        (folder / "files").mkdir()
        for name, content in NGINX_FILES.items():
            (folder / "files" / name).write_bytes(content)
        self.process = self.start(certificate)

    def start(self, certificate: tuple[Path, Path] | None, tries: int = 5) -> Process:
        """Start it on ports that are free now; another process may take one first, so try again."""
        port, tls_port = free_port(), free_port()
        self.url, self.https_url = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}"
        tls = TLS_LISTEN.format(port=tls_port, chain=certificate[0], key=certificate[1]) if certificate else ""
        config = self.folder / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(folder=self.folder, port=port, tls=tls))
        process = Process(["nginx", "-p", self.folder, "-e", self.folder / "error.log", "-c", config])
        eventually(lambda: process.popen.poll() is not None or answers(self.url), STARTING_SECONDS, "nginx answers")
        if process.popen.poll() is None:
            return process
        assert tries > 1, f"nginx does not start:\n{process.output()}"
        return self.start(certificate, tries - 1)

    def log(self) -> list[Hit]:
        """Return the requests since the start or `reset`, markers left out.

        nginx logs a request after it has answered it. Two requests of ours one after the other make sure: when the
        second one is logged, so is everything that had come to an end before this call.
        """
        for _ in range(2):
            marker = f"/marker/{next(self.markers)}"
            fetch(self.url + marker)
        eventually(lambda: marker in last_part(self.log_file), what=f"{marker} in the access log")
        hits = map(parse_hit, self.log_file.read_text(errors="replace").splitlines())
        return [hit for hit in hits if not hit.path.startswith(("/marker", "/status"))]

    def seen(self, name: str) -> int:
        """Return how often "GET /path" ("/path": by any method) is in the log."""
        return sum(name in (hit.path, f"{hit.method} {hit.path}") for hit in self.log())

    def status(self) -> dict[str, int]:
        """Return stub_status: active, accepts, handled, requests, reading, writing, waiting; this look is in it."""
        names = ("active", "accepts", "handled", "requests", "reading", "writing", "waiting")
        return dict(zip(names, map(int, re.findall(r"\d+", fetch(f"{self.url}/status").decode())), strict=True))

    def reset(self) -> None:
        """Forget the log."""
        self.log()
        self.log_file.write_text("")  # nginx appends

    def stop(self) -> None:
        self.process.end()


def last_part(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 4_096))
        return opened.read().decode(errors="replace")


def parse_hit(line: str) -> Hit:
    return Hit(*(kind(text) for kind, text in zip(HIT_KINDS, line.split("\t"), strict=True)))


HIT_KINDS: tuple[Callable[[str], Any], ...] = (int, int, str, str, int, int, float, str, str)


class DemoSite:
    """examples/demo_site.py, running."""

    def __init__(self) -> None:
        script = HERE.parent / "examples" / "demo_site.py"
        self.process = Process([sys.executable, script, "--port", "0"])
        self.url = self.process.wait_for_line(r"demo site on (\S+)", STARTING_SECONDS)[1]

    @overload
    def seen(self) -> Counter[str]: ...
    @overload
    def seen(self, route: str, status: int | None = None) -> int: ...
    def seen(self, route: str | None = None, status: int | None = None) -> Counter[str] | int:
        """Return what was served by route ("GET /node/{nid}"), or how often one was, with `status` or with any."""
        served: dict[str, dict[str, int]] = json.loads(fetch(f"{self.url}/_seen"))
        if route is None:
            return Counter({name: sum(by_status.values()) for name, by_status in served.items()})
        by_status = served.get(route, {})
        return sum(by_status.values()) if status is None else by_status.get(str(status), 0)

    def reset(self) -> None:
        fetch(f"{self.url}/_reset", b"")

    def stop(self) -> None:
        self.process.end()


UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=UNVERIFIED))


def fetch(url: str, body: bytes | None = None) -> bytes:
    """Return the body of `url` over a new connection, which is closed; with a `body` it is a POST. No proxy is used."""
    with DIRECT.open(urllib.request.Request(url, body), timeout=10) as response:
        return bytes(response.read())


def answers(url: str) -> bool:
    try:
        fetch(url)
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def has_nginx() -> bool:
    return shutil.which("nginx") is not None
