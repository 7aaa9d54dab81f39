"""The state store of any other database, neither SQLite nor PostgreSQL, that SQLAlchemy knows: MariaDB, for example.

A load is one read-only transaction, and rows are streamed as the driver gives them. Such a database has no row versions
that we know of. Most loads read what changed by a watermark (`watermark` has the reasoning and what it can miss), and
every so often one reads everything. PostgreSQL comes here too where its URL names another driver than psycopg 3.

A connection is made for each load and closed after it, so a server that restarted or moved needs no care.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa
import structlog

from readyfs.clock import boottime_s
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.database.position import look_at_server
from readyfs.state.database.server_history import ServerHistory
from readyfs.state.database.session import DatabaseSession
from readyfs.state.database.sqlalchemy_engine import create_engine
from readyfs.state.database.watermark import Changes, Remembered
from readyfs.state.filters import Filters
from readyfs.state.rows.comparison import CannotPatchError
from readyfs.state.rows.fetch import CHUNK_ROWS, RowBuffer
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.url import render_label

_log = structlog.get_logger("readyfs.state")


class DatabaseStore:
    """Reads the table of any other database server; see `StateStore`.

    A load of everything comes every `full_interval_s` and after `start_over`. Any other load reads the rows since a
    watermark.
    """

    is_exact: Final = False

    def __init__(
        self,
        url: sa.URL,
        table: StateTable,
        filters: Filters,
        timeout_s: float,
        full_interval_s: float = 0.0,
        now_s: Callable[[], float] = boottime_s,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Connect and check that the table is as configured; raise `StateError` if that fails."""
        self.label = render_label(url)
        self._table = table
        self._filters = filters
        self._full_interval_s = full_interval_s
        self._now_s = now_s
        self._wall_ns = wall_ns
        self._session = DatabaseSession(create_engine(url, timeout_s), url, timeout_s)
        self._known: Remembered | None = None
        self._whole_at_s = 0.0
        self._obstacle: str | None = None
        self._history = ServerHistory(self.label)
        with self._session.transaction() as (connection, _):
            DatabasePlan.look(connection, table, filters, self.label)

    def probe(self) -> Hashable | None:
        """Return None: only a load can tell."""
        return None

    def load(self) -> StateLoad:
        """Read what changed since the watermark, or everything, in one transaction."""
        now_s, now_ns = self._now_s(), self._wall_ns()
        known = self._known if now_s - self._whole_at_s < self._full_interval_s else None
        changes, buffer = None, RowBuffer()
        with self._session.transaction() as (connection, before):
            started = time.perf_counter()
            plan = DatabasePlan.look(connection, self._table, self._filters, self.label)
            if before is not None:
                plan = replace(plan, identity=(before.identity, plan.identity))
            if known is not None:
                try:
                    changes = self._read_changes(connection, plan, known, now_ns)
                except CannotPatchError as reason:
                    _log.debug("the state table is read whole", store=self.label, reason=str(reason))
            if changes is None:
                _fill(buffer, connection, plan.ready())
            if before is not None:
                self._history.follow(before, look_at_server(connection))
        lock_ms = (time.perf_counter() - started) * 1000
        if changes is not None:
            known = changes.finish(plan)
        else:
            known = Remembered.of(plan, buffer.drain(), self._table.ready, self._filters, now_ns)
            self._whole_at_s = now_s
            self._say(known.obstacle)
        self._known = known
        return StateLoad(
            None, known.series, known.withheld, known.rows + known.withheld.total(), lock_ms, known.changed
        )

    def start_over(self) -> None:
        """Have the next load read everything."""
        self._known = None

    def close(self) -> None:
        """Release the engine; no connection stays open between loads."""
        self._session.close()

    def _read_changes(
        self, connection: sa.Connection, plan: DatabasePlan, known: Remembered, now_ns: int
    ) -> Changes | None:
        since_ns = known.since_ns
        if known.obstacle is not None or since_ns is None:
            return None
        if plan.identity != known.plan.identity:
            raise CannotPatchError("server, table or columns are not those of the last load")
        buffer = RowBuffer()
        _fill(buffer, connection, plan.since(since_ns))
        total = connection.execute(plan.count()).scalar_one()
        return Changes(known, buffer.drain(), total, self._table.ready, now_ns)

    def _say(self, obstacle: str | None) -> None:
        if obstacle != self._obstacle and obstacle is not None and self._full_interval_s:
            _log.info("the state table is read whole", store=self.label, reason=obstacle)
        self._obstacle = obstacle


def _fill(buffer: RowBuffer, connection: sa.Connection, statement: sa.Select[Any]) -> None:
    # Streamed by the server, where its driver can: else the driver would hold all rows as objects.
    with connection.execute(statement, execution_options={"yield_per": CHUNK_ROWS}) as result:
        buffer.fill(result)
