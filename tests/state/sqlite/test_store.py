"""SQLite files in rollback-journal mode: loading, probing, and leaving everything as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.sqlite import connection as sqlite_connection
from readyfs.state.sqlite import looks as sqlite_looks
from readyfs.state.sqlite.connection import SqliteConnection
from readyfs.state.sqlite.store import SqliteStore
from readyfs.state.sqlite.version import Version, read_version
from readyfs.state.store import StateTable
from tests.descriptors import open_descriptors
from tests.state.rows.test_values import JUNE_1
from tests.state.state_files import (
    CONTRACT_COLUMNS,
    KEY,
    RUN,
    UPDATED_NS,
    contract_row,
    create_table,
    execute,
    held_by_another_process,
    insert,
    listing,
    load_once,
    opened,
    run_sql,
    settle,
)

SET_RUN = "UPDATE partition_state SET current_run_id = 'other'"


def test_load_gives_the_ready_rows(state_file: Path) -> None:
    """V1: nothing but rows whose status is ready."""
    insert(
        state_file,
        contract_row(logical_date="2024-06-02", status="pending"),
        contract_row(logical_date="2024-06-03", status="failed"),
        contract_row(logical_date="2024-06-04", status="SUCCESS"),
    )
    load = load_once(state_file)
    rows = load.series[KEY]
    assert (list(rows.dates), rows.run_ids, rows.schema_versions) == ([JUNE_1], (RUN.encode(),), (b"v1",))
    assert (list(rows.updated_at_ns), list(rows.record_counts)) == ([UPDATED_NS], [7])
    assert load.rows == 1
    assert 0 < load.lock_ms < 5000


def test_status_column_that_ignores_case_is_compared_exactly(tmp_path: Path) -> None:
    """V1: the collation of the producer's column does not decide what is ready."""
    path = tmp_path / "state.db"
    create_table(path, columns=[column + " COLLATE NOCASE" * ("status" in column) for column in CONTRACT_COLUMNS])
    insert(path, contract_row(status="SUCCESS"))
    assert not load_once(path).series


def test_untyped_cells_are_parsed_and_one_bad_row_is_one_bad_row(tmp_path: Path) -> None:
    """V15: TEXT, INTEGER, BLOB and invalid UTF-8 side by side in one column."""
    path = tmp_path / "state.db"
    create_table(path, columns=[column.split()[0] for column in CONTRACT_COLUMNS])
    insert(
        path,
        contract_row(customer_id=b"\xff\xfe", logical_date=20240601, current_run_id=b"\x80run"),
        contract_row(customer_id=42, logical_date="20240601", updated_at=1717304400.123456, record_count="7"),
        contract_row(customer_id=b"caf\xc3\xa9", logical_date="2024-06-01T00:00:00Z", updated_at=None),
        contract_row(customer_id=1.5),
        contract_row(logical_date=b"\xff\xff"),
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE partition_state SET query_name = CAST(x'e4f6' AS TEXT) WHERE customer_id = 42")
        connection.commit()
    load = load_once(path)
    assert {(key.customer_id, key.query_name) for key in load.series} == {
        (b"\xff\xfe", b"daily"),
        (b"42", b"\xe4\xf6"),
        ("café".encode(), b"daily"),
    }
    assert {tuple(rows.dates) for rows in load.series.values()} == {(JUNE_1,)}
    assert load.withheld.counts == {WithheldReason.BAD_ROW: 2}
    assert load.rows == 5


def test_text_with_a_nul_inside_is_whole(state_file: Path) -> None:
    run_sql(state_file, "UPDATE partition_state SET current_run_id = 'a' || char(0) || 'b'")
    assert load_once(state_file).series[KEY].run_ids == (b"a\0b",)


def test_utf16_database_gives_utf8(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16'")
        connection.execute(f"CREATE TABLE partition_state ({', '.join(CONTRACT_COLUMNS)})")
    insert(path, contract_row(current_run_id="é"))
    assert load_once(path).series[KEY].run_ids == ("é".encode(),)


def test_missing_optional_columns_are_not_set(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=CONTRACT_COLUMNS[:6])
    row = contract_row()
    insert(path, {name: row[name] for name in list(row)[:6]})
    rows = load_once(path).series[KEY]
    assert (list(rows.updated_at_ns), list(rows.record_counts)) == ([NOT_SET], [NOT_SET])
    assert rows.schema_versions == (None,)


def test_optional_column_that_appears_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=CONTRACT_COLUMNS[:6])
    row = contract_row()
    insert(path, {name: row[name] for name in list(row)[:6]})
    with opened(path) as store:
        store.load()
        run_sql(path, "ALTER TABLE partition_state ADD COLUMN record_count INTEGER DEFAULT 9")
        assert list(store.load().series[KEY].record_counts) == [9]


def test_required_column_that_vanishes_is_an_outage_until_it_is_back(state_file: Path) -> None:
    """V11: the store heals by itself."""
    with opened(state_file) as store:
        store.load()
        run_sql(state_file, "ALTER TABLE partition_state RENAME COLUMN current_run_id TO run")
        with pytest.raises(
            StateError, match=r"no column current_run_id \(columns there: .*run.*--column-current-run-id"
        ):
            store.load()
        run_sql(state_file, "ALTER TABLE partition_state RENAME COLUMN run TO current_run_id")
        assert store.load().rows == 1


def test_names_in_the_database_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    columns = ("src", "customer", '"the query"', "day", "state", '"select"', "changed", "n", "version")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'CREATE TABLE "odd ""table" ({", ".join(columns)})')
        connection.execute(
            'INSERT INTO "odd ""table" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
            ("ads", "001", "daily", "2024-06-01", "ok'", "run", 0, 3, "v2"),
        )
        connection.commit()
    table = StateTable(
        'odd "table', "src", "customer", "the query", "day", "state", "select", "changed", "n", "version", ready="ok'"
    )
    rows = load_once(path, table).series[KEY]
    assert (rows.run_ids, list(rows.record_counts), rows.schema_versions) == ((b"run",), [3], (b"v2",))


