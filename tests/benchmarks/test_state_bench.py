"""The benchmark of the state runs as a whole on every store, and leaves nothing. No test asserts any speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.state.__main__ import main
from benchmarks.state.shape import UNREADY_PERCENT, usual_shape
from benchmarks.state.stores import SQLITE, TITLES
from tests.benchmarks.test_bench_runs import mounts_below, processes_about


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of temporary files, open to the user of the server and empty in the end."""
    made = Path(tempfile.mkdtemp(prefix="readyfs-test-"))
    made.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    yield made
    # Fails where anything is left.
    made.rmdir()


def run(tmp_path: Path, *words: str) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Run the benchmark in a directory of its own; return its figures."""
    base, figures = tmp_path / "base", tmp_path / "figures.json"
    base.mkdir()
    status = main(["measure", "--quick", *words, "--json", str(figures), "--directory", str(base)])
    document = json.loads(figures.read_text())
    assert document["failures"] == []
    assert status == 0
    assert list(base.iterdir()) == []
    assert not mounts_below(base)
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = document["figures"]
    return found


@pytest.mark.parametrize(
    "store", [pytest.param(store, marks=[] if store == SQLITE else [pytest.mark.long]) for store in TITLES]
)
def test_quick_run_measures_everything_on_each_store(store: str, tmp_path: Path, temporary: Path) -> None:
    found = run(tmp_path, "--stores", store, "--sizes", "2500", "--only", "ready,quiet,changes,find")
    changes = ("one", "retry", "thousand", "thousand-newest", "thousand-customer", "deleted", "returned")
    wanted = {"ready-s", "ready-cpu", "ready-rss", "ready-peak", "quiet-cpu", "quiet-s", "idle-cpu", "changed-peak"}
    wanted |= {"find-s", "find-inodes", "find-bytes", "find-rss"}
    wanted |= {f"{what}-{change}" for what in ("visible", "refresh", "cpu") for change in changes}
    wanted |= {"refresh-none", "cpu-none", "stat-p99-idle", "stat-max-idle", "open-p99-idle"}
    assert wanted <= found.keys()
    for by_store in found.values():
        assert by_store.keys() == {store}
        assert by_store[store].keys() == {"2500"}
    assert not processes_about(temporary)
    shape = usual_shape(-(-2500 * 100 // (100 - UNREADY_PERCENT)))
    ready = len(list(shape.ready_positions(range(shape.rows))))
    # Every ready partition and the directories above, but the root, which is known before.
    assert found["find-inodes"][store]["2500"]["value"] == ready + 1 + 10
    if os.geteuid() == 0:
        assert found["forgotten-inodes"][store]["2500"]["value"] == 1, "only the root is left"


def test_quick_run_lists_a_directory_of_many_names(tmp_path: Path) -> None:
    found = run(tmp_path, "--only", "list")
    assert found.keys() == {"list-first", "list-again", "list-long-first", "list-long-again"}
    assert found["list-first"]["sqlite"].keys() == {"300"}


def test_report_is_recorded_with_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance-state.md"
    page.write_text("above\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nbelow\n")
    monkeypatch.setattr("benchmarks.state.__main__.DOCUMENT", page)
    words = ["measure", "--quick", "--only", "ready", "--stores", "sqlite", "--record", "--directory", str(tmp_path)]
    assert main(words) == 0
    text = page.read_text()
    assert "old" not in text
    assert '`make bench-state ARGS="--quick --only ready --stores sqlite' in text
    assert "![From start to ready](performance-state/ready.svg)" in text
    assert "### How each grows" in text
    assert ElementTree.parse(tmp_path / "performance-state" / "ready.svg").getroot().tag.endswith("svg")
    assert "ready-s" in json.loads((tmp_path / "performance-state.json").read_text())["figures"]


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_interrupted_run_leaves_nothing(store: str, tmp_path: Path, temporary: Path) -> None:
    # Not as a program, which would have mounts of its own that vanish with it.
    program = "import sys; from benchmarks.state.__main__ import main; main(sys.argv[1:])"
    words = ["measure", "--sizes", "20000", "--stores", store, "--directory", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 90
        while not mounts_below(tmp_path):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert list(tmp_path.iterdir()) == []
    assert not mounts_below(tmp_path)
    assert not processes_about(tmp_path)
    assert not processes_about(temporary)
