"""The PostgreSQL state store: asks for what changed by row versions, and proves that nothing else did.

A load compares snapshots (`postgres_snapshot` has the reasoning). Row versions that the last snapshot did not see are
read, whatever their status, and the rows remembered are patched with them. A deletion leaves no version but a smaller
count: every ready row is now among the remembered or the new ones, so as many of them as the table has are all of them.
Whatever these two cannot prove (another server or history, a table written anew, other columns, partitions that came,
rules that hide rows, a table without a unique key) is read whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from readyfs.errors import StateError
from readyfs.partition import escape_text
from readyfs.state.filters import Filters
from readyfs.state.postgres_connection import PostgresConnection
from readyfs.state.postgres_facts import Moment, find_columns_of, look_at_server, look_at_table
from readyfs.state.postgres_memory import CannotPatchError, PostgresMemory
from readyfs.state.postgres_patch import patch
from readyfs.state.postgres_plan import TablePlan, plan_table
from readyfs.state.store import StateLoad, StateStore, StateTable
from readyfs.state.url import render_label, scrub

_QUICKLY_S: Final = 1.0
"""A kept connection that fails so soon was dead already: the server is asked once more."""

T = TypeVar("T")
_log = structlog.get_logger("readyfs.state")


class PostgresStore:
    """Reads a table of a PostgreSQL server through psycopg 3; see `StateStore`.

    `by_rows` reads what has no row versions, such as a view.
    """

    def __init__(
        self,
        engine: sa.Engine,
        url: sa.URL,
        table: StateTable,
        filters: Filters,
        timeout_s: float,
        by_rows: StateStore,
    ) -> None:
        """Connect and check that the table is as configured; raise `StateError` if that fails."""
        self.label = render_label(url)
        self._engine = engine
        self._url = url
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s
        self._by_rows = by_rows
        self._connection: PostgresConnection | None = None
        self._memory: PostgresMemory | None = None
        self._seen: Moment | None = None
        try:
            self._in_transaction(lambda connection: self._plan(connection), lock=False)
        except BaseException:
            self.close()
            raise

    def probe(self) -> Hashable | None:
        """Return a token that is the same for as long as the server shows the same transactions."""
        server, snapshot = self._in_transaction(look_at_server, lock=False)
        return Moment(server, snapshot, ()).token

    def load(self) -> StateLoad:
        """Read what changed, or everything, in one transaction."""
        started = time.perf_counter()
        memory = self._in_transaction(self._load, lock=True)
        if memory is None:
            self.forget()
            return self._by_rows.load()
        lock_ms = (time.perf_counter() - started) * 1000
        self._memory, self._seen = memory, memory.moment
        return StateLoad(
            memory.moment.token, memory.series, memory.withheld, memory.rows + memory.odd_rows, lock_ms, memory.changed
        )

    def forget(self) -> None:
        """Compare the next load with nothing."""
        self._memory = None

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        self._by_rows.close()
        self._engine.dispose()

    # ---- within a transaction -------------------------------------------------------------------------------

    def _load(self, connection: PostgresConnection) -> PostgresMemory | None:
        server, snapshot = look_at_server(connection)
        plan = self._plan(connection)
        if plan is None:
            return None
        moment = Moment(server, snapshot, plan.signature)
        if self._seen is not None:
            self._check_history(self._seen, moment)
        known = self._memory
        if known is not None:
            try:
                return patch(connection, plan, known, moment, self._table.ready)
            except CannotPatchError as reason:
                _log.debug("the state table is read whole", store=self.label, reason=str(reason))
        return PostgresMemory.read(connection, plan, moment, self._table.ready, self._filters)

    def _plan(self, connection: PostgresConnection) -> TablePlan | None:
        relations = look_at_table(connection, self._table, self.label)
        found = find_columns_of(relations, self._table, self.label)
        return plan_table(relations, found, self._table.ready, self._filters)

    def _check_history(self, seen: Moment, now: Moment) -> None:
        """Refuse to go back to what was true before; accept, loudly, a server whose history is another one."""
        was, server = seen.server, now.server
        if was.cluster != server.cluster and None not in (was.cluster, server.cluster):
            _log.warning("the state store is another database cluster than before", store=self.label)
        elif was.timeline and server.timeline and was.timeline < server.timeline:
            _log.warning(
                "the state store has a new history: a standby was promoted, and what it had not received is lost",
                store=self.label,
                timeline=server.timeline,
            )
        elif (was.timeline and server.timeline and was.timeline > server.timeline) or now.snapshot.lags_behind(
            seen.snapshot
        ):
            raise StateError(
                f"state store {self.label} is behind what was served from it already: a standby that lags, or a server "
                "that was replaced",
                "wait until it has caught up, or restart readyfs to start from what it holds",
            )

    # ---- connection -----------------------------------------------------------------------------------------

    def _in_transaction(self, action: Callable[[PostgresConnection], T], *, lock: bool) -> T:
        """Run an action in a transaction; once more on a new connection if one that was kept turns out to be dead."""
        was_open, started = self._connection is not None, time.monotonic()
        try:
            return self._attempt(action, lock=lock)
        except StateError:
            if not was_open or self._connection is not None or time.monotonic() - started > _QUICKLY_S:
                raise
        return self._attempt(action, lock=lock)

    def _attempt(self, action: Callable[[PostgresConnection], T], *, lock: bool) -> T:
        try:
            if self._connection is None:
                self._connection = PostgresConnection(self._engine, self._timeout_s)
            with self._connection.transaction(self._table.table if lock else None):
                return action(self._connection)
        except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
            if self._connection is None or self._connection.is_broken:
                self._drop()
            # No chain: a driver's traceback may show the URL.
            raise self._outage(error) from None
        except BaseException:
            if self._connection is not None and self._connection.is_broken:
                self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _outage(self, error: Exception) -> StateError:
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            words = f"table {escape_text(self._table.table)} was locked for {self._timeout_s:g} s"
        else:
            words = scrub(str(cause), self._url) or type(cause).__name__
        return StateError(f"state store {self.label} cannot be read: {words}", "check server, URL and rights")
