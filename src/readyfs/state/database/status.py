"""The status in any other database, compared as text on both sides, whatever type the column has.

A comparison of a number with a word would turn the word into a number (0 for most), and one of an enum or JSON with a
word that it does not know may be an error. A column that is text already is compared as it is, so that an index serves.
What a type means by a word is the same here as in the stores of SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIT
from sqlalchemy.dialects.postgresql import BIT as POSTGRES_BIT
from sqlalchemy.types import NullType

from readyfs.state.database.columns import MYSQL, Column
from readyfs.state.rows.status import number_of_truth

_LONGEST: Final = 1000
"""Characters of what is no text, as text; every database can compare so many."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,28}(\.[0-9]{1,10})?")


@dataclass(frozen=True, slots=True)
class StatusColumn:
    """The status of a row: as text, the condition that it is the ready word, and the cell that is read.

    The cell is the ready word itself where the condition holds of what is no text, so that no two judges differ.
    """

    text: sa.ColumnElement[Any]
    is_ready: sa.ColumnElement[bool]
    cell: sa.ColumnElement[Any]

    @classmethod
    def of(cls, name: str, column: Column, dialect: str, ready: str) -> Self:
        """Return all of this for the status column of a table."""
        status = sa.column(name, NullType())
        word = sa.bindparam("ready", ready, type_=NullType(), unique=True)
        if column.is_compared_as_text:
            return cls(status, status == word, status.label("text_status"))
        text = _as_text(status, column.kind, dialect)
        is_ready = _condition(status, text, column.kind, dialect, ready)
        cell = sa.case((is_ready, sa.bindparam("said", ready, type_=sa.String(), unique=True)), else_=text)
        return cls(text, is_ready, cell.label("text_status"))


def _as_text(status: sa.ColumnElement[Any], kind: sa.types.TypeEngine[Any], dialect: str) -> sa.ColumnElement[Any]:
    if dialect in MYSQL and isinstance(kind, BIT):
        status = status.op("+")(sa.literal_column("0"))  # as text a bit is the character of its number
    elif dialect in MYSQL and isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float) and kind.scale:
        status = status.op("+")(sa.literal_column("0e0"))  # 1 and not 1.0
    return sa.cast(status, sa.String(_LONGEST))


def _condition(
    status: sa.ColumnElement[Any],
    text: sa.ColumnElement[Any],
    kind: sa.types.TypeEngine[Any],
    dialect: str,
    ready: str,
) -> sa.ColumnElement[bool]:
    """Return whether a status that is no text says the ready word."""
    words = [ready]
    match kind:
        case sa.Boolean() if dialect == "postgresql":
            words = {"1": ["true"], "0": ["false"]}.get(number_of_truth(ready), [])
        case sa.Boolean() | POSTGRES_BIT():
            words = [ready, number_of_truth(ready)]
        case BIT() if kind.length == 1:
            words = [ready, number_of_truth(ready)]
        case sa.JSON():
            words = [ready, json.dumps(ready, ensure_ascii=False)]
        case sa.LargeBinary():
            return status == sa.literal(ready.encode("utf-8", "surrogateescape"), sa.LargeBinary())
        case sa.Numeric() if not isinstance(kind, sa.Float) and _NUMBER.fullmatch(ready):
            return status == sa.cast(sa.literal(ready, sa.String()), sa.Numeric(38, 10))
    return sa.or_(sa.false(), *(text == sa.literal(word, sa.String()) for word in dict.fromkeys(words)))
