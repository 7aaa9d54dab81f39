"""The benchmark works: what it prints and writes is complete. How fast anything is, no test asserts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.contenders import RawTree, Site
from benchmarks.measure import Result, Work, measure
from benchmarks.report import BEGIN, END, Report, record
from readyfs.fuse.mount_table import read_mount_table


def test_quick_run_measures_everything_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--json", str(tmp_path / "figures.json"), "--directory", str(tmp_path)])
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["partitions"] == 100
    assert len(document["work"]) == 6
    for row in document["work"].values():
        assert row.keys() == {"raw tree", "bindfs -r", "readyfs"}
        assert all(figures["median_s"] > 0 for figures in row.values())
    walk = document["work"]["walk and stat, first"]["readyfs"]["requests"]
    assert walk["readdir"] >= 100
    printed = capsys.readouterr().out
    assert all(title in printed for title in document["work"])
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    assert not [mount for mount in read_mount_table() if str(mount.mount_point).startswith(str(tmp_path))]


class Lazy(RawTree):
    """A contender that shows less than it should."""

    name = "lazy"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        yield self.site.directory("empty")

    def requests(self) -> Counter[str]:
        return Counter()


def test_contender_that_does_less_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "payload.jsonl").write_bytes(b"x")
    site = Site(tmp_path, tmp_path / "state.db", tmp_path / "raw")
    with pytest.raises(RuntimeError, match="did not do the same"):
        measure([RawTree(site), Lazy(site)], [Work("walk", "walk")], large=False, rounds=1)


def test_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    names = ("raw tree", "bindfs -r", "readyfs")
    row = {name: Result([1.0, 3.0, 2.0], {"read": 7}) for name in names}
    results = {"walk and stat, first": row, "read the large file, again": row}
    path = tmp_path / "performance.md"
    path.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    for _ in range(2):
        record(Report("make bench", 10, 4, 3, results), path)
        text = path.read_text()
        assert text.startswith("above\n") and text.endswith("\nbelow\n")
        assert "| walk and stat, first | 2.000 | 2.000 | 2.000 | 7 read |" in text
        assert "old" not in text
    assert json.loads(path.with_suffix(".json").read_text())["rounds"] == 3
