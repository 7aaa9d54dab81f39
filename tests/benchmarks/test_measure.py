"""Measuring is fair and honest: who does less, fails or does not come up is named and not compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.contenders import Mounted, RawTree
from benchmarks.daemons import MountError
from benchmarks.measure import Measurement
from benchmarks.sites import Site, make_large, make_small
from benchmarks.work.view import View
from benchmarks.works import WORKS, Phase

WALK, SMALL, LISTED = (next(work for work in WORKS if work.key == key) for key in ("walk", "small", "listed"))


@dataclass(frozen=True)
class Other:
    """A contender that shows something else, or nothing."""

    key: str = "other"
    title: str = "other"
    top: str | None = None

    def obstacle(self) -> str | None:
        return None

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        if self.top is None:
            raise MountError("did not mount: on strike")
        yield Mounted(View(self.top))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_small(tmp_path / "small", 3)


def test_contender_that_does_less_is_named_and_left_out(site: Site, tmp_path: Path) -> None:
    lazy = tmp_path / "lazy"
    lazy.mkdir()
    measurement = Measurement([RawTree(), Other(top=str(lazy))], rounds=2)
    measurement.measure(site, [WALK])
    assert measurement.results.failures == ["walk: other: did 0 where others did 6"]
    assert all(row.keys() == {"raw"} for row in measurement.results.times["walk"].values())
    assert len(measurement.results.times["walk"][Phase.FIRST]["raw"].seconds) == 2


def test_work_that_fails_is_named_with_its_reason(site: Site, tmp_path: Path) -> None:
    measurement = Measurement([RawTree(), Other(top=str(tmp_path / "missing"))], rounds=1)
    measurement.measure(site, [WALK])
    assert "walk: other: FileNotFoundError" in measurement.results.failures[0]


def test_contender_that_does_not_mount_is_named_once(site: Site) -> None:
    measurement = Measurement([Other(), RawTree()], rounds=2)
    measurement.measure(site, [WALK, SMALL])
    assert measurement.results.failures == ["other: did not mount: on strike"]
    assert measurement.results.times.keys() == {"walk", "small"}


def test_what_was_listed_is_read_after_other_queries_were_listed_and_read(tmp_path: Path) -> None:
    site = make_small(tmp_path / "small", 10)
    measurement = Measurement([RawTree()], rounds=1)
    measurement.measure(site, [LISTED])
    (measured,) = (row["raw"] for row in measurement.results.times["listed"].values())
    by_query = [
        sum(path.stat().st_size for path in query.rglob("*.*")) for query in sorted(site.raw_root.glob("*/*/*"))
    ]
    assert len(by_query) == 10
    assert measured.count == sum(by_query[2:]), "a fifth was read before"
    assert len(measured.client_cpu_seconds) == 1 and measured.client_cpu_seconds[0] > 0


def test_cooled_files_are_not_in_memory_until_warmed(tmp_path: Path) -> None:
    site = make_large(tmp_path / "large", 8)
    path = max(site.raw_root.rglob("payload.jsonl"), key=lambda found: found.stat().st_size)
    site.warm()
    assert resident_pages(path) > 0.9
    site.cool()
    assert resident_pages(path) < 0.1


def resident_pages(path: Path) -> float:
    """Return the share of a file's pages in the page cache, by mincore(2) on a mapping that touches none of them."""
    import ctypes
    import mmap

    library = ctypes.CDLL(None, use_errno=True)
    library.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapping:
        place = ctypes.c_char.from_buffer(mapping)
        pages = ctypes.create_string_buffer(-(-len(mapping) // mmap.PAGESIZE))
        assert library.mincore(ctypes.addressof(place), len(mapping), pages) == 0
        del place
        return sum(byte & 1 for byte in pages.raw) / len(pages.raw)
