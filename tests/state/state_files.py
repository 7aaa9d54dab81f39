"""Real state files for the tests, and the other processes that write, lock and damage them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.rows.fetch import RowBuffer
from readyfs.state.sqlite.chunks import ChunkPlan
from readyfs.state.sqlite.version import SETTLED_NS
from readyfs.state.store import StateLoad, StateStore, StateTable

CONTRACT_COLUMNS = (
    "source TEXT NOT NULL",
    "customer_id TEXT NOT NULL",
    "query_name TEXT NOT NULL",
    "logical_date DATE NOT NULL",
    "status TEXT NOT NULL",
    "current_run_id TEXT",
    "schema_version TEXT",
    "record_count BIGINT",
    "updated_at TIMESTAMPTZ NOT NULL",
    "error_message TEXT",
    "attempt_count INTEGER",
)
RUN = "2024-06-02T04:05:06.789Z"
UPDATED = "2024-06-02T05:00:00.123456+00:00"
UPDATED_NS = 1_717_304_400_123_456_000
KEY = SeriesKey(b"ads", b"001", b"daily")
NOBODY = 65534
PRODUCER = 65533
ROOT = Path(__file__).parents[2]

T = TypeVar("T")


def create_table(
    path: Path,
    *,
    columns: Sequence[str] = CONTRACT_COLUMNS,
    table: str = "partition_state",
    wal: bool = False,
    keyed: bool = False,
) -> None:
    """Make a state file with an empty table."""
    with closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        key = ", UNIQUE (source, customer_id, query_name, logical_date)" if keyed else ""
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)}{key})")
        connection.commit()


def contract_row(**changes: object) -> dict[str, object]:
    """Return the cells of a ready row, some of them changed."""
    row: dict[str, object] = {
        "source": "ads",
        "customer_id": "001",
        "query_name": "daily",
        "logical_date": "2024-06-01",
        "status": "success",
        "current_run_id": RUN,
        "schema_version": "v1",
        "record_count": 7,
        "updated_at": UPDATED,
    }
    return row | changes


def insert(path: Path, *rows: dict[str, object], table: str = "partition_state") -> None:
    """Commit rows from this process."""
    with closing(sqlite3.connect(path)) as connection:
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        connection.commit()


def execute(path: Path, *statements: str) -> None:
    """Commit statements from this process."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def run_sql(path: Path, *statements: str) -> None:
    """Commit statements from another process."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: c.execute(statement)\n"
        "c.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, os.fspath(path), *statements], check=True, timeout=30)


def run_as(user: int, code: str, *arguments: str | Path, words: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, further words of setpriv(1) given, and wait for it.

    It may read everywhere, because the tests and their interpreter may lie where only root can go.
    """
    rights = (f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=+dac_read_search")
    command = ["setpriv", *rights, "--ambient-caps=+dac_read_search", *words, "--", sys.executable, "-c", code]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def held_by_another_process(path: Path, *statements: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run statements in another process, which keeps its connection and transaction until the block ends."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: c.execute(statement).fetchall()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, os.fspath(path), *statements], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def as_nobody(action: Callable[[], T]) -> T:
    """Run an action with the file permissions of an unprivileged user.

    On Linux these belong to a thread (setfsuid(2)), so root needs no other process for it; others have them already.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        if os.geteuid() == 0:
            libc = ctypes.CDLL(None)
            libc.setfsgid(NOBODY)
            libc.setfsuid(NOBODY)
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def opened(
    path: Path | str, table: StateTable | None = None, filters: Filters | None = None, timeout_s: float = 5
) -> Iterator[StateStore]:
    """Open a store and close it afterwards."""
    store = open_state(os.fspath(path), table or StateTable(), filters or Filters(), timeout_s)
    try:
        yield store
    finally:
        store.close()


def load_once(path: Path | str, table: StateTable | None = None, filters: Filters | None = None) -> StateLoad:
    """Open, load, close."""
    with opened(path, table, filters) as store:
        return store.load()


def settle(path: Path) -> None:
    """Wait until the file's time stamps are old enough to tell two writes apart."""
    deadline = time.monotonic() + 10
    while time.time_ns() - path.stat().st_ctime_ns <= 2 * SETTLED_NS:
        assert time.monotonic() < deadline
        os.sched_yield()


def after_each_read(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen at the end of each read, before its transaction ends, whichever way the table is read."""
    for owner, name in ((RowBuffer, "fill"), (ChunkPlan, "read")):
        read = getattr(owner, name)

        def read_and_go_on(*arguments: object, read: Callable[..., object] = read) -> object:
            found = read(*arguments)
            happens()
            return found

        monkeypatch.setattr(owner, name, read_and_go_on)


def listing(directory: Path) -> dict[str, str]:
    """Return the names in a directory with a hash of each file's content."""
    return {entry.name: hashlib.sha256(entry.read_bytes()).hexdigest() for entry in directory.iterdir()}
