"""A producer: fills the raw store and the state table the way a pipeline and its validator do.

The sample world, the tests and the benchmarks write through it; the daemon never does. The order of writes is the
contract's: the payload first, `metadata.json` last (its presence seals the run), then the row, in a transaction of
its own. Nothing is synced to disk, because nobody needs a sample world after a power cut.

A `Producer` may be used from several threads, one call at a time.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self

import orjson

PAYLOAD_NAME: Final = "payload.jsonl"
METADATA_NAME: Final = "metadata.json"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS partition_state(
    source          TEXT        NOT NULL,
    customer_id     TEXT        NOT NULL,
    query_name      TEXT        NOT NULL,
    logical_date    DATE        NOT NULL,
    status          TEXT        NOT NULL,
    current_run_id  TEXT,
    schema_version  TEXT,
    record_count    BIGINT,
    updated_at      TIMESTAMPTZ NOT NULL,
    error_message   TEXT,
    attempt_count   INTEGER,
    PRIMARY KEY (source, customer_id, query_name, logical_date)
)
"""

_KEY: Final = "source = ? AND customer_id = ? AND query_name = ? AND logical_date = ?"

_UPSERT: Final = """
INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id,
                            schema_version, record_count, updated_at, error_message, attempt_count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT(source, customer_id, query_name, logical_date) DO UPDATE SET
    status = excluded.status, updated_at = excluded.updated_at, error_message = excluded.error_message,
    attempt_count = attempt_count + 1
"""

_PUBLISH: Final = (
    _UPSERT
    + """,
    current_run_id = excluded.current_run_id, schema_version = excluded.schema_version,
    record_count = excluded.record_count
"""
)


class LogicalPartition(NamedTuple):
    """The four words that name a partition, as the producer writes them."""

    source: str
    customer_id: str
    query_name: str
    logical_date: str

    @property
    def path(self) -> str:
        """The partition's path below a mount with the default layout, for words that need no escaping."""
        return f"{self.customer_id}/{self.query_name}/{self.logical_date}"


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt to fill a partition; `record_count` is the number of lines of its payload."""

    partition: LogicalPartition
    run_id: str
    directory: Path
    record_count: int


class Producer:
    """The one writer of a state file and of a raw root; both are made if they are missing.

    Every method that writes a row takes its time as `at` (default: now). Errors are those of `sqlite3` and of the
    file calls: a statement waits up to 5 s for a lock, as the driver does by default.
    """

    def __init__(self, state_file: Path, raw_root: Path) -> None:
        self.state_file = state_file
        self.raw_root = raw_root
        raw_root.mkdir(parents=True, exist_ok=True)
        # Autocommit: each statement is a transaction of its own, as the validator's are.
        self._state = sqlite3.connect(state_file, isolation_level=None, check_same_thread=False)
        self._state.execute("PRAGMA synchronous = OFF")
        self._state.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the state file."""
        self._state.close()

    def run_directory(self, partition: LogicalPartition, run_id: str) -> Path:
        """Return where a run's files lie, whether or not they do."""
        source, customer_id, query_name, logical_date = partition
        return self.raw_root.joinpath(
            source,
            f"customer_id={customer_id}",
            f"query_name={query_name}",
            f"logical_date={logical_date}",
            f"run_id={run_id}",
        )

    def begin_run(self, partition: LogicalPartition, run_id: str, payload: bytes = b"") -> Run:
        """Write a run's payload and leave the run half-written: without `metadata.json` it is not sealed.

        Raises `FileExistsError` if the run has a payload already, because runs are never overwritten.
        """
        directory = self.run_directory(partition, run_id)
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / PAYLOAD_NAME, "xb") as file:
            file.write(payload)
        return Run(partition, run_id, directory, payload.count(b"\n"))

    def seal_run(self, run: Run, *, extracted_at: datetime | None = None, schema_version: str = "1") -> None:
        """Write a run's `metadata.json`, one line of JSON."""
        source, customer_id, query_name, logical_date = run.partition
        metadata = {
            "source": source,
            "customer_id": customer_id,
            "query_name": query_name,
            "logical_date": logical_date,
            "run_id": run.run_id,
            "extracted_at": _render_time(extracted_at),
            "schema_version": schema_version,
            "record_count": run.record_count,
            "api_version": "v17",
            "query_hash": f"{query_name}-{schema_version}",
        }
        with open(run.directory / METADATA_NAME, "xb") as file:
            file.write(orjson.dumps(metadata, option=orjson.OPT_APPEND_NEWLINE))

    def write_run(
        self,
        partition: LogicalPartition,
        run_id: str,
        payload: bytes,
        *,
        extracted_at: datetime | None = None,
        schema_version: str = "1",
    ) -> Run:
        """Write a whole sealed run: payload, then metadata. No row changes."""
        run = self.begin_run(partition, run_id, payload)
        self.seal_run(run, extracted_at=extracted_at, schema_version=schema_version)
        return run

    def publish(self, run: Run, *, schema_version: str | None = "1", at: datetime | None = None) -> None:
        """Accept a run: the row becomes `success` and names it."""
        self.set_ready(run.partition, run.run_id, record_count=run.record_count, schema_version=schema_version, at=at)

    def set_ready(
        self,
        partition: LogicalPartition,
        run_id: str | None,
        *,
        record_count: int | None = None,
        schema_version: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Write a `success` row whatever the raw store holds; a validator would not, an operator might."""
        row = ("success", run_id, schema_version, record_count, _render_time(at), None)
        self._state.execute(_PUBLISH, (*partition, *row))

    def write_and_publish(
        self, partition: LogicalPartition, run_id: str, payload: bytes, *, at: datetime | None = None
    ) -> Run:
        """Write a whole run, then accept it: the usual life of a partition."""
        run = self.write_run(partition, run_id, payload, extracted_at=at)
        self.publish(run, at=at)
        return run

    def expect(self, partition: LogicalPartition, *, at: datetime | None = None) -> None:
        """Write a `pending` row, or turn an existing row `pending`, keeping its run id."""
        self._state.execute(_UPSERT, (*partition, "pending", None, None, None, _render_time(at), None))

    def fail(
        self, partition: LogicalPartition, message: str = "validation failed", *, at: datetime | None = None
    ) -> None:
        """Reject a run: the row becomes `failed` and keeps the run id of the run before, if there was one."""
        self._state.execute(_UPSERT, (*partition, "failed", None, None, None, _render_time(at), message))

    def requeue(self, partition: LogicalPartition) -> None:
        """Turn a row `pending` as an operator's retry does: run id and `updated_at` stay as they were."""
        self._state.execute(f"UPDATE partition_state SET status = 'pending' WHERE {_KEY}", partition)

    def delete_row(self, partition: LogicalPartition) -> None:
        """Delete a partition's row; its runs stay where they are."""
        self._state.execute(f"DELETE FROM partition_state WHERE {_KEY}", partition)

    def delete_run(self, run: Run) -> None:
        """Delete a run's files as an operator does by hand; the row keeps naming them."""
        shutil.rmtree(run.directory)

    @contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Write all rows of the block in one transaction.

        The producer never works so; it is for filling large tables and for changes that a reader must see at once.
        """
        self._state.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._state.execute("ROLLBACK")
            raise
        self._state.execute("COMMIT")


def _render_time(at: datetime | None) -> str:
    """Return a time as the state table stores it in SQLite: ISO text in UTC with microseconds."""
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
