"""An endpoint that Prometheus scrapes: http://127.0.0.1:PORT/metrics."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gaggle.errors import InvalidOption
from gaggle.logs import LOGGER
from gaggle.options import listen_address
from gaggle.recorder import Moment
from gaggle.telemetry.families import BOUNDS, Buckets, Family, Kind, Names, families

PLAIN = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}
ENDS = (*map(str, BOUNDS), "+Inf")


class Endpoint(Collector):
    """Answers with where the run stood at the last full second. The answers are given in threads of their own."""

    def __init__(self, where: str, source: str) -> None:
        """Listen. Raises InvalidOption when that cannot be."""
        self.names = Names()
        self.moment: Moment | None = None
        registry = CollectorRegistry()
        registry.register(self)
        host, port = listen_address(where)
        try:
            self.server, self.thread = start_http_server(port, host, registry)
        except OSError as error:
            detail = f"The metrics can not be served there: {error.strerror or error}."
            raise InvalidOption(source, where, detail) from error
        self.url = f"http://{host}:{self.server.server_port}/metrics"
        LOGGER.info("metrics for Prometheus at %s", self.url)

    def __call__(self, moment: Moment) -> None:
        """Answer with this from now on."""
        self.moment = moment

    def collect(self) -> Iterator[Metric]:
        """Yield what there is, for the client library."""
        if self.moment is not None:
            yield from map(_written, families(self.moment, self.names))

    def close(self) -> None:
        """Answer no more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _written(family: Family) -> Metric:
    name = f"gaggle_{family.name}"
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(f"{name}_{family.unit}", family.help, labels=family.labels)
        for labels, value in family.samples:
            assert isinstance(value, Buckets)
            buckets = list(zip(ENDS, map(float, accumulate(value.counts)), strict=True))
            histogram.add_metric(labels, buckets, value.total)
        return histogram
    plain: CounterMetricFamily | GaugeMetricFamily = PLAIN[family.kind](name, family.help, labels=family.labels)
    for labels, value in family.samples:
        assert not isinstance(value, Buckets)
        plain.add_metric(labels, value)
    return plain
