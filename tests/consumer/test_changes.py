"""The net change of every key (V22), against a plain model: two dictionaries from keys to what is shown."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import AMBIGUOUS, Catalog
from readyfs.consumer.changes import Change, ChangeKind, Difference
from readyfs.partition import Partition, PartitionKey
from tests.catalog.rows import JUNE_1, ROWS, SHAPES, Row, build, model, shape

_Shown = dict[PartitionKey, Partition]


def shown(rows: list[Row], of: CatalogShape) -> _Shown:
    """Return what a catalog of these rows must show, by key."""
    return {meaning.key: meaning for meaning in model(rows, of).values() if meaning is not AMBIGUOUS}


def kind_of(was: Partition | None, now: Partition | None) -> str:
    if was is None or now is None:
        return "appeared" if was is None else "retracted"
    return "touched" if was.run_id == now.run_id else "switched"


def modelled(was: _Shown, now: _Shown) -> list[tuple[str, PartitionKey, Partition | None, Partition | None]]:
    """Return the difference of two dictionaries, by looking at every key of both."""
    keys = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
    return [(kind_of(was.get(key), now.get(key)), key, was.get(key), now.get(key)) for key in keys]


def told(difference: Difference) -> list[tuple[str, PartitionKey, Partition | None, Partition | None]]:
    return [(change.kind.value, *change) for change in difference.changes()]


def between(old: list[Row], new: list[Row], of: CatalogShape | None = None) -> list[Change]:
    before = build(old, of=of)
    return list(Difference(before, build(new, before, of=of)).changes())


@settings(max_examples=200, deadline=None)
@given(ROWS, ROWS, SHAPES, st.booleans())
@example([Row(source=b"s1")], [Row(source=b"s1"), Row(source=b"s2")], shape(), True)
@example([Row(source=b"s1"), Row(source=b"s2")], [Row(source=b"s2")], shape("by-date"), True)
def test_difference_is_that_of_two_dictionaries(
    old: list[Row], new: list[Row], of: CatalogShape, is_built_on: bool
) -> None:
    before = build(old, of=of)
    after = build(new, before if is_built_on else None, of=of)
    assert told(Difference(before, after)) == modelled(shown(old, of), shown(new, of))


@settings(max_examples=100, deadline=None)
@given(ROWS, SHAPES)
def test_difference_from_nothing_is_all_that_is_shown(rows: list[Row], of: CatalogShape) -> None:
    assert told(Difference(None, build(rows, of=of))) == modelled({}, shown(rows, of))


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS, SHAPES)
def test_difference_goes_on_behind_every_key(old: list[Row], new: list[Row], of: CatalogShape) -> None:
    before = build(old, of=of)
    difference = Difference(before, build(new, before, of=of))
    changes = list(difference.changes())
    for index, change in enumerate(changes):
        assert list(difference.changes(change.key)) == changes[index + 1 :]
    assert bool(difference) is bool(changes)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=6), SHAPES)
def test_differences_one_after_another_lead_to_each_catalog(states: list[list[Row]], of: CatalogShape) -> None:
    """Nothing is lost and nothing invented: applied to a dictionary they give what each catalog shows."""
    held: _Shown = {}
    before: Catalog | None = None
    for rows in states:
        after = build(rows, before, of=of)
        for change in Difference(before, after).changes():
            assert held.get(change.key) == change.was
            if change.now is None:
                del held[change.key]
            else:
                held[change.key] = change.now
        assert held == shown(rows, of)
        before = after


def test_what_went_there_and_back_is_nothing() -> None:
    first = build([Row()])
    second = build([Row(run=b"r2")], first)
    third = build([Row()], second)
    assert not Difference(first, third)


def test_row_that_changed_without_its_run_is_touched() -> None:
    (change,) = between([Row()], [Row(record_count=8)])
    assert change.kind is ChangeKind.TOUCHED
    assert change.now is not None and change.now.record_count == 8


def test_second_claim_of_a_path_retracts_what_was_shown_there() -> None:
    """V13: neither row is shown, so the one that was is retracted and the other never appears."""
    (change,) = between([Row(source=b"s1")], [Row(source=b"s1"), Row(source=b"s2")])
    assert (change.kind, change.key.series.source) == (ChangeKind.RETRACTED, b"s1")


def test_series_that_another_claims_a_path_of_no_more_appears() -> None:
    (change,) = between([Row(source=b"s1"), Row(source=b"s2")], [Row(source=b"s2")])
    assert (change.kind, change.key.series.source) == (ChangeKind.APPEARED, b"s2")


def test_another_source_at_the_same_path_is_two_changes() -> None:
    """By path it is a switch; by key one is gone and another is there."""
    changes = between([Row(source=b"s1")], [Row(source=b"s2")])
    assert [(change.kind.value, change.key.series.source) for change in changes] == [
        ("retracted", b"s1"),
        ("appeared", b"s2"),
    ]


def test_row_that_stands_twice_is_retracted() -> None:
    (change,) = between([Row()], [Row(), Row(run=b"r2")])
    assert change.kind is ChangeKind.RETRACTED


def test_changes_come_in_the_order_of_keys() -> None:
    rows = [Row(query=query, date=JUNE_1 + day) for query in (b"q2", b"q1") for day in (3, 1)]
    keys = [change.key for change in between([], rows)]
    assert keys == sorted(keys) and len(keys) == 4
