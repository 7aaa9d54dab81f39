from __future__ import annotations

from hypothesis import given

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.delta import Delta, DirectoryChange, compare
from readyfs.catalog.tree import AMBIGUOUS, Catalog, Path
from readyfs.partition import Partition
from tests.catalog.rows import JUNE_1, ROWS, SHAPES, Row, build, contents, shape, times

C_Q = (b"c", b"q")
DAY_1, DAY_2 = b"2024-06-01", b"2024-06-02"


def delta(old: list[Row], new: list[Row], of: CatalogShape | None = None) -> Delta:
    before = build(old, of=of)
    return compare(before, build(new, before, of=of))


def counters(found: Delta) -> tuple[int, int, int, int]:
    return found.appeared, found.switched, found.touched, found.retracted


def test_same_content_has_no_delta() -> None:
    found = delta([Row()], [Row()])
    assert not found
    assert counters(found) == (0, 0, 0, 0)


def test_equal_catalogs_built_apart_have_no_delta() -> None:
    assert not compare(build([Row()], now_ns=1), build([Row()], now_ns=2))


def test_new_date_is_one_name_of_its_directory() -> None:
    found = delta([Row()], [Row(), Row(date=JUNE_1 + 1)])
    assert found.directories == [DirectoryChange(C_Q, (DAY_2,), ())]
    assert counters(found) == (1, 0, 0, 0)


def test_new_run_is_a_switch() -> None:
    found = delta([Row()], [Row(run=b"r2")])
    assert found.directories == [DirectoryChange(C_Q, (DAY_1,), ())]
    assert counters(found) == (0, 1, 0, 0)


def test_touched_row_names_its_partition_and_no_entry() -> None:
    """V9: its attributes are invalidated, its name is not."""
    touched = Row(updated_at_ns=2_000, record_count=8)
    found = delta([Row()], [touched])
    assert found.directories == [DirectoryChange(C_Q, (), (touched.partition,))]
    assert counters(found) == (0, 0, 1, 0)


def test_same_run_id_of_another_source_is_a_switch() -> None:
    """V2: a run id alone does not say which run."""
    found = delta([Row(source=b"s1")], [Row(source=b"s2")])
    assert found.directories == [DirectoryChange(C_Q, (DAY_1,), ())]
    assert counters(found) == (0, 1, 0, 0)


def test_retracted_last_partition_takes_its_directories_along() -> None:
    """V1: every directory that went is named where it stood, and so is what it held."""
    found = delta([Row(), Row(customer=b"c2")], [Row()])
    assert found.directories == [
        DirectoryChange((), (b"c2",), ()),
        DirectoryChange((b"c2",), (b"q",), ()),
        DirectoryChange((b"c2", b"q"), (DAY_1,), ()),
    ]
    assert counters(found) == (0, 0, 0, 1)
    assert (found.directories_appeared, found.directories_gone) == (0, 2)


def test_first_partition_brings_its_directories() -> None:
    """V6: named all the way down, because a process may stand in one that was there before."""
    found = delta([], [Row()])
    assert found.directories == [
        DirectoryChange((), (b"c",), ()),
        DirectoryChange((b"c",), (b"q",), ()),
        DirectoryChange(C_Q, (DAY_1,), ()),
    ]
    assert counters(found) == (1, 0, 0, 0)
    assert (found.directories_appeared, found.directories_gone) == (2, 0)


def test_path_that_becomes_ambiguous_is_retracted_and_named() -> None:
    """V13: it is no partition any more."""
    found = delta([Row(source=b"s1")], [Row(source=b"s1"), Row(source=b"s2")])
    assert found.directories == [DirectoryChange(C_Q, (DAY_1,), ())]
    assert counters(found) == (0, 0, 0, 1)


def test_path_that_is_resolved_appears_and_is_named() -> None:
    """V13: until resolved."""
    found = delta([Row(source=b"s1"), Row(source=b"s2")], [Row(source=b"s2")])
    assert found.directories == [DirectoryChange(C_Q, (DAY_1,), ())]
    assert counters(found) == (1, 0, 0, 0)


def test_ambiguous_path_that_goes_is_named_and_counts_no_partition() -> None:
    keep = Row(date=JUNE_1 + 1)
    found = delta([Row(), Row(source=b"s2"), keep], [keep])
    assert found.directories == [DirectoryChange(C_Q, (DAY_1,), ())]
    assert counters(found) == (0, 0, 0, 0)


def test_other_claims_on_an_ambiguous_path_change_no_name() -> None:
    sources = [Row(source=source) for source in (b"s1", b"s2", b"s3")]
    found = delta(sources[:2], sources)
    assert not found.directories


def test_names_are_those_of_the_layout() -> None:
    of = shape("all/c={customer_id}/{query_name}/day={logical_date}")
    found = delta([Row()], [Row(run=b"r2")], of)
    assert found.directories == [DirectoryChange((b"all", b"c=c", b"q"), (b"day=2024-06-01",), ())]


@given(ROWS, ROWS, SHAPES)
def test_delta_is_exactly_what_differs(old: list[Row], new: list[Row], of: CatalogShape) -> None:
    """V3: every name that came, went or means another run is there once, and no other."""
    before = build(old, of=of)
    after = build(new, before, of=of)
    found = compare(before, after)
    expected, expected_touched, expected_counters = differences(before, after)
    assert {(change.path, name) for change in found.directories for name in change.names} == expected
    assert sum(len(change.names) for change in found.directories) == len(expected)
    assert {(c.path, touched) for c in found.directories for touched in c.touched} == expected_touched
    assert counters(found) == expected_counters
    assert found.appeared - found.retracted == after.partitions - before.partitions
    assert len({change.path for change in found.directories}) == len(found.directories)


@given(ROWS, ROWS, SHAPES)
def test_delta_backwards_names_the_same_entries(old: list[Row], new: list[Row], of: CatalogShape) -> None:
    one, other = build(old, of=of), build(new, of=of)
    there, back = compare(one, other), compare(other, one)
    assert [(c.path, c.names) for c in there.directories] == [(c.path, c.names) for c in back.directories]
    assert (there.appeared, there.retracted) == (back.retracted, back.appeared)
    assert (there.directories_appeared, there.directories_gone) == (back.directories_gone, back.directories_appeared)


def differences(
    before: Catalog, after: Catalog
) -> tuple[set[tuple[Path, bytes]], set[tuple[Path, Partition]], tuple[int, int, int, int]]:
    """Return changed names, touched partitions and the four counters, found the slow way."""
    was, now = contents(before), contents(after)
    names = {(path[:-1], path[-1]) for path in times(before).keys() ^ times(after).keys()}
    touched: set[tuple[Path, Partition]] = set()
    appeared = switched = retracted = 0
    for place in was.keys() | now.keys():
        one, other = was.get(place), now.get(place)
        if one == other:
            continue
        path, name = place[:-1], place[-1]
        if isinstance(one, Partition) and isinstance(other, Partition):
            if (one.key, one.run_id) == (other.key, other.run_id):
                touched.add((path, other))
                continue
            switched += 1
        elif isinstance(other, Partition):
            appeared += 1
        elif isinstance(one, Partition):
            retracted += 1
        assert one is not AMBIGUOUS or other is not AMBIGUOUS
        names.add((path, name))
    return names, touched, (appeared, switched, len(touched), retracted)
