"""The names of the state table and its columns, and what to say when the table is not as configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from readyfs.errors import StateError
from readyfs.state.rows.parser import ROW_FIELDS
from readyfs.state.store import StateTable
from readyfs.text import escape_text

_OPTIONAL: Final = frozenset({"updated_at", "record_count", "schema_version", "error_message", "attempt_count"})
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


def find_columns(
    table: StateTable, present: Sequence[str], store: str, fields: Sequence[str] = ROW_FIELDS
) -> dict[str, str | None]:
    """Map each field to the column's name in the database, None for an optional one that is absent.

    Names are compared exactly first and then without regard to case, as databases do. Raises `StateError` that lists
    the columns that are there if a required one is missing.
    """
    folded = {name.casefold(): name for name in reversed(present)}
    columns: dict[str, str | None] = {}
    missing: list[str] = []
    for field in fields:
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
