"""The example alerts, the dashboard and the page speak of the metrics that there are, and Prometheus takes them all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from readyfs.metrics.exposition import render_metrics
from tests.docs.test_docs import own_table
from tests.metrics.promtool import promtool
from tests.mount.daemon import ENGINES, Daemon, Place, mounted, partition, wait_until

MONITORING: Final = Path(__file__).parents[2] / "docs" / "monitoring"
FOREIGN: Final = {"node_textfile_mtime_seconds"}
GAUGES_OF_GAPS: Final = set(own_table("docs/questions.md", "Monitoring by gaps"))
_NAME: Final = re.compile(r"\b(?:readyfs|node)_[a-z_]+\b")


def families(text: str) -> dict[str, Metric]:
    """Return the parsed families by the name under which they are exposed."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
    }


def series_names(text: str) -> set[str]:
    """Return every name that a query can ask for."""
    found = set(families(text))
    for name, family in families(text).items():
        if family.type == "histogram":
            found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return found


KNOWN: Final = families(render_metrics([]).decode())


def expressions(dashboard: object) -> Iterator[str]:
    """Yield every expression of a dashboard."""
    match dashboard:
        case dict():
            yield from (str(value) for key, value in dashboard.items() if key == "expr")
            for value in dashboard.values():
                yield from expressions(value)
        case list():
            for value in dashboard:
                yield from expressions(value)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels by metric, from the page's table."""
    rows = re.findall(r"^\| `(readyfs_\w+)` \| (\w+) \| (.*?) \| .+ \|$", (MONITORING / "README.md").read_text(), re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_exactly_the_metrics_that_are_exposed_are_documented_with_their_types() -> None:
    assert {name: kind for name, (kind, _) in documented().items()} == {n: f.type for n, f in KNOWN.items()}


def test_the_alerts_are_valid_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", MONITORING / "alerts.yml")


def test_each_alert_fires_for_a_bad_mount_and_none_for_a_good_one() -> None:
    assert "SUCCESS" in promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


def test_the_alerts_and_the_dashboard_use_metrics_that_exist() -> None:
    known = series_names(render_metrics([]).decode()) | FOREIGN | GAUGES_OF_GAPS
    for page in ("alerts.yml", "dashboard.json"):
        used = set(_NAME.findall((MONITORING / page).read_text()))
        assert used and used <= known, used - known


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    found = list(expressions(json.loads((MONITORING / "dashboard.json").read_text())))
    assert len(found) > 10
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(found)
    ]
    path = tmp_path / "rules.yml"  # JSON is YAML, too
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def test_panels_have_their_own_numbers_and_do_not_overlap() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_the_script_for_gaps_puts_nothing_but_answers_into_the_file(place: Place) -> None:
    place.producer.expect(partition(date="2024-06-01"))
    file, config = place.base / "gaps.prom", place.base / "config.toml"
    config.write_text(f'state = "{place.state}"\n')
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run() -> int:
        command = [str(MONITORING / "gaps.sh"), str(config), str(file)]
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode

    assert run() == 0
    first = file.read_text()
    promtool("check", "metrics", input=first.encode())
    assert {one.labels["config"] for family in families(first).values() for one in family.samples} == {"config"}
    late = families(first)["readyfs_gaps_late_dates"].samples
    assert {tuple(sorted(one.labels)) for one in late} == {("config", "customer_id", "query_name", "source", "status")}
    assert [sample.value for sample in families(first)["readyfs_gaps_late_series"].samples] == [1]
    config.write_text('state = "/nowhere/state.db"\n')
    assert run() == 3
    assert (file.read_text(), sorted(path.name for path in place.base.glob("gaps*"))) == (first, ["gaps.prom"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.producer.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_running_daemon_exposes_every_documented_metric(place: Place, engine: str) -> None:
    part, broken = partition(), partition("c2")
    place.producer.write_and_publish(part, "r1", b"{}\n")
    run = place.producer.write_and_publish(broken, "r2", b"{}\n")
    file = place.base / "readyfs.prom"
    with mounted(place, "--metrics-file", str(file), "--max-staleness", "1h", engine=engine) as daemon:
        assert daemon.of(part).read_bytes() == b"{}\n"
        (run.directory / "payload.jsonl").unlink()
        daemon.assert_refused(daemon.of(broken))
        daemon.refresh()
        wait_until(lambda: sample(file, "readyfs_broken_partitions", kind="missing") == 1, "the file says so")
        text = file.read_text()
        assert_valid(daemon, text, engine)
        assert os.stat(file).st_mode & 0o777 == 0o644
    assert not file.exists(), "an orderly end removes the file"


def sample(file: Path, name: str, **labels: str) -> float | None:
    """Return the value of one sample of a file, None before it is there."""
    if not file.exists():
        return None
    for family in text_string_to_metric_families(file.read_text()):
        for one in family.samples:
            if one.name == name and labels.items() <= one.labels.items():
                return float(one.value)
    return None


def assert_valid(daemon: Daemon, text: str, engine: str) -> None:
    """Check a real exposition against the page, the parser of the client, and Prometheus' own."""
    promtool("check", "metrics", input=text.encode())
    found = families(text)
    assert set(found) == set(KNOWN)
    without = {"readyfs_passthrough_fallbacks_total", "readyfs_pushes_refused_total"}  # this kernel refuses nothing
    for name, (_, labels) in documented().items():
        samples = found[name].samples
        assert samples or name in without, name
        for one in samples:
            assert set(one.labels) - {"le"} == {"mountpoint", *labels}, name
            assert one.labels["mountpoint"] == str(daemon.path)
            assert one.labels.get("engine", engine_name(engine)) == engine_name(engine)
    requests = {one.labels["operation"]: one.value for one in found["readyfs_requests_total"].samples}
    assert requests["lookup"] >= 1
    answered = [s for s in found["readyfs_request_duration_seconds"].samples if s.name.endswith("_count")]
    under_way = {one.labels["operation"]: requests[one.labels["operation"]] - one.value for one in answered}
    assert set(under_way) == set(requests)
    assert all(0 <= count <= 2 for count in under_way.values()), under_way
    errors = found["readyfs_request_errors_total"].samples
    assert sum(one.value for one in errors if one.labels["errno"] == "EIO") >= 1


def engine_name(engine: str) -> str:
    return "pyfuse3" if engine == "pyfuse3" else "direct"
