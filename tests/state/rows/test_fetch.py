"""Rows packed while the transaction is open."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

import pytest

from readyfs.partition import WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.rows.fetch import ForeignCell, RowBuffer
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from tests.state.state_files import KEY, RUN, contract_row


class ListCursor:
    """A cursor over a list."""

    def __init__(self, rows: Sequence[Sequence[object]]) -> None:
        self._rows = list(rows)

    def fetchmany(self, size: int, /) -> Sequence[Sequence[object]]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows


class Unpicklable:
    """A cell that cannot be packed."""

    def __reduce__(self) -> str:
        raise RuntimeError("no")


class Unpackable:
    """A cell that can be packed and not unpacked."""

    def __init__(self, cell: object) -> None:
        self.cell = cell

    def __reduce__(self) -> tuple[type[Unpackable], tuple[()]]:
        return Unpackable, ()


class OwnZone(datetime.tzinfo):
    """A driver's time zone that cannot be unpacked, two hours east."""

    def __init__(self, name: str) -> None:
        self._name = name

    def utcoffset(self, _: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(hours=2)

    def dst(self, _: datetime.datetime | None) -> None:
        return None

    def tzname(self, _: datetime.datetime | None) -> str:
        return self._name


class DriverRow(tuple[object, ...]):
    """A row class of a driver's own."""


@pytest.mark.parametrize(
    "cells",
    [
        (b"\xff", "text", 1, 1.5, None, True),
        ("\ud800", 2**80),
        (Decimal("1.5"), datetime.date(2024, 6, 1), datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)),
    ],
)
def test_rows_come_back_in_order_and_unchanged(cells: tuple[object, ...]) -> None:
    rows = [(number, *cells) for number in range(3000)]
    buffer = RowBuffer()
    buffer.fill(ListCursor(rows))
    assert [row for chunk in buffer.drain() for row in chunk] == rows


def test_driver_rows_come_back_as_plain_rows() -> None:
    buffer = RowBuffer()
    buffer.fill(ListCursor([DriverRow((1, 2))]))
    assert [[tuple(row) for row in chunk] for chunk in buffer.drain()] == [[(1, 2)]]


def test_drain_gives_rows_once() -> None:
    buffer = RowBuffer()
    buffer.fill(ListCursor([(1,)]))
    assert list(buffer.drain())
    assert not list(buffer.drain())


def test_buffers_come_back_as_bytes_beside_cells_that_only_pickle_knows() -> None:
    buffer = RowBuffer()
    buffer.fill(ListCursor([(memoryview(b"\xff"), bytearray(b"a"), Decimal(7))]))
    assert list(buffer.drain()) == [[(b"\xff", b"a", Decimal(7))]]


def test_time_in_a_zone_of_the_drivers_own_comes_back_as_the_same_moment() -> None:
    moment = datetime.datetime(2024, 6, 1, 2, tzinfo=OwnZone("own"))
    buffer = RowBuffer()
    buffer.fill(ListCursor([(moment,)]))
    assert list(buffer.drain()) == [[(moment,)]]


@pytest.mark.parametrize("cell", [Unpicklable(), Unpackable(1), (byte for byte in b"")])
def test_cell_that_cannot_be_kept_withholds_its_row_alone(cell: object) -> None:
    """V15: one bad row is one bad row."""
    names = ("source", "customer_id", "query_name", "logical_date", "status", "current_run_id")
    good = (*(contract_row()[name] for name in names), None, Decimal(7), None)
    buffer = RowBuffer()
    buffer.fill(ListCursor([good, (*good[:7], cell, None), good]))
    parser = RowParser("success", Vocabulary(Filters()))
    for rows in buffer.drain():
        parser.feed(rows)
    assert parser.series()[KEY].run_ids == (RUN.encode(),) * 2
    assert parser.withheld.counts == {WithheldReason.BAD_ROW: 1}
    assert parser.withheld.examples[0].detail.startswith("record_count")
    assert type(cell).__name__ in parser.withheld.examples[0].detail


def test_every_cell_of_a_row_may_be_foreign() -> None:
    buffer = RowBuffer()
    buffer.fill(ListCursor([(Unpicklable(), Unpackable(1))]))
    assert list(buffer.drain()) == [[(ForeignCell("Unpicklable"), ForeignCell("Unpackable"))]]
