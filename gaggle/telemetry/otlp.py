"""Pushes metrics to a collector of OpenTelemetry (OTLP over HTTP), every ten seconds and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

from gaggle.errors import FeatureNotEnabled
from gaggle.logs import LOGGER, warn_once
from gaggle.policy import versions
from gaggle.recorder import Moment
from gaggle.telemetry.families import BOUNDS, Buckets, Family, Kind, Names, families

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricExportResult,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise FeatureNotEnabled("otlp", "Run `pip install 'gaggle-loadtest[otlp]'` to push metrics over OTLP.") from error

EVERY = 10.0  # seconds
LAST_SECONDS = 5  # for one push: a collector that is away must not hold up the end of the test
PATH = "/v1/metrics"  # where a collector takes them, if the URL does not say
CUMULATIVE = AggregationTemporality.CUMULATIVE


class Push:
    """Sends where the run stands, in a thread of its own. Headers: the variables OTEL_EXPORTER_OTLP_…."""

    def __init__(self, url: str) -> None:
        endpoint = url if urlsplit(url).path.strip("/") else url.rstrip("/") + PATH
        self.exporter = OTLPMetricExporter(endpoint=endpoint, timeout=LAST_SECONDS)
        self.resource = Resource.create({"service.name": "gaggle", "service.version": versions()["gaggle"]})
        self.scope = InstrumentationScope("gaggle", versions()["gaggle"])
        self.url, self.names = url, Names()
        self.pool = ThreadPoolExecutor(1, "gaggle-otlp")
        self.sending: Future[None] | None = None
        self.moment: Moment | None = None
        self.sent_at = float("-inf")

    def __call__(self, moment: Moment) -> None:
        """Send it, if it is time and the last one is through."""
        self.moment = moment
        if moment.at - self.sent_at >= EVERY and (self.sending is None or self.sending.done()):
            self.sent_at = moment.at
            self.sending = self.pool.submit(self.send, moment)

    def send(self, moment: Moment) -> None:
        """Send a moment; what cannot be sent is a warning, the first time."""
        try:
            is_sent = self.exporter.export(self.data(moment)) is MetricExportResult.SUCCESS
        except Exception as error:  # whatever a library of many parts may raise must not end a load test
            LOGGER.debug("otlp: %r", error)
            is_sent = False
        if not is_sent:
            warn_once(("otlp", self.url), "metrics can not be pushed to %s: they are lost there", self.url)

    def data(self, moment: Moment) -> MetricsData:
        """Return a moment as the SDK's own data."""
        span = int(moment.series.start * 1e9), int(moment.at * 1e9)
        metrics = [_metric(family, *span) for family in families(moment, self.names) if family.samples]
        return MetricsData([ResourceMetrics(self.resource, [ScopeMetrics(self.scope, metrics, "")], "")])

    def close(self) -> None:
        """Send the end of the run."""
        if self.moment is not None:
            self.pool.submit(self.send, self.moment)
        self.pool.shutdown()
        self.exporter.shutdown()


def _metric(family: Family, start_ns: int, at_ns: int) -> Metric:
    unit = {"seconds": "s", "bytes": "By"}.get(family.unit, "1")
    return Metric(f"gaggle.{family.name}", family.help, unit, _points(family, start_ns, at_ns))


def _points(family: Family, start_ns: int, at_ns: int) -> Sum | Gauge | Histogram:
    if family.kind is Kind.HISTOGRAM:
        return Histogram(list(_times(family, start_ns, at_ns)), CUMULATIVE)
    numbers = [
        NumberDataPoint(dict(zip(family.labels, labels, strict=True)), start_ns, at_ns, value)
        for labels, value in family.samples
        if not isinstance(value, Buckets)
    ]
    return Sum(numbers, CUMULATIVE, is_monotonic=True) if family.kind is Kind.COUNTER else Gauge(numbers)


def _times(family: Family, start_ns: int, at_ns: int) -> Iterator[HistogramDataPoint]:
    for labels, value in family.samples:
        assert isinstance(value, Buckets)
        yield HistogramDataPoint(
            attributes=dict(zip(family.labels, labels, strict=True)),
            start_time_unix_nano=start_ns,
            time_unix_nano=at_ns,
            count=value.count,
            sum=value.total,
            bucket_counts=list(value.counts),
            explicit_bounds=list(BOUNDS),
            min=value.least,
            max=value.greatest,
        )
