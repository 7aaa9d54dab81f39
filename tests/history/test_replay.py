"""What is written is what is read: every catalog, from any number of differences, with what it shares."""

from __future__ import annotations

import tempfile
import zlib
from array import array
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.history import packing
from readyfs.history.changes import NO_ROWS, Rows, SeriesChange, find_changes
from readyfs.history.packing import DamagedError, pack_pieces, unpack_piece
from readyfs.partition import SeriesKey
from readyfs.series_rows.columns import Columns
from tests.catalog.rows import JUNE_1, NOW_NS, ROWS, SHAPES, Row, as_series, build, contents, shape
from tests.history.kept import SECOND_NS, opened, record_all, segments


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), SHAPES)
def test_every_catalog_is_read_back_as_it_was(states: list[list[Row]], of: CatalogShape) -> None:
    """Whatever comes, goes, switches, is touched, becomes ambiguous or is withheld."""
    found = [build(rows, now_ns=NOW_NS + index, of=of) for index, rows in enumerate(states)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        with opened(path, of=of) as history:
            record_all(history, found)
            moments = history.moments()
        with opened(path, of=of) as history:
            assert history.moments() == moments
            history.record(found[-1], NOW_NS + 99 * SECOND_NS)
            assert history.moments() == moments
            for catalog in found:
                again = history.catalog(catalog.fingerprint, may_block=True)
                assert again is not None
                assert again.fingerprint == catalog.fingerprint
                assert contents(again) == contents(catalog)


@settings(max_examples=40, deadline=None)
@given(ROWS, ROWS, SHAPES)
def test_changes_of_named_dates_are_those_of_all(before: list[Row], after: list[Row], of: CatalogShape) -> None:
    old, new = build(before, of=of), build(after, of=of)
    named = {row.series: set(range(JUNE_1, JUNE_1 + 5)) for row in (*before, *after)}
    rows = Rows()
    for change in (*find_changes(None, old), *find_changes(old, new, named)):
        rows.add(change)
    catalog, _ = CatalogBuilder(of).build(rows.by_series(), None, NOW_NS)
    assert catalog.fingerprint == new.fingerprint


def test_a_catalog_that_is_read_shares_what_is_equal() -> None:
    first = build([Row(query=b"q1"), Row(query=b"q2")])
    second = build([Row(query=b"q1", run=b"r2"), Row(query=b"q2")], first)
    with tempfile.TemporaryDirectory() as directory:
        with opened(Path(directory)) as history:
            record_all(history, [first, second])
        with opened(Path(directory)) as history:
            history.record(second, NOW_NS)
            again = history.catalog(first.fingerprint, may_block=True)
    assert again is not None
    same = SeriesKey(b"s", b"c", b"q2")
    assert again.by_key[same] is second.by_key[same]
    assert again.directory((b"c", b"q2")) is second.directory((b"c", b"q2"))


def test_a_series_that_differs_shares_the_blocks_that_do_not() -> None:
    """So that a catalog from the disk takes the memory of what differs."""
    rows = [Row(date=JUNE_1 + index) for index in range(300)]
    first = build(rows)
    second = build([*rows[:-1], rows[-1]._replace(run=b"r2")], first)
    with tempfile.TemporaryDirectory() as directory:
        with opened(Path(directory)) as history:
            record_all(history, [first, second])
        with opened(Path(directory)) as history:
            history.record(second, NOW_NS)
            again = history.catalog(first.fingerprint, may_block=True)
    assert again is not None
    read, in_force = again.by_key[rows[0].series].blocks, second.by_key[rows[0].series].blocks
    assert len(read) == len(in_force) > 3
    assert [one is other for one, other in zip(read, in_force, strict=True)] == [True] * (len(read) - 1) + [False]
    # Nor does the one that differs hold columns of its own of all the rest.
    assert read[-1].base is in_force[-1].base or len(read[-1].base) < 64


def test_what_is_the_same_is_not_written() -> None:
    first = build([Row(date=JUNE_1 + index) for index in range(50)])
    second = build([Row(date=JUNE_1 + index, run=b"r2" if index == 7 else b"r1") for index in range(50)])
    (change,) = find_changes(first, second)
    assert list(change.rows.dates) == [JUNE_1 + 7]
    assert not change.is_whole
    assert not change.gone
    assert list(find_changes(first, build([Row(date=JUNE_1 + index) for index in range(50)]))) == []


def test_a_large_catalog_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PIECE_BYTES", 500)
    catalog = build([Row(query=b"q%d" % index, schema_version=b"v%d" % (index % 3)) for index in range(40)])
    pieces = list(pack_pieces(find_changes(None, catalog)))
    assert len(pieces) > 2
    read = [change for piece in pieces for change in unpack_piece(piece)]
    assert {change.key for change in read} == set(catalog.by_key)
    rows = Rows()
    for change in read:
        rows.add(change)
    assert CatalogBuilder(shape()).build(rows.by_series(), None, NOW_NS)[0].fingerprint == catalog.fingerprint


@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1])
def test_a_piece_that_makes_no_sense_is_damage(cut: int) -> None:
    (piece,) = pack_pieces(find_changes(None, build([Row()])))
    with pytest.raises(DamagedError):
        list(unpack_piece(piece[:cut]))


