"""The statements by which a table of any other database is read, made for the table as it is at each load."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import CHAR
from sqlalchemy.types import NullType

from readyfs.partition import SeriesKey
from readyfs.state.database.columns import MYSQL, Column, look_at_columns
from readyfs.state.database.statement import all_rows
from readyfs.state.database.status import StatusColumn
from readyfs.state.filters import Filters
from readyfs.state.rows.judge import MAY_SAY, SAYS_FAILED, SAYS_OTHER, SAYS_READY
from readyfs.state.rows.parser import KEY_FIELDS, ROW_FIELDS
from readyfs.state.store import StateTable
from readyfs.state.table import find_columns, missing_table, split_table

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_CREATED: Final = sa.text(
    "SELECT create_time FROM information_schema.tables "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
)
"""MySQL's and MariaDB's: another table under the same name."""


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """How to read one table. `identity` is equal as long as nothing says that it is another one."""

    table: StateTable
    columns: dict[str, str | None]
    cells: Mapping[str, sa.ColumnElement[Any]]
    is_ready: sa.ColumnElement[bool]
    status: sa.ColumnElement[Any]
    verdict: sa.ColumnElement[Any]
    declared_status: str
    wanted: tuple[sa.ColumnElement[bool], ...]
    texts: frozenset[str]
    dialect: str
    is_judged_here: bool
    time_type: sa.DateTime | None
    identity: Hashable

    @classmethod
    def look(
        cls,
        connection: sa.Connection,
        table: StateTable,
        filters: Filters,
        label: str,
        fields: Sequence[str] = ROW_FIELDS,
    ) -> DatabasePlan:
        """Look at the table, to read these fields; raise `StateError` if it is not as configured."""
        schema, name = split_table(table)
        present = look_at_columns(connection, schema, name)
        if not present:
            inspector = sa.inspect(connection)
            names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            raise missing_table(table, label, names)
        found = find_columns(table, list(present), label, fields)
        columns = {field: present[column] for field, column in found.items() if column is not None}
        dialect = connection.dialect.name
        time_type = columns["updated_at"].kind if "updated_at" in columns else None
        created: tuple[object, ...] = ()
        if dialect in MYSQL:
            created = tuple(map(tuple, connection.execute(_CREATED, {"schema": schema, "name": name})))
        assert found["status"] is not None
        status = StatusColumn.of(found["status"], columns["status"], dialect, table.ready)
        return cls(
            table=table,
            columns=found,
            cells={**_plain_cells(found, columns, dialect), "status": status.cell},
            status=status.text,
            verdict=_verdict(
                status,
                StatusColumn.of(found["status"], columns["status"], dialect, table.failed),
                is_judged_here=columns["status"].is_compared_as_text,
            ),
            is_ready=status.is_ready,
            declared_status=columns["status"].declared,
            wanted=tuple(_conditions(found, columns, filters)),
            texts=frozenset(field for field, column in columns.items() if _is_text(column.kind)),
            dialect=dialect,
            is_judged_here=columns["status"].is_compared_as_text,
            time_type=time_type if isinstance(time_type, sa.DateTime) else None,
            identity=(created, tuple(found.items()), *((one.declared, one.collation) for one in columns.values())),
        )

    def ready(self) -> sa.Select[Any]:
        """Return the statement for the ready rows, cells in the order of `ROW_FIELDS`."""
        return self._rows().where(self.is_ready, *self.wanted)

    def count(self) -> sa.Select[Any]:
        """Return the statement that counts the ready rows."""
        schema, name = split_table(self.table)
        source = sa.table(name, schema=schema)
        return sa.select(sa.func.count()).select_from(source).where(self.is_ready, *self.wanted)

    def since(self, moment_ns: int) -> sa.Select[Any]:
        """Return the statement for the rows of any status with an `updated_at` of that moment or later."""
        column = self.columns["updated_at"]
        assert column is not None
        assert self.time_type is not None
        moment = _EPOCH + datetime.timedelta(microseconds=moment_ns // 1000)
        if not self.time_type.timezone:
            moment = moment.replace(tzinfo=None)
        later = sa.column(column, self.time_type) >= sa.bindparam("since", moment, type_=self.time_type)
        return self._rows().where(later, *self.wanted)

    def judged(self) -> sa.Select[Any]:
        """Return the statement for all rows in any status, in no order: the verdict on it, and the cells."""
        statement = all_rows(self.table, self.columns, {**self.cells, "status": self.status.label("word")})
        return sa.select(self.verdict, *statement.selected_columns).where(*self.wanted)

    def byte_order(self) -> tuple[sa.ColumnElement[Any], ...]:
        """Return what sorts rows by the bytes of their series; nothing where that is unknown."""
        if self.dialect not in MYSQL or not self.texts.issuperset(KEY_FIELDS[:3]):
            return ()
        texts = (sa.cast(sa.column(self.columns[field] or ""), CHAR(charset="utf8mb4")) for field in KEY_FIELDS[:3])
        return tuple(sa.cast(text, sa.BINARY) for text in texts)

    def of_series(self, series: SeriesKey) -> Iterator[sa.ColumnElement[bool]]:
        """Yield conditions that hold of all rows of a series, for which an index serves, and maybe of others.

        An empty source stands for any.
        """
        for field, value in zip(KEY_FIELDS, series, strict=False):
            if value and field in self.texts:
                yield sa.column(self.columns[field] or "", sa.String) == value.decode("utf-8", "surrogateescape")

    def _rows(self) -> sa.Select[Any]:
        return all_rows(self.table, self.columns, self.cells)


def _verdict(ready: StatusColumn, failed: StatusColumn, *, is_judged_here: bool) -> sa.ColumnElement[Any]:
    if is_judged_here:
        return sa.case((sa.or_(ready.is_ready, failed.is_ready), MAY_SAY), else_=SAYS_OTHER).label("verdict")
    judged = sa.case((ready.is_ready, SAYS_READY), (failed.is_ready, SAYS_FAILED), else_=SAYS_OTHER)
    return judged.label("verdict")


def _plain_cells(
    names: Mapping[str, str | None], columns: Mapping[str, Column], dialect: str
) -> dict[str, sa.ColumnElement[Any]]:
    """Return the cells that have to be read in another form than as they are."""
    cells: dict[str, sa.ColumnElement[Any]] = {}
    for field, column in columns.items():
        name = names[field]
        assert name is not None
        is_time = field in ("logical_date", "updated_at") and isinstance(column.kind, sa.Date | sa.DateTime)
        if dialect == "postgresql" and is_time:
            # PostgreSQL's times hold more than Python's (infinity, BC), and a driver that meets one fails the fetch.
            cells[field] = sa.cast(sa.column(name, NullType()), sa.Text).label(f"text_{field}")
        elif dialect not in MYSQL and isinstance(column.kind, sa.CHAR | sa.NCHAR):
            # What fills CHAR(n) up is no part of the value. With `MYSQL_SESSION` those servers take it off themselves.
            cells[field] = sa.func.rtrim(sa.column(name, NullType())).label(f"trimmed_{field}")
    return cells


def _is_text(kind: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(kind, sa.String) and not isinstance(kind, sa.Enum)


def _conditions(
    names: Mapping[str, str | None], columns: Mapping[str, Column], filters: Filters
) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what of the filters the database can judge; it may let more rows pass than the filters, and never fewer."""
    wanted = (("source", filters.sources), ("customer_id", filters.customers), ("query_name", filters.queries))
    for field, patterns in wanted:
        column = names[field] or ""
        if patterns and _is_text(columns[field].kind) and not any(set("*?[") & set(pattern) for pattern in patterns):
            yield sa.column(column, sa.String).in_(patterns)
    if isinstance(columns["logical_date"].kind, sa.Date):
        date = sa.column(names["logical_date"] or "", sa.Date)
        if filters.since is not None:
            yield date >= datetime.date.fromordinal(filters.since)
        if filters.until is not None:
            yield date <= datetime.date.fromordinal(filters.until)
