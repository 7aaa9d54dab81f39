"""Looking at a state table in any other database: what SQLAlchemy can tell of every server, PostgreSQL included."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import CHAR
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import SQLAlchemyError

from readyfs.errors import StateError
from readyfs.partition import Partition
from readyfs.state.database.columns import MYSQL, look_at_columns
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.database.position import ServerMoment, look_at_server
from readyfs.state.database.sqlalchemy_engine import MYSQL_SESSION, choose_driver, create_engine
from readyfs.state.filters import Filters
from readyfs.state.inspect import Columns, Index
from readyfs.state.rows.sample import parse_newest, parse_sample
from readyfs.state.rows.values import quote_value
from readyfs.state.store import StateTable
from readyfs.state.survey import LISTED_WORDS, LONGEST_WORD, StatusSurvey
from readyfs.state.table import find_columns, split_table
from readyfs.state.url import render_label, scrub


class DatabaseInspector:
    """Looks at a database server; see `StateInspector`.

    A database that can tell more has a subclass, which says otherwise what follows `sample`.
    """

    def __init__(self, url: sa.URL, table: StateTable, timeout_s: float) -> None:
        self._url = url
        self._table = table
        self._timeout_s = timeout_s
        self._schema, self._name = split_table(table)
        self._engine = create_engine(choose_driver(url), timeout_s)
        self.dialect = self._engine.dialect.name

    def columns(self) -> Columns:
        """See `StateInspector`."""
        with self._transaction() as connection:
            return self._find_columns(connection)

    def indexes(self) -> tuple[Index, ...]:
        """See `StateInspector`."""
        with self._transaction() as connection:
            inspector = sa.inspect(connection)
            primary = inspector.get_pk_constraint(self._name, self._schema)["constrained_columns"]
            unique = inspector.get_unique_constraints(self._name, self._schema)
            found = [Index(tuple(primary), is_unique=True)] if primary else []
            found.extend(Index(tuple(one["column_names"]), is_unique=True) for one in unique)
            for index in inspector.get_indexes(self._name, self._schema):
                if self._is_partial(index):
                    continue  # it says nothing of the rows that it leaves out
                names = tuple(name for name in index["column_names"] if name is not None)
                whole = len(names) == len(index["column_names"])
                found.append(Index(names, bool(index["unique"]) and whole))
        return tuple(found)

    def is_view(self) -> bool:
        """See `StateInspector`."""
        with self._transaction() as connection:
            return self._name in self._view_names(sa.inspect(connection))

    def count_rows(self) -> int:
        """See `StateInspector`; an estimate where the database has one."""
        with self._transaction() as connection:
            estimate = self._estimate_rows(connection)
            if estimate is not None:
                return estimate
            source = sa.table(self._name, schema=self._schema)
            return int(connection.execute(sa.select(sa.func.count()).select_from(source)).scalar() or 0)

    def newest(self) -> int | None:
        """See `StateInspector`."""
        with self._transaction() as connection:
            column = self._find_columns(connection)["updated_at"]
            if column is None:
                return None
            cell: sa.ColumnClause[Any] = sa.column(column)
            source = sa.table(self._name, cell, schema=self._schema)
            statement = sa.select(self._readable(sa.func.max(cell))).select_from(source)
            return parse_newest(connection.execute(statement).scalar())

    def position(self) -> ServerMoment:
        """Return which server of MySQL or MariaDB answers, and its position."""
        with self._transaction() as connection:
            return look_at_server(connection)

    def survey(self) -> StatusSurvey:
        """See `StateInspector`."""
        with self._transaction() as connection:
            plan = DatabasePlan.look(connection, self._table, Filters(), render_label(self._url))
            column = plan.columns["status"]
            assert column is not None
            text = self._exact(plan.status)
            is_ready = sa.and_(
                plan.is_ready, self._exact(plan.cells["status"].element) == sa.literal(self._table.ready)
            )
            words = (
                sa.select(
                    sa.func.substr(text, 1, LONGEST_WORD + 1).label("word"),
                    sa.func.count().label("counted"),
                    sa.func.sum(sa.case((is_ready, 1), else_=0)).label("ready"),
                )
                .select_from(sa.table(self._name, schema=self._schema))
                .group_by(sa.text("word"))
                .subquery()
            )
            totals = (sa.func.sum(words.c.counted).over(), sa.func.sum(words.c.ready).over())
            statement = sa.select(words.c.word, words.c.counted, *totals).order_by(words.c.counted.desc(), words.c.word)
            found = connection.execute(statement.limit(LISTED_WORDS)).fetchall()
        return StatusSurvey(
            column=column,
            declared=plan.declared_status,
            rows=int(found[0][2]) if found else 0,
            ready=int(found[0][3]) if found else 0,
            words=tuple((quote_value(word), int(rows)) for word, rows, _, _ in found),
        )

    def sample(self, filters: Filters, rows: int) -> list[Partition]:
        """See `StateInspector`."""
        with self._transaction() as connection:
            plan = DatabasePlan.look(connection, self._table, filters, render_label(self._url))
            return parse_sample(connection.execute(plan.ready().limit(rows)).fetchall(), filters)

    def _begin(self, connection: sa.Connection) -> None:
        """Set up a transaction that has just begun."""
        if self.dialect in MYSQL:
            connection.exec_driver_sql(MYSQL_SESSION)
            limit = f"max_statement_time = {self._timeout_s:g}"
            if not getattr(connection.dialect, "is_mariadb", False):
                limit = f"max_execution_time = {math.ceil(self._timeout_s * 1000)}"
            connection.exec_driver_sql(f"SET SESSION {limit}")

    def _exact(self, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return text so that it is compared and grouped letter by letter."""
        if self.dialect in MYSQL:
            return sa.cast(text, CHAR(charset="utf8mb4")).collate("utf8mb4_bin")
        return sa.cast(text, sa.Text)

    def _is_partial(self, _index: ReflectedIndex) -> bool:
        """Tell whether an index leaves rows out."""
        return False

    def _view_names(self, inspector: sa.Inspector) -> Sequence[str]:
        """Return the names of all views, of whatever kind, in the table's schema."""
        return inspector.get_view_names(self._schema)

    def _estimate_rows(self, _connection: sa.Connection) -> int | None:
        """Return what the database takes the number of rows for without counting, None if it does not say."""
        return None

    def _readable(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a moment so that the driver can hand over every value that the database has."""
        return moment

    def _find_columns(self, connection: sa.Connection) -> Columns:
        present = look_at_columns(connection, self._schema, self._name)
        return find_columns(self._table, list(present), render_label(self._url))

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection, connection.begin() as transaction:
                self._begin(connection)
                yield connection
                transaction.rollback()
        except (SQLAlchemyError, OSError, ValueError) as error:
            # No chain: a driver's traceback may show the URL.
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> StateError:
        words = scrub(str(getattr(error, "orig", None) or error), self._url) or type(error).__name__
        return StateError(
            f"state store {render_label(self._url)} cannot be looked at: {words}", "check server, URL and rights"
        )
