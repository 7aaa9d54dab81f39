"""The report of the state says what was found, whether it is enough, and how it grows."""

from __future__ import annotations

import json
from datetime import date
from xml.etree import ElementTree

import pytest

from benchmarks.state.bars import STATE_BARS
from benchmarks.state.report import StateReport
from benchmarks.state.results import BY_KEY, StateResults
from benchmarks.state.stores import TITLES

MACHINE: dict[str, object] = {
    **dict.fromkeys(("processor", "cores", "memory_gb", "filesystem", "python"), "some"),
    "kernel": "Linux 6.9",
    "sqlite": "3.40",
}


def report(results: StateResults) -> StateReport:
    return StateReport("make bench-state", date(2024, 6, 1), MACHINE, 3, False, 60.0, results)


def results(metric: str, store: str = "sqlite", **by_size: float) -> StateResults:
    made = StateResults()
    for size, value in by_size.items():
        made.note(metric, store, int(size.removeprefix("n")), value)
    return made


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (2.0, "| 2 s | met, 2.0 times better than asked |"),
        (4.0, "| 4 s | met |"),
        (8.0, "| 8 s | **not met**, 2.00 times worse than asked |"),
    ],
)
def test_verdict_says_by_how_much(seconds: float, verdict: str) -> None:
    text = report(results("ready-s", n1000000=seconds)).as_markdown({})
    assert f"| 1,000,000 partitions ready in 4 s | SQLite, rollback journal {verdict}" in text


def test_bar_goes_by_the_worst_of_its_metrics() -> None:
    found = results("visible-thousand", "postgresql", n1000000=0.1)
    found.note("visible-thousand-newest", "postgresql", 1_000_000, 0.3)
    text = report(found).as_markdown({})
    assert "| 300 ms (1,000 rows of the newest days) | **not met**, 2.00 times worse than asked |" in text


def test_bar_says_nothing_of_another_size_or_store() -> None:
    found = results("ready-s", n10000=1.0)
    found.note("visible-thousand", "sqlite", 1_000_000, 9.0)
    assert "asked" not in report(found).as_markdown({})


def test_less_memory_than_before_is_met() -> None:
    assert "| -1 MB | met" in report(results("forgotten-more", n1000000=-1e6)).as_markdown({})


def test_bars_name_metrics_that_are_measured() -> None:
    for bar in STATE_BARS:
        assert set(bar.metrics) <= BY_KEY.keys()
        assert set(bar.stores) <= TITLES.keys()


def test_median_counts_except_where_the_worst_does() -> None:
    found = StateResults()
    for value in (0.001, 0.002, 0.009):
        found.note("stat-p99-one", "sqlite", 1000, value)
        found.note("stat-max-one", "sqlite", 1000, value)
    text = report(found).as_markdown({})
    assert "| stat, 1 row: p99, ms | 1,000 | 2 (1 to 9) |" in text
    assert "| stat, 1 row: longest, ms | 1,000 | 9 (1 to 9) |" in text


@pytest.mark.parametrize(
    ("larger", "shape"),
    [(10.0, "linear"), (1.0, "constant"), (3.0, "between (size to the power of 0.5)")],
)
def test_growth_is_named(larger: float, shape: str) -> None:
    text = report(results("ready-s", n10000=1.0, n100000=larger)).as_markdown({})
    assert f"| 10,000 to 100,000 | {larger:.2f} times | {shape} |" in text


def test_plots_show_every_point_with_its_value() -> None:
    plots = report(results("ready-s", n10000=1.0, n1000000=50.0)).plots()
    assert plots.keys() == {"ready"}
    picture = ElementTree.fromstring(plots["ready"])
    said = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert "SQLite, rollback journal, 10,000: 1 s" in said
    assert "SQLite, rollback journal, 1,000,000: 50 s" in said


def test_another_build_is_shown_beside_this_one() -> None:
    this, other = results("ready-s", n1000000=3.0), results("ready-s", n1000000=6.0)
    this.note("ready-s", "sqlite", 1_000_000, 5.0)
    other.note("ready-s", "sqlite", 1_000_000, 10.0)
    both = report(this)
    both.other = other
    assert (
        "| From start to ready: ready after, s | SQLite, rollback journal | 1,000,000 | 8 | 4 | 0.50 | 0.50 to 0.50 |"
        in both.as_markdown({})
    )
    assert json.loads(both.as_json())["other"]["ready-s"]["sqlite"]["1000000"]["rounds"] == [6.0, 10.0]


def test_json_holds_every_round_and_every_verdict() -> None:
    found = results("ready-s", n1000000=3.0)
    found.note("ready-s", "sqlite", 1_000_000, 5.0)
    document = json.loads(report(found).as_json())
    assert document["figures"]["ready-s"]["sqlite"]["1000000"] == {"value": 4.0, "rounds": [3.0, 5.0]}
    assert document["bars"] == [
        {"wanted": "1,000,000 partitions ready in 4 s", "store": "sqlite", "met": True, "found": "4 s"}
    ]
