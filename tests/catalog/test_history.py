"""V7: catalogs that were replaced a moment ago, and the stamps that tell their listings apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.history import KEPT, KEPT_S, CatalogHistory
from readyfs.catalog.stamp import STAMP_BITS, stamp_of
from readyfs.catalog.tree import NOTHING, Catalog, Path
from tests.catalog.rows import JUNE_1, Row, build


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def stamp(catalog: Catalog, path: Path) -> int:
    return (catalog.directory(path) or NOTHING).stamp


@given(st.binary())
def test_stamp_leaves_room_for_a_signed_position(names: bytes) -> None:
    assert STAMP_BITS == 31
    assert 0 <= stamp_of(names) < 2**31


def test_stamp_stands_for_the_names_and_nothing_else() -> None:
    """A switched run or a touched row leaves a pass where it is; another name does not."""
    rows = [Row(), Row(date=JUNE_1 + 1), Row(customer=b"c2")]
    catalog = build(rows)
    other = build([row._replace(run=b"r2", updated_at_ns=9) for row in reversed(rows)])
    for path in ((), (b"c",), (b"c", b"q")):
        assert stamp(catalog, path) == stamp(other, path)
    more = build([*rows, Row(date=JUNE_1 + 2), Row(query=b"q2"), Row(customer=b"c3")])
    for path in ((), (b"c",), (b"c", b"q")):
        assert stamp(catalog, path) != stamp(more, path)


def test_dates_that_two_sources_hold_have_the_stamp_of_the_same_dates() -> None:
    """Where the layout hides the source, a directory can be made of several series."""
    apart = build([Row(), Row(source=b"s2", date=JUNE_1 + 1)])
    claimed = build([Row(), Row(date=JUNE_1 + 1), Row(source=b"s2", date=JUNE_1 + 1)])
    alone = build([Row(), Row(date=JUNE_1 + 1)])
    assert len({stamp(catalog, (b"c", b"q")) for catalog in (apart, claimed, alone)}) == 1


def test_every_directory_without_names_has_one_stamp() -> None:
    assert stamp(build([]), ()) == stamp(build([Row()]), (b"x", b"y")) == NOTHING.stamp


def test_newest_catalog_with_the_stamp_is_found() -> None:
    history = CatalogHistory(Clock())
    first, second = build([Row()]), build([Row(run=b"r2")])
    for catalog in (first, second, build([])):
        history.add(catalog)
    path = (b"c", b"q")
    assert history.find(path, stamp(first, path)) is second.directory(path)
    assert history.find((b"gone",), stamp(first, path)) is None
    assert history.find(path, NOTHING.stamp) is NOTHING


def test_catalog_is_kept_for_a_minute() -> None:
    clock = Clock()
    history = CatalogHistory(clock)
    catalog = build([Row()])
    history.add(catalog)
    clock.now_s += KEPT_S - 1
    assert history.find((), stamp(catalog, ())) is catalog.root
    history.expire()
    assert len(history) == 1
    clock.now_s += 1
    assert history.find((), stamp(catalog, ())) is None
    history.expire()
    assert len(history) == 0


def test_so_many_catalogs_are_kept_and_no_more() -> None:
    """However quickly they follow each other, memory is bounded."""
    history = CatalogHistory(Clock())
    catalogs = [build([Row(customer=b"c%d" % number)]) for number in range(KEPT + 1)]
    for catalog in catalogs:
        history.add(catalog)
    assert len(history) == KEPT
    assert history.find((), stamp(catalogs[0], ())) is None
    assert history.find((), stamp(catalogs[1], ())) is catalogs[1].root
