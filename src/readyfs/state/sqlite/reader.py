"""Reading a SQLite state for people's questions: all rows, in any status, as of one transaction.

It goes without SQLAlchemy, whose import would take longer than most answers. The file is opened as for a load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from readyfs.partition import PartitionKey
from readyfs.state.filters import Filters
from readyfs.state.rows.judge import READER_FIELDS
from readyfs.state.rows.parser import Row
from readyfs.state.rows.pump import Batch, Put, pumped
from readyfs.state.rows.reading import Reading
from readyfs.state.rows.series_state import Found
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.errors import moved
from readyfs.state.sqlite.looks import Looks
from readyfs.state.sqlite.series_plan import SeriesPlan
from readyfs.state.store import StateTable
from readyfs.text import escape_text

T = TypeVar("T")


class SqliteReader(Reading):
    """See `StateReader`; one thread at a time calls it, and nothing is open between calls."""

    def __init__(self, path: Path, table: StateTable, filters: Filters, timeout_s: float) -> None:
        super().__init__(table, filters)
        self.label = f"sqlite://{escape_text(str(path))}"
        self._looks = Looks(path, timeout_s)

    def close(self) -> None:
        """Do nothing: nothing is open between calls."""

    def has_one_source(self) -> bool:
        """See `StateReader`."""
        return self._attempt(SeriesPlan.has_one_source)

    def _find_series(self, *, full: bool) -> Iterator[list[Found]]:
        return self._pumped(lambda plan, put: plan.read_series(put, full=full))

    def _find_waiting(self) -> Iterator[Row]:
        for batch in self._pumped(lambda plan, put: plan.read_waiting(put)):
            yield from batch

    def _find_rows(self, key: PartitionKey) -> list[Row]:
        return self._attempt(lambda plan: plan.rows_of(key.series, of_any_source=not key.series.source))

    def _pumped(self, read: Callable[[SeriesPlan, Put], None]) -> Iterator[Batch]:
        """Yield what is read on a thread."""
        has_put = False

        def read_all(put: Put) -> None:
            def note(batch: Batch) -> None:
                nonlocal has_put
                has_put = True
                put(batch)

            def act(plan: SeriesPlan) -> None:
                if has_put:
                    raise moved(self._looks.path)  # what is shown already cannot be taken back
                read(plan, note)

            self._attempt(act)

        return pumped(read_all)

    def _attempt(self, action: Callable[[SeriesPlan], T]) -> T:
        def act(opened: SqliteConnection) -> T:
            columns = self._looks.columns(opened, self._table, READER_FIELDS)
            try:
                self._looks.refuse_torn(opened)
                result = action(SeriesPlan(opened.connection, self._table, self._filters, columns))
                self._looks.refuse_moved(opened)
            finally:
                opened.connection.rollback()
            return result

        self._looks.settled_version()
        return self._looks.attempt(act)