def test_table_may_name_its_schema_and_columns_ignore_case(state_file: Path) -> None:
    assert load_once(state_file, StateTable("main.partition_state", source="SOURCE")).rows == 1


def test_view_can_stand_for_the_table(state_file: Path) -> None:
    run_sql(state_file, "CREATE VIEW shown AS SELECT * FROM partition_state")
    assert load_once(state_file, StateTable("shown")).rows == 1


def test_filters_limit_what_is_loaded(state_file: Path) -> None:
    insert(state_file, contract_row(customer_id="002"), contract_row(logical_date="2024-07-01"))
    load = load_once(state_file, filters=Filters(customers=("00[1]",), until=JUNE_1))
    assert load.rows == 1
    assert list(load.series) == [KEY]


def test_database_and_directory_never_change(state_file: Path) -> None:
    """V8: a state store belongs to its producer."""
    before = listing(state_file.parent)
    with opened(state_file) as store:
        for _ in range(2):
            store.probe()
            store.load()
            assert listing(state_file.parent) == before
    assert listing(state_file.parent) == before


def test_connection_refuses_to_write(state_file: Path) -> None:
    """V8: read-only by construction."""
    with opened(state_file) as store:
        assert isinstance(store, SqliteStore)
        with pytest.raises(StateError, match="SQLITE_READONLY"):
            store._looks.attempt(lambda opened: opened.connection.execute(SET_RUN).fetchall())


def test_missing_file_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not exist"):
        load_once(tmp_path / "state.db")
    assert not listing(tmp_path)


def test_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is a directory"):
        load_once(tmp_path)


def test_fifo_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StateError, match="not a regular file"):
        load_once(tmp_path / "fifo")


def test_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"source,customer_id\n" * 100)
    with pytest.raises(StateError, match="not a SQLite database"):
        load_once(tmp_path / "state.db")


def test_empty_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    with pytest.raises(StateError, match="0 bytes"):
        load_once(tmp_path / "state.db")


def test_missing_table_lists_what_is_there(state_file: Path) -> None:
    run_sql(state_file, "CREATE TABLE runs (id)")
    with pytest.raises(StateError, match=r"no table partitions \(tables there: partition_state, runs\).*--state-table"):
        load_once(state_file, StateTable("partitions"))
    with pytest.raises(StateError, match=r"no table other\.partition_state"):
        load_once(state_file, StateTable("other.partition_state"))


