"""Status documents become valid families, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from readyfs.metrics.durations import Durations
from readyfs.metrics.exposition import render_metrics
from tests.metrics.promtool import promtool

DOCUMENT = {
    "mountpoint": "/mnt/a",
    "version": "1",
    "engine": "direct",
    "reads": "cached",
    "phase": "draining",
    "state_error": "gone",
    "outage_seconds": 3.5,
    "requests": {"open": 2},
    "errors_by_operation": {"open": {"ENFILE": 1}},
    "request_durations": {"bounds_seconds": [0.1, 1.0], "operations": {"open": {"counts": [2, 1, 1], "seconds": 5.0}}},
    "raw_waiting_longest_seconds": None,
    "max_staleness_seconds": None,
}


def samples(*documents: Mapping[str, object]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the value of each sample by name and label values, in the order of the label names."""
    text = render_metrics(documents).decode()
    promtool("check", "metrics", input=text.encode())
    return {
        (one.name, tuple(one.labels[key] for key in sorted(one.labels))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_buckets_are_cumulated_up_to_infinity() -> None:
    found = samples(DOCUMENT)
    name = "readyfs_request_duration_seconds"
    buckets = [found[f"{name}_bucket", ("direct", le, "/mnt/a", "open")] for le in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert found[f"{name}_count", ("direct", "/mnt/a", "open")] == 4
    assert found[f"{name}_sum", ("direct", "/mnt/a", "open")] == 5.0


def test_an_operation_has_eio_at_zero_before_the_first() -> None:
    found = samples(DOCUMENT)
    assert found["readyfs_request_errors_total", ("direct", "EIO", "/mnt/a", "open")] == 0
    assert found["readyfs_request_errors_total", ("direct", "ENFILE", "/mnt/a", "open")] == 1


def test_what_is_null_is_zero_where_that_is_true_and_absent_where_it_is_not() -> None:
    found = samples(DOCUMENT)
    assert found["readyfs_raw_waiting_longest_seconds", ("/mnt/a",)] == 0
    assert ("readyfs_max_staleness_seconds", ("/mnt/a",)) not in found
    assert found["readyfs_outage", ("/mnt/a",)] == 1
    assert found["readyfs_phase", ("/mnt/a", "draining")] == 1
    assert found["readyfs_phase", ("/mnt/a", "serving")] == 0


def test_several_mounts_share_families_and_one_that_does_not_answer_is_down() -> None:
    silent = {"mountpoint": "/mnt/c", "error": "no answer"}
    text = render_metrics([DOCUMENT, {**DOCUMENT, "mountpoint": "/mnt/b"}, silent]).decode()
    assert text.count("# TYPE readyfs_up gauge") == 1
    found = samples(DOCUMENT, {**DOCUMENT, "mountpoint": "/mnt/b"}, silent)
    assert [found["readyfs_up", (f"/mnt/{name}",)] for name in "abc"] == [1, 1, 0]
    assert not [key for key in found if "/mnt/c" in key[1] and key[0] != "readyfs_up"]


def test_labels_may_hold_any_character() -> None:
    found = samples({**DOCUMENT, "mountpoint": 'a"b\\c d\udcff'})
    assert [key for key in found if key[0] == "readyfs_up"]


def test_nothing_global_is_exposed_or_registered() -> None:
    before = REGISTRY._names_to_collectors.copy()
    text = render_metrics([DOCUMENT]).decode()
    assert all(line.split()[2].startswith("readyfs_") for line in text.splitlines() if line.startswith("# "))
    assert before == REGISTRY._names_to_collectors


def test_a_duration_counts_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    durations = Durations((10, 20))
    for elapsed_ns in (0, 10, 11, 20, 21, 1000):
        durations.note(elapsed_ns)
    assert durations.describe() == {"counts": [2, 2, 2], "seconds": 1062 / 1e9}
