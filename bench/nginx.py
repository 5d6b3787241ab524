"""The server of the benches: Debian's nginx, one process on one core, which counts its requests."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

STARTING_SECONDS = 10.0
PAGE = "A gaggle is a group of geese on the ground, and a skein is one in flight.\n" * 136 + "Geese, geese and geese\n"
CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile {descriptors};
events {{ worker_connections {descriptors}; multi_accept on; }}
http {{
    access_log off;
    keepalive_timeout 3600;
    keepalive_requests 1000000000;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/chain.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_session_cache off;
    server {{
        listen 127.0.0.1:{port} backlog=16384;
        listen 127.0.0.1:{tls_port} ssl backlog=16384;
        root {folder}/files;
        location = / {{ return 200 "hello\\n"; }}
        location = /json {{ default_type application/json; return 200 '{answer}'; }}
        location = /count {{ stub_status; }}
        {more}
    }}
}}
"""
ANSWER = '{"accepted":true,"order":4711,"items":[{"id":3,"price":12.5},{"id":8,"price":3.25}],"total":28.25}'


class Count(NamedTuple):
    """What nginx says of itself, and when. `requests` counts from its start, this question included."""

    at: float  # time.monotonic()
    requests: int
    connections: int  # open ones, ours included


class Nginx:
    """nginx, running: `/` answers "hello", `/text` 10 KB, `/json` a JSON object; `https_url` serves the same.

    `more` are lines for the server block. The CA that signed its certificate is in `ca_file`.
    """

    def __init__(self, folder: Path, core: int, more: str = "", descriptors: int = 20_000) -> None:
        self.folder = folder
        self.ca_file = make_certificate(folder)
        (folder / "files").mkdir()
        (folder / "files" / "text").write_text(PAGE)
        port, tls_port = free_ports(2)
        self.port, self.url, self.https_url = port, f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}"
        filled = {"folder": folder, "port": port, "tls_port": tls_port, "answer": ANSWER, "more": more}
        (folder / "nginx.conf").write_text(CONFIG.format(descriptors=descriptors, **filled))
        command = f"taskset -c {core} nginx -p {folder} -e {folder / 'error.log'} -c nginx.conf".split()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.wait_for_start()
        self.asking = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_start(self) -> None:
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"nginx does not start: {(self.folder / 'error.log').read_text()}") from None
                time.sleep(0.02)

    def count(self) -> Count:
        """Ask nginx, over a connection that stays open."""
        self.asking.request("GET", "/count")
        numbers = re.findall(rb"\d+", self.asking.getresponse().read())
        return Count(time.monotonic(), int(numbers[3]), int(numbers[0]))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def make_certificate(folder: Path) -> Path:
    """Make a CA and a certificate for 127.0.0.1; return the CA's file."""
    import trustme

    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1", "localhost")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    for place, part in enumerate(leaf.cert_chain_pems):
        part.write_to_path(folder / "chain.pem", append=place > 0)
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return folder / "ca.pem"


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def version() -> str:
    """Return "nginx 1.22.1"; raises FileNotFoundError where there is none."""
    if not shutil.which("nginx"):
        raise FileNotFoundError("nginx is not installed: apt install nginx-light")
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
    return said.rpartition(" ")[2].strip().replace("/", " ")
