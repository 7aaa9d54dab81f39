"""The columns of a table in any other database: their names, and of which type they are as far as that matters here.

MySQL and MariaDB are asked by `information_schema`, which shows a column to whoever may read it. SQLAlchemy would ask
with SHOW CREATE TABLE, and that needs the right SHOW VIEW on a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIT
from sqlalchemy.exc import CompileError, NoSuchTableError
from sqlalchemy.types import NullType

MYSQL: Final = frozenset({"mysql", "mariadb"})
"""SQLAlchemy's names for both."""

_MYSQL_COLUMNS: Final = sa.text(
    "SELECT column_name, data_type, column_type, numeric_scale, collation_name FROM information_schema.columns "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name ORDER BY ordinal_position"
)
_TEXTS: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
_BINARIES: Final = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type to SQLAlchemy, `NullType` where that is of no interest, and as its database writes it.

    `is_compared_as_text` says that the database compares it with text letter by letter, or by its collation, as it is.
    """

    kind: sa.types.TypeEngine[Any]
    declared: str
    is_compared_as_text: bool
    collation: str | None = None


def look_at_columns(connection: sa.Connection, schema: str | None, name: str) -> dict[str, Column]:
    """Return the columns of a table or view, in their order; none if there is no such table."""
    if connection.dialect.name in MYSQL:
        rows = connection.execute(_MYSQL_COLUMNS, {"schema": schema, "name": name})
        return {column: _mysql_column(*facts) for column, *facts in map(_decode_all, rows)}
    try:
        found = sa.inspect(connection).get_columns(name, schema)
    except NoSuchTableError:
        return {}
    return {one["name"]: _column(connection.dialect, one["type"]) for one in found}


def _mysql_column(data_type: str, column_type: str, scale: int | None, collation: str | None) -> Column:
    kind: sa.types.TypeEngine[Any]
    match data_type.lower():
        case text if text in _TEXTS:
            kind = sa.String()
        case binary if binary in _BINARIES:
            kind = sa.LargeBinary()
        case "date":
            kind = sa.Date()
        case "datetime" | "timestamp":
            kind = sa.DateTime()
        case "bit":
            kind = BIT(int(column_type.partition("(")[2].rstrip(")") or 1))
        case "tinyint" if column_type.lower().startswith("tinyint(1)"):
            kind = sa.Boolean()
        case "decimal":
            kind = sa.Numeric(scale=scale)
        case _:
            kind = NullType()
    return Column(kind, column_type, isinstance(kind, sa.String | sa.LargeBinary), collation)


def _column(dialect: sa.Dialect, kind: sa.types.TypeEngine[Any]) -> Column:
    try:
        declared = kind.compile(dialect=dialect)
    except CompileError:
        declared = repr(kind)
    # PostgreSQL takes no word for an enum that the enum does not have.
    return Column(kind, declared, isinstance(kind, sa.String) and not isinstance(kind, sa.Enum))


def _decode_all(row: sa.Row[Any]) -> tuple[Any, ...]:
    # MySQL 8 gives some columns of information_schema as bytes.
    return tuple(cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in row)
