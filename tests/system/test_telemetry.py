"""Metrics out while a test runs: what Prometheus and a collector of OpenTelemetry get is what the server saw."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from processes import eventually
from prometheus_client.parser import text_string_to_metric_families
from runs import Gaggle, Result
from sites import Server, free_port

RunGaggle = Callable[..., Result]
StartGaggle = Callable[..., Gaggle]

AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

VISITOR = """
    class Visitor(User):
        wait_time = constant(0.01)

        @task
        async def visit(self):
            await self.get("/")
            await self.get("/status/503", name="broken \\"\\\\\\n<x>")
            self.check("fine", self.number == 1)
            self.count("visits")
            self.gauge("depth", 2.5)
"""


def scraped(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples that an endpoint serves, by name and labels."""
    with urllib.request.urlopen(url, timeout=10) as response:
        text = response.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def labels(**them: str) -> frozenset[tuple[str, str]]:
    return frozenset(them.items())


def test_prometheus_gets_what_the_server_saw(start_gaggle: StartGaggle, server: Server) -> None:
    port = free_port()
    gaggle = start_gaggle(VISITOR, "-u", 2, "--engines", 2, "--prometheus", port, "-v", *AT_ONCE)
    url = gaggle.wait_for_line("metrics for Prometheus at (http://127.0.0.1:\\d+/metrics)")[1]

    key = ("gaggle_requests_total", labels(method="GET", name="/"))
    eventually(lambda: scraped(url).get(key, 0) > 5)
    seen = server.seen("GET /")
    found = scraped(url)
    later = eventually(lambda: (now := scraped(url))[key] >= seen and now)

    assert 5 < found[key] <= later[key] <= server.seen("GET /")
    broken = later["gaggle_requests_total", labels(method="GET", name='broken "\\\n<x>')]
    failed = later["gaggle_request_failures_total", labels(method="GET", name='broken "\\\n<x>')]
    assert broken == failed > 0
    assert later["gaggle_request_duration_seconds_count", labels(method="GET", name="/")] == later[key]
    assert later["gaggle_request_duration_seconds_bucket", labels(method="GET", name="/", le="+Inf")] == later[key]
    assert later["gaggle_responses_total", labels(method="GET", name="/", status="200")] == later[key]
    assert later["gaggle_users", labels()] == 2
    assert later["gaggle_checks_total", labels(name="fine", result="passed")] > 0
    assert later["gaggle_count", labels(name="visits")] > 0
    assert later["gaggle_gauge", labels(name="depth")] == 2.5
    gaggle.end()


def test_a_port_that_is_taken_is_refused_before_the_test_starts(run_gaggle: RunGaggle, server: Server) -> None:
    port = server.url.rpartition(":")[2]

    result = run_gaggle(VISITOR, "-t", 1, "--prometheus", port)

    assert result.returncode == 2
    assert f'InvalidOption {{ option: "--prometheus", value: "{port}", detail: "The metrics can not be served' in (
        result.stderr
    )
    assert server.seen().total == 0


class Collector:
    """Takes what is pushed to it, as a collector of OpenTelemetry does."""

    def __init__(self) -> None:
        self.pushed: list[ExportMetricsServiceRequest] = []
        pushed = self.pushed

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                import gzip

                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/metrics"
                pushed.append(ExportMetricsServiceRequest.FromString(body))
                answer = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_collector_gets_the_whole_run_at_its_end(run_gaggle: RunGaggle, server: Server, collector: Collector) -> None:
    result = run_gaggle(VISITOR, "-u", 2, "-t", 1, "--otlp", collector.url, *AT_ONCE)

    (resource,) = collector.pushed[-1].resource_metrics
    assert ("service.name", "gaggle") in [(each.key, each.value.string_value) for each in resource.resource.attributes]
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    requests = {
        next(label.value.string_value for label in point.attributes if label.key == "name"): point.as_int
        for point in metrics["gaggle.requests"].sum.data_points
    }
    assert requests["/"] == server.seen("GET /") == result.request("GET /").count
    assert metrics["gaggle.requests"].sum.is_monotonic
    durations = metrics["gaggle.request_duration"].histogram.data_points
    assert sum(sum(point.bucket_counts) for point in durations) == result.report["totals"]["requests"]["count"]
    assert metrics["gaggle.request_duration"].unit == "s"


def test_a_collector_that_is_not_there_is_said_and_ends_nothing(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(VISITOR, "-u", 1, "-t", 1, "--otlp", f"http://127.0.0.1:{free_port()}", *AT_ONCE)

    assert result.returncode == 0
    assert result.stderr.count("metrics can not be pushed to http://127.0.0.1") == 1
    assert "Traceback" not in result.stderr
