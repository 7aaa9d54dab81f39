"""Rows packed while the transaction is open."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

import pytest

from readyfs.state.fetch import RowBuffer


class ListCursor:
    """A cursor over a list."""

    def __init__(self, rows: Sequence[Sequence[object]]) -> None:
        self._rows = list(rows)

    def fetchmany(self, size: int, /) -> Sequence[Sequence[object]]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows


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
