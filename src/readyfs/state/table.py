"""The one statement that reads the state table, and what to say when the table is not as configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.types import NullType

from readyfs.errors import StateError
from readyfs.state.rows.parser import ROW_FIELDS
from readyfs.state.store import StateTable
from readyfs.text import escape_text

_OPTIONAL: Final = frozenset({"updated_at", "record_count", "schema_version"})
_LISTED_NAMES: Final = 40


def split_table(table: StateTable) -> tuple[str | None, str]:
    """Return schema (None without one) and name."""
    schema, _, name = table.table.rpartition(".")
    return schema or None, name


def list_names(names: Sequence[str]) -> str:
    """Return names for a message, escaped, the first ones of many."""
    shown = ", ".join(escape_text(name) for name in sorted(names)[:_LISTED_NAMES])
    if len(names) > _LISTED_NAMES:
        shown += f" and {len(names) - _LISTED_NAMES} more"
    return shown or "none"


def missing_table(table: StateTable, store: str, present: Sequence[str]) -> StateError:
    """Return the error for a table that is not there."""
    return StateError(
        f"state store {store} has no table {escape_text(table.table)} (tables there: {list_names(present)})",
        "name the table with --state-table",
    )


def find_columns(table: StateTable, present: Sequence[str], store: str) -> dict[str, str | None]:
    """Map each of `ROW_FIELDS` to the column's name in the database, None for an optional one that is absent.

    Names are compared exactly first and then without regard to case, as databases do. Raises `StateError` that lists
    the columns that are there if a required one is missing.
    """
    folded = {name.casefold(): name for name in reversed(present)}
    columns: dict[str, str | None] = {}
    missing: list[str] = []
    for field in ROW_FIELDS:
        wanted: str = getattr(table, field)
        found = wanted if wanted in present else folded.get(wanted.casefold())
        columns[field] = found
        if found is None and field not in _OPTIONAL:
            missing.append(field)
    if missing:
        flags = ", ".join(f"--column-{field.replace('_', '-')}" for field in missing)
        raise StateError(
            f"table {escape_text(table.table)} of state store {store} has no column "
            f"{list_names([getattr(table, field) for field in missing])} (columns there: {list_names(present)})",
            f"name the column with {flags}",
        )
    return columns


def all_rows(
    table: StateTable, columns: dict[str, str | None], cells: Mapping[str, sa.ColumnElement[Any]] | None = None
) -> sa.Select[Any]:
    """Return the statement that selects all rows, cells in the order of `ROW_FIELDS`.

    Columns have no type, so that no cell is converted on its way; `cells` holds those that are to be read in another
    form. An absent column is selected as NULL.
    """
    schema, name = split_table(table)
    untyped = {column: sa.column(column, NullType()) for column in columns.values() if column is not None}
    source = sa.table(name, *untyped.values(), schema=schema)
    selected: list[sa.ColumnElement[Any]] = []
    for field in ROW_FIELDS:
        column = columns[field]
        if column is None:
            selected.append(sa.null().label(f"absent_{field}"))
        else:
            selected.append(untyped[column] if cells is None else cells.get(field, untyped[column]))
    return sa.select(*selected).select_from(source)
