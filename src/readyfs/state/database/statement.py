"""The one statement by which SQLAlchemy reads a state table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import NullType

from readyfs.state.store import StateTable
from readyfs.state.table import split_table


def all_rows(
    table: StateTable, columns: dict[str, str | None], cells: Mapping[str, sa.ColumnElement[Any]] | None = None
) -> sa.Select[Any]:
    """Return the statement that selects all rows, cells in the order of `columns`.

    Columns have no type, so that no cell is converted on its way; `cells` holds those that are to be read in another
    form. An absent column is selected as NULL.
    """
    schema, name = split_table(table)
    untyped = {column: sa.column(column, NullType()) for column in columns.values() if column is not None}
    source = sa.table(name, *untyped.values(), schema=schema)
    selected: list[sa.ColumnElement[Any]] = []
    for field, column in columns.items():
        if column is None:
            selected.append(sa.null().label(f"absent_{field}"))
        else:
            selected.append(untyped[column] if cells is None else cells.get(field, untyped[column]))
    return sa.select(*selected).select_from(source)
