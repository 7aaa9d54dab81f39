"""Locks and hot journals: waiting, giving up, and never repairing what is not ours."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from readyfs.errors import StateError
from readyfs.state.inspect import open_inspector
from readyfs.state.sqlite import connection as sqlite_connection
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.descriptors import DESCRIPTORS
from readyfs.state.sqlite.lock import Range, is_held
from readyfs.state.store import StateTable
from tests.descriptors import open_descriptors
from tests.mount.daemon import wait_until
from tests.state.state_files import (
    KEY,
    after_each_read,
    contract_row,
    execute,
    held_by_another_process,
    insert,
    listing,
    load_once,
    opened,
    run_sql,
)

SET_RUN = "UPDATE partition_state SET current_run_id = 'other'"
PENDING = Range(0x40000000, 1)
"""What a writer holds while it waits for readers to go (os.h: PENDING_BYTE)."""
SPILL = ("PRAGMA cache_size=5", "BEGIN", "UPDATE partition_state SET current_run_id = 'torn'")


@pytest.fixture
def wide_file(state_file: Path) -> Path:
    """A state file larger than a small page cache."""
    insert(state_file, *[contract_row(query_name=f"q{number}", source="s" * 900) for number in range(300)])
    return state_file


def kill_in_mid_transaction(path: Path) -> None:
    """Leave a hot journal: a writer that has begun to change the file dies."""
    with held_by_another_process(path, *SPILL) as writer:
        writer.kill()
        writer.wait(10)
    assert path.with_name(path.name + "-journal").stat().st_size > 0


def test_locked_database_is_an_outage_after_the_timeout(state_file: Path) -> None:
    """V11."""
    with opened(state_file, timeout_s=0.2) as store:
        token = store.load().token
        with held_by_another_process(state_file, "BEGIN EXCLUSIVE"):
            with pytest.raises(StateError, match=r"locked by another process for 0.2 s"):
                store.load()
            assert store.probe() == token, "nothing was committed"
        assert store.probe() == token


def test_locked_database_is_an_outage_at_start(state_file: Path) -> None:
    with (
        held_by_another_process(state_file, "BEGIN EXCLUSIVE"),
        pytest.raises(StateError, match="locked"),
        opened(state_file, timeout_s=0.1),
    ):
        pass


def test_lock_that_goes_in_time_is_waited_for(state_file: Path) -> None:
    """V11: locked is retried before it is an outage."""
    with opened(state_file, timeout_s=20) as store:
        rows: list[int] = []
        loader = threading.Thread(target=lambda: rows.append(store.load().rows))
        with held_by_another_process(state_file, "BEGIN EXCLUSIVE"):
            loader.start()
            loader.join(0.2)
            assert loader.is_alive()
        loader.join(20)
        assert rows == [1]


def test_reserved_writer_does_not_hold_up_a_load(state_file: Path) -> None:
    with held_by_another_process(state_file, "BEGIN IMMEDIATE"), opened(state_file, timeout_s=0.1) as store:
        assert store.load().rows == 1


def test_writer_that_waits_for_readers_is_let_through(state_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V3: it lets no new reader in, so a load has to step aside from it altogether."""
    tried = threading.Event()
    connect = sqlite_connection._connect

    def try_to_connect(*arguments: Any) -> SqliteConnection:
        try:
            return connect(*arguments)
        except sqlite3.OperationalError:
            tried.set()
            raise

    monkeypatch.setattr(sqlite_connection, "_connect", try_to_connect)
    with opened(state_file, timeout_s=20) as store:
        runs: list[object] = []
        loader = threading.Thread(target=lambda: runs.append(store.load().series[KEY].run_ids))
        writer = threading.Thread(target=run_sql, args=(state_file, "PRAGMA busy_timeout=20000", SET_RUN))
        with held_by_another_process(state_file, "BEGIN", "SELECT * FROM partition_state"):
            writer.start()
            with DESCRIPTORS.opened(str(state_file)) as descriptor:
                wait_until(lambda: is_held(descriptor, state_file, PENDING), "the writer waits")
            loader.start()
            assert tried.wait(10)
        writer.join(5)
        assert not writer.is_alive(), "the two wait for each other"
        loader.join(20)
        assert runs == [(b"other",)]


def test_writer_that_spilled_is_waited_for_as_a_lock(wide_file: Path) -> None:
    """V4: never a half-written transaction."""
    with (
        held_by_another_process(wide_file, *SPILL),
        pytest.raises(StateError, match="locked"),
        opened(wide_file, timeout_s=0.1),
    ):
        pass


def test_hot_journal_is_an_outage_that_says_so_and_is_not_rolled_back(wide_file: Path) -> None:
    """V8, V11: rolling back would write to the producer's file."""
    kill_in_mid_transaction(wide_file)
    before = listing(wide_file.parent)
    with pytest.raises(StateError, match=r"hot journal.*let the producer"):
        load_once(wide_file)
    assert listing(wide_file.parent) == before


def test_hot_journal_heals_once_the_producer_is_back(wide_file: Path) -> None:
    """V11."""
    with opened(wide_file) as store:
        token = store.load().token
        kill_in_mid_transaction(wide_file)
        for _ in range(2):
            assert store.probe() != token
            with pytest.raises(StateError, match="hot journal"):
                store.load()
        run_sql(wide_file, "SELECT * FROM partition_state")
        assert store.probe() != token
        assert store.load().rows == 301


@pytest.mark.parametrize("wal", [False, True])
def test_other_looks_of_this_process_do_not_break_the_lock_of_a_read(
    state_file: Path, wal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V4: closing any descriptor of a file drops the process's locks on it, so it has to wait for the read's end."""
    if wal:
        execute(state_file, "PRAGMA journal_mode=WAL")
    statement = "PRAGMA journal_mode=DELETE" if wal else "DELETE FROM partition_state"
    with opened(state_file) as store, opened(state_file) as other:
        looks = iter([other])

        def look_too() -> None:
            for one in looks:
                one.probe()
                one.load()
                open_inspector(os.fspath(state_file), StateTable(), 1).count_rows()
                with pytest.raises(subprocess.CalledProcessError):
                    run_sql(state_file, "PRAGMA busy_timeout=50", statement)

        before = open_descriptors()
        after_each_read(monkeypatch, look_too)
        assert store.load().rows == 1
        assert next(looks, None) is None
        assert open_descriptors() == before
