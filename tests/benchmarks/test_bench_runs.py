"""The benchmark runs as a whole: what it writes is complete, and it leaves nothing. No test asserts any speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import main, shown_words
from benchmarks.contenders import all_contenders
from benchmarks.report import Report, record
from benchmarks.results import RAW
from readyfs.fuse.mount_table import read_mount_table

BUILDERS = {"control", "farm", "bind", "bindfs"}
"""Contenders that hold no state, so that no refresh is measured of them."""


def mounts_below(directory: Path) -> list[Path]:
    return [mount.mount_point for mount in read_mount_table() if directory in mount.mount_point.parents]


def present() -> set[str]:
    return {contender.key for contender in all_contenders() if contender.obstacle() is None}


@pytest.mark.parametrize(
    "works",
    [
        pytest.param(("walk", "ls", "find", "du"), marks=pytest.mark.long),
        pytest.param(("small", "listed", "small-parallel", "duckdb"), marks=pytest.mark.long),
        pytest.param(("large", "large-cold", "large-random", "large-mmap", "large-parallel"), marks=pytest.mark.long),
    ],
    ids=lambda works: works[0],
)
def test_quick_run_measures_everything_and_leaves_nothing(
    works: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    status = main(["--quick", "--only", ",".join(works), "--json", str(figures), "--directory", str(tmp_path)])
    document = json.loads(figures.read_text())
    assert document["failures"] == []
    assert status == 0
    assert document["times"].keys() == set(works)
    for phases in document["times"].values():
        for row in phases.values():
            assert row.keys() == present()
            assert all(measured["median_s"] > 0 and measured["count"] for measured in row.values())
            assert row[RAW]["ratio"] == 1
    assert capsys.readouterr().out.startswith("Measured on ")
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    assert not mounts_below(tmp_path)


@pytest.mark.long
def test_quick_run_measures_refreshes_of_whoever_has_a_state(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    assert main(["--quick", "--only", "refresh", "--json", str(figures), "--directory", str(tmp_path)]) == 0
    document = json.loads(figures.read_text())
    assert document["refreshes"].keys() == {"few", "many"}
    for site, row in document["refreshes"].items():
        assert row.keys() == present() - BUILDERS
        for key, found in row.items():
            assert found["latency"]["idle"].keys() == {"stat", "open", "readdir"}
            if key != RAW:
                assert found["changes"] == {"few": 1, "many": 50}[site]
                assert found["refresh_s"] and found["visible_s"] and found["memory"]["rss"]
    assert not mounts_below(tmp_path)


def test_report_is_recorded_with_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text("above\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nbelow\n")
    monkeypatch.setattr("benchmarks.__main__.DOCUMENT", page)
    reports: list[Report] = []

    def note(report: Report, document: Path) -> None:
        reports.append(report)
        record(report, document)

    monkeypatch.setattr("benchmarks.__main__.record", note)
    assert main(["--quick", "--only", "walk", "--contenders", "raw,farm", "--record"]) == 0
    for again in (False, True):
        if again:
            record(reports[0], page)
        text = page.read_text()
        assert text.startswith("above\n") and text.endswith("\nbelow\n")
        assert "old" not in text
        assert '`make bench ARGS="--quick --only walk --contenders raw,farm"`' in text
        assert "![Names and attributes](performance/names.svg)" in text
    assert ElementTree.parse(tmp_path / "performance" / "names.svg").getroot().tag.endswith("svg")
    assert json.loads((tmp_path / "performance.json").read_text())["times"].keys() == {"walk"}


def test_report_tells_the_command_without_the_places_of_this_machine() -> None:
    words = ["--other", "/home/a/python", "--record", "--json=/tmp/b", "--only", "walk"]
    assert shown_words(words) == ["--other", "PYTHON", "--json", "FILE", "--only", "walk"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    # Not as a program, which would have mounts of its own that vanish with it. There are enough rows that it is still
    # busy when it is asked to stop.
    program = "import sys; from benchmarks.__main__ import main; main(sys.argv[1:])"
    words = ["--quick", "--only", "refresh", "--state-rows", "20000", "--directory", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not mounts_below(tmp_path):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    # Python ends by the signal itself after an interrupt that nobody caught.
    assert process.returncode == (-number if number == signal.SIGINT else 128 + number), errors
    assert list(tmp_path.iterdir()) == []
    assert not mounts_below(tmp_path)
    assert not processes_about(tmp_path)


def test_command_mounts_where_nobody_else_sees_it_and_forwards_its_status(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["--quick", "--only", "walk", "--contenders", "raw,user", "--json", str(figures)]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(figures.read_text())
    assert document["times"]["walk"]["first"].keys() == {"raw", "user"}
    assert subprocess.run([sys.executable, "-m", "benchmarks", "--only", "x"], check=False).returncode == 2


def processes_about(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                # Ended between the listing and the look.
                continue
            if os.fsencode(directory) in words:
                found.append(f"{entry.name}: {words!r}")
    return found
