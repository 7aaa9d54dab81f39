"""No floating-point number hides among the texts that SQLite makes of values."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readyfs.state.rows.columns import NULL, SEPARATOR
from readyfs.state.sqlite.reals import may_hold_reals

TIME = b"2024-06-02T05:00:00.123456+00:00"


@given(st.floats(allow_nan=False), st.sampled_from([b"7", NULL, TIME, b"-3", b"20240601", b"2024-06-01"]))
@example(1e300, TIME)
@example(float("inf"), b"7")
@example(float("-inf"), b"7")
@example(1717304400.123456, TIME)
def test_floating_point_number_is_suspected(number: float, other: bytes) -> None:
    """V15: whatever it is, alone or beside another value."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes
        (text,) = connection.execute("SELECT group_concat(column1) FROM (VALUES (?))", (number,)).fetchone()
    assert may_hold_reals(text, 1)
    assert may_hold_reals(SEPARATOR.join((text, other)), 2)
    assert may_hold_reals(SEPARATOR.join((other, text, other)), 3)


@pytest.mark.parametrize("text", [b"7", b"-7", b"20240601", b"2024-06-01", TIME, b"2024-06-02 05:00:00.5", NULL])
def test_usual_values_are_not_suspected(text: bytes) -> None:
    """SQLite need not be asked for their types, which costs as much as the values."""
    assert not may_hold_reals(text, 1)
    assert not may_hold_reals(SEPARATOR.join([text] * 128), 128)
