"""SQLite files in WAL mode: with a producer, without one, and where we may not write beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from readyfs.errors import StateError
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.sqlite import connection as sqlite_connection
from readyfs.state.sqlite.file import Sighting, look
from readyfs.state.sqlite.lock import Guard
from readyfs.state.store import StateTable
from tests.state.state_files import (
    KEY,
    NOBODY,
    PRODUCER,
    RUN,
    after_each_read,
    as_nobody,
    contract_row,
    create_table,
    held_by_another_process,
    insert,
    listing,
    load_once,
    opened,
    run_as,
    run_sql,
    settle,
)

SET_RUN = "UPDATE partition_state SET current_run_id = 'other'"
ADD_ROW = (
    "INSERT INTO partition_state (source, customer_id, query_name, logical_date, status, current_run_id, updated_at) "
    "VALUES ('ads', '001', 'daily', '2024-06-09', 'success', 'other', 0)"
)

LOAD = "import sys; from tests.state.state_files import load_once; print(load_once(sys.argv[1]).series)"
COMMIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE partition_state SET current_run_id = 'later'")
"""


def copy_with_log(source: Path, directory: Path) -> Path:
    """Copy a database and its log without its shared memory, as a crash or a backup leaves them."""
    target = directory / "copy.db"
    shutil.copyfile(source, target)
    shutil.copyfile(f"{source}-wal", f"{target}-wal")
    return target


def test_database_at_rest_is_read_and_nothing_is_left_beside_it(wal_file: Path) -> None:
    """V8: no -shm and no -wal appears, although we could make them."""
    before = listing(wal_file.parent)
    assert set(before) == {"state.db"}
    with opened(wal_file) as store:
        store.probe()
        assert store.load().rows == 1
        assert listing(wal_file.parent) == before
    assert listing(wal_file.parent) == before


def test_database_at_rest_is_quiet(wal_file: Path) -> None:
    settle(wal_file)
    with opened(wal_file) as store:
        token = store.probe()
        assert store.load().token == token
        assert [store.probe() for _ in range(3)] == [token] * 3


def test_database_written_just_now_is_read_again(wal_file: Path) -> None:
    """V3: a second write within the clock's tick could not be told from the first."""
    with opened(wal_file) as store:
        wal_file.touch()
        token = store.load().token
        assert store.probe() != token
        settle(wal_file)
        settled = store.probe()
        assert store.probe() == settled


@pytest.mark.parametrize("statement", [SET_RUN, "DELETE FROM partition_state", ADD_ROW])
def test_probe_sees_a_commit_by_a_producer_that_came_and_went(wal_file: Path, statement: str) -> None:
    """V3."""
    with opened(wal_file) as store:
        load = store.load()
        before = {key: rows.run_ids for key, rows in load.series.items()}
        run_sql(wal_file, statement)
        assert store.probe() != load.token
        assert {key: rows.run_ids for key, rows in store.load().series.items()} != before


def test_probe_sees_a_commit_in_the_log_of_a_producer_that_stays(wal_file: Path) -> None:
    """V3."""
    with opened(wal_file) as store, held_by_another_process(wal_file, "SELECT * FROM partition_state"):
        token = store.load().token
        run_sql(wal_file, SET_RUN)
        assert store.probe() != token
        load = store.load()
        assert load.series[KEY].run_ids == (b"other",)
        assert store.probe() == load.token == store.probe()


def test_producer_in_mid_transaction_holds_up_nothing(wal_file: Path) -> None:
    with held_by_another_process(wal_file, "BEGIN IMMEDIATE", SET_RUN), opened(wal_file, timeout_s=0.2) as store:
        assert store.load().series[KEY].run_ids != (b"other",)


def test_database_file_never_changes_under_a_producer(wal_file: Path) -> None:
    """V8: not even by the checkpoint that the last connection to close makes."""
    with held_by_another_process(wal_file, SET_RUN):
        before = listing(wal_file.parent)
        with opened(wal_file) as store:
            store.probe()
            store.load()
        after = listing(wal_file.parent)
    assert set(before) == set(after) == {"state.db", "state.db-wal", "state.db-shm"}
    assert (before["state.db"], before["state.db-wal"]) == (after["state.db"], after["state.db-wal"])


def test_producer_may_leave_while_we_stay(wal_file: Path) -> None:
    with opened(wal_file) as store:
        with held_by_another_process(wal_file, SET_RUN):
            store.load()
        run_sql(wal_file, ADD_ROW)
        assert store.load().rows == 2


def test_journal_mode_may_change_while_we_watch(state_file: Path) -> None:
    """V3."""
    with opened(state_file) as store:
        token = store.load().token
        run_sql(state_file, "PRAGMA journal_mode=WAL", SET_RUN)
        assert store.probe() != token
        assert store.load().series[KEY].run_ids == (b"other",)
        assert set(listing(state_file.parent)) == {"state.db"}
        run_sql(state_file, "PRAGMA journal_mode=DELETE", "DELETE FROM partition_state")
        assert store.load().rows == 0


