"""The generic path on a real MariaDB: types, and what a watermark finds and when it finds what it cannot see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, SeriesKey, WithheldReason, render_date
from readyfs.state.database.sqlalchemy_engine import choose_driver
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateLoad, StateTable
from tests.mariadb.database import RUN, MariadbDatabase, put_statement
from tests.mariadb.server import READER
from tests.state.state_files import KEY, UPDATED_NS

FULL_INTERVAL_S = 600.0
WALL_NS = 1_717_400_000 * 10**9
"""2024-06-03T07:33:20Z, later than every row that is not meant to be from the future."""


class Reader:
    """A store whose clocks the test sets; `dates` are what it served last for ads/001/daily."""

    def __init__(self, database: MariadbDatabase, filters: Filters | None = None) -> None:
        self.now_s = 1.0
        url = choose_driver(sa.make_url(database.url()))
        self.store = DatabaseStore(
            url, StateTable(), filters or Filters(), 5, FULL_INTERVAL_S, lambda: self.now_s, lambda: WALL_NS
        )

    def load(self) -> StateLoad:
        return self.store.load()

    def dates(self, *, whole: bool) -> list[str]:
        """Load, see that it was by changes or whole, and return what is served."""
        load = self.load()
        assert (load.changed is None) == whole, f"changed: {load.changed}"
        rows = load.series.get(KEY)
        return [] if rows is None else [render_date(date).decode() for date in rows.dates]

    def wait_full_interval(self) -> None:
        self.now_s += FULL_INTERVAL_S


@pytest.fixture
def reader(mariadb: MariadbDatabase) -> Iterator[Reader]:
    """A reader that has loaded a table of two rows."""
    mariadb.put("2024-06-01", "2024-06-02 05:00:00.123456")
    mariadb.put("2024-05-01", "2024-05-02 05:00:00")
    reader = Reader(mariadb)
    assert reader.dates(whole=True) == ["2024-05-01", "2024-06-01"]
    yield reader
    reader.store.close()


# ---- what cells mean ----------------------------------------------------------------------------------------------


def test_cells_of_every_type_mean_what_they_should(mariadb: MariadbDatabase) -> None:
    """V1, V15: times without a zone are UTC, wherever the server stands."""
    mariadb.put("2024-06-01", "2024-06-02 05:00:00.123456", record_count=2**62)
    mariadb.put("2024-06-02", "2024-06-02 05:00:00", customer_id="Ünï→𝄞", record_count=None, schema_version=None)
    mariadb.put("0000-00-00", "2024-06-02 05:00:00", current_run_id="no day")
    mariadb.put("2024-06-03", "0000-00-00 00:00:00", current_run_id="no time")
    mariadb.put("2024-06-04", "2024-06-02 05:00:00", status="SUCCESS")
    with DatabaseStoreOf(mariadb) as store:
        load = store.load()
    rows = load.series[KEY]
    assert (list(rows.updated_at_ns), list(rows.record_counts)) == ([UPDATED_NS], [2**62])
    assert (rows.run_ids, rows.schema_versions) == ((RUN.encode(),), (b"v1",))
    other = load.series[SeriesKey(b"ads", "Ünï→𝄞".encode(), b"daily")]
    assert (list(other.record_counts), other.schema_versions) == ([NOT_SET], (None,))
    assert load.withheld.counts == {WithheldReason.BAD_ROW: 2}
    assert load.rows == 4, "another word than success is not ready, even if the database takes them for equal"


def test_timestamps_are_utc_whatever_the_zone_of_the_server(mariadb: MariadbDatabase) -> None:
    mariadb.execute("ALTER TABLE partition_state MODIFY updated_at TIMESTAMP(6) NOT NULL")
    statement, values = put_statement("2024-06-01", "2024-06-02 10:45:00.123456")
    mariadb.execute(statement, *values)
    with DatabaseStoreOf(mariadb) as store:
        assert list(store.load().series[KEY].updated_at_ns) == [UPDATED_NS]


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "mysql+pymysql"])
def test_url_without_a_driver_finds_the_one_that_is_installed(mariadb: MariadbDatabase, dialect: str) -> None:
    mariadb.put("2024-06-01", "2024-06-02 05:00:00")
    store = open_state(mariadb.url(dialect=dialect), StateTable(), Filters(), 5)
    try:
        assert store.load().rows == 1
        assert not store.is_exact
    finally:
        store.close()


# ---- what the watermark finds --------------------------------------------------------------------------------------


def test_quiet_table_has_no_change(reader: Reader) -> None:
    load = reader.load()
    assert load.changed == {}
    assert load.rows == 2


def test_rows_that_came_changed_and_went_are_found_at_once(reader: Reader, mariadb: MariadbDatabase) -> None:
    """V3."""
    mariadb.put("2024-06-03", "2024-06-02 05:01:00")
    assert reader.dates(whole=False) == ["2024-05-01", "2024-06-01", "2024-06-03"]
    mariadb.put("2024-05-01", "2024-06-02 05:02:00", current_run_id="another")
    load = reader.load()
    assert set(load.changed or ()) == {KEY}
    assert load.series[KEY].run_ids == (b"another", RUN.encode(), RUN.encode())
    mariadb.put("2024-06-01", "2024-06-02 05:03:00", status="failed")
    assert reader.dates(whole=False) == ["2024-05-01", "2024-06-03"]


def test_row_that_becomes_bad_is_withheld_and_one_that_is_mended_is_served(
    reader: Reader, mariadb: MariadbDatabase
) -> None:
    """V15."""
    mariadb.put("2024-06-01", "2024-06-02 05:01:00", current_run_id=None)
    load = reader.load()
    assert set(load.changed or ()) == {KEY}
    assert (load.withheld.counts, load.rows) == ({WithheldReason.NO_RUN_ID: 1}, 2)
    mariadb.put("2024-06-01", "2024-06-02 05:02:00")
    load = reader.load()
    assert set(load.changed or ()) == {KEY}
    assert (load.withheld.counts, load.rows) == ({}, 2)


def test_deletion_is_found_at_once_by_the_count(reader: Reader, mariadb: MariadbDatabase) -> None:
    mariadb.execute("DELETE FROM partition_state WHERE logical_date = '2024-05-01'")
    assert reader.dates(whole=True) == ["2024-06-01"]
    assert reader.dates(whole=False) == ["2024-06-01"]


def test_deletion_and_insertion_that_keep_the_count_are_found_at_once(reader: Reader, mariadb: MariadbDatabase) -> None:
    """A new row moves the count although the table has as many as before."""
    mariadb.execute("DELETE FROM partition_state WHERE logical_date = '2024-05-01'")
    mariadb.put("2024-06-03", "2024-06-02 05:01:00")
    assert reader.dates(whole=True) == ["2024-06-01", "2024-06-03"]


def test_late_commit_within_the_overlap_is_found_at_once(reader: Reader, mariadb: MariadbDatabase) -> None:
    with mariadb.connect() as session, session.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(*put_statement("2024-05-01", "2024-06-02 05:00:01", current_run_id="late"))
        mariadb.put("2024-06-03", "2024-06-02 05:04:00")
        assert reader.dates(whole=False) == ["2024-05-01", "2024-06-01", "2024-06-03"]
        cursor.execute("COMMIT")
    load = reader.load()
    assert set(load.changed or ()) == {KEY}
    assert load.series[KEY].run_ids[0] == b"late"


@pytest.mark.parametrize("whole", [True, False], ids=["read-whole", "read-by-changes"])
def test_row_from_the_future_does_not_hide_what_comes_after_it(
    reader: Reader, mariadb: MariadbDatabase, whole: bool
) -> None:
    mariadb.put("2024-06-03", "2200-01-01 00:00:00")
    mariadb.put("2024-06-04", "2024-06-03 07:33:00")
    if whole:
        reader.store.start_over()
    assert (reader.load().changed is None) == whole
    mariadb.put("2024-05-01", "2024-06-03 07:33:30", current_run_id="after")
    load = reader.load()
    assert set(load.changed or ()) == {KEY}
    assert load.series[KEY].run_ids[0] == b"after"


# ---- what it cannot see, until everything is compared --------------------------------------------------------------


LATE = put_statement("2024-05-01", "2024-06-02 04:00:00", current_run_id="unseen")
UNTOUCHED = ("UPDATE partition_state SET current_run_id = 'unseen' WHERE logical_date = '2024-05-01'", ())


@pytest.mark.parametrize("change", [LATE, UNTOUCHED], ids=["beyond-the-overlap", "updated-at-not-touched"])
def test_change_that_a_watermark_cannot_see_waits_for_the_full_comparison(
    reader: Reader, mariadb: MariadbDatabase, change: tuple[str, tuple[object, ...]]
) -> None:
    """V3: its bound."""
    statement, values = change
    mariadb.execute(statement, *values)
    assert reader.load().changed == {}
    reader.wait_full_interval()
    load = reader.load()
    assert load.changed is None
    assert load.series[KEY].run_ids[0] == b"unseen"


def test_forgetting_makes_the_full_comparison_at_once(reader: Reader, mariadb: MariadbDatabase) -> None:
    statement, values = UNTOUCHED
    mariadb.execute(statement, *values)
    reader.store.start_over()
    load = reader.load()
    assert load.changed is None
    assert load.series[KEY].run_ids[0] == b"unseen"


def test_old_row_in_place_of_a_deleted_one_waits_for_the_full_comparison(
    reader: Reader, mariadb: MariadbDatabase
) -> None:
    mariadb.execute("DELETE FROM partition_state WHERE logical_date = '2024-05-01'")
    mariadb.put("2024-05-02", "2024-05-02 05:00:00")
    assert reader.dates(whole=False) == ["2024-05-01", "2024-06-01"]
    reader.wait_full_interval()
    assert reader.dates(whole=True) == ["2024-05-02", "2024-06-01"]


def test_other_table_under_the_name_is_read_whole(reader: Reader, mariadb: MariadbDatabase) -> None:
    # The server tells tables apart by the second in which they were made.
    mariadb.execute(
        "SELECT sleep(greatest(0, 1.1 + timestampdiff(MICROSECOND, now(6), create_time) / 1e6)) "
        "FROM information_schema.tables WHERE table_schema = database()"
    )
    mariadb.execute("CREATE TABLE other LIKE partition_state")
    mariadb.execute("INSERT INTO other SELECT * FROM partition_state")
    mariadb.execute("UPDATE other SET current_run_id = 'swapped'")
    mariadb.execute("RENAME TABLE partition_state TO away, other TO partition_state")
    load = reader.load()
    assert load.changed is None
    assert set(load.series[KEY].run_ids) == {b"swapped"}


# ---- what makes every load whole -----------------------------------------------------------------------------------


def test_filters_that_the_database_can_judge_are_patched(reader: Reader, mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-06-01", "2024-06-02 05:00:00", source="crm")
    filtered = Reader(mariadb, Filters(sources=("ads",), since=738_000))
    try:
        assert filtered.dates(whole=True) == ["2024-05-01", "2024-06-01"]
        mariadb.put("2024-06-03", "2024-06-02 05:01:00")
        mariadb.put("2024-06-03", "2024-06-02 05:01:00", source="crm")
        assert filtered.dates(whole=False) == ["2024-05-01", "2024-06-01", "2024-06-03"]
    finally:
        filtered.store.close()


def test_filters_that_only_we_can_judge_are_read_whole(reader: Reader, mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-06-01", "2024-06-02 05:00:00", source="crm")
    filtered = Reader(mariadb, Filters(sources=("a*",)))
    try:
        for _ in range(2):
            assert filtered.dates(whole=True) == ["2024-05-01", "2024-06-01"]
        mariadb.execute("DELETE FROM partition_state WHERE logical_date = '2024-05-01'")
        assert filtered.dates(whole=True) == ["2024-06-01"], "the row that is left out does not make up for it"
    finally:
        filtered.store.close()


# ---- outages -------------------------------------------------------------------------------------------------------


def test_server_that_restarts_is_an_outage_and_then_read_again(reader: Reader, mariadb: MariadbDatabase) -> None:
    """V11."""
    mariadb.server.stop()
    try:
        with pytest.raises(StateError, match="cannot be read"):
            reader.load()
    finally:
        mariadb.server.start()
    mariadb.put("2024-06-03", "2024-06-02 05:01:00")
    assert [render_date(date) for date in reader.load().series[KEY].dates] == [
        b"2024-05-01",
        b"2024-06-01",
        b"2024-06-03",
    ]


def test_wrong_password_is_an_outage_that_does_not_show_it(mariadb: MariadbDatabase) -> None:
    with pytest.raises(StateError, match="Access denied for user 'reader'") as raised:
        open_state(mariadb.url(password="hunter3 secret"), StateTable(), Filters(), 2).close()
    assert "hunter3" not in str(raised.value)


def test_transaction_is_read_only_and_of_one_moment(reader: Reader, mariadb: MariadbDatabase) -> None:
    """V4, V8: whatever the role may do."""
    mariadb.server.execute(f"GRANT ALL ON {mariadb.name}.* TO {READER}@'127.0.0.1'")
    with reader.store._session.transaction() as (connection, _):
        mariadb.put("2024-06-03", "2024-06-02 05:01:00")
        assert connection.exec_driver_sql("SELECT count(*) FROM partition_state").scalar_one() == 2
        with pytest.raises(sa.exc.DBAPIError, match="READ ONLY transaction"):
            connection.exec_driver_sql("DELETE FROM partition_state")


class DatabaseStoreOf:
    """A store with real clocks, closed at the end of the block."""

    def __init__(self, database: MariadbDatabase) -> None:
        self._store = open_state(database.url(), StateTable(), Filters(), 5)

    def __enter__(self) -> DatabaseStore:
        assert isinstance(self._store, DatabaseStore)
        return self._store

    def __exit__(self, *_exception: object) -> None:
        self._store.close()
