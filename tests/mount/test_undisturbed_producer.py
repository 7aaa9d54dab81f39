"""V8: between looks a mount changes nothing for the producer of a SQLite state, by any SQLite that it may use.

The producer's steps are made twice, once without a mount and once with one that looks after each step. What it got and
what lies on disk then must be the same.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from tests.mount import sqlite_producer
from tests.mount.daemon import Daemon, Place, mounted

Step: TypeAlias = tuple[str, ...]
COLUMNS: Final = "source, customer_id, query_name, logical_date, status, current_run_id, updated_at"
OPEN, CLOSE = ("open",), ("close",)


def sql(statement: str) -> Step:
    return ("sql", statement)


def commit(number: int) -> Step:
    values = f"'s1', 'c1', 'q{number}', '2024-06-01', 'success', 'r1', '2024-06-02T05:00:00+00:00'"
    return sql(f"INSERT INTO partition_state ({COLUMNS}) VALUES ({values})")


COUNT: Final = sql("SELECT count(*) FROM partition_state")
SOUND: Final = sql("PRAGMA integrity_check")

STEPS: Final[list[tuple[Step, int]]] = [
    # Each with the number of partitions that a reader sees after it.
    *[(step, 1) for step in (OPEN, sql("PRAGMA journal_mode=WAL"), CLOSE)],
    # The last to close moves the log into the file, so that a copy of the file is whole.
    *[(OPEN, 1), (commit(2), 2), (CLOSE, 2), (("cp", "state.db", "copy.db"), 2)],
    *[(OPEN, 2), (commit(3), 3), (sql("PRAGMA wal_checkpoint(PASSIVE)"), 3), (commit(4), 4)],
    *[(sql("PRAGMA wal_checkpoint(RESTART)"), 4), (commit(5), 5), (sql("PRAGMA wal_checkpoint(TRUNCATE)"), 5)],
    *[(commit(6), 6), (sql("VACUUM"), 6), (COUNT, 6), (CLOSE, 6)],
    # A new file by rename, first with the same pages and then with others.
    *[(OPEN, 6), (commit(7), 7), (sql("VACUUM INTO 'new.db'"), 7), (CLOSE, 7), (("mv", "new.db", "state.db"), 7)],
    *[(OPEN, 7), (COUNT, 7), (sql("PRAGMA journal_mode=WAL"), 7), (commit(8), 8), (COUNT, 8), (SOUND, 8)],
    *[(sql("PRAGMA page_size=8192"), 8), (sql("VACUUM INTO 'new.db'"), 8), (CLOSE, 8)],
    *[(("mv", "new.db", "state.db"), 8), (OPEN, 8), (sql("PRAGMA page_size"), 8), (COUNT, 8), (SOUND, 8)],
    # Back to a rollback journal, of every kind.
    *[(sql("PRAGMA journal_mode=WAL"), 8), (commit(9), 9), (sql("PRAGMA journal_mode=DELETE"), 9), (commit(10), 10)],
    *[(sql("PRAGMA journal_mode=PERSIST"), 10), (commit(11), 11), (sql("PRAGMA journal_mode=TRUNCATE"), 11)],
    *[(commit(12), 12), (sql("PRAGMA locking_mode=EXCLUSIVE"), 12), (sql("PRAGMA locking_mode=NORMAL"), 12)],
    *[(COUNT, 12), (sql("PRAGMA journal_mode=WAL"), 12), (commit(13), 13), (CLOSE, 13)],
    *[(OPEN, 13), (sql("PRAGMA journal_mode=DELETE"), 13), (SOUND, 13), (CLOSE, 13)],
]


@contextmanager
def working(module: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, sqlite_producer.__file__, module, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as producer:
        yield producer


def do(producer: subprocess.Popen[str], step: Step) -> object:
    assert producer.stdin is not None and producer.stdout is not None
    print(json.dumps(step), file=producer.stdin, flush=True)
    return json.loads(producer.stdout.readline())


def files(place: Place) -> dict[str, object]:
    """Return what lies in the state's directory: what readers note in shared memory is theirs and left out."""
    return {
        path.name: content(path)
        for path in place.state.parent.iterdir()
        if path.is_file() and path.name != "daemon.log"
    }


def content(path: Path) -> object:
    match path.suffix.rpartition("-")[2]:
        case "wal":
            return frames(path)
        case "journal":  # it has a random number in it
            return path.stat().st_size
        case "shm":
            return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames(log: Path) -> list[str]:
    """Return the pages in a log, without the random numbers that each log is made with."""
    data = log.read_bytes()
    size = int.from_bytes(data[8:12], "big") + 24
    return [
        data[at : at + 8].hex() + hashlib.sha256(data[at + 24 : at + size]).hexdigest()
        for at in range(32, len(data), size)
    ]


def record(module: str, place: Place, daemon: Daemon | None) -> list[object]:
    """Make all steps; return what each gave and left."""
    seen: list[object] = []
    with working(module, place.state.parent) as producer:
        for step, partitions in STEPS:
            given, left = do(producer, step), files(place)
            seen.append((step, given, left))
            if daemon is not None:
                daemon.refresh()
                assert daemon.count("partitions") == partitions, step
                assert files(place) == left, step
    return seen


def first(place: Place) -> Place:
    """Put the first row into a place; its own producer leaves."""
    place.producer.close()
    place.change(*commit(1)[1:])
    return place


@pytest.mark.parametrize("module", ["sqlite3", "apsw"])
def test_steps_of_a_producer_give_and_leave_the_same_with_and_without_a_mount(tmp_path: Path, module: str) -> None:
    """V3, V8: files, bytes and results; and each commit is seen by the next look."""
    places = []
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
        places.append(first(Place(tmp_path / name)))
    without = record(module, places[0], None)
    with mounted(places[1], engine="cached") as daemon:
        assert record(module, places[1], daemon) == without
        assert daemon.count("left_logs") == 0
