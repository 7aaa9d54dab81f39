"""The statement that reads a relation of any kind row by row: a view, or a table with types that chunks do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from readyfs.state.postgres.cells import Reader, choose_reader, render_cell, render_indexed, render_ready
from readyfs.state.postgres.facts import Relation
from readyfs.state.postgres.plan import CELL_FIELDS
from readyfs.state.rows.parser import Row


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How to read a relation: a statement for its ready rows without their status, and readers of cells by place."""

    statement: str
    parameters: tuple[object, ...]
    readers: tuple[tuple[int, Reader], ...]

    def read(self, rows: Iterable[Row]) -> Iterator[tuple[object, ...]]:
        """Yield rows of texts, as the statement gives them, as rows of cells."""
        for row in rows:
            cells = list(row)
            for place, reader in self.readers:
                text = cells[place]
                if isinstance(text, bytes):
                    cells[place] = reader(text)
            yield tuple(cells)


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
    for place, field in enumerate(CELL_FIELDS):
        column = columns[field]
        texts.append("NULL::text" if column is None else render_cell(field, column))
        reader = None if column is None else choose_reader(field, column)
        if reader is not None:
            readers.append((place, reader))
    where = " AND ".join(condition for condition, _ in conditions)
    return RowPlan(
        f"SELECT {', '.join(texts)} FROM {relation.name} WHERE {where}",
        tuple(value for _, values in conditions for value in values),
        tuple(readers),
    )
