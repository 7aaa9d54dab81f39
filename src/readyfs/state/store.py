"""The port through which a refresh sees a state store, and the two values that cross it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from readyfs.partition import ChangedDates, SeriesKey, WithheldTally

if TYPE_CHECKING:
    # Names of columns are a setting, and nobody who reads settings needs rows.
    from readyfs.series_rows import SeriesRows


@dataclass(frozen=True, slots=True)
class StateTable:
    """What the state table and its columns are called in the database; the contract's names are the defaults.

    `table` may be `schema.table`. `ready` is the word in `status` that makes a row ready, `failed` the one that says
    that its last attempt failed.
    """

    table: str = "partition_state"
    source: str = "source"
    customer_id: str = "customer_id"
    query_name: str = "query_name"
    logical_date: str = "logical_date"
    status: str = "status"
    current_run_id: str = "current_run_id"
    updated_at: str = "updated_at"
    record_count: str = "record_count"
    schema_version: str = "schema_version"
    error_message: str = "error_message"
    attempt_count: str = "attempt_count"
    ready: str = "success"
    failed: str = "failed"


@dataclass(frozen=True, slots=True)
class StateLoad:
    """The ready rows of the table as of one transaction.

    `token` is what `probe` would have answered just before the transaction began, so that a later change is never
    missed. `changed` names the dates that may differ from the load before; None stands for all of them. `rows` counts
    the ready rows that passed the filters, withheld ones included. `lock_ms` is how long the transaction was open,
    which in SQLite's rollback-journal mode is how long the producer could not commit. `left_log` tells that a producer
    closed a SQLite database meanwhile, and so could not move its log into it.
    """

    token: Hashable | None
    series: Mapping[SeriesKey, SeriesRows]
    withheld: WithheldTally
    rows: int
    lock_ms: float
    changed: ChangedDates | None = None
    left_log: bool = False


class StateStore(Protocol):
    """A state store; called from worker threads, by one at a time.

    It remembers what it loaded, so that a load costs in proportion to what changed. A load that fails leaves what is
    remembered as it was, or forgotten: the next one tells what changed since the last that succeeded. `label` names the
    store without user, password or query, for logs and the mount table.
    """

    label: str

    @property
    def is_exact(self) -> bool:
        """Whether a load that remembers finds every change; if not, only a load after `start_over` is sure to."""

    def probe(self) -> Hashable | None:
        """Return a cheap token of the state's version, or None if only a load can tell.

        Raises `StateError` while the store cannot be read.
        """

    def load(self) -> StateLoad:
        """Return every ready row as of one transaction; raise `StateError` while the store cannot be read.

        What the store remembers is then what it was before. The mapping of the result belongs to the store and holds
        until the next load.
        """

    def start_over(self) -> None:
        """Compare the next load with nothing, as if it were the first."""

    def close(self) -> None:
        """Let go of every connection and file."""
