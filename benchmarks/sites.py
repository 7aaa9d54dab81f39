"""The worlds that are measured: many small files, some large ones, and a state table with changes to come."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition, Producer
from readyfs.demo.world import render_records

CUSTOMERS: Final = 20
SOURCE: Final = "google_ads"
QUERIES: Final = ("ad_daily", "campaign_daily", "keyword_daily", "search_terms", "video_daily")
RECORDS: Final = 6
SPARK_QUERY: Final = QUERIES[1]
SPARK_DATES: Final = "2024-01-[01]*"
"""The dates that Spark counts: some hundred partitions of the usual number."""
PARALLEL_FILES: Final = 8
MB: Final = 1 << 20
_FIRST_DAY: Final = date(2024, 1, 1)
_ROWS: Final = """
INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id, updated_at)
VALUES ('google_ads', ?, ?, ?, 'success', 'r1', '2024-06-01T00:00:00.000000+00:00')
"""
_NOW: Final = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"
_SWITCH: Final = f"""
UPDATE partition_state SET current_run_id = ?, updated_at = {_NOW}
WHERE source = ? AND customer_id = ? AND query_name = ? AND logical_date = ?
"""
_CHANGE: Final = f"""
UPDATE partition_state SET current_run_id = ?, updated_at = {_NOW},
    status = CASE WHEN rowid / 100 % 5 OR status = 'failed' THEN 'success' ELSE 'failed' END
