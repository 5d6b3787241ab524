"""Web servers that people run, each with six doors: plain and TLS, with 1, 2 and 100 requests a connection.

All of them answer /page and POST /form ("a goose"), /big (a thousand of them) and /redirect (302 to /page, same query),
and log each request. None is started but by a test; each lives in a folder of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import ClassVar, NamedTuple

import pytest
import trustme
from processes import Process, eventually
from sites import answers, free_port

SERVING = Path(__file__).parent / "serving"
PAGE = "a goose\n"
BIG = PAGE * 1_000
LIMITS = (1, 2, 100)
STARTING_SECONDS = STOPPING_SECONDS = 20.0
STARTING_ID = "start"  # of the requests that ask whether the server is up


class Door(NamedTuple):
    """One port of a server: how it is spoken to, and how many requests it serves a connection."""

    scheme: str
    limit: int
    port: int

    @property
    def name(self) -> str:
        return f"{self.scheme}-{self.limit}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


class Hit(NamedTuple):
    """One line of an access log."""

    door: str
    method: str
    path: str
    id: str  # of the query
    status: int
    nth: int  # of its connection
    resumed: bool = False  # its connection goes on with an earlier TLS session, as far as the log says


class RealServer:
    """What the servers have in common; a server is a table of differences.

    `config` and `door` are templates (`fill`); a line of the log is port, method, target, status, and the place of the
    request in its connection.
    """

    program: ClassVar[str]
    package: ClassVar[str]  # what to do where it is missing
    config_name: ClassVar[str]
    config: ClassVar[str]
    door: ClassVar[str] = ""
    tls: ClassVar[str] = ""
    command: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[int] = signal.SIGTERM
    reload_signal: ClassVar[int | None] = None
    tells_id: ClassVar[bool] = True  # answers with the id of the query in X-Id
    first_nth: ClassVar[int] = 1  # how the log counts the first request of a connection
    remark: ClassVar[str] = "#"  # how a line of the log begins that is no request

    @classmethod
    def is_here(cls) -> bool:
        return which(cls.program) is not None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)  # a server that is started by root serves as somebody else
        certify(folder)
        self.ca_file = folder / "ca.pem"
        (folder / "files").mkdir()
        for name, content in (("page", PAGE), ("form", PAGE), ("big", BIG)):
            (folder / "files" / name).write_text(content)
        self.process = self.start()

    def start(self, tries: int = 5) -> Process:
        """Start it on ports that are free now; another process may take one first, so try again."""
        self.doors = [Door(scheme, limit, free_port()) for scheme in ("http", "https") for limit in LIMITS]
        (self.folder / self.config_name).write_text(self.configuration())
        process = Process([self.fill(word) for word in self.command], cwd=self.folder)
        try:
            eventually(lambda: has_ended(process) or self.is_open(), STARTING_SECONDS, f"{self.program} answers")
        except AssertionError:
            process.end()
            raise
        if not has_ended(process):
            return process
        assert tries > 1, f"{self.program} does not start:\n{process.output()}\n{self.error_log()}"
        return self.start(tries - 1)

    def configuration(self) -> str:
        doors = "\n".join(map(self.door_configuration, self.doors))
        text = self.fill(dedent(self.config).replace("<doors>", doors))
        return text + "\n"  # HAProxy insists on the end of the last line

    def door_configuration(self, door: Door) -> str:
        """`more` is for servers that count the requests after the first one of a connection."""
        return fill(
            self.door,
            name=door.name,
            port=door.port,
            limit=door.limit,
            more=door.limit - 1,
            keeps="On" if door.limit > 1 else "Off",
            tls=self.tls if door.scheme == "https" else "",
        )

    def fill(self, template: str) -> str:
        return fill(
            template,
            folder=self.folder,
            python=sys.executable,
            first_port=self.doors[0].port,
            program=which(self.program) or "",
            doors_json=json.dumps([door._asdict() for door in self.doors]),
            page=json.dumps(PAGE),
            serving=SERVING,
        )

    def is_open(self) -> bool:
        return all(answers(f"{door.url}/page?id={STARTING_ID}") for door in self.doors)

    def urls(self) -> dict[str, str]:
        return {door.name: door.url for door in self.doors}

    @property
    def log_file(self) -> Path:
        return self.folder / "access.log"

    def error_log(self) -> str:
        file = self.folder / "error.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def lines(self) -> int:
        """Return how many requests are logged so far."""
        return self.log_file.read_bytes().count(b"\n")

    def wait_for(self, count: int) -> None:
        """Return once `count` more requests are logged."""
        wanted = self.lines() + count
        eventually(lambda: self.lines() >= wanted, STARTING_SECONDS, f"{count} more requests to {self.program}")

    def reload(self) -> None:
        """Let it start over gracefully; return once those that served before have gone."""
        assert self.reload_signal is not None
        before = set(self.generation())
        self.process.signal(self.reload_signal)
        eventually(lambda: (now := set(self.generation())) and not now & before, STOPPING_SECONDS, "a reload")

    def generation(self) -> Sequence[object]:
        """Return what changes with a reload: the processes that serve."""
        return self.process.children()

    def stop(self) -> None:
        """Let it finish what it has begun, its log included."""
        self.process.signal(self.stop_signal)
        eventually(lambda: has_ended(self.process), STOPPING_SECONDS, f"{self.program} ends")

    def hits(self) -> list[Hit]:
        """Return what was logged, without the requests of the start."""
        names = {door.port: door.name for door in self.doors}
        lines = self.log_file.read_text().splitlines()
        found = [self.parse(names, line) for line in lines if not line.startswith(self.remark)]
        return [hit for hit in found if hit.id != STARTING_ID]

    def parse(self, names: dict[int, str], line: str) -> Hit:
        port, method, target, status, nth, *more = line.split()
        path, _, query = target.partition("?id=")
        return Hit(names[int(port)], method, path, query, int(status), int(nth) - self.first_nth + 1, more == ["r"])


def has_ended(process: Process) -> bool:
    return process.popen.poll() is not None


def fill(template: str, **values: object) -> str:
    """Return `template` with each <name> that `values` has replaced; configurations are full of braces and dollars."""
    return re.sub(r"<(\w+)>", lambda found: str(values[found[1]]) if found[1] in values else found[0], template)


def which(program: str) -> str | None:
    """Return the path of a program, also where only root's search path has it."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def certify(folder: Path) -> None:
    """Write ca.pem, and chain.pem, key.pem and both.pem for 127.0.0.1."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    (folder / "both.pem").write_bytes(certificate.private_key_pem.bytes() + chain)


@contextmanager
def running(kind: type[RealServer]) -> Iterator[RealServer]:
    """Run a server; skip the test where it is not installed."""
    if not kind.is_here():
        pytest.skip(f"{kind.program} is not installed: {kind.package}")
    folder = Path(tempfile.mkdtemp(prefix=f"gaggle-{kind.__name__.lower()}-"))
    server = None
    try:
        server = kind(folder)
        yield server
    finally:
        if server is not None:
            server.process.end()
        shutil.rmtree(folder, ignore_errors=True)


class Nginx(RealServer):
    program, package = "nginx", "apt-get install nginx-light"
    config_name = "nginx.conf"
    command = ("<program>", "-p", "<folder>", "-e", "<folder>/error.log", "-c", "<folder>/nginx.conf")
    stop_signal, reload_signal = signal.SIGQUIT, signal.SIGHUP
    config = r"""
        daemon off;
        worker_processes 2;
        pid <folder>/nginx.pid;
        error_log <folder>/error.log notice;
        events { worker_connections 4096; }
        http {
            log_format hits '$server_port $request_method $request_uri $status $connection_requests'
                            ' $ssl_session_reused';
            access_log <folder>/access.log hits;
            client_body_temp_path <folder>/body;
            proxy_temp_path <folder>/proxy;
            fastcgi_temp_path <folder>/fastcgi;
            uwsgi_temp_path <folder>/uwsgi;
            scgi_temp_path <folder>/scgi;
            default_type text/plain;
            gzip on;
            gzip_types text/plain;
            gzip_min_length 1000;
            <doors>
        }
    """
    door = r"""
        server {
            listen 127.0.0.1:<port> backlog=4096<tls>;
            keepalive_requests <limit>;
            ssl_protocols TLSv1.2 TLSv1.3;
            add_header X-Id $arg_id;
            location = /page { return 200 <page>; }
            location = /form { return 200 <page>; }
            location = /big { root <folder>/files; }
            location = /redirect { return 302 /page?$args; }
        }
    """
    tls = " ssl; ssl_certificate <folder>/chain.pem; ssl_certificate_key <folder>/key.pem"


class Apache(RealServer):
    program, package = "apache2", "apt-get install apache2-bin"
    config_name = "apache.conf"
    command = ("<program>", "-D", "FOREGROUND", "-d", "<folder>", "-f", "<folder>/apache.conf")
    stop_signal, reload_signal = signal.SIGWINCH, signal.SIGUSR1
    first_nth = 0
    config = r"""
        DefaultRuntimeDir <folder>
        PidFile <folder>/apache.pid
        ServerName 127.0.0.1
        Define modules /usr/lib/apache2/modules
        LoadModule mpm_event_module ${modules}/mod_mpm_event.so
        LoadModule authz_core_module ${modules}/mod_authz_core.so
        LoadModule alias_module ${modules}/mod_alias.so
        LoadModule headers_module ${modules}/mod_headers.so
        LoadModule filter_module ${modules}/mod_filter.so
        LoadModule deflate_module ${modules}/mod_deflate.so
        LoadModule socache_shmcb_module ${modules}/mod_socache_shmcb.so
        LoadModule ssl_module ${modules}/mod_ssl.so
        User nobody
        Group nogroup
        ListenBacklog 4096
        GracefulShutdownTimeout 15
        ErrorLog <folder>/error.log
        LogFormat "%{local}p %m %U%q %>s %k" hits
        CustomLog <folder>/access.log hits
        DocumentRoot <folder>/files
        Redirect temp /redirect /page
        Header always set X-Id "expr=%{QUERY_STRING}"
        Header always edit X-Id "^id=" ""
        SetOutputFilter DEFLATE
        SSLSessionCache shmcb:<folder>/sessions(512000)
        <doors>
    """
    door = r"""
        Listen 127.0.0.1:<port>
        <VirtualHost 127.0.0.1:<port>>
            KeepAlive <keeps>
            MaxKeepAliveRequests <more>
            <tls>
        </VirtualHost>
    """
    tls = "SSLEngine on\nSSLCertificateFile <folder>/chain.pem\nSSLCertificateKeyFile <folder>/key.pem"


class HAProxy(RealServer):
    program, package = "haproxy", "apt-get install haproxy"
    config_name = "haproxy.cfg"
    # Its log goes to standard output. It drops lines where a pipe is full, so that is a file; and where two of its
    # threads write at once ("DroppedLogs" of `show info`), so it has one.
    command = ("sh", "-c", "exec <program> -W -db -f <folder>/haproxy.cfg >><folder>/access.log 2>><folder>/error.log")
    stop_signal, reload_signal = signal.SIGUSR1, signal.SIGUSR2
    remark = "Proxy "
    config = r"""
        global
            stats socket <folder>/admin.sock mode 600 level admin expose-fd listeners
            log stdout format raw local0
            nbthread 1
        defaults
            mode http
            log global
            timeout client 30s
            timeout http-request 30s
            timeout http-keep-alive 30s
            timeout connect 5s
            timeout server 30s
            log-format "%fp %HM %HU %ST %[var(sess.nth)]"
        <doors>
    """
    door = r"""
        frontend <name>
            bind 127.0.0.1:<port><tls>
            http-request set-var(sess.nth) int(1) if !{ var(sess.nth) -m found }
            http-request set-var(sess.nth) var(sess.nth),add(1) if { var(sess.seen) -m bool }
            http-request set-var(sess.seen) bool(true)
            http-request set-var(txn.id) urlp(id)
            http-after-response set-header X-Id %[var(txn.id)]
            http-after-response set-header Connection close if { var(sess.nth) -m int ge <limit> }
            http-request redirect code 302 location /page?%[query] if { path /redirect }
            http-request return status 200 content-type text/plain file <folder>/files/big if { path /big }
            http-request return status 200 content-type text/plain file <folder>/files/page
    """
    tls = " ssl crt <folder>/both.pem"


class Lighttpd(RealServer):
    """It closes a connection after the POST of a form that no program has read."""

    program, package = "lighttpd", "apt-get install lighttpd lighttpd-mod-openssl"
    config_name = "lighttpd.conf"
    command = ("<program>", "-D", "-f", "<folder>/lighttpd.conf")
    stop_signal, reload_signal = signal.SIGINT, signal.SIGUSR1
    tells_id, first_nth = False, 0
    config = r"""
        server.modules = ( "mod_openssl", "mod_redirect", "mod_accesslog" )
        server.bind = "127.0.0.1"
        server.port = <first_port>
        server.document-root = "<folder>/files"
        server.errorlog = "<folder>/error.log"
        server.listen-backlog = 4096
        server.max-keep-alive-idle = 30
        mimetype.assign = ( "" => "text/plain" )
        url.redirect = ( "^/redirect\?(.*)$" => "/page?$1" )
        url.redirect-code = 302
        accesslog.filename = "<folder>/access.log"
        accesslog.format = "%p %m %U?%q %s %k"
        <doors>
    """
    door = r"""
        $SERVER["socket"] == "127.0.0.1:<port>" {
            server.max-keep-alive-requests = <more>
            <tls>
        }
    """
    tls = 'ssl.engine = "enable"\nssl.pemfile = "<folder>/both.pem"'

    def generation(self) -> Sequence[object]:
        """It reloads in its own process: count its words on that."""
        return [self.error_log().count("server started")]


class Site(RealServer):
    """A server of tests/serving, which is told its doors in a file of JSON."""

    config_name, config = "doors.json", "<doors_json>"


class HttpLibrary(Site):
    """Python's own."""

    program, package = "python3", "apt-get install python3"
    command = ("<python>", "<serving>/http_library.py", "<folder>")


class Aiohttp(Site):
    program, package = "aiohttp", "pip install 'gaggle-loadtest[demo]'"
    command = ("<python>", "<serving>/aiohttp_site.py", "<folder>")

    @classmethod
    def is_here(cls) -> bool:
        return find_spec("aiohttp") is not None


class Node(Site):
    program, package = "node", "apt-get install nodejs"
    command = ("<program>", "<serving>/node_site.mjs", "<folder>")


SERVERS: tuple[type[RealServer], ...] = (Nginx, Apache, HAProxy, Lighttpd, HttpLibrary, Aiohttp, Node)
RELOADED = tuple(kind for kind in SERVERS if kind.reload_signal is not None)
