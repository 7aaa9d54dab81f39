"""Locks and hot journals: waiting, giving up, and never repairing what is not ours."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import StateError
from tests.state.state_files import (
    contract_row,
    held_by_another_process,
    insert,
    listing,
    load_once,
    opened,
    run_sql,
)

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
            for action in (store.probe, store.load):
                with pytest.raises(StateError, match=r"locked by another process for 0.2 s"):
                    action()
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
        for action in (store.probe, store.load):
            with pytest.raises(StateError, match="hot journal"):
                action()
        run_sql(wide_file, "SELECT * FROM partition_state")
        assert store.probe() != token
        assert store.load().rows == 301


def test_probing_does_not_break_the_lock_of_an_open_read(state_file: Path) -> None:
    """Closing any descriptor of a file drops the process's locks on it, so nothing may open and close it meanwhile."""
    with opened(state_file) as store:
        store.load()
        with closing(sqlite3.connect(state_file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM partition_state").fetchall()
            store.probe()
            store.load()
            with pytest.raises(subprocess.CalledProcessError):
                run_sql(state_file, "PRAGMA busy_timeout=50", "DELETE FROM partition_state")
