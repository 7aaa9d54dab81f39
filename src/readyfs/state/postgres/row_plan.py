"""The statement that reads a relation of any kind row by row: a view, or a table with types that chunks do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from readyfs.state.postgres.cells import Reader, choose_reader, render_indexed, render_ready, render_text
from readyfs.state.postgres.facts import Relation
from readyfs.state.rows.columns import NULL
from readyfs.state.rows.parser import ROW_FIELDS, Row


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How to read a relation: a statement for its ready rows as texts, and readers of cells by place.

    Cells stand in the order of `ROW_FIELDS`. The status comes as the word that it was found to be.
    """

    statement: str
    parameters: tuple[object, ...]
    readers: tuple[tuple[int, Reader], ...]

    def read(self, rows: list[Row]) -> list[Row]:
        """Return rows of texts, as the statement gives them, as rows of cells."""
        if not self.readers:
            return rows
        return [self._read(list(row)) for row in rows]

    def _read(self, cells: list[object]) -> Row:
        for place, reader in self.readers:
            text = cells[place]
            if isinstance(text, bytes):
                cells[place] = reader(text)
        return cells


def plan_rows(relation: Relation, found: Mapping[str, str | None], ready: str) -> RowPlan:
    """Return how to read a relation row by row; `found` maps `ROW_FIELDS` to the names of columns."""
    columns = {field: None if name is None else relation.columns[name] for field, name in found.items()}
    status = columns["status"]
    assert status is not None
    conditions = [render_ready(status, ready)]
    indexed = render_indexed(status, ready)
    if indexed is not None:
        conditions.insert(0, indexed)
    texts, readers = [], []
    for place, field in enumerate(ROW_FIELDS):
        column = columns[field]
        if field == "status":
            texts.append("%s::text")
        elif column is None:
            texts.append("NULL::text")
        else:
            # As in a chunk, where this text stands for NULL.
            texts.append(f"nullif({render_text(column)}, '{NULL.decode()}')")
            reader = choose_reader(field, column)
            if reader is not None:
                readers.append((place, reader))
    where = " AND ".join(condition for condition, _ in conditions)
    return RowPlan(
        f"SELECT {', '.join(texts)} FROM {relation.name} WHERE {where}",
        (ready, *(value for _, values in conditions for value in values)),
        tuple(readers),
    )
