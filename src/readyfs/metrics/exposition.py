"""Status documents as Prometheus metrics, rendered by the official client.

Nothing here is global: each call has a registry of its own, which holds nothing but the families below. Documents of
several mounts merge into the same families, told apart by the label `mountpoint`. A document may lack what its daemon's
version does not know, and so do the samples then. docs/monitoring/README.md says what each metric means.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from readyfs.life import Phase
from readyfs.text import escape_text

Document: TypeAlias = Mapping[str, object]
_Gauge: TypeAlias = GaugeMetricFamily
_Counter: TypeAlias = CounterMetricFamily

_MOUNT: Final = "mountpoint"
_ALARMING: Final = "EIO"


def render_metrics(documents: Iterable[Document]) -> bytes:
    """Return the text exposition of mounts; a document that holds an `error` is a mount whose daemon did not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Statuses(documents))
    return generate_latest(registry)


class _Statuses(Collector):
    """Makes the families anew whenever it is asked."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._mounts = [(escape_text(str(document["mountpoint"])), document) for document in documents]

    def collect(self) -> Iterator[Metric]:
        answered = [(mount, document) for mount, document in self._mounts if "error" not in document]
        up = GaugeMetricFamily("readyfs_up", "Whether the daemon of the mount answered.", labels=[_MOUNT])
        for mount, document in self._mounts:
            up.add_metric([mount], float("error" not in document))
        yield up
        for family in _families():
            for mount, document in answered:
                family.add(mount, document)
            yield family.metric


class _Family:
    """One metric and what of a document becomes its samples."""

    metric: Metric

    @abstractmethod
    def add(self, mount: str, document: Document) -> None:
        """Add the samples of a mount."""


class _Number(_Family):
    """A field that holds a number or a truth, times `factor`; where it is null, `absent`, or no sample without that."""

    def __init__(
        self,
        kind: type[_Gauge | _Counter],
        name: str,
        help: str,
        field: str,
        factor: float = 1.0,
        absent: float | None = None,
    ) -> None:
        self._sink = kind(name, help, labels=[_MOUNT])
        self.metric = self._sink
        self._field, self._factor, self._absent = field, factor, absent

    def add(self, mount: str, document: Document) -> None:
        value = document.get(self._field)
        if isinstance(value, bool | int | float):
            self._sink.add_metric([mount], float(value) * self._factor)
        elif self._field in document and self._absent is not None:
            self._sink.add_metric([mount], self._absent)


class _Map(_Family):
    """A field that holds counts by word, with that as the label."""

    def __init__(self, kind: type[_Gauge | _Counter], name: str, help: str, field: str, label: str) -> None:
        self._sink = kind(name, help, labels=[_MOUNT, label])
        self.metric = self._sink
        self._field = field

    def add(self, mount: str, document: Document) -> None:
        for word, count in _mapping(document.get(self._field)).items():
            self._sink.add_metric([mount, word], _number(count))


class _Build(_Family):
    def __init__(self) -> None:
        self._sink = _Gauge(
            "readyfs_build_info",
            "Always 1: the version, what carries requests, and how file contents reach a reader.",
            labels=[_MOUNT, "version", "engine", "reads"],
        )
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        self._sink.add_metric([mount, *(str(document.get(key, "")) for key in ("version", "engine", "reads"))], 1.0)


class _Phases(_Family):
    def __init__(self) -> None:
        self._sink = _Gauge("readyfs_phase", "1 for the phase that the mount is in, else 0.", labels=[_MOUNT, "phase"])
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        for phase in Phase:
            self._sink.add_metric([mount, phase.value], float(document.get("phase") == phase.value))


class _LastSuccess(_Family):
    def __init__(self) -> None:
        self._sink = _Gauge(
            "readyfs_last_success_timestamp_seconds",
            "When the last successful look at the state began, in seconds since 1970.",
            labels=[_MOUNT],
        )
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        refreshed_at = document.get("refreshed_at")
        if isinstance(refreshed_at, str):
            self._sink.add_metric([mount], datetime.fromisoformat(refreshed_at).timestamp())


class _Outage(_Family):
    def __init__(self) -> None:
        self._sink = _Gauge("readyfs_outage", "Whether the state cannot be read.", labels=[_MOUNT])
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        self._sink.add_metric([mount], float(document.get("state_error") is not None))


class _Requests(_Family):
    def __init__(self) -> None:
        self._sink = _Counter(
            "readyfs_requests_total",
            "Requests of the kernel since the start, by operation.",
            labels=[_MOUNT, "engine", "operation"],
        )
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        for operation, count in _mapping(document.get("requests")).items():
            self._sink.add_metric([mount, str(document.get("engine", "")), operation], _number(count))


class _Errors(_Family):
    """An operation that was asked for has its EIO even at 0: the first one must be seen as a rise."""

    def __init__(self) -> None:
        self._sink = _Counter(
            "readyfs_request_errors_total",
            "Error answers since the start, by operation and errno name.",
            labels=[_MOUNT, "engine", "operation", "errno"],
        )
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        errors = _mapping(document.get("errors_by_operation"))
        for operation in sorted({*errors, *_mapping(document.get("requests"))}):
            for name, count in {_ALARMING: 0, **_mapping(errors.get(operation))}.items():
                labels = [mount, str(document.get("engine", "")), operation, name]
                self._sink.add_metric(labels, _number(count))


class _RequestDurations(_Family):
    def __init__(self) -> None:
        self._sink = HistogramMetricFamily(
            "readyfs_request_duration_seconds",
            "How long requests took from being read to being answered, by operation.",
            labels=[_MOUNT, "engine", "operation"],
        )
        self.metric = self._sink

    def add(self, mount: str, document: Document) -> None:
        durations = _mapping(document.get("request_durations"))
        for operation, one in _mapping(durations.get("operations")).items():
            labels = [mount, str(document.get("engine", "")), operation]
            _add_histogram(self._sink, labels, durations.get("bounds_seconds"), _mapping(one))


class _Histogram(_Family):
    """A field that holds bounds, counts and a sum."""

    def __init__(self, name: str, help: str, field: str) -> None:
        self._sink = HistogramMetricFamily(name, help, labels=[_MOUNT])
        self.metric = self._sink
        self._field = field

    def add(self, mount: str, document: Document) -> None:
        one = _mapping(document.get(self._field))
        _add_histogram(self._sink, [mount], one.get("bounds_seconds"), one)


def _add_histogram(
    sink: HistogramMetricFamily, labels: Sequence[str], bounds: object, one: Mapping[str, object]
) -> None:
    counts = one.get("counts")
    if isinstance(bounds, list) and isinstance(counts, list) and len(counts) == len(bounds) + 1:
        ends = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        cumulated = accumulate(_number(count) for count in counts)
        sink.add_metric(labels, list(zip(ends, cumulated, strict=True)), _number(one.get("seconds")))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _families() -> list[_Family]:
    return [
        _Build(),
        _Phases(),
        _Number(_Gauge, "readyfs_uptime_seconds", "Time since the daemon began to serve.", "uptime_seconds"),
        _Number(_Gauge, "readyfs_revision", "The number of catalogs since the start.", "revision"),
        _Number(_Gauge, "readyfs_partitions", "Ready partitions that are shown.", "partitions"),
        _Map(_Gauge, "readyfs_withheld_rows", "Ready rows that are not shown, by reason.", "withheld", "reason"),
        _Number(
            _Gauge,
            "readyfs_ignored_by_spark_partitions",
            "Partitions below a name with a leading dot or underscore, which Spark and pyarrow skip.",
            "ignored_by_spark",
        ),
        _Map(
            _Gauge,
            "readyfs_broken_partitions",
            "Ready partitions that were looked at and found broken, by kind of damage.",
            "broken_by_kind",
            "kind",
        ),
        _Number(_Gauge, "readyfs_age_seconds", "Time since the last successful look at the state.", "age_seconds"),
        _LastSuccess(),
        _Number(_Gauge, "readyfs_interval_seconds", "The setting interval.", "interval_seconds"),
        _Number(
            _Gauge,
            "readyfs_max_staleness_seconds",
            "The setting max-staleness; absent without one.",
            "max_staleness_seconds",
        ),
        _Number(_Gauge, "readyfs_stale", "Whether walks fail because the catalog is too old.", "stale"),
        _Outage(),
        _Number(
            _Gauge,
            "readyfs_outage_seconds",
            "For how long the state cannot be read; 0 if it can.",
            "outage_seconds",
            absent=0.0,
        ),
        _Map(_Counter, "readyfs_refreshes_total", "Refreshes that ended, by outcome.", "refreshes", "outcome"),
        _Number(
            _Gauge,
            "readyfs_refreshing_seconds",
            "How long the present refresh has been running; 0 between refreshes.",
            "refreshing_seconds",
            absent=0.0,
        ),
        _Number(
            _Gauge,
            "readyfs_last_refresh_duration_seconds",
            "How long the last successful refresh took, notifications included.",
            "refresh_ms",
            factor=1e-3,
        ),
        _Histogram(
            "readyfs_refresh_duration_seconds", "How long refreshes took, failed ones included.", "refresh_durations"
        ),
        _Number(
            _Gauge,
            "readyfs_last_lock_duration_seconds",
            "How long the last load kept its transaction open.",
            "lock_ms",
            factor=1e-3,
        ),
        _Histogram("readyfs_lock_duration_seconds", "How long loads kept their transactions open.", "lock_durations"),
        _Number(
            _Counter,
            "readyfs_kernel_notifications_total",
            "Notifications sent to the kernel about changed or damaged names, failed ones included.",
            "notifications_sent",
        ),
        _Number(
            _Counter,
            "readyfs_kernel_notifications_failed_total",
            "Notifications that the kernel refused; name-timeout heals what they leave.",
            "notifications_failed",
        ),
        _Requests(),
        _Errors(),
        _RequestDurations(),
        _Map(
            _Counter,
            "readyfs_passthrough_fallbacks_total",
            "Raw files that the kernel refused to read itself, by errno name.",
            "fallbacks",
            "errno",
        ),
        _Number(_Gauge, "readyfs_raw_waiting_requests", "Requests that wait for the raw store now.", "raw_waiting"),
        _Number(
            _Gauge,
            "readyfs_raw_waiting_longest_seconds",
            "How long the oldest of them has waited; 0 if none waits.",
            "raw_waiting_longest_seconds",
            absent=0.0,
        ),
        _Number(_Gauge, "readyfs_open_handles", "Open files.", "open_handles"),
        _Number(_Gauge, "readyfs_inodes", "Nodes that the kernel holds.", "inodes"),
        _Number(_Gauge, "readyfs_process_resident_memory_bytes", "Resident memory of the daemon.", "memory_bytes"),
        _Number(
            _Counter,
            "readyfs_process_cpu_seconds_total",
            "Processor time of the daemon, user and system.",
            "cpu_seconds",
        ),
    ]
