"""HTTPS and HTTP/2 as the options of a run have it. What a single request does is in tests/core/test_client_tls.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bare import Proxy
from runs import Result
from sites import HttpsServer, Nginx, free_port

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

VISITOR = """
    class Visitor(User):
        visits = 0

        @task
        async def visit(self):
            self.response = await self.get("/text?n=20000")
            self.visits += 1
            if self.visits == 5:
                self.stop()
"""


def error(result: Result) -> str:
    """Return the one error of the run."""
    [row] = result.report["errors"]
    return str(row["text"])


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_the_ca_file_that_is_given_is_trusted(run_gaggle: RunGaggle, https_server: HttpsServer, lane: str) -> None:
    options = ("-u", 4, "--cacert", https_server.ca_file, "--lane", lane, *ALL_AT_ONCE)

    result = run_gaggle(VISITOR, *options, host=https_server.url)

    assert result.returncode == 0, result
    assert result.request("GET /text").answered == 20 == https_server.seen("/text")
    assert https_server.seen().opened == 4
    assert "certificate" not in result.stderr


def test_the_ca_file_of_the_environment_is_trusted(run_gaggle: RunGaggle, https_server: HttpsServer) -> None:
    environment = {"SSL_CERT_FILE": str(https_server.ca_file)}

    result = run_gaggle(VISITOR, "-u", 1, *ALL_AT_ONCE, host=https_server.url, env=environment)

    assert result.request("GET /text").answered == 5, result


def test_without_options_the_certificates_of_the_system_are_found(
    run_gaggle: RunGaggle, https_server: HttpsServer
) -> None:
    """They do not know the test's CA, and that is what the error says: not that there is no file (77)."""
    result = run_gaggle(VISITOR, "-u", 1, *ALL_AT_ONCE, "-t", 1, host=https_server.url)

    assert result.returncode == 1
    assert error(result).startswith("certificate refused: ")
    assert https_server.seen().total == 0


@pytest.mark.parametrize(("which", "word"), [("wrong_host", "subject"), ("expired", "expired")])
def test_certificates_of_others_and_of_yesterday_are_refused(
    run_gaggle: RunGaggle, https_server: HttpsServer, which: str, word: str
) -> None:
    server = getattr(https_server, which)

    result = run_gaggle(VISITOR, "-u", 1, "-t", 1, "--cacert", https_server.ca_file, *ALL_AT_ONCE, host=server.url)

    assert result.returncode == 1
    assert error(result).startswith("certificate refused: ")
    assert word in error(result)
    assert server.seen().total == 0


def test_who_accepts_any_certificate_is_warned(run_gaggle: RunGaggle, https_server: HttpsServer) -> None:
    options = ("-u", 1, "--accept-invalid-certs", *ALL_AT_ONCE)

    result = run_gaggle(VISITOR, *options, host=https_server.expired.url)

    assert result.request("GET /text").answered == 5
    assert "certificates are not verified" in result.stderr


def test_a_ca_file_that_does_not_exist_is_refused_before_the_start(
    run_gaggle: RunGaggle, https_server: HttpsServer, tmp_path: Path
) -> None:
    """A slip of the pen must not end in trusting somebody else."""
    missing = tmp_path / "typo.pem"

    result = run_gaggle(VISITOR, "-u", 1, "--cacert", missing, *ALL_AT_ONCE, host=https_server.url)

    assert result.returncode == 2
    assert f'Error: InvalidOption {{ option: "--cacert", value: "{missing}"' in result.stderr
    assert https_server.seen().opened == 0


def test_connections_are_encrypted_anew_without_keepalive(run_gaggle: RunGaggle, https_server: HttpsServer) -> None:
    options = ("-u", 2, "--no-keepalive", "--tls-resume", "no", "--cacert", https_server.ca_file, *ALL_AT_ONCE)

    result = run_gaggle(VISITOR, *options, host=https_server.url)

    assert result.request("GET /text").answered == 10, result
    assert https_server.seen().opened == 10


def test_http2_is_spoken_by_all_users_when_it_is_asked_for(
    run_gaggle: RunGaggle, nginx: Nginx, https_server: HttpsServer
) -> None:
    source = VISITOR.replace("/text?n=20000", "/page.html").replace(
        "self.visits += 1", "self.visits += 1; assert self.response.http_version == '2'"
    )
    options = ("-u", 3, "--http-version", "2", "--cacert", https_server.ca_file, *ALL_AT_ONCE)

    result = run_gaggle(source, *options, host=nginx.https_url)

    assert result.returncode == 0, result
    assert result.task("Visitor", "visit").failures == 0, result.stderr
    hits = nginx.log()
    assert len(hits) == 15 == result.request("GET /page.html").answered
    assert {hit.protocol for hit in hits} == {"HTTP/2.0"}
    assert len({hit.connection for hit in hits}) == 3


def test_a_proxy_is_used_when_it_is_named(run_gaggle: RunGaggle, https_server: HttpsServer) -> None:
    with Proxy() as proxy:
        options = ("-u", 2, "--proxy", proxy.url, "--cacert", https_server.ca_file, *ALL_AT_ONCE)
        result = run_gaggle(VISITOR, *options, host=https_server.url)

        assert result.request("GET /text").answered == 10, result
        assert proxy.lines == [f"CONNECT {https_server.url.removeprefix('https://')} HTTP/1.1"] * 2


@pytest.mark.parametrize(("options", "tunnels"), [([], 0), (["--proxy", "env"], 1), (["--proxy", "none"], 0)])
def test_a_proxy_of_the_environment_is_used_only_when_that_is_said(
    run_gaggle: RunGaggle, https_server: HttpsServer, options: list[str], tunnels: int
) -> None:
    with Proxy() as proxy:
        nowhere = f"http://127.0.0.1:{free_port()}"
        environment = {"https_proxy": proxy.url, "http_proxy": nowhere, "no_proxy": "", "NO_PROXY": ""}
        result = run_gaggle(
            VISITOR,
            *("-u", 1, "--cacert", https_server.ca_file, *options, *ALL_AT_ONCE),
            host=https_server.url,
            env=environment,
        )

        assert result.request("GET /text").answered == 5, result
        assert len(proxy.lines) == tunnels
