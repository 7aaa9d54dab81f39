"""V9: the times of the directories over the dates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Branch, DateDirectory, Directory
from readyfs.partition import NOT_SET
from tests.catalog.rows import JUNE_1, NOW_NS, ROWS, SHAPES, Row, build, times

FUTURE_NS = NOW_NS + 10**18


def own_names(directory: Directory | None) -> object:
    """Return what the entries of a directory are and stand for."""
    match directory:
        case None:
            return None
        case Branch():
            return set(directory.children)
        case _:
            return {
                entry.name: (getattr(entry.meaning, "key", 0), getattr(entry.meaning, "run_id", 0))
                for entry in directory.entries_from(0)
            }


def test_at_the_start_a_directory_is_as_old_as_the_newest_update_below() -> None:
    """V9: so it is the same after a remount and on every machine."""
    catalog = build(
        [
            Row(customer=b"c1", query=b"q1", updated_at_ns=100),
            Row(customer=b"c1", query=b"q2", updated_at_ns=300),
            Row(customer=b"c1", query=b"q2", date=JUNE_1 + 1, updated_at_ns=200),
            Row(customer=b"c2", updated_at_ns=50),
        ]
    )
    assert times(catalog) == {
        (): 300,
        (b"c1",): 300,
        (b"c1", b"q1"): 100,
        (b"c1", b"q2"): 300,
        (b"c2",): 50,
        (b"c2", b"q"): 50,
    }


def test_at_the_start_a_directory_without_any_update_time_is_as_old_as_the_load() -> None:
    assert set(times(build([Row(updated_at_ns=NOT_SET)])).values()) == {NOW_NS}
    assert set(times(build([])).values()) == {NOW_NS}


def test_new_date_moves_its_directory_alone() -> None:
    """V9: own names only."""
    before = build([Row(customer=b"c1"), Row(customer=b"c2")])
    after = build([Row(customer=b"c1"), Row(customer=b"c1", date=JUNE_1 + 1), Row(customer=b"c2")], before, NOW_NS + 5)
    assert times(after) == {**times(before), (b"c1", b"q"): NOW_NS + 5}


def test_new_query_moves_its_customer_and_new_customer_the_root() -> None:
    """V9: own names only."""
    before = build([Row()])
    with_query = build([Row(), Row(query=b"q2")], before, NOW_NS + 5)
    assert times(with_query) == {**times(before), (b"c",): NOW_NS + 5, (b"c", b"q2"): NOW_NS + 5}
    with_customer = build([Row(), Row(query=b"q2"), Row(customer=b"c2")], with_query, NOW_NS + 9)
    moved = {(): NOW_NS + 9, (b"c2",): NOW_NS + 9, (b"c2", b"q"): NOW_NS + 9}
    assert times(with_customer) == {**times(with_query), **moved}


def test_new_run_moves_the_directory_in_which_its_name_means_something_else() -> None:
    before = build([Row()])
    after = build([Row(run=b"r2")], before, NOW_NS + 5)
    assert times(after) == {**times(before), (b"c", b"q"): NOW_NS + 5}


def test_touched_row_moves_no_directory_over_it() -> None:
    """V9: its own date directory alone has other attributes."""
    before = build([Row()])
    after = build([Row(updated_at_ns=NOW_NS, record_count=8, schema_version=b"v2")], before, NOW_NS + 5)
    assert after.fingerprint != before.fingerprint
    assert times(after) == times(before)


def test_other_source_behind_the_same_names_moves_their_directory() -> None:
    before = build([Row(source=b"s1")])
    after = build([Row(source=b"s2")], before, NOW_NS + 5)
    assert times(after) == {**times(before), (b"c", b"q"): NOW_NS + 5}


def test_path_that_becomes_ambiguous_moves_its_directory() -> None:
    before = build([Row(source=b"s1")])
    after = build([Row(source=b"s1"), Row(source=b"s2")], before, NOW_NS + 5)
    assert times(after) == {**times(before), (b"c", b"q"): NOW_NS + 5}


def test_date_that_appears_ambiguous_moves_its_directory() -> None:
    """V13: it is listed, so it is a new name."""
    before = build([Row()])
    after = build([Row(), Row(date=JUNE_1 + 1), Row(date=JUNE_1 + 1)], before, NOW_NS + 5)
    assert times(after) == {**times(before), (b"c", b"q"): NOW_NS + 5}


@given(
    st.lists(st.tuples(ROWS, st.integers(-(10**12), 10**12)), min_size=2, max_size=6),
    SHAPES,
)
def test_time_of_a_directory_moves_up_exactly_when_its_own_names_change(
    steps: list[tuple[list[Row], int]], of: CatalogShape
) -> None:
    """V9: strictly increasing, also with a clock set back and with `updated_at` in the future."""
    catalog = build(steps[0][0], None, NOW_NS + steps[0][1], of)
    highest: dict[tuple[bytes, ...], int] = {}
    for rows, offset_ns in steps[1:]:
        highest |= times(catalog)
        following = build(rows, catalog, NOW_NS + offset_ns, of)
        for path, time_ns in times(following).items():
            known, directory = catalog.directory(path), following.directory(path)
            if known is None or own_names(known) != own_names(directory):
                assert time_ns > highest.get(path, -1)
            elif time_ns != known.changed_ns:
                # Another claim on a path that is ambiguous all the same may move it too.
                assert isinstance(directory, DateDirectory)
                assert directory.ambiguous
                assert time_ns > known.changed_ns
        catalog = following


def test_future_update_time_does_not_stop_later_changes_from_moving_up() -> None:
    """V9: a row of a producer whose clock runs ahead."""
    first = build([Row(updated_at_ns=FUTURE_NS)])
    second = build([Row(updated_at_ns=FUTURE_NS), Row(date=JUNE_1 + 1)], first)
    third = build([Row(updated_at_ns=FUTURE_NS)], second)
    moments = [times(catalog)[b"c", b"q"] for catalog in (first, second, third)]
    assert moments[0] == FUTURE_NS
    assert moments == sorted(set(moments))


def test_clock_set_back_still_moves_up() -> None:
    first = build([Row(customer=b"c1", updated_at_ns=NOT_SET)], None, NOW_NS)
    second = build([], first, NOW_NS - 10**15)
    third = build([Row(customer=b"c1")], second, NOW_NS - 10**16)
    moments = [times(catalog)[()] for catalog in (first, second, third)]
    assert moments == sorted(set(moments))


def test_directory_that_comes_back_is_newer_than_the_catalog_without_it() -> None:
    """V6: a held directory shows the stamp of the catalog while it is gone, so what follows must be later."""
    first = build([Row(), Row(customer=b"c2")])
    gone = build([Row()], first, NOW_NS)
    back = build([Row(), Row(customer=b"c2")], gone, NOW_NS)
    assert times(first)[b"c2",] < gone.stamp_ns < times(back)[b"c2",]
