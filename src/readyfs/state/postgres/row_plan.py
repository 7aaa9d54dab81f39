"""The statements that read a relation of any kind row by row: a view, or a table with types that chunks do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from readyfs.state.postgres.cells import Reader, choose_reader, render_indexed, render_ready, render_text
from readyfs.state.postgres.facts import Column, Relation
from readyfs.state.rows.columns import NULL
from readyfs.state.rows.judge import SAYS_FAILED, SAYS_OTHER, SAYS_READY
from readyfs.state.rows.parser import ROW_FIELDS, Row


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How to read a relation: a statement for rows as texts, what it selects, and readers of cells by place."""

    statement: str
    cells: tuple[str, ...]
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
    """Return how to read ready rows; `found` maps `ROW_FIELDS` to the names of columns.

    Cells stand in the order of `ROW_FIELDS`. The status comes as the word that it was found to be.
    """
    status = _status_of(relation, found)
    conditions = [render_ready(status, ready)]
    indexed = render_indexed(status, ready)
    if indexed is not None:
        conditions.insert(0, indexed)
    cells, readers = _cells(relation, {field: name for field, name in found.items() if field != "status"})
    # As in a chunk, where this text stands for NULL.
    cells = [f"nullif({cell}, '{NULL.decode()}')" for cell in cells]
    cells.insert(ROW_FIELDS.index("status"), "%s::text")
    where = " AND ".join(condition for condition, _ in conditions)
    return RowPlan(
        f"SELECT {', '.join(cells)} FROM {relation.name} WHERE {where}",
        tuple(cells),
        (ready, *(value for _, values in conditions for value in values)),
        tuple((ROW_FIELDS.index(field), reader) for field, reader in readers),
    )


def plan_judged_rows(relation: Relation, found: Mapping[str, str | None], ready: str, failed: str) -> RowPlan:
    """Return how to read all rows, in any status: first the verdict on it, then the cells of all fields."""
    status = _status_of(relation, found)
    (is_ready, ready_values), (is_failed, failed_values) = render_ready(status, ready), render_ready(status, failed)
    verdict = f"CASE WHEN {is_ready} THEN {SAYS_READY} WHEN {is_failed} THEN {SAYS_FAILED} ELSE {SAYS_OTHER} END"
    cells, readers = _cells(relation, found)
    places = {field: place for place, field in enumerate(found, 1)}
    return RowPlan(
        f"SELECT {verdict}, {', '.join(cells)} FROM {relation.name}",
        (verdict, *cells),
        (*ready_values, *failed_values),
        tuple((places[field], reader) for field, reader in readers),
    )


def _status_of(relation: Relation, found: Mapping[str, str | None]) -> Column:
    name = found["status"]
    assert name is not None
    return relation.columns[name]


def _cells(relation: Relation, found: Mapping[str, str | None]) -> tuple[list[str], list[tuple[str, Reader]]]:
    """Return the texts of fields as SQL, in their order, and what makes cells of those that are more than text."""
    texts, readers = [], []
    for field, name in found.items():
        if name is None:
            texts.append("NULL::text")
            continue
        column = relation.columns[name]
        texts.append(render_text(column))
        reader = choose_reader(field, column)
        if reader is not None:
            readers.append((field, reader))
    return texts, readers
