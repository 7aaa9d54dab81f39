"""The report says what was found, and whether it is enough."""

from __future__ import annotations

from datetime import date
from xml.etree import ElementTree

import pytest

from benchmarks.bars import BARS
from benchmarks.latency import summarize
from benchmarks.plot import Chart
from benchmarks.report import Report
from benchmarks.results import Latency, RefreshResult, Results
from benchmarks.works import Phase

MEMORY = "memory of the daemon: 5 MB more"
TITLES = {"raw": "raw tree", "bindfs": "bindfs -r", "passthrough": "direct, passthrough", "cached": "direct, cached"}


def results(**seconds: float) -> Results:
    """Return results of the large file's first read, by contender."""
    made = Results()
    for key, value in seconds.items():
        measured = made.measured("large", Phase.FIRST, key)
        measured.seconds += [value * 2, value, value / 2]
        measured.count = 1_000_000
    return made


def report(found: Results) -> str:
    machine: dict[str, object] = dict.fromkeys(("processor", "cores", "memory_gb", "filesystem", "python"), "some")
    machine["kernel"] = "Linux 6.9"
    made = Report("make bench", date(2024, 6, 1), machine, TITLES, {"large": "one file"}, 3, False, 60.0, found)
    return made.as_markdown({})


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (1.0, "| 1.00 of raw speed | met, 1.1 times better than asked |"),
        (1.1, "| 0.91 of raw speed | met |"),
        (2.0, "| 0.50 of raw speed | **not met**, 1.80 times worse than asked |"),
    ],
)
def test_verdict_says_by_how_much(seconds: float, verdict: str) -> None:
    text = report(results(raw=1.0, passthrough=seconds))
    assert f"| large file in sequence, first: 0.9 of raw speed | direct, passthrough {verdict}" in text


def test_bar_without_figures_has_no_verdict() -> None:
    assert "asked" not in report(results(raw=1.0))
    assert "DuckDB" not in report(results(raw=1.0, passthrough=1.0))


def test_second_copy_in_the_page_cache_is_noticed() -> None:
    found = results(raw=1.0, passthrough=1.0)
    found.measured("large", Phase.FIRST, "passthrough").cached_bytes = 1_000_000
    assert (
        "| no second copy in the page cache | direct, passthrough | page cache grew by 1 MB for 1 MB read | **not met**"
        in (report(found))
    )


def test_faster_than_bindfs_is_judged_by_bindfs() -> None:
    found = Results()
    for key, value in {"raw": 0.1, "bindfs": 8.0, "cached": 1.0}.items():
        found.measured("walk", Phase.FIRST, key).seconds.append(value)
    (bar,) = (bar for bar in BARS if "bindfs" in bar.wanted)
    finding = bar.judge(found, "cached")
    assert finding is not None and finding.is_met
    assert finding.figure == "8.0 times faster than bindfs"


def test_processor_time_and_memory_are_judged_by_the_other_build() -> None:
    found = Results()
    bars = [bar for bar in BARS if bar.wanted in ("walk and stat first: a third of the daemon's CPU", MEMORY)]
    assert len(bars) == 2
    for key, seconds, size in (("opened", 0.8, 56 << 20), ("other", 2.0, 50 << 20)):
        assert [bar.judge(found, "opened") for bar in bars] == [None, None], "nothing to compare with"
        measured = found.measured("walk", Phase.FIRST, key)
        measured.cpu_seconds.append(seconds)
        measured.memory = {"rss": size}
    cpu, memory = (bar.judge(found, "opened") for bar in bars)
    assert cpu is not None and memory is not None
    assert (cpu.figure, cpu.verdict) == ("0.40 of the other build's", "**not met**, 1.20 times worse than asked")
    assert (memory.figure, memory.verdict) == ("+6.0 MB", "**not met**, 1.20 times worse than asked")


def test_less_memory_than_the_other_build_is_met() -> None:
    found = Results()
    for key, size in (("opened", 40 << 20), ("other", 50 << 20)):
        found.measured("walk", Phase.FIRST, key).memory = {"rss": size}
    (bar,) = (bar for bar in BARS if bar.wanted == MEMORY)
    finding = bar.judge(found, "opened")
    assert finding is not None and finding.is_met


def test_costs_of_the_client_are_shown_beside_the_daemons() -> None:
    found = results(raw=1.0, passthrough=1.0)
    found.measured("large", Phase.FIRST, "raw").client_cpu_seconds.append(0.25)
    ours = found.measured("large", Phase.FIRST, "passthrough")
    ours.cpu_seconds.append(0.5)
    ours.client_cpu_seconds.append(0.75)
    text = report(found)
    assert "| read the large file, first | raw tree |  |  | 0.25 | +0 MB |" in text
    assert "| read the large file, first | direct, passthrough | none | 0.50 | 0.75 | +0 MB |" in text


def test_one_slow_answer_breaks_the_bar_of_latency() -> None:
    (bar,) = (bar for bar in BARS if bar.wanted.startswith("open while"))
    for longest, is_met in ((0.04, True), (0.06, False)):
        found = Results()
        latency = {"refresh": {"open": Latency(1000, 0.001, 0.002, longest)}}
        found.refreshes["many"] = {"cached": RefreshResult(latency=latency)}
        finding = bar.judge(found, "cached")
        assert finding is not None and finding.is_met is is_met


def test_what_is_missing_and_what_failed_is_told() -> None:
    found = results(raw=1.0)
    found.missing["bindfs -r"] = "bindfs is not installed"
    found.failures.append("walk: other: did 0 where others did 6")
    text = report(found)
    assert "- bindfs -r: bindfs is not installed." in text
    assert "- Failed: walk: other: did 0 where others did 6." in text


def test_choice_of_auto_is_compared_with_the_other_way() -> None:
    found = results(raw=1.0, cached=2.0, passthrough=1.0)
    found.choices["large"] = {"engine": "direct", "reads": "cached", "reads_reason": "small files"}
    found.choices["large"]["engine_loop"] = "native"
    text = report(found)
    assert "- one file: direct, cached, native loop (small files)." in text
    assert "passthrough, is faster at: read the large file, first (2.0 times)." in text


def test_summary_has_the_slowest_of_a_hundred() -> None:
    found = summarize([0.001] * 98 + [0.5, 1.0])
    assert (found.operations, found.median_s, found.max_s) == (100, 0.001, 1.0)
    assert 0.5 <= found.p99_s < 1.0
    assert summarize([2.0]).p99_s == 2.0


def test_plot_is_well_formed_whatever_the_words() -> None:
    chart = Chart("a < b & c", "ms", {"x & y": "#000000"}, [("<row>", {"x & y": 0.5})], (1.0, "1 < 2"))
    root = ElementTree.fromstring(chart.as_svg())
    assert "x & y: 0.5 ms" in [element.text for element in root.iter() if element.text]