def test_missing_columns_list_what_is_there(state_file: Path) -> None:
    with pytest.raises(StateError, match=r"no column client, day \(columns there: attempt_count, .*updated_at\)"):
        load_once(state_file, StateTable(customer_id="client", logical_date="day"))


def test_path_of_any_bytes_opens(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path / "a b?c#d%20&") + b"\xff.db"))
    create_table(path)
    with opened(path) as store:
        assert store.load().rows == 0
        assert store.label.isprintable()


def test_quiet_state_keeps_its_token(state_file: Path) -> None:
    with opened(state_file) as store:
        token = store.probe()
        assert store.load().token == token
        assert [store.probe() for _ in range(3)] == [token] * 3


@pytest.mark.parametrize(
    "statement",
    [
        SET_RUN,
        "DELETE FROM partition_state",
        "UPDATE partition_state SET status = 'pending'",
        "ALTER TABLE partition_state ADD COLUMN x",
        "VACUUM",
    ],
)
def test_probe_sees_a_commit_of_another_process(state_file: Path, statement: str) -> None:
    """V3: including deletes and whatever leaves `updated_at` alone."""
    with opened(state_file) as store:
        token = store.load().token
        run_sql(state_file, statement)
        assert store.probe() != token
        assert store.load().token == store.probe()


def test_probe_does_not_see_a_rollback(state_file: Path) -> None:
    with opened(state_file) as store:
        token = store.probe()
        run_sql(state_file, "BEGIN", SET_RUN, "ROLLBACK")
        assert store.probe() == token


def test_probe_sees_a_file_renamed_over_it(state_file: Path, tmp_path: Path) -> None:
    """V3: even with the same number of commits in it."""
    other = tmp_path / "other.db"
    create_table(other)
    insert(other, contract_row(current_run_id="other"))
    with opened(state_file) as store:
        token = store.load().token
        other.rename(state_file)
        assert store.probe() != token
        assert store.load().series[KEY].run_ids == (b"other",)
        assert store.load().token == store.probe()


def test_probe_sees_a_file_overwritten_in_place(state_file: Path, tmp_path: Path, keyed: bool) -> None:
    """V3: same inode, same size, same change counter, so SQLite itself cannot tell."""
    other = tmp_path / "other.db"
    create_table(other, keyed=keyed)
    insert(other, contract_row(current_run_id=RUN[::-1]))
    assert other.read_bytes()[24:40] == state_file.read_bytes()[24:40]
    with opened(state_file) as store:
        token = store.load().token
        shutil.copyfile(other, state_file)
        assert store.probe() != token
        assert store.load().series[KEY].run_ids == (RUN[::-1].encode(),)
        assert store.load().token == store.probe()


