"""Telling from texts that SQLite made of values that none of these was a floating-point number.

As text such a number loses digits, so that two of them may look the same. To ask SQLite for the type of every value
costs as much as the values themselves. What the texts look like is a proof for nearly all tables: SQLite writes every
floating-point number with a decimal point, or as infinity.
"""

from __future__ import annotations

from typing import Final

from readyfs.state.rows.columns import NULL, SEPARATOR

_WHOLE: Final = b"0123456789-" + SEPARATOR + NULL
_SIGN_OF_TIME: Final = 10
"""After the date comes one of these in the text of a time; no number has either."""


def may_hold_reals(column: bytes, rows: int) -> bool:
    """Tell whether a floating-point number may be among so many texts, joined by the separator."""
    return not _are_times(column, rows) and bool(column.translate(None, _WHOLE))


def _are_times(column: bytes, rows: int) -> bool:
    """Tell whether all texts are equally long and have the form of a time where its date ends."""
    width = (len(column) + 1) // rows
    return (
        width > _SIGN_OF_TIME + 1
        and len(column) == width * rows - 1
        and column[width - 1 :: width] == SEPARATOR * (rows - 1)
        and column[_SIGN_OF_TIME::width] in (b"T" * rows, b" " * rows)
        and column.count(SEPARATOR) == rows - 1
    )