CHANGED: Final = [
    SeriesChange(
        SeriesKey(b"s", b"c", b"q%d" % number),
        Columns.of((JUNE_1 + day, runs[day % len(runs)], NOW_NS + day, day, versions[day % 3]) for day in range(12)),
        array("i", [JUNE_1 + 20 + number]),
        array("i", [JUNE_1 + 30 + number, JUNE_1 + 35]),
        number % 2 == 0,
    )
    for number, (runs, versions) in enumerate(
        [
            ([b"run", b"", b"longer run"], (b"1", None, b"")),
            ([b"%d" % number for number in range(12)], (b"2", b"2", b"2")),
            ([b"run"], (None, None, None)),
        ]
    )
]
CHANGED.append(SeriesChange(SeriesKey(b"s", b"c", b"gone"), NO_ROWS, array("i"), array("i"), True))
"""Runs that rows share and that they do not, versions of every kind, and a series that is gone."""


def test_every_change_is_read_back_as_it_was() -> None:
    (piece,) = pack_pieces(CHANGED)
    for change, read in zip(CHANGED, unpack_piece(piece), strict=True):
        assert list(read.rows) == list(change.rows)
        assert (read.key, read.is_whole) == (change.key, change.is_whole)
        assert (read.gone, read.ambiguous) == (change.gone, change.ambiguous)


def test_runs_and_versions_that_rows_share_are_one_object_when_they_are_read() -> None:
    """So that a catalog from the disk takes no more memory than one from a table."""
    dates = range(JUNE_1, JUNE_1 + 100)
    rows = [Row(query=b"q%d" % query, date=date, run=b"run of %d" % date) for query in range(3) for date in dates]
    versioned = [row._replace(schema_version=b"version %d" % (row.date % 2)) for row in rows]
    (piece,) = pack_pieces(find_changes(None, build(versioned)))
    read = list(unpack_piece(piece))
    for texts in ([one.rows.run_ids for one in read], [one.rows.schema_versions for one in read]):
        assert len({id(text) for text in chain(*texts)}) == len({*chain(*texts)})


@settings(deadline=None)
@given(st.integers(0, 999), st.binary(min_size=1, max_size=8))
def test_whatever_else_a_piece_says_is_damage_or_a_catalog(place: int, bytes_there: bytes) -> None:
    """A piece may be sound, and of somebody who does not know what it means, or means ill."""
    (piece,) = pack_pieces(CHANGED)
    text = bytearray(zlib.decompress(piece))
    place = min(place * len(text) // 999, len(text) - 1)
    text[place : place + len(bytes_there)] = bytes_there
    rows = Rows()
    try:
        for change in unpack_piece(zlib.compress(bytes(text))):
            rows.add(replace(change, is_whole=True))
    except DamagedError:
        return
    for of in (shape(), shape("by-date")):
        CatalogBuilder(of).build(rows.by_series(), None, NOW_NS)


def test_a_change_to_a_series_that_is_not_there_is_refused() -> None:
    key = SeriesKey(b"s", b"c", b"q")
    empty = NO_ROWS.dates
    with pytest.raises(KeyError):
        Rows().add(SeriesChange(key, as_series([Row()])[key].columns, empty, empty, False))


def test_a_catalog_of_nothing_is_kept(tmp_path: Path) -> None:
    found = [build([]), build([Row()]), build([])]
    with opened(tmp_path) as history:
        record_all(history, found)
    assert len(segments(tmp_path)) == 1
    with opened(tmp_path) as history:
        assert len(history.moments()) == 3
        again = history.catalog(found[0].fingerprint, may_block=True)
        assert again is not None
        assert contents(again) == {}
