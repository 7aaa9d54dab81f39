"""The border is the size from which on passthrough is never the slower one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.border import KIB, SIZES, border, border_table, files_of, make_sizes
from benchmarks.work import reading
from benchmarks.work.view import View
from benchmarks.works import Phase


def medians(opened: dict[int, float], passthrough: float = 1.0) -> dict[tuple[str, Phase, int], float]:
    """Return figures in which opened takes 0.5 s but for some sizes."""
    found = {}
    for size in SIZES:
        found["opened", Phase.FIRST, size] = opened.get(size, 0.5)
        found["passthrough", Phase.FIRST, size] = passthrough
    return found


def test_border_is_where_passthrough_stops_being_slower() -> None:
    assert border(medians({size: 2.0 for size in SIZES if size >= 256 * KIB}), Phase.FIRST) == 256 * KIB
    assert border(medians({}, passthrough=0.5), Phase.FIRST) == SIZES[0]


def test_size_at_which_it_is_faster_by_chance_is_no_border() -> None:
    assert border(medians({SIZES[0]: 2.0, SIZES[-1]: 2.0}), Phase.FIRST) == SIZES[-1]
    assert border(medians({SIZES[0]: 2.0}), Phase.FIRST) is None
    assert border(medians({}), Phase.AGAIN) is None


def test_table_has_microseconds_by_size() -> None:
    figures = {("raw", phase, size): 0.00012 for phase in (Phase.FIRST, Phase.AGAIN) for size in SIZES}
    assert (
        border_table("microseconds", figures, {"raw": "raw tree", "opened": "not measured"})[-1]
        == "| 4,096 KiB | 120 | 120 |"
    )


def test_files_of_a_size_are_read_and_nothing_else(tmp_path: Path) -> None:
    site = make_sizes(tmp_path / "border", 1)
    (directory,) = site.raw_root.glob(f"*/customer_id={256 * KIB:010d}/*/*/*")
    assert reading.files(View(str(directory))).count == 16 * 256 * KIB
    assert [files_of(size, 64) for size in (KIB, 256 * KIB, 4096 * KIB)] == [2000, 256, 16]
