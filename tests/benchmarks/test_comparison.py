"""Two builds are compared round by round, and the control tells how far a build is from itself."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import readyfs
from benchmarks.compare import main
from benchmarks.comparison import AGAIN, OTHER, THIS, Row, Spread, comparison_lines, memory_lines, rows_of, turn
from benchmarks.results import Results
from benchmarks.works import WORKS, Phase

WALK = next(work for work in WORKS if work.key == "walk")


def results(**seconds: list[float]) -> Results:
    """Return results of a first walk; the processor time is half of the clock's."""
    made = Results()
    for build, rounds in seconds.items():
        key = build if build == "raw" else f"opened{ {'other': OTHER, 'again': AGAIN, 'this': THIS}[build] }"
        measured = made.measured("walk", Phase.FIRST, key)
        measured.seconds += rounds
        if build != "raw":
            measured.cpu_seconds += [one / 2 for one in rounds]
    return made


def test_builds_are_compared_within_rounds_and_not_across() -> None:
    """The second round was slow for all: that is no difference, and the control's medians show none."""
    found = results(other=[1.0, 10.0, 1.0], again=[1.1, 10.0, 0.9], this=[2.0, 20.0, 2.0])
    wall, cpu = rows_of(found, WALK, Phase.FIRST, ["opened"])
    assert wall == Row("opened", "wall", 1.0, 1.1, 2.0, Spread(2.0, 2.0, 2.0), Spread(0.9, 1.0, 1.1))
    assert (cpu.clock, cpu.this_s, cpu.change) == ("CPU", 1.0, Spread(2.0, 2.0, 2.0))


def test_way_that_the_other_build_has_not_is_shown_without_a_ratio() -> None:
    wall, cpu = rows_of(results(this=[2.0]), WALK, Phase.FIRST, ["opened", "cached"])
    assert wall == Row("opened", "wall", None, None, 2.0, None, None)
    assert cpu.other_s is None and cpu.this_s == 1.0


def test_raw_tree_has_one_row() -> None:
    (row,) = rows_of(results(raw=[3.0, 1.0, 2.0]), WALK, Phase.FIRST, ["opened"])
    assert row == Row("raw tree", "wall", None, None, 2.0, None, None)


def test_round_that_cost_the_other_nothing_says_nothing() -> None:
    wall, _ = rows_of(results(other=[0.0, 2.0], again=[1.0, 2.0], this=[1.0, 1.0]), WALK, Phase.FIRST, ["opened"])
    assert wall.change == Spread(0.5, 0.5, 0.5)


def test_table_shows_milliseconds_ratios_and_the_controls_spread() -> None:
    lines = list(comparison_lines(results(other=[1.0], again=[1.5], this=[0.5]), [WALK], ["opened"]))
    assert "### walk and stat, first" in lines
    assert "| opened | wall | 1,000.0 | 1,500.0 | 500.0 | 0.50 | 1.50 | 1.50 to 1.50 |" in lines


def test_memory_is_shown_where_a_daemon_was_largest() -> None:
    found = results(other=[1.0], this=[1.0])
    found.measured("walk", Phase.FIRST, f"opened{OTHER}").memory = {"rss": 50 << 20}
    found.measured("walk", Phase.AGAIN, f"opened{OTHER}").memory = {"rss": 51 << 20}
    found.measured("walk", Phase.FIRST, f"opened{THIS}").memory = {"rss": 40 << 20}
    assert "| small | opened | 51.0 | - | 40.0 |" in list(memory_lines(found, ["small"], ["opened"]))


def test_each_begins_and_each_follows_each() -> None:
    assert [turn("abc", number) for number in range(4)] == [list("abc"), list("acb"), list("cab"), list("cba")]


def test_comparison_with_another_build_measures_all_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(Path(readyfs.__file__).parent, tmp_path / "other/readyfs")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec env PYTHONPATH={tmp_path}/other {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    worlds = tmp_path / "worlds"
    worlds.mkdir()
    figures = tmp_path / "figures.json"
    words = ["--rounds", "1", "--partitions", "5", "--ways", "cached", "--json", str(figures)]
    words += ["--only", "walk,small,large", "--large-mb", "1"]
    assert main(["--other", str(python), "--directory", str(worlds), *words]) == 0
    text = capsys.readouterr().out
    for title in ("walk and stat", "read every file", "read the large file"):
        for phase in ("first", "again"):
            assert f"### {title}, {phase}\n" in text
    assert text.count("| cached | wall | ") == text.count("| cached | CPU | ") == 6
    assert figures.stat().st_size
    assert os.listdir(worlds) == []


def test_build_that_is_this_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for python, complaint in ((sys.executable, "has the same readyfs"), ("/nowhere/python", "No such file")):
        with pytest.raises(SystemExit) as ended:
            main(["--other", python])
        assert ended.value.code == 2
        assert complaint in capsys.readouterr().err
