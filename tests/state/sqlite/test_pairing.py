"""A log beside a SQLite database that is not its own: never read, and said what ends it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from readyfs.errors import StateError
from tests.state.state_files import (
    KEY,
    after_each_read,
    contract_row,
    create_table,
    execute,
    held_by_another_process,
    insert,
    listing,
    load_once,
    opened,
    run_sql,
)

SET_RUN = "UPDATE partition_state SET current_run_id = 'log'"
FOREIGN = r"and the -wal beside it (do|may) not belong together: .*close whatever has it open"


def make_other(path: Path, *, wal: bool = True, page_size: int = 4096) -> Path:
    """Make the file that is to take the place: WAL mode and its own run."""
    other = path.with_name("other.db")
    create_table(other, keyed=True)
    insert(other, contract_row(current_run_id="new"))
    execute(other, f"PRAGMA page_size={page_size}", "VACUUM", f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    return other


@pytest.mark.parametrize("truncated", [False, True], ids=["full", "truncated"])
@pytest.mark.parametrize("seen", [True, False], ids=["log-seen", "log-new"])
def test_database_that_is_replaced_while_its_log_stays_is_an_outage_until_the_log_is_removed(
    wal_file: Path, seen: bool, truncated: bool
) -> None:
    """V4, V11: what the log holds is of the former file."""
    other = make_other(wal_file)
    more = ("PRAGMA wal_checkpoint(TRUNCATE)",) if truncated else ()
    with opened(wal_file) as store:
        token = store.load().token
        with held_by_another_process(wal_file, SET_RUN, *more) as producer:
            if seen:
                token = store.load().token
            other.rename(wal_file)
            before = listing(wal_file.parent)
            for _ in range(2):
                assert store.probe() != token
                with pytest.raises(StateError, match=FOREIGN):
                    store.load()
            assert listing(wal_file.parent) == before
            producer.communicate(timeout=30)
        # SQLite neither moves the log into a file that was replaced, nor deletes it.
        with pytest.raises(StateError, match=r"then remove .*state\.db-wal and .*state\.db-shm"):
            store.load()
        for suffix in ("-wal", "-shm"):
            wal_file.with_name(wal_file.name + suffix).unlink()
        assert store.load().series[KEY].run_ids == (b"new",)


@pytest.mark.parametrize(
    ("wal", "page_size", "reason"),
    [(True, 8192, "pages of 8192 bytes, and of 4096 in the log"), (False, 4096, "the database is not in WAL mode")],
)
def test_at_start_other_pages_or_another_journal_mode_tell(
    wal_file: Path, wal: bool, page_size: int, reason: str
) -> None:
    """V11: where nothing was seen before."""
    other = make_other(wal_file, wal=wal, page_size=page_size)
    with held_by_another_process(wal_file, SET_RUN):
        other.rename(wal_file)
        with pytest.raises(StateError, match=reason):
            load_once(wal_file)


def test_database_that_is_written_over_while_its_log_stays_is_an_outage_until_the_log_is_removed(
    wal_file: Path,
) -> None:
    """V4, V11: `cp` over the file leaves its inode number as it was."""
    other = make_other(wal_file)
    with opened(wal_file) as store:
        with held_by_another_process(wal_file, SET_RUN) as producer:
            store.load()
            shutil.copyfile(other, wal_file)
            for _ in range(2):
                with pytest.raises(StateError, match=FOREIGN):
                    store.load()
            producer.kill()
            producer.communicate(timeout=30)
        with pytest.raises(StateError, match="the database was written over, and the log stayed"):
            store.load()
        for suffix in ("-wal", "-shm"):
            wal_file.with_name(wal_file.name + suffix).unlink()
        assert store.load().series[KEY].run_ids == (b"new",)


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_checkpoint_between_two_loads_is_no_other_database(wal_file: Path, mode: str) -> None:
    """V3: it writes to the database, too."""
    with opened(wal_file) as store, held_by_another_process(wal_file, SET_RUN):
        store.load()
        run_sql(wal_file, "CREATE TABLE other(one)", f"PRAGMA wal_checkpoint({mode})")
        os.utime(wal_file)
        assert store.load().series[KEY].run_ids == (b"log",)
        os.utime(wal_file)
        assert store.load().series[KEY].run_ids == (b"log",)


def replace_closed(path: Path, other: Path) -> None:
    other.rename(path)


def remove_first(path: Path, other: Path) -> None:
    """Give the new file the chance to get the number of the old one."""
    content = other.read_bytes()
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("replace", [replace_closed, remove_first])
def test_log_that_is_made_after_the_replacement_is_its_own(
    wal_file: Path, replace: Callable[[Path, Path], None]
) -> None:
    """V3: whatever inode numbers the two get."""
    other = make_other(wal_file)
    with opened(wal_file) as store:
        with held_by_another_process(wal_file, SET_RUN) as producer:
            store.load()
            producer.communicate(timeout=30)
        replace(wal_file, other)
        with held_by_another_process(wal_file, "UPDATE partition_state SET current_run_id = 'newer'"):
            assert store.load().series[KEY].run_ids == (b"newer",)


def test_database_whose_mode_is_changed_after_it_was_replaced_is_read_again_after_a_checkpoint(wal_file: Path) -> None:
    """V11: it looks as if it had been put in place after its log, so the outage names both, and what ends this one."""
    other = make_other(wal_file)
    with opened(wal_file) as store:
        store.load()
        other.rename(wal_file)
        with held_by_another_process(wal_file, "UPDATE partition_state SET current_run_id = 'newer'"):
            time.sleep(0.02)  # clocks of files tick
            wal_file.chmod(0o640)
            with pytest.raises(
                StateError, match=r"may not belong together.* owner, mode or links .*if not, .*wal_checkpoint"
            ):
                store.load()
            run_sql(wal_file, "PRAGMA wal_checkpoint")
            assert store.load().series[KEY].run_ids == (b"newer",)


def test_producer_that_closes_during_a_read_is_told_of(wal_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V8: its log stays then, as with any reader; the next one to open and close tidies up, and all is read."""
    with opened(wal_file) as store, held_by_another_process(wal_file, SET_RUN) as producer:
        assert not store.load().left_log
        with monkeypatch.context() as patch:
            after_each_read(patch, lambda: producer.communicate(timeout=30) if producer.poll() is None else None)
            load = store.load()
        assert load.left_log
        assert set(listing(wal_file.parent)) == {"state.db", "state.db-wal", "state.db-shm"}
        assert not store.load().left_log, "counted once"
        run_sql(wal_file, "INSERT INTO partition_state SELECT source, '002', query_name, logical_date, status, "
                "current_run_id, schema_version, record_count, updated_at, NULL, 1 FROM partition_state")  # fmt: skip
        assert set(listing(wal_file.parent)) == {"state.db"}
        load = store.load()
        assert (load.rows, load.series[KEY].run_ids) == (2, (b"log",))


def test_producer_that_comes_and_goes_during_a_read_is_told_of(wal_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V8: nobody had the database open when the read began."""
    with opened(wal_file) as store:
        with monkeypatch.context() as patch:
            after_each_read(patch, lambda: run_sql(wal_file, SET_RUN))
            assert store.load().left_log
        assert set(listing(wal_file.parent)) == {"state.db", "state.db-wal", "state.db-shm"}
        load = store.load()
        assert load.series[KEY].run_ids == (b"log",)
        assert not load.left_log, "counted once"
