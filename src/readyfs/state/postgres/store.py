"""The PostgreSQL state store: asks for what changed by row versions, and proves that nothing else did.

A load compares snapshots (`snapshot` has the reasoning). Row versions that the last snapshot did not see are
read, whatever their status, and the rows remembered are patched with them. A deletion leaves no version but a smaller
count: every ready row is now among the remembered or the new ones, so as many of them as the table has are all of them.
Whatever these two cannot prove (another server or history, a table written anew, other columns, partitions that came,
a table without a unique key) is read whole. What has no row versions, such as a view, is read row by row at each load:
it may show another table, another server or another time of day, of which no snapshot here tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from readyfs.errors import StateError
from readyfs.state.filters import Filters
from readyfs.state.postgres.asked import Asker
from readyfs.state.postgres.changed_rows import read_changes
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import (
    Moment,
    Relation,
    find_columns_of,
    glance_at_server,
    look_at_server,
    look_at_table,
)
from readyfs.state.postgres.memory import PostgresMemory
from readyfs.state.postgres.outage import explain_outage
from readyfs.state.postgres.plan import plan_table
from readyfs.state.postgres.row_plan import RowPlan, plan_rows
from readyfs.state.rows.comparison import CannotPatchError
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.state.store import StateLoad, StateTable
from readyfs.state.url import render_label

_QUICKLY_S: Final = 1.0
"""A kept connection that fails so soon was dead already: the server is asked once more."""

T = TypeVar("T")
_Found: TypeAlias = Callable[[], PostgresMemory] | tuple[RowPlan, RowBuffer]
"""What makes a new memory of what was read; or rows that are not remembered, with the plan by which they were read."""

_log = structlog.get_logger("readyfs.state")


class PostgresStore:
    """Reads a table of a PostgreSQL server through psycopg 3; see `StateStore`."""

    is_exact: Final = True

    def __init__(
        self,
        engine: sa.Engine,
        url: sa.URL,
        table: StateTable,
        filters: Filters,
        timeout_s: float,
    ) -> None:
        """Connect and check that the table is as configured; raise `StateError` if that fails."""
        self.label = render_label(url)
        self._engine = engine
        self._url = url
        self._table = table
        self._filters = filters
        self._timeout_s = timeout_s
        self._connection: PostgresConnection | None = None
        self._memory: PostgresMemory | None = None
        self._seen: Moment | None = None
        self._reason = ""
        self._asker = Asker(self.label)
        try:
            self._in_transaction(self._look, lock=False)
        except BaseException:
            self.close()
            raise

    def probe(self) -> Hashable | None:
        """Return a token that is the same for as long as the server shows the same transactions."""
        moment = self._with_connection(lambda connection: glance_at_server(connection, self._asker))
        if moment is None:
            moment = self._in_transaction(lambda connection: look_at_server(connection, self._asker), lock=False)
        return moment.token

    def load(self) -> StateLoad:
        """Read what changed, or everything, in one transaction."""
        started = time.perf_counter()
        moment, found = self._in_transaction(self._load, lock=True)
        lock_ms = (time.perf_counter() - started) * 1000
        if isinstance(found, tuple):
            self._memory, self._seen = None, moment
            return self._load_rows(*found, lock_ms)
        memory = found()
        self._memory, self._seen = memory, memory.moment
        return StateLoad(
            memory.moment.token, memory.series, memory.withheld, memory.rows + memory.odd_rows, lock_ms, memory.changed
        )

    def start_over(self) -> None:
        """Compare the next load with nothing."""
        self._memory = None

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        self._engine.dispose()

    # ---- within a transaction -------------------------------------------------------------------------------

    def _load(self, connection: PostgresConnection) -> tuple[Moment, _Found]:
        moment = look_at_server(connection, self._asker)
        relations, found = self._look(connection)
        plan = None
        if connection.has_page_ranges:
            plan = plan_table(relations, found, self._table.ready, self._filters)
        if plan is not None:
            moment = replace(moment, signature=plan.signature)
        if self._seen is not None:
            self._check_history(self._seen, moment)
        if plan is None:
            if self._seen is not None:  # the first load is whole anyway
                self._say_why(_reason_for_rows(relations))
            rows, buffer = plan_rows(relations[0], found, self._table.ready), RowBuffer()
            with connection.stream(rows.statement, rows.parameters) as cursor:
                buffer.fill(cursor)
            return moment, (rows, buffer)
        known = self._memory
        if known is not None and not (moment.tells_changes and known.moment.tells_changes):
            self._say_why("the server does not tell which transactions it shows")
        elif known is not None:
            try:
                update = read_changes(connection, plan, known, moment, self._table.ready)
            except CannotPatchError as error:
                self._say_why(str(error))
            else:
                self._reason = ""
                return moment, update
        memory = PostgresMemory.read(connection, plan, moment, self._table.ready, self._filters)
        return moment, lambda: memory

    def _say_why(self, reason: str) -> None:
        """Log why a load is whole, once for as long as that is why."""
        if reason != self._reason:
            self._reason = reason
            _log.info("the state table is read whole", store=self.label, reason=reason)

    def _look(self, connection: PostgresConnection) -> tuple[tuple[Relation, ...], dict[str, str | None]]:
        relations = look_at_table(connection, self._asker, self._table, self.label)
        return relations, find_columns_of(relations, self._table, self.label)

    def _load_rows(self, plan: RowPlan, buffer: RowBuffer, lock_ms: float) -> StateLoad:
        parser = RowParser(self._table.ready, Vocabulary(self._filters))
        for rows in buffer.drain():
            parser.feed(plan.read(rows))
        return StateLoad(None, parser.series(), parser.withheld, parser.rows, lock_ms)

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
        elif self._is_after_crash(seen, now):
            _log.warning("the state store lost its last transactions in a crash", store=self.label)
        elif (was.timeline and server.timeline and was.timeline > server.timeline) or now.lags_behind(seen):
            raise StateError(
                f"state store {self.label} is behind what was served from it already: a standby that lags, or a server "
                "that was replaced",
                "wait until it has caught up, or restart readyfs to start from what it holds",
            )

    def _is_after_crash(self, seen: Moment, now: Moment) -> bool:
        """Tell whether the same primary restarted without transactions that it had shown before they were durable."""
        return (
            now.lags_behind(seen)
            and (seen.server.timeline, seen.server.database) == (now.server.timeline, now.server.database)
            and None not in (seen.server.started, now.server.started)
            and seen.server.started != now.server.started
            and seen.flushed is not None
            and now.flushed is not None
            and now.flushed >= seen.flushed
        )

    # ---- connection -----------------------------------------------------------------------------------------

    def _in_transaction(self, action: Callable[[PostgresConnection], T], *, lock: bool) -> T:
        """Run an action in a transaction; `lock` has the table locked for it."""

        def transact(connection: PostgresConnection) -> T:
            with connection.transaction(self._table.table if lock else None):
                return action(connection)

        return self._with_connection(transact)

    def _with_connection(self, action: Callable[[PostgresConnection], T]) -> T:
        """Run an action; once more on a new connection if one that was kept turns out to be dead."""
        was_open, started = self._connection is not None, time.monotonic()
        try:
            return self._attempt(action)
        except StateError:
            if not was_open or self._connection is not None or time.monotonic() - started > _QUICKLY_S:
                raise
        return self._attempt(action)

    def _attempt(self, action: Callable[[PostgresConnection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = PostgresConnection(self._engine, self._timeout_s)
                self._asker.start_over()
            return action(self._connection)
        except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
            if self._connection is None or self._connection.is_broken:
                self._drop()
            # No chain: a driver's traceback may show the URL.
            raise explain_outage(error, self._table, self._url, self._timeout_s) from None
        except BaseException:
            if self._connection is not None and self._connection.is_broken:
                self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def _reason_for_rows(relations: Sequence[Relation]) -> str:
    """Return why a table is read row by row."""
    if relations[0].is_readable and not all(one.is_readable for one in relations):
        return "the role may read the table and not each of its partitions: GRANT SELECT on them as well"
    return (
        "a view, a type, row level security, rights to single columns or a server before PostgreSQL 14 has it read row "
        "by row"
    )
