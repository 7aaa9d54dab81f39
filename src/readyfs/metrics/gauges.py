"""Gauges that are made for one answer, in the text exposition of Prometheus by its official client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric: its samples are the values of its labels, and a number."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Iterable[tuple[Sequence[str], float]]


def render_gauges(gauges: Iterable[Gauge]) -> bytes:
    """Return the text exposition of some gauges."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gauges(gauges))
    return generate_latest(registry)


class _Gauges(Collector):
    """Hands over the gauges once."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for one in self._gauges:
            family = GaugeMetricFamily(one.name, one.help, labels=one.labels)
            for labels, value in one.samples:
                family.add_metric(labels, value)
            yield family