def test_log_without_shared_memory_is_recovered_where_we_may_write(wal_file: Path, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    with held_by_another_process(wal_file, SET_RUN):
        copy = copy_with_log(wal_file, tmp_path / "copies")
    before = listing(copy.parent)
    with opened(copy) as store:
        token = store.probe()
        assert store.load().series[KEY].run_ids == (b"other",)
        assert store.probe() == token
    after = listing(copy.parent)
    assert {name: after[name] for name in before} == before


def test_log_without_shared_memory_is_an_outage_where_we_may_not_write(wal_file: Path, public_dir: Path) -> None:
    """V11: reading the file alone would miss commits."""
    with held_by_another_process(wal_file, SET_RUN):
        copy = copy_with_log(wal_file, public_dir)
    public_dir.chmod(0o555)
    before = listing(public_dir)
    with pytest.raises(StateError, match=r"commits in its -wal and no usable -shm.*may not make"):
        as_nobody(lambda: load_once(copy))
    assert listing(public_dir) == before


@pytest.fixture
def crashed_file(wal_file: Path, public_dir: Path) -> Path:
    """A producer's file with a log that nobody has open, in a directory where every user may write."""
    public_dir.chmod(0o777)
    with held_by_another_process(wal_file, SET_RUN):
        copy = copy_with_log(wal_file, public_dir)
    for path in public_dir.iterdir():
        path.chmod(0o644)
        os.chown(path, PRODUCER, PRODUCER)
    return copy


@pytest.mark.parametrize(("user", "words"), [(NOBODY, ()), (0, ("--bounding-set=-chown",))])
def test_reader_makes_no_shared_memory_that_would_lock_the_producer_out(
    crashed_file: Path, user: int, words: tuple[str, ...]
) -> None:
    """V8: neither as another user nor as root that cannot give files away."""
    before = listing(crashed_file.parent)
    reader = run_as(user, LOAD, crashed_file, words=words)
    assert "has commits in its -wal and no usable -shm" in reader.stderr
    assert listing(crashed_file.parent) == before
    producer = run_as(PRODUCER, COMMIT, crashed_file)
    assert (producer.returncode, producer.stderr) == (0, "")


@pytest.mark.parametrize("user", [PRODUCER, 0])
def test_shared_memory_that_a_reader_makes_belongs_to_the_producer(crashed_file: Path, user: int) -> None:
    """V8."""
    reader = run_as(user, LOAD, crashed_file)
    assert (reader.returncode, reader.stderr) == (0, "")
    assert {path.stat().st_uid for path in crashed_file.parent.iterdir()} == {PRODUCER}
    producer = run_as(PRODUCER, COMMIT, crashed_file)
    assert (producer.returncode, producer.stderr) == (0, "")


@pytest.mark.parametrize("name", ["look", "Guard", "_is_open", "render_uri"])
def test_producer_that_leaves_while_we_open_finds_no_files_of_ours(
    public_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V8: SQLite would make log and shared memory anew, in our name, where it found them gone."""
    path = public_dir / "state.db"
    create_table(path, wal=True)
    insert(path, contract_row())
    public_dir.chmod(0o777)
    with held_by_another_process(path, SET_RUN) as producer:
        original = getattr(sqlite_connection, name)

        def leave_first(*arguments: object) -> object:
            producer.communicate(timeout=30)
            monkeypatch.setattr(sqlite_connection, name, original)
            return original(*arguments)

        monkeypatch.setattr(sqlite_connection, name, leave_first)
        assert as_nobody(lambda: load_once(path)).series[KEY].run_ids == (b"other",)
        assert producer.returncode == 0
    assert {entry.stat().st_uid for entry in public_dir.iterdir()} == {os.geteuid()}


@pytest.mark.parametrize("name", ["look", "Guard", "_is_open", "render_uri", "release"])
def test_journal_mode_that_changes_while_we_open_leaves_no_files_of_ours(
    state_file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V8: SQLite would make a log for a database that it opened as one with a rollback journal."""
    with opened(state_file) as store:
        token = store.load().token
        owner: Any = Guard if name == "release" else sqlite_connection
        original = getattr(owner, name)
        statements = iter([("PRAGMA busy_timeout=50", "PRAGMA journal_mode=WAL", SET_RUN)])

        def change_after(*arguments: Any) -> object:
            result = original(*arguments)
            for change in statements:
                with suppress(subprocess.CalledProcessError):  # "locked", while the guard is held
                    run_sql(state_file, *change)
            return result

        monkeypatch.setattr(owner, name, change_after)
        store.load()
        assert set(listing(state_file.parent)) == {"state.db"}
        run_sql(state_file, SET_RUN)
        assert store.probe() != token
        assert store.load().series[KEY].run_ids == (b"other",)
        assert set(listing(state_file.parent)) == {"state.db"}


def test_shared_memory_without_a_log_is_a_leftover(public_dir: Path) -> None:
    """V8: SQLite would make a log of ours beside it."""
    path = public_dir / "state.db"
    create_table(path, wal=True)
    insert(path, contract_row())
    path.with_name("state.db-shm").touch()
    public_dir.chmod(0o777)
    before = listing(public_dir)
    assert as_nobody(lambda: load_once(path)).rows == 1
    assert listing(public_dir) == before


def test_unprivileged_reader_reads_a_database_at_rest(public_dir: Path) -> None:
    path = public_dir / "state.db"
    create_table(path, wal=True)
    insert(path, contract_row())
    public_dir.chmod(0o555)
    before = listing(public_dir)
    assert as_nobody(lambda: load_once(path)).rows == 1
    assert listing(public_dir) == before


def test_unprivileged_reader_reads_beside_a_producer(public_dir: Path) -> None:
    """V3: through shared memory that it may only read."""
    path = public_dir / "state.db"
    create_table(path, wal=True)
    insert(path, contract_row())
    with held_by_another_process(path, "SELECT * FROM partition_state"):
        before = set(listing(public_dir))
        with closing(as_nobody(lambda: open_state(str(path), StateTable(), Filters(), 5))) as store:
            load = as_nobody(store.load)
            assert load.rows == 1
            assert as_nobody(store.probe) == load.token
            run_sql(path, SET_RUN)
            assert as_nobody(store.probe) != load.token
            assert as_nobody(store.load).series[KEY].run_ids == (b"other",)
        assert set(listing(public_dir)) == before


def test_unprivileged_reader_cannot_write_where_the_test_says_so(public_dir: Path) -> None:
    public_dir.chmod(0o555)
    with pytest.raises(PermissionError):
        as_nobody((public_dir / "file").touch)


def write_during_the_first_read(path: Path, monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Have another process commit and leave while rows are fetched."""
    writes = iter([statements])

    def write() -> None:
        for pending in writes:
            run_sql(path, *pending)

    after_each_read(monkeypatch, write)


def test_producer_that_comes_and_goes_during_a_read_at_rest_does_not_disturb_it(
    wal_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V3, V4: one moment's rows, and the next probe knows that they are not the newest."""
    settle(wal_file)
    before = wal_file.read_bytes()
    with opened(wal_file) as store:
        token = store.probe()
        write_during_the_first_read(wal_file, monkeypatch, SET_RUN)
        load = store.load()
        assert wal_file.read_bytes() == before
        assert load.series[KEY].run_ids == (RUN.encode(),)
        assert load.token == token != store.probe()
        assert store.load().series[KEY].run_ids == (b"other",)


def test_checkpoint_during_a_read_at_rest_is_read_again(wal_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V4: pages of two moments are never mixed."""
    settle(wal_file)
    with opened(wal_file) as store:
        write_during_the_first_read(wal_file, monkeypatch, SET_RUN, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert store.load().series[KEY].run_ids == (b"other",)


def test_write_between_opening_and_locking_is_read_again(wal_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V4: what an immutable connection keeps of the file is never mixed with newer pages."""
    settle(wal_file)
    with opened(wal_file) as store:
        store.load()
        writes = iter([SET_RUN])

        def lock_after_a_write(*arguments: Any) -> Guard:
            for statement in writes:
                run_sql(wal_file, statement)
            return Guard(*arguments)

        monkeypatch.setattr(sqlite_connection, "Guard", lock_after_a_write)
        assert store.load().series[KEY].run_ids == (b"other",)


def test_producer_that_keeps_the_file_locked_is_an_outage(wal_file: Path) -> None:
    """V11."""
    with opened(wal_file, timeout_s=0.2) as store:
        store.load()
        exclusive = ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", SET_RUN)
        with held_by_another_process(wal_file, *exclusive), pytest.raises(StateError, match=r"locked .* for 0.2 s"):
            store.load()
        assert store.load().rows == 1


def test_files_that_never_rest_are_an_outage(wal_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V11: after a bounded number of tries."""
    settle(wal_file)
    with opened(wal_file) as store:
        with monkeypatch.context() as patch:
            after_each_read(patch, wal_file.touch)
            with pytest.raises(StateError, match="changed during each of"):
                store.load()
        assert store.load().rows == 1


@pytest.mark.parametrize("looks", [1, 2])
def test_replacement_while_opening_is_opened_again(
    state_file: Path, tmp_path: Path, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V4: the descriptor, the connection and the path must be of one file."""
    other = tmp_path / "other.db"
    create_table(other)
    with opened(state_file) as store:
        store.load()
        state_file.with_name("copy.db").write_bytes(state_file.read_bytes())
        state_file.with_name("copy.db").rename(state_file)
        seen: list[Sighting] = []

        def look_and_replace(path: Path) -> Sighting:
            seen.append(look(path))
            if len(seen) == looks:
                other.rename(state_file)
            return seen[-1]

        monkeypatch.setattr(sqlite_connection, "look", look_and_replace)
        load = store.load()
        assert load.rows == 0
        assert store.probe() != load.token, "it stands for the file that was there before"
        assert store.load().token == store.probe()
