"""The status in any other database, compared as text on both sides, whatever type the column has.

A comparison of a number with a word would turn the word into a number (0 for most), and one of an enum or JSON with a
word that it does not know may be an error. A column that is text already is compared as it is, so that an index serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIT
from sqlalchemy.types import NullType

from readyfs.state.database.columns import MYSQL, Column
from readyfs.state.rows.status import TRUTHS

_LONGEST: Final = 1000
"""Characters of what is no text, as text; every database can compare so many."""
_WITHOUT_BOOLEANS: Final = MYSQL | {"mssql"}
"""Databases in which a column for truths holds 1 and 0."""


@dataclass(frozen=True, slots=True)
class StatusColumn:
    """The cell of a row's status as text, and the condition that it is the ready word."""

    text: sa.ColumnElement[Any]
    is_ready: sa.ColumnElement[bool]

    @classmethod
    def of(cls, name: str, column: Column, dialect: str, ready: str) -> Self:
        """Return both for the status column of a table."""
        text = _as_text(sa.column(name, NullType()), column, dialect, ready)
        return cls(text.label("text_status"), text == sa.bindparam("ready", ready, type_=NullType()))


def _as_text(cell: sa.ColumnElement[Any], column: Column, dialect: str, ready: str) -> sa.ColumnElement[Any]:
    kind = column.kind
    if column.is_compared_as_text:
        return cell
    if dialect in MYSQL and isinstance(kind, BIT):
        # As text a bit is the character of its number.
        number: sa.ColumnElement[Any] = cell.op("+")(sa.literal_column("0"))
    elif dialect in MYSQL and isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float) and kind.scale:
        number = cell.op("+")(sa.literal_column("0e0"))  # 1 and not 1.0
    else:
        number = cell
    text = sa.cast(number, sa.String(_LONGEST))
    is_truth = isinstance(kind, sa.Boolean) or (isinstance(kind, BIT) and kind.length == 1)
    if is_truth and dialect in _WITHOUT_BOOLEANS and ready in TRUTHS:
        is_true = cell == sa.literal_column("1")
        is_false = cell == sa.literal_column("0")
        return sa.case((is_true, sa.literal_column("'true'")), (is_false, sa.literal_column("'false'")), else_=text)
    return text
