"""The statements by which a table of any other database is read, made for the table as it is at each load."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError

from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from readyfs.state.table import all_rows, find_columns, is_ready, missing_table, split_table

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_IDENTITY: Final = sa.text(
    "SELECT @@hostname, @@port, @@server_id, create_time FROM information_schema.tables "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
)
"""MySQL's and MariaDB's: another server, or another table under the same name."""


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """How to read one table. `identity` is equal as long as nothing says that it is another one."""

    table: StateTable
    columns: dict[str, str | None]
    as_text: frozenset[str]
    wanted: tuple[sa.ColumnElement[bool], ...]
    time_type: sa.DateTime | None
    identity: Hashable

    @classmethod
    def look(cls, connection: sa.Connection, table: StateTable, filters: Filters, label: str) -> DatabasePlan:
        """Look at the table; raise `StateError` if it is not as configured."""
        schema, name = split_table(table)
        inspector = sa.inspect(connection)
        try:
            types = {column["name"]: column["type"] for column in inspector.get_columns(name, schema)}
        except NoSuchTableError:
            present = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            raise missing_table(table, label, present) from None
        found = find_columns(table, list(types), label)
        dialect = connection.dialect.name
        times = {
            field for field, column in found.items() if column and isinstance(types[column], sa.Date | sa.DateTime)
        }
        time_type = types.get(found["updated_at"] or "")
        server: tuple[object, ...] = ()
        if dialect in ("mysql", "mariadb"):
            server = tuple(map(tuple, connection.execute(_IDENTITY, {"schema": schema, "name": name})))
        return cls(
            table=table,
            columns=found,
            # PostgreSQL's times hold more than Python's (infinity, BC), and a driver that meets one fails the fetch.
            as_text=frozenset(times & {"logical_date", "updated_at"}) if dialect == "postgresql" else frozenset(),
            wanted=tuple(_conditions(found, types, filters)),
            time_type=time_type if isinstance(time_type, sa.DateTime) else None,
            identity=(server, *((field, column, repr(types.get(column or ""))) for field, column in found.items())),
        )

    def ready(self) -> sa.Select[Any]:
        """Return the statement for the ready rows, cells in the order of `ROW_FIELDS`."""
        return all_rows(self.table, self.columns, self.as_text).where(is_ready(self.table, self.columns), *self.wanted)

    def count(self) -> sa.Select[Any]:
        """Return the statement that counts the ready rows."""
        schema, name = split_table(self.table)
        source = sa.table(name, schema=schema)
        return sa.select(sa.func.count()).select_from(source).where(is_ready(self.table, self.columns), *self.wanted)

    def since(self, moment_ns: int) -> sa.Select[Any]:
        """Return the statement for the rows of any status with an `updated_at` of that moment or later."""
        column = self.columns["updated_at"]
        assert column is not None
        assert self.time_type is not None
        moment = _EPOCH + datetime.timedelta(microseconds=moment_ns // 1000)
        if not self.time_type.timezone:
            moment = moment.replace(tzinfo=None)
        later = sa.column(column, self.time_type) >= sa.bindparam("since", moment, type_=self.time_type)
        return all_rows(self.table, self.columns, self.as_text).where(later, *self.wanted)


def _conditions(
    columns: Mapping[str, str | None], types: Mapping[str, sa.types.TypeEngine[Any]], filters: Filters
) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what of the filters the database can judge; it may let more rows pass than the filters, and never fewer."""
    wanted = (("source", filters.sources), ("customer_id", filters.customers), ("query_name", filters.queries))
    for field, patterns in wanted:
        column = columns[field] or ""
        is_text = isinstance(types[column], sa.String) and not isinstance(types[column], sa.Enum)
        if patterns and is_text and not any(set("*?[") & set(pattern) for pattern in patterns):
            yield sa.column(column, sa.String).in_(patterns)
    column = columns["logical_date"] or ""
    if isinstance(types[column], sa.Date):
        date = sa.column(column, sa.Date)
        if filters.since is not None:
            yield date >= datetime.date.fromordinal(filters.since)
        if filters.until is not None:
            yield date <= datetime.date.fromordinal(filters.until)
