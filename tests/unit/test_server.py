"""The test server itself: what it answers, how it misbehaves, and that its books are right."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pycurl
import pytest
from endpoints import brotli_stored, gzipped_zeros, prose
from processes import eventually
from sites import HttpsServer, Server

SERVER = Path(__file__).parents[1] / "server.py"


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(process: Server) -> Server:
    process.start_over()
    return process


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *fields, "", ""]).encode()


def read_to_end(sock: socket.socket) -> bytes:
    pieces = iter(lambda: sock.recv(65536), b"")
    return b"".join(pieces)


def ask(server: Server, target: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Return status, fields by lower-cased name, and body, over a connection that is closed afterwards."""
    with closing(connect(server)) as sock:
        sock.sendall(get(target, "Connection: close", *fields, method=method))
        head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    pairs = (field.partition(": ") for field in rest)
    return int(line.split()[1]), {name.lower(): value for name, _, value in pairs}, body


def read_answer(sock: socket.socket) -> bytes:
    """Return one answer with a Content-Length, from a connection that stays."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return body


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/", 200, b"hello\n"),
        ("/bytes?n=3", 200, b"\x00\x01\x02"),
        ("/bytes?n=0", 200, b""),
        ("/bytes?n=x", 400, b"n must be a whole number\n"),
        ("/text?n=7", 200, b"A goose"),
        ("/text?n=1&start=%C3%A9&charset=latin-1", 200, b"\xe9A"),
        ("/json?a=1", 200, b'{"a": "1"}'),
        ("/status/200", 200, b"status 200\n"),
        ("/status/503", 503, b"status 503\n"),
        ("/status/799", 799, b"status 799\n"),  # no such status: a client must live with it
        ("/status/204", 204, b""),
        ("/status/304", 304, b""),
        ("/status/100", 400, b"a status is a number from 200 to 999\n"),  # would not be the final one
        ("/slow?ms=1", 200, b"at last\n"),
        ("/redirect/0", 200, b"the end\n"),
        ("/redirect/3", 302, b""),
        ("/redirect-to?url=/x&status=307", 307, b""),
        ("/redirect-loop", 302, b""),
        ("/json", 200, b"{}"),
        ("/upload", 400, b"the body is not multipart\n"),
        ("/basic-auth", 401, b"who are you?\n"),
        ("/close", 200, b"goodbye\n"),
        ("/close-idle", 200, b"see you\n"),
        ("/until-close?n=5", 200, b"xxxxx"),
        ("/chunked?n=5&piece=3", 200, b"3\r\nxxx\r\n2\r\nxx\r\n0\r\nX-Sum: 5\r\n\r\n"),
        ("/half?n=10", 200, b"xxxxx"),
        ("/half?n=1", 200, b""),
        ("/nothing", 404, b"there is nothing here\n"),
        ("/status", 404, b"there is nothing here\n"),
        ("/bytes/3", 404, b"there is nothing here\n"),
    ],
)  # fmt: skip
def test_an_endpoint_answers(server: Server, target: str, status: int, body: bytes) -> None:
    answered = ask(server, target)

    assert (answered[0], answered[2]) == (status, body)
    assert server.seen().requests == {f"GET {target.partition('?')[0]}": 1}


def test_a_head_request_has_the_length_and_no_body(server: Server) -> None:
    status, fields, body = ask(server, "/bytes?n=300", method="HEAD")

    assert (status, fields["content-length"], body) == (200, "300", b"")


def test_echo_tells_everything(server: Server) -> None:
    _, _, body = ask(server, "/echo?a=1", "X-One: 1", "x-one: 2", method="PATCH")

    echoed = json.loads(body)
    assert [echoed[key] for key in ("method", "path", "target", "query")] == ["PATCH", "/echo", "/echo?a=1", {"a": "1"}]
    assert echoed["headers"][-2:] == [["X-One", "1"], ["x-one", "2"]]


def test_a_redirect_goes_down_by_one_and_sets_a_cookie_a_hop(server: Server) -> None:
    _, fields, _ = ask(server, "/redirect/3")
    _, absolute, _ = ask(server, "/redirect/3?absolute=1")

    assert (fields["location"], fields["set-cookie"]) == ("/redirect/2", "hop3=1; Path=/")
    assert absolute["location"] == "http://test/redirect/2?absolute=1"


def test_cookies_are_set_and_echoed(server: Server) -> None:
    _, fields, _ = ask(server, "/cookies/set?a=1&attributes=Path=/x;%20Secure")
    _, _, echoed = ask(server, "/cookies", "Cookie: a=1; b=2")

    assert fields["set-cookie"] == "a=1; Path=/x; Secure"
    assert echoed == b"a=1; b=2"


def test_basic_auth_lets_the_right_one_in(server: Server) -> None:
    status, _, _ = ask(server, "/basic-auth", "Authorization: Basic YWxpY2U6c2VjcmV0")

    assert status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
@pytest.mark.parametrize("size", [0, 1, 1_000, 200_000])
def test_encoded_bodies_are_decoded_by_libcurl(server: Server, encoding: str, size: int) -> None:
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, f"{server.url}/{encoding}?n={size}")
    handle.setopt(pycurl.ACCEPT_ENCODING, encoding)

    body = handle.perform_rb()

    assert body == prose(size).encode()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_a_bomb_holds_so_many_zeros(size: int) -> None:
    assert gzip.decompress(gzipped_zeros(size)) == bytes(size)


def test_a_brotli_stream_of_nothing_is_one_byte() -> None:
    assert brotli_stored(b"") == b"\x06"


def test_the_parts_of_an_upload_are_told(server: Server) -> None:
    content = bytes(range(256)) * 3 + b"\r\n"
    body = b"\r\n".join(
        [
            b'--b\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue',
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: image/png\r\n',
            content,
            b"--b--\r\n",
        ]
    )
    fields = f"Content-Length: {len(body)}", "Content-Type: multipart/form-data; boundary=b"
    with closing(connect(server)) as sock:
        sock.sendall(get("/upload", *fields, method="POST") + body)
        parts = json.loads(read_answer(sock))

    assert [(part["name"], part["filename"], part["type"], part["bytes"]) for part in parts] == [
        ("field", None, "text/plain", 5),
        ("file", "a.bin", "image/png", len(content)),
    ]
    assert parts[1]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("target", "received"),
    [
        ("/close-silently", b""),
        ("/garbage", b"\x00\x01\x02 this is not a response\r\n\r\nHONK\r\n"),
    ],
)
def test_an_answer_that_is_none(server: Server, target: str, received: bytes) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get(target))

        assert read_to_end(sock) == received
    assert server.seen(target) == 1


def test_reset_sends_rst(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/reset"))

        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_hints_come_before_the_answer(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/hints", "Connection: close"))
        first, second = read_to_end(sock).split(b"HTTP/1.1 ")[1:]

    assert (first[:3], second[:3]) == (b"103", b"200")


def test_a_stalled_body_stops_half_way(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/stall-body?n=10"))
        received = sock.recv(1000)
        sock.settimeout(0.2)

        assert received.endswith(b"Content-Length: 10\r\n\r\nxxxxx")
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_an_idle_connection_is_closed_after_the_answer(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/close-idle?ms=50"))
        answered = read_answer(sock)
        began = time.monotonic()

        assert (answered, sock.recv(1)) == (b"see you\n", b"")
        assert time.monotonic() - began > 0.03


def test_a_connection_that_is_used_again_in_time_is_not_closed(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/close-idle?ms=50"))
        read_answer(sock)
        sock.sendall(get("/slow?ms=100"))

        assert read_answer(sock) == b"at last\n"


def test_a_tag_belongs_to_a_connection(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/tag"))
        first = json.loads(read_answer(sock))
        sock.sendall(get("/tag", f"Cookie: tag=c{first['connection']}"))
        second = json.loads(read_answer(sock))

    assert (first["tag"], second["tag"]) == (None, f"c{first['connection']}")
    assert first["connection"] == second["connection"]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_requests_are_read_however_they_are_cut(server: Server, size: int) -> None:
    """Three requests, one with a body, one with a chunked one, in one stream."""
    chunked = (
        get("/post", "Transfer-Encoding: chunked", method="POST")
        + b"4\r\n\r\n0\r\r\n2;x=y\r\n\n\n\r\n0\r\nTrailer: 1\r\n\r\n"
    )
    stream = get("/") + get("/post", "Content-Length: 5", method="POST") + b"\r\n\r\nx" + chunked
    with closing(connect(server)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(stream), size):
            sock.sendall(stream[at : at + size])
        sock.sendall(get("/", "Connection: close"))
        received = read_to_end(sock)

    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert [b'"bytes": 5' in received, b'"bytes": 6' in received] == [True, True]
    assert server.seen().requests == {"GET /": 2, "POST /post": 2}
    assert server.seen().body_bytes == 11


def test_a_large_upload_is_counted(server: Server) -> None:
    size = 20_000_000
    with closing(connect(server)) as sock:
        sock.sendall(get("/post", f"Content-Length: {size}", method="POST") + bytes(size))

        assert json.loads(read_answer(sock))["bytes"] == size


def test_100_continue_is_sent_before_the_body_comes(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/post", "Content-Length: 2", "Expect: 100-continue", method="POST"))
        interim = sock.recv(1000)
        counted_before = server.seen("/post")
        sock.sendall(b"ab")

        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert json.loads(read_answer(sock))["bytes"] == 2
    assert (counted_before, server.seen("/post")) == (0, 1)


@pytest.mark.parametrize(
    "sent",
    [
        b"HONK\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        get("/", "Content-Length: -1"),
        get("/", "Transfer-Encoding: chunked") + b"goose\r\n",
        get("/", "X: " + "x" * 300_000),
    ],
)
def test_what_is_no_request_is_refused(server: Server, sent: bytes) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(sent)

        assert sock.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert (server.seen().refused, server.seen().total) == (1, 0)


def test_a_request_is_counted_before_it_is_answered(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/stall"))

        eventually(lambda: server.seen("/stall"))
        assert (server.seen().open, server.seen().aborted) == (1, 0)
    eventually(lambda: server.seen().aborted == 1)
    assert server.seen().open == 0


def test_a_client_that_leaves_in_the_middle_of_its_request_is_an_aborted_connection(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/")[:10])

    eventually(lambda: server.seen().aborted == 1)
    assert server.seen().total == 0


def test_a_client_that_leaves_in_peace_is_not_aborted(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/"))
        read_answer(sock)
    with closing(connect(server)) as sock:
        sock.sendall(get("/close"))
        read_to_end(sock)

    assert (server.seen().opened, server.seen().aborted) == (2, 0)


def test_the_books_know_who_used_which_connection(server: Server) -> None:
    with closing(connect(server)) as first, closing(connect(server)) as second:
        for sock, target, field in (
            (first, "/?user=1", "X: y"),
            (first, "/json?user=1", "X-Case: odd"),
            (second, "/", "Cookie: user=2"),
            (second, "/?user=3", "X-Case: odd"),
        ):
            sock.sendall(get(target, field))
            read_answer(sock)
        seen = server.seen()

    assert [(each["requests"], each["users"]) for each in seen.connections] == [(2, ["1"]), (2, ["2", "3"])]
    assert seen.cases == {"odd": {"GET /json": 1, "GET /": 1}}
    assert (seen["/"], seen["GET /"], seen["POST /"], seen.total) == (3, 3, 0, 4)


def test_the_books_know_how_many_requests_were_open_at_once(server: Server) -> None:
    with closing(connect(server)) as first, closing(connect(server)) as second:
        for sock in (first, second):
            sock.sendall(get("/stall"))
        eventually(lambda: server.seen().open == 2)

    eventually(lambda: server.seen().open == 0)
    assert server.seen().max_open == 2


def test_asking_for_the_books_is_not_in_them(server: Server) -> None:
    for _ in range(3):
        server.seen()

    assert (server.seen().opened, server.seen().total, server.seen().max_open) == (0, 0, 0)


def test_a_new_start_drops_connections_and_counts(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(get("/") + get("/stall"))
        eventually(lambda: server.seen().total == 2)

        server.start_over()

        with pytest.raises(ConnectionResetError):
            read_to_end(sock)
    assert (server.seen().total, server.seen().opened, server.seen().open, server.seen().aborted) == (0, 0, 0, 0)


def test_it_ends_with_its_parent() -> None:
    command = [sys.executable, str(SERVER), "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        process.stdin.close()

        assert process.wait(5) == 0


def test_tls_is_trusted_where_it_should_be(tmp_path: Path) -> None:
    https = HttpsServer(tmp_path)
    trust = ssl.create_default_context(cafile=str(https.ca_file))
    refused: dict[str, str] = {}
    try:
        with closing(trust.wrap_socket(connect(https), server_hostname="127.0.0.1")) as sock:
            sock.sendall(get("/", "Connection: close"))
            answer = read_to_end(sock)
        for server, name in ((https.wrong_host, "wrong host"), (https.expired, "expired")):
            with pytest.raises(ssl.SSLCertVerificationError) as error, closing(connect(server)) as plain:
                trust.wrap_socket(plain, server_hostname="127.0.0.1")
            refused[name] = error.value.verify_message
        seen = https.seen("/")
    finally:
        for each in https.servers():
            each.stop()

    assert answer.endswith(b"hello\n")
    assert seen == 1
    assert refused == {
        "wrong host": "IP address mismatch, certificate is not valid for '127.0.0.1'.",
        "expired": "certificate has expired",
    }
