"""The statements that read one PostgreSQL table: in chunks of pages, by row address, and by what changed.

Each column of a chunk comes as one text, concatenated by the server. A table that holds what cannot be written so, or
that is no table, has no plan and is read row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from readyfs.partition import render_date
from readyfs.state.filters import Filters
from readyfs.state.postgres.cells import is_plain, render_compact, render_ready, render_text
from readyfs.state.postgres.facts import Column, Relation
from readyfs.state.rows.columns import NULL, SEPARATOR
from readyfs.state.rows.parser import KEY_FIELDS, ROW_FIELDS

_CELL_FIELDS: Final = tuple(field for field in ROW_FIELDS if field != "status")
_TABLE: Final = "r"
_PARTITIONED: Final = "p"
"""Kinds of relations (pg_class.relkind): the rows of a partitioned table are in its partitions."""
_BARE: Final = frozenset({"text", "varchar"})
"""Types that are compared with texts as they are, so that an index serves."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How to read a table; `leaves` are the relations that hold its rows, their names quoted.

    `can_patch` says whether row versions tell all that changed; `signature` stands for everything that this depends on.
    """

    leaves: tuple[Relation, ...]
    columns: Mapping[str, Column | None]
    conditions: str
    parameters: tuple[object, ...]
    can_patch: bool
    signature: tuple[object, ...]

    def pages(self, leaf: Relation) -> str:
        """Return the statement for the ready rows within a range of pages: parameters its first and end address."""
        return f"{self._select(leaf)} WHERE ctid >= %s::tid AND ctid < %s::tid AND {self.conditions}"

    def page_cells(self, leaf: Relation) -> str:
        """Return the statement for the same rows one by one, without their status."""
        cells = ", ".join(self._text(field) for field in _CELL_FIELDS)
        return f"SELECT {cells} FROM ONLY {leaf.name} WHERE ctid >= %s::tid AND ctid < %s::tid AND {self.conditions}"

    def addressed(self, leaf: Relation) -> str:
        """Return the statement for the ready rows at given addresses: parameter an array of them."""
        return f"{self._select(leaf)} WHERE ctid = ANY (%s::tid[]) AND {self.conditions}"

    def unready(self, leaf: Relation) -> str:
        """Return the statement for the keys of the other rows at given addresses."""
        keys = ", ".join(_concatenate(self._text(field)) for field in KEY_FIELDS)
        where = f"ctid = ANY (%s::tid[]) AND ({self.conditions}) IS NOT TRUE"
        return f"SELECT count(*), {keys} FROM ONLY {leaf.name} WHERE {where}"

    def changed_by(self, leaf: Relation) -> str:
        """Return the statement that counts all rows and lists the addresses of those versions that are new.

        Its parameter is an array of the transactions that may have written these. Nothing but the headers of rows is
        looked at, and nothing keeps a server from doing it with several processes.
        """
        return self._changed(leaf, "xmin = ANY (%s::xid[])")

    def changed_since(self, leaf: Relation) -> str:
        """Return the same for any number of transactions: its parameter is the horizon from which on they are new."""
        return self._changed(leaf, "age(xmin) <= age(%s::xid)")

    def ready(self, leaf: Relation) -> str:
        """Return the statement that counts the ready rows."""
        return f"SELECT count(*) FROM ONLY {leaf.name} WHERE {self.conditions}"

    def counts(self, leaf: Relation) -> str:
        """Return the statement that counts the ready rows of each series, with sums over their days.

        They are those of the days since 0001-01-01 and of their squares, NULL where dates are of a type without days.
        """
        date, sums = self.columns["logical_date"], "NULL, NULL"
        if date is not None and date.type_name == "date":
            # No infinite date is that of a row that is served.
            day, served = f"({date.quoted} - '0001-01-01'::date)", f"FILTER (WHERE isfinite({date.quoted}))"
            sums = f"(sum({day}) {served})::text, (sum({day}::int8 * {day}) {served})::text"
        return f"SELECT {self._series}, count(*), {sums} FROM ONLY {leaf.name} WHERE {self.conditions} GROUP BY 1, 2, 3"

    def of_series(self, leaf: Relation) -> str:
        """Return the statement for the ready rows of some series: parameters three arrays, of the parts of keys."""
        wanted = [f'"wanted {field}"' for field in KEY_FIELDS[:3]]
        # Compared as they are, texts can be found by an index; their collation may find more.
        same = " AND ".join(
            f"{text} = {name}"
            for field, name in zip(KEY_FIELDS[:3], wanted, strict=True)
            for text in self._texts(field)
        )
        keys = f"unnest(%s::text[], %s::text[], %s::text[]) AS wanted ({', '.join(wanted)})"
        return f"{self._select(leaf)} JOIN {keys} ON {same} WHERE {self.conditions}"

    def _changed(self, leaf: Relation, is_new: str) -> str:
        return f"SELECT count(*), array_agg(ctid) FILTER (WHERE {is_new})::text FROM ONLY {leaf.name}"

    def _texts(self, field: str) -> tuple[str, ...]:
        column = self.columns[field]
        bare = (column.quoted,) if column is not None and column.type_name in _BARE else ()
        return (*bare, self._text(field))

    def _select(self, leaf: Relation) -> str:
        cells = ", ".join(_concatenate(self._text(field)) for field in _CELL_FIELDS)
        return f"SELECT count(*), {cells} FROM ONLY {leaf.name}"

    @property
    def _series(self) -> str:
        return ", ".join(self._text(field) for field in KEY_FIELDS[:3])

    def _text(self, field: str) -> str:
        column = self.columns[field]
        return "NULL::text" if column is None else render_compact(field, column)


def plan_table(
    relations: Sequence[Relation], found: Mapping[str, str | None], ready: str, filters: Filters
) -> TablePlan | None:
    """Return how to read a table with all that inherits from it; None if it must be read row by row.

    `found` maps `ROW_FIELDS` to the names of columns, None for one that is absent.
    """
    root = relations[0]
    leaves = tuple(one for one in relations if one.kind == _TABLE)
    if any(one.kind not in (_TABLE, _PARTITIONED) or not one.is_readable for one in relations):
        return None
    # Rules of row level security may say anything, and those of a parent do not hold for its children by themselves.
    if any(one.is_guarded for one in relations) or not all(leaf.is_heap and leaf.pages is not None for leaf in leaves):
        return None
    columns = {field: None if name is None else root.columns[name] for field, name in found.items()}
    if not all(column is None or is_plain(field, column) for field, column in columns.items()):
        return None
    key = {column.number for column in (columns[field] for field in KEY_FIELDS) if column is not None}
    conditions, parameters, is_exact = _conditions(columns, ready, filters)
    return TablePlan(
        leaves=leaves,
        columns=columns,
        conditions=conditions,
        parameters=parameters,
        can_patch=is_exact
        and any(unique <= key for unique in root.unique_keys)
        and (root.kind == _PARTITIONED or len(leaves) == 1),  # a key is not shared with what merely inherits
        signature=(tuple(one.identity for one in relations), tuple(found.items())),
    )


def _concatenate(text: str) -> str:
    return f"string_agg(coalesce({text}, '{NULL.decode()}'), '{SEPARATOR.decode()}')"


def _conditions(
    columns: Mapping[str, Column | None], ready: str, filters: Filters
) -> tuple[str, tuple[object, ...], bool]:
    """Return the condition of a ready row with its parameters, and whether it says all that the filters say."""
    status = columns["status"]
    assert status is not None
    condition, values = render_ready(status, ready)
    conditions, parameters, is_exact = render_filters(columns, filters)
    return " AND ".join([condition, *conditions]), (*values, *parameters), is_exact


def render_filters(
    columns: Mapping[str, Column | None], filters: Filters
) -> tuple[list[str], tuple[object, ...], bool]:
    """Return conditions with their parameters that let no fewer rows pass than filters, and whether no more either."""
    conditions: list[str] = []
    parameters: list[object] = []
    is_exact = True
    wanted = (("source", filters.sources), ("customer_id", filters.customers), ("query_name", filters.queries))
    for field, patterns in wanted:
        column = columns[field]
        if patterns and column is not None and all(map(_is_literal, patterns)):
            conditions.append(f"{render_text(column)} = ANY (%s)")
            parameters.append(list(patterns))
        elif patterns:
            is_exact = False
    if filters.since is not None or filters.until is not None:
        date = columns["logical_date"]
        if date is not None and date.type_name == "date":
            for sign, ordinal in ((">=", filters.since), ("<=", filters.until)):
                if ordinal is not None:
                    conditions.append(f"{date.quoted} {sign} %s::date")
                    parameters.append(render_date(ordinal).decode())
        else:
            is_exact = False
    return conditions, tuple(parameters), is_exact


def _is_literal(pattern: str) -> bool:
    return not set("*?[") & set(pattern) and pattern.isprintable()
