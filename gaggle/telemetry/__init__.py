"""What a run tells other systems while it goes on: Prometheus, which asks, and a collector of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gaggle.options import Options
from gaggle.recorder import Moment


class Exporter(Protocol):
    """An observer of the Recorder that lasts until it is closed."""

    def __call__(self, moment: Moment) -> None: ...
    def close(self) -> None: ...


def opened(options: Options, sources: Mapping[str, str]) -> list[Exporter]:
    """Return those that the options ask for. Raises InvalidOption and FeatureNotEnabled."""
    found: list[Exporter] = []
    if options.prometheus is not None:
        from gaggle.telemetry.prometheus import Endpoint  # few ask for it, and it takes a while to load

        found.append(Endpoint(options.prometheus, sources.get("prometheus", "--prometheus")))
    if options.otlp is not None:
        from gaggle.telemetry.otlp import Push

        found.append(Push(options.otlp))
    return found