def test_overwrite_is_seen_by_a_load_without_a_probe(state_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    create_table(other)
    insert(other, contract_row(current_run_id=RUN[::-1]))
    with opened(state_file) as store:
        store.load()
        shutil.copyfile(other, state_file)
        assert store.load().series[KEY].run_ids == (RUN[::-1].encode(),)


def test_symbolic_link_that_moves_is_a_replaced_file(state_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    create_table(other)
    link = tmp_path / "link.db"
    link.symlink_to(state_file)
    with opened(link) as store:
        token = store.load().token
        link.unlink()
        link.symlink_to(other)
        assert store.probe() != token
        assert store.load().rows == 0


def test_file_that_vanishes_is_an_outage_until_it_is_back(state_file: Path, tmp_path: Path) -> None:
    """V11: the store heals by itself."""
    with opened(state_file) as store:
        token = store.load().token
        state_file.rename(tmp_path / "away.db")
        for action in (store.probe, store.load):
            with pytest.raises(StateError, match="does not exist"):
                action()
        (tmp_path / "away.db").rename(state_file)
        assert store.probe() != token
        assert store.load().rows == 1


def test_file_that_becomes_garbage_is_an_outage_until_it_is_whole(state_file: Path) -> None:
    """V11: the store heals by itself."""
    whole = state_file.read_bytes()
    with opened(state_file) as store:
        store.load()
        state_file.write_bytes(b"\0garbage" * 2000)
        with pytest.raises(StateError, match="not a SQLite database"):
            store.load()
        state_file.write_bytes(whole)
        assert store.load().rows == 1


def test_truncated_file_is_an_outage(state_file: Path) -> None:
    insert(state_file, *[contract_row(logical_date=f"day {day}", source="s" * 500) for day in range(100)])
    with opened(state_file) as store:
        store.load()
        os.truncate(state_file, 8192)
        with pytest.raises(StateError, match="damaged"):
            store.load()


def test_commit_after_the_token_is_seen_by_the_next_probe(state_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V3: a load's token is of the time before its transaction, so no commit falls between."""
    with opened(state_file) as store:

        def commit_after(path: Path) -> Version:
            version = read_version(path)
            run_sql(state_file, SET_RUN)
            return version

        with monkeypatch.context() as patch:
            patch.setattr(sqlite_looks, "read_version", commit_after)
            load = store.load()
        assert load.series[KEY].run_ids == (b"other",)
        assert store.probe() != load.token


@pytest.mark.parametrize("limit", ["many_rows", "long_lock_ms"])
def test_load_that_holds_up_the_producer_in_rollback_mode_is_warned_of_once(state_file: Path, limit: str) -> None:
    store = SqliteStore(state_file, StateTable(), Filters(), 5, **{limit: 0})
    with closing(store), capture_logs() as logs:
        store.load()
        store.load()
    warnings = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert ["WAL" in event for event in warnings] == [True]


def test_load_in_rollback_mode_that_is_short_is_not_warned_of(state_file: Path) -> None:
    with opened(state_file) as store, capture_logs() as logs:
        store.load()
    assert not [entry for entry in logs if entry["log_level"] == "warning"]


def test_descriptors_are_given_back(state_file: Path) -> None:
    before = open_descriptors()
    with opened(state_file) as store:
        for number in range(5):
            copy = state_file.with_name("copy.db")
            shutil.copyfile(state_file, copy)
            copy.rename(state_file)
            run_sql(state_file, f"UPDATE partition_state SET record_count = {number}")
            store.probe()
            store.load()
            assert open_descriptors() == before, "nothing is open between looks"
    with pytest.raises(StateError):
        load_once(state_file, StateTable("absent"))
    assert open_descriptors() == before


@pytest.mark.parametrize("wal", [False, True])
def test_file_that_ends_within_a_page_is_damaged_and_not_shorter(tmp_path: Path, wal: bool) -> None:
    """V11: SQLite fills the rest of the page with zeros, and the rows at its end are not there any more."""
    path = tmp_path / "state.db"
    create_table(path, wal=wal)
    insert(path, *(contract_row(logical_date=f"{year}-06-01") for year in range(1900, 2100)))
    size = path.stat().st_size
    with closing(SqliteStore(path, StateTable(), Filters(), 5)) as store:
        assert store.load().rows == 200
        os.truncate(path, size - 2048)
        with pytest.raises(StateError, match="ends in the middle of a page"):
            store.load()


def test_file_of_other_pages_that_takes_the_place_during_a_read_is_not_taken_for_a_torn_one(
    state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11."""
    other = state_file.with_name("other.db")
    create_table(other, keyed=True)
    execute(other, "PRAGMA page_size=512", "VACUUM")
    assert other.stat().st_size % 4096
    with opened(state_file) as store:
        find_columns = SqliteStore._columns

        def replace_first(store: SqliteStore, opened: SqliteConnection) -> dict[str, str | None]:
            if other.exists():
                other.rename(state_file)
            return find_columns(store, opened)

        monkeypatch.setattr(SqliteStore, "_columns", replace_first)
        assert store.load().rows == 0


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST", "TRUNCATE", "WAL", "WAL with a producer"])
def test_quiet_look_opens_no_connection(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """V8: and changes nothing in any journal mode, whoever has the database open."""
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    execute(path, f"PRAGMA journal_mode={mode.split()[0]}", "PRAGMA user_version=1")
    insert(path, contract_row())
    producer = held_by_another_process(path, SET_RUN) if "producer" in mode else nullcontext()
    with opened(path) as store, producer:
        settle(path)
        token = store.load().token
        before = listing(tmp_path)
        monkeypatch.setattr(sqlite_connection, "_connect", lambda *_: pytest.fail("a connection is opened"))
        assert [store.probe() for _ in range(3)] == [token] * 3
        assert listing(tmp_path) == before
