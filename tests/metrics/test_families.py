"""The table of metrics, held to the page that shows it, to the conventions of Prometheus, and to the example alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from readyfs.metrics.families import FAMILIES, Family, Kind, Reading, Stability, Unit

MONITORING: Final = Path(__file__).parents[2] / "docs" / "monitoring"
by_name: Final = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_the_page_shows_each_metric_in_this_order_with_type_labels_stability_and_meaning() -> None:
    rows = []
    for one in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` | {one.kind} | {labels} | {one.stability} | {one.help} |")
    page = (MONITORING / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `readyfs_.*$", page, re.MULTILINE) == rows


def test_no_two_metrics_share_a_name() -> None:
    assert len({one.name for one in FAMILIES}) == len(FAMILIES)


@by_name
def test_a_name_ends_in_its_unit_and_a_counter_in_total(family: Family) -> None:
    name = family.name.removesuffix("_total")
    assert (name != family.name) is (family.kind is Kind.COUNTER)
    for unit in (Unit.SECONDS, Unit.BYTES):
        assert name.endswith(f"_{unit}") is (family.unit is unit)


@by_name
def test_durations_make_a_histogram_and_nothing_else_does(family: Family) -> None:
    is_made_of_durations = family.reading in (Reading.DURATIONS, Reading.DURATIONS_BY_WORD)
    assert is_made_of_durations is (family.kind is Kind.HISTOGRAM)


def test_the_example_alerts_rest_on_stable_metrics_alone() -> None:
    used = set(re.findall(r"\breadyfs_\w+", (MONITORING / "alerts.yml").read_text(encoding="utf-8")))
    unstable = {one.name for one in FAMILIES if one.stability is not Stability.STABLE}
    assert used & {one.name for one in FAMILIES}
    assert not used & unstable
