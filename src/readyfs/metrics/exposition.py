"""Status documents as Prometheus metrics: `metrics/families.py` rendered by the official client.

Nothing here is global: each call has a registry of its own, which holds nothing but our families. Documents of
several mounts merge into the same families, told apart by the label `mountpoint`. A document may lack what its daemon's
version does not know, and so do the samples then. docs/monitoring/README.md says what each metric means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from readyfs.life import Phase
from readyfs.metrics.families import FAMILIES, Family, Kind, Reading
from readyfs.text import escape_text

Document: TypeAlias = Mapping[str, object]

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
        for family in FAMILIES:
            mounts = self._mounts if family.reading is Reading.ANSWER else answered
            yield _make_histogram(family, mounts) if family.kind is Kind.HISTOGRAM else _make_plain(family, mounts)


def _make_plain(family: Family, mounts: Iterable[tuple[str, Document]]) -> Metric:
    kind = GaugeMetricFamily if family.kind is Kind.GAUGE else CounterMetricFamily
    metric = kind(family.name, family.help, labels=[_MOUNT, *family.labels])
    for mount, document in mounts:
        for words, value in _read(family, document):
            metric.add_metric([mount, *_label(family, document, words)], value)
    return metric


def _make_histogram(family: Family, mounts: Iterable[tuple[str, Document]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=[_MOUNT, *family.labels])
    for mount, document in mounts:
        durations = _mapping(document.get(family.field))
        bounds = durations.get("bounds_seconds")
        for words, one in _list_durations(family, durations):
            counts = one.get("counts")
            if isinstance(bounds, list) and isinstance(counts, list) and len(counts) == len(bounds) + 1:
                ends = [*(repr(float(bound)) for bound in bounds), "+Inf"]
                cumulated = accumulate(_number(count) for count in counts)
                buckets = list(zip(ends, cumulated, strict=True))
                metric.add_metric([mount, *_label(family, document, words)], buckets, _number(one.get("seconds")))
    return metric


def _label(family: Family, document: Document, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the label values after the mount's: fields of the document first, then the words of the reading."""
    for name in family.labels[: len(family.labels) - len(words)]:
        yield str(document.get(name, ""))
    yield from words


def _read(family: Family, document: Document) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the samples of a gauge or counter: the words for the last labels, and the value."""
    value = document.get(family.field)
    match family.reading:
        case Reading.NUMBER:
            if isinstance(value, bool | int | float):
                yield (), float(value) * family.factor
            elif family.field in document and family.absent is not None:
                yield (), family.absent
        case Reading.TIME:
            if isinstance(value, str):
                yield (), datetime.fromisoformat(value).timestamp()
        case Reading.CAUSE:
            yield (), float(value is not None)
        case Reading.PHASE:
            for phase in Phase:
                yield (phase.value,), float(value == phase.value)
        case Reading.COUNTS:
            for word, count in _mapping(value).items():
                yield (word,), _number(count)
        case Reading.ERRORS:
            errors = _mapping(value)
            for operation in sorted({*errors, *_mapping(document.get("requests"))}):
                for name, count in {_ALARMING: 0, **_mapping(errors.get(operation))}.items():
                    yield (operation, name), _number(count)
        case Reading.FACTS:
            yield (), 1.0
        case Reading.ANSWER:
            yield (), float(family.field not in document)
        case Reading.DURATIONS | Reading.DURATIONS_BY_WORD:
            raise AssertionError("durations make a histogram")


def _list_durations(
    family: Family, durations: Mapping[str, object]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """Yield the words for the last labels of each histogram, and its counts and sum."""
    if family.reading is Reading.DURATIONS:
        yield (), durations
    else:
        for word, one in _mapping(durations.get("operations")).items():
            yield (word,), _mapping(one)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
