"""The condition of a ready row in SQLite, where a comparison depends on how the column was declared.

A value keeps its storage class whatever column it is in, and a view or an expression shows it without the affinity that
the table's column has (sqlite.org/datatype3.html, sections 3 and 4.2). So `status = '1'` finds the number 1 in a table
and not in a view of it. Here the storage class decides: text letter by letter, a blob by its bytes, numbers as they are
written, 1 and 0 also by the words for booleans, as which SQLite has them.
"""

from __future__ import annotations

from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.types import NullType

from readyfs.state.rows.status import number_of_truth


def is_ready(column: str, ready: str) -> sa.ColumnElement[bool]:
    """Return the condition of a ready row, for which an index of the status serves."""
    status = sa.column(column, NullType())
    # Whatever affinity the column has, it turns one of these into what it holds; what is found too much is judged next.
    candidates = (ready, _encode(ready), _parse_number(number_of_truth(ready)))
    likely = sa.or_(*(status == sa.literal(one, NullType()) for one in candidates if one is not None))
    return sa.and_(likely, _says_ready(column, ready))


def render_is_ready(column: str, ready: str) -> tuple[str, tuple[object, ...]]:
    """Return the condition as SQL for a scan, which no index shall tempt away, with its parameters."""
    sql, parameters = compile_statement(_says_ready(column, ready))
    return f"({sql})", parameters


def compile_statement(statement: sa.ClauseElement) -> tuple[str, tuple[object, ...]]:
    """Return a statement, or a part of one, as SQL with the parameters for its question marks."""
    compiled = statement.compile(dialect=SQLiteDialect_pysqlite())
    names = getattr(compiled, "positiontup", None) or ()
    return str(compiled), tuple(compiled.params[name] for name in names)


def _says_ready(column: str, ready: str) -> sa.ColumnElement[bool]:
    """Return the judgement of a single value; what is usual comes first, since every row of a table is judged."""
    status = sa.column(column, NullType())
    kind, text = sa.func.typeof(status), sa.cast(status, sa.Text).collate("BINARY")
    number = sa.literal(number_of_truth(ready), NullType())
    return sa.or_(
        text == sa.literal(ready, NullType()),
        # As text a number with a fraction always has a decimal point, be it `1.0`.
        sa.and_(
            sa.or_(kind == "integer", kind == "real"), sa.or_(text == number, sa.func.printf("%.15g", status) == number)
        ),
        # Only in a database of another encoding than UTF-8 does its text say otherwise.
        sa.and_(kind == "blob", status == sa.literal(_encode(ready), NullType())),
    )


def _encode(ready: str) -> bytes:
    return ready.encode("utf-8", "surrogateescape")


def _parse_number(word: str) -> int | float | None:
    """Return the number that a word writes, None if it writes none that SQLite can hold."""
    with suppress(ValueError, OverflowError):
        number = int(word)
        return number if -(2**63) <= number < 2**63 else float(number)
    with suppress(ValueError):
        return float(word)
    return None
