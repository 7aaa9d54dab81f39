"""The writing side of a model test: a producer that tells the reference what it did, and remembers every byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition, Producer, Run
from tests.model.reference import REQUIRED, Reference, Row, RunKey, RunTruth

EXTRA: Final = b"extra.bin"
"""A file that only every third run has, so that runs differ in their names."""

_START: Final = datetime(2024, 6, 2, 4, 5, 6, tzinfo=UTC)


class Pipeline:
    """Changes raw store and state table as producer, validator and operators do, and keeps the truth of both.

    `steps` counts the changes.
    """

    def __init__(self, producer: Producer, reference: Reference) -> None:
        self.runs: dict[RunKey, RunTruth] = {}
        self._producer = producer
        self._reference = reference
        self._rows: dict[LogicalPartition, Row] = {}
        self._unsealed: dict[RunKey, Run] = {}
        self.steps = 0

    # ---- runs -----------------------------------------------------------------------------------------------

    def begin(self, partition: LogicalPartition, lines: int) -> RunTruth:
        """Write a run's payload (and every third one's extra file) and leave the run half-written."""
        self.steps += 1
        run_id = f"2024-06-02T04:05:06.{self.steps:03d}Z"
        key = RunKey(partition, run_id)
        run = self._producer.begin_run(partition, run_id, _signed_lines(key, b"payload.jsonl", lines))
        if self.steps % 3 == 0:
            (run.directory / os.fsdecode(EXTRA)).write_bytes(_signed_lines(key, EXTRA, 3))
        truth = self.runs[key] = RunTruth(key)
        self._unsealed[key] = run
        self._remember_files(truth)
        return truth

    def seal(self, run: RunTruth) -> None:
        """Write a run's metadata, its last file."""
        self._producer.seal_run(self._unsealed.pop(run.key))
        self._remember_files(run)
        run.sealed = True

    @property
    def unsealed(self) -> list[RunTruth]:
        """The runs that are half-written."""
        return [self.runs[key] for key in self._unsealed]

    @property
    def damaged(self) -> list[RunTruth]:
        """The runs of which something was taken away."""
        return [run for run in self.runs.values() if run.away]

    def take_away(self, run: RunTruth, name: bytes | None) -> None:
        """Move one file of a sealed run out of sight, or (None) the whole run."""
        directory = self.directory(run)
        if name is None:
            directory.rename(directory.with_name(f"away {run.key.run_id}"))
            run.away = set(run.files)
        else:
            aside = self._aside(run)
            aside.mkdir(exist_ok=True)
            (directory / os.fsdecode(name)).rename(aside / os.fsdecode(name))
            run.away = {name}

    def put_back(self, run: RunTruth) -> None:
        """Undo `take_away`."""
        directory = self.directory(run)
        if directory.exists():
            for name in run.away:
                (self._aside(run) / os.fsdecode(name)).rename(directory / os.fsdecode(name))
        else:
            directory.with_name(f"away {run.key.run_id}").rename(directory)
        run.away = set()

    def directory(self, run: RunTruth) -> Path:
        """Return where a run's files lie."""
        return self._producer.run_directory(*run.key)

    def _aside(self, run: RunTruth) -> Path:
        return self.directory(run).with_name(f"aside {run.key.run_id}")

    def _remember_files(self, run: RunTruth) -> None:
        for entry in os.scandir(self.directory(run)):
            name = os.fsencode(entry.name)
            run.files[name] = Path(entry.path).read_bytes()
            run.times_ns[name] = entry.stat().st_mtime_ns

    # ---- rows -----------------------------------------------------------------------------------------------

    def publish(self, run: RunTruth) -> None:
        """Accept a run, new or old, sealed or (an operator's error) not."""
        count = run.files.get(b"payload.jsonl", b"").count(b"\n")
        self.set_ready(run.key.partition, run.key.run_id, count)

    def set_ready(self, partition: LogicalPartition, run_id: str | None, record_count: int | None) -> None:
        """Write a `success` row with any run id, or none."""
        at = self._now()
        if run_id:
            self.runs.setdefault(RunKey(partition, run_id), RunTruth(RunKey(partition, run_id)))
        self._producer.set_ready(partition, run_id, record_count=record_count, schema_version="1", at=at)
        self._commit(partition, Row("success", run_id, at, record_count))

    def touch(self, partition: LogicalPartition) -> None:
        """Write a ready row again: another time and count, the same run."""
        row = self._rows[partition]
        self.set_ready(partition, row.run_id, (row.record_count or 0) + 1)

    def expect(self, partition: LogicalPartition) -> None:
        """Turn a row `pending`, keeping its run id."""
        at = self._now()
        self._producer.expect(partition, at=at)
        self._replace(partition, "pending", at)

    def fail(self, partition: LogicalPartition) -> None:
        """Reject a run, keeping the run id before."""
        at = self._now()
        self._producer.fail(partition, at=at)
        self._replace(partition, "failed", at)

    def requeue(self, partition: LogicalPartition) -> None:
        """Turn a row `pending` as an operator does, who leaves its time alone."""
        self._producer.requeue(partition)
        if partition in self._rows:
            self._replace(partition, "pending", self._rows[partition].updated_at)

    def delete_row(self, partition: LogicalPartition) -> None:
        """Delete a row; its runs stay."""
        self._producer.delete_row(partition)
        self._rows.pop(partition, None)
        self._reference.commit(self._rows)

    @property
    def ready_rows(self) -> list[LogicalPartition]:
        """The partitions whose row says `success`."""
        return [partition for partition, row in self._rows.items() if row.status == "success"]

    @contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Commit the changes of the block together."""
        reference, self._reference = self._reference, Reference()
        try:
            with self._producer.one_transaction():
                yield
        finally:
            self._reference = reference
        self._reference.commit(self._rows)

    def _replace(self, partition: LogicalPartition, status: str, at: datetime) -> None:
        before = self._rows.get(partition, Row(status, None, at, None))
        self._commit(partition, Row(status, before.run_id, at, before.record_count))

    def _commit(self, partition: LogicalPartition, row: Row) -> None:
        self._rows[partition] = row
        self._reference.commit(self._rows)

    def _now(self) -> datetime:
        self.steps += 1
        return _START + timedelta(seconds=self.steps)

    # ---- the raw store must stay as it is -------------------------------------------------------------------

    def assert_untouched(self) -> None:
        """I9: every raw file has the bytes and the time that the producer gave it."""
        for run in self.damaged:
            self.put_back(run)
        for run in self.runs.values():
            if not run.files:
                continue
            found = {os.fsencode(entry.name): Path(entry.path) for entry in os.scandir(self.directory(run))}
            assert {name: path.read_bytes() for name, path in found.items()} == run.files
            assert {name: path.stat().st_mtime_ns for name, path in found.items()} == run.times_ns
            assert run.sealed == (found.keys() >= REQUIRED)


def _signed_lines(run: RunKey, name: bytes, count: int) -> bytes:
    """Return lines that say whose they are, so that every byte read tells its run and file."""
    head = b'{"of":"%b","run":"%b","file":"%b","n":' % ("/".join(run.partition).encode(), run.run_id.encode(), name)
    return b"".join(b"%b%06d}\n" % (head, number) for number in range(count))