WHERE rowid % 100 = ? AND rowid > ?
"""
LOCK_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """One world, readable by everybody; contenders mount below `base`."""

    key: str
    title: str
    base: Path
    partitions: int

    @property
    def state_file(self) -> Path:
        """The state table."""
        return self.base / "state.db"

    @property
    def raw_root(self) -> Path:
        """The raw store, one run per partition."""
        return self.base / "raw"

    def warm(self) -> None:
        """Have the kernel hold every name and every byte of the raw tree."""
        for path in self._files():
            with open(path, "rb", buffering=0) as file:
                while file.read(MB):
                    pass

    def cool(self) -> None:
        """Have the kernel hold no byte of the raw files; names stay."""
        # What is not written back yet cannot be dropped.
        os.sync()
        for path in self._files():
            with open(path, "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _files(self) -> Iterator[Path]:
        for directory, _, names in os.walk(self.raw_root):
            for name in names:
                path = Path(directory, name)
                path.stat()
                yield path


def make_small(base: Path, partitions: int) -> Site:
    """Make partitions of two files of about 1 KB."""
    with _producer(base) as producer:
        for partition in _partitions(partitions):
            producer.write_and_publish(partition, "r1", render_records(partition, RECORDS, 7))
    return Site("small", f"{partitions:,} partitions of two files of about 1 KB", base, partitions)


def make_large(base: Path, size_mb: int) -> Site:
    """Make one partition of the size, and eight that have it together."""
    line = b'{"n":"%s"}\n' % (b"x" * 1015)
    with _producer(base) as producer:
        for number in range(1 + PARALLEL_FILES):
            size = size_mb if not number else max(1, size_mb // PARALLEL_FILES)
            partition = LogicalPartition(SOURCE, f"{number:010d}", QUERIES[0], _FIRST_DAY.isoformat())
            run = producer.begin_run(partition, "r1")
            with (run.directory / "payload.jsonl").open("wb") as file:
                for _ in range(size):
                    file.write(line * (MB // len(line)))
                if not number:
                    # The largest in bytes as well, where eight of the least size are as large.
                    file.write(line)
            producer.seal_run(run)
            producer.publish(run)
    title = f"one file of {size_mb} MB and {PARALLEL_FILES} of {max(1, size_mb // PARALLEL_FILES)} MB"
    return Site("large", title, base, 1 + PARALLEL_FILES)


@dataclass(slots=True)
class ChangingSite:
    """A state table of many rows, of which the `real` ones have raw files, and the changes that are made to it."""

    site: Site
    real: tuple[LogicalPartition, ...]
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def raw_directories(self) -> list[Path]:
        """Return the directories that hold the runs of the partitions with files."""
        with Producer(self.site.state_file, self.site.raw_root) as producer:
            return [producer.run_directory(partition, "r1").parent for partition in self.real]

    def change(self) -> int:
        """Change one row in a hundred in one transaction and return how many.

        Of the rows without files one in five vanishes and is back two turns later; all others, those with files too,
        switch to another run.
        """
        turn = next(self._turns)
        slot, run_id = turn % 2, f"t{turn}"
        chosen = [partition for number, partition in enumerate(self.real) if number % 100 == slot]
        with Producer(self.site.state_file, self.site.raw_root) as producer:
            for partition in chosen:
                producer.write_run(partition, run_id, render_records(partition, RECORDS, turn))
        with closing(sqlite3.connect(self.site.state_file, timeout=LOCK_PATIENCE_S)) as state, state:
            changed = state.execute(_CHANGE, (run_id, slot, len(self.real))).rowcount
            return changed + _switch(state, chosen, run_id)

    def switch_one(self) -> tuple[LogicalPartition, Callable[[], None]]:
        """Return a partition with files, and what commits its switch to another run when it is called."""
        turn = next(self._turns)
        partition, run_id = self.real[turn % len(self.real)], f"t{turn}"
        with Producer(self.site.state_file, self.site.raw_root) as producer:
            producer.write_run(partition, run_id, render_records(partition, RECORDS, turn))

        def commit() -> None:
            with closing(sqlite3.connect(self.site.state_file, timeout=LOCK_PATIENCE_S)) as state, state:
                _switch(state, [partition], run_id)

        return partition, commit


def make_changing(base: Path, key: str, rows: int, real: int) -> ChangingSite:
    """Make a state table of so many ready rows; `real` of them have raw files."""
    with _producer(base) as producer:
        partitions = list(_partitions(real))
        for partition in partitions:
            producer.write_and_publish(partition, "r1", render_records(partition, RECORDS, 7))
    with closing(sqlite3.connect(base / "state.db")) as state, state:
        state.execute("PRAGMA synchronous = OFF")
        state.executemany(_ROWS, _synthetic_rows(rows - real))
    title = f"{rows:,} partitions in the state, {real:,} with files"
    return ChangingSite(Site(key, title, base, rows), tuple(partitions))


def synthetic_path(number: int) -> str:
    """Return the path below a mount of a row without files."""
    customer_id, query_name, logical_date = _synthetic_row(number)
    return f"{customer_id}/{query_name}/{logical_date}"


def _producer(base: Path) -> Producer:
    base.mkdir()
    return Producer(base / "state.db", base / "raw")


def _partitions(count: int) -> Iterator[LogicalPartition]:
    """Yield partitions day by day, so that any count has all customers and queries."""
    for number in range(count):
        day, slot = divmod(number, CUSTOMERS * len(QUERIES))
        customer, query = divmod(slot, len(QUERIES))
        logical_date = (_FIRST_DAY + timedelta(days=day)).isoformat()
        yield LogicalPartition(SOURCE, f"{customer:010d}", QUERIES[query], logical_date)


def _synthetic_rows(count: int) -> Iterator[Sequence[str]]:
    return (_synthetic_row(number) for number in range(count))


def _synthetic_row(number: int) -> tuple[str, str, str]:
    day, series = number % 500, number // 500
    return f"{5_000_000_000 + series // 10:010d}", f"query_{series % 10}", _DAYS[day]


_DAYS: Final = [(date(2020, 1, 1) + timedelta(days=day)).isoformat() for day in range(500)]


def _switch(state: sqlite3.Connection, partitions: Sequence[LogicalPartition], run_id: str) -> int:
    return state.executemany(_SWITCH, [(run_id, *partition) for partition in partitions]).rowcount
