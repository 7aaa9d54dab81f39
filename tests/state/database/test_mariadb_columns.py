"""A real MariaDB: types of the status and of the keys, views on which only SELECT is granted, modes of the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from readyfs.partition import render_date
from readyfs.state.database.plan import DatabasePlan
from readyfs.state.database.sqlalchemy_engine import choose_driver
from readyfs.state.filters import Filters
from readyfs.state.inspect import open_inspector
from readyfs.state.open import open_state
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary
from readyfs.state.store import StateLoad, StateTable
from tests.mariadb.database import CREATE_TABLE, MariadbDatabase
from tests.mariadb.server import READER

DAYS = ["2024-06-01", "2024-06-02", "2024-06-03", "2024-06-04"]
NUMBERS = "1, 0, 2, NULL"
WORDS = "'success', 'Success', 'failed', NULL"
JSONS = '\'"success"\', \'{"state": "success"}\', NULL, NULL'
FIRST, SECOND = DAYS[:1], DAYS[1:2]

STATUSES: list[tuple[str, str, dict[str, list[str]]]] = [
    # type, the status of each day, and the days that are ready by the ready word
    ("VARCHAR(20)", WORDS, {"success": FIRST}),
    ("CHAR(20)", WORDS, {"success": FIRST, "failed": DAYS[2:3]}),
    ("TEXT", WORDS, {"success": FIRST}),
    ("VARBINARY(20)", WORDS, {"success": FIRST}),
    ("BLOB", WORDS, {"success": FIRST}),
    ("ENUM('success', 'failed')", "'success', 'failed', 'failed', NULL", {"success": FIRST, "done": []}),
    ("SET('success', 'failed')", "'success', 'success,failed', '', NULL", {"success": FIRST, "done": []}),
    ("JSON", JSONS, {"success": [], '"success"': FIRST}),
    ("BOOLEAN", NUMBERS, {"1": FIRST, "true": FIRST, "Yes": FIRST, "off": SECOND, "success": []}),
    ("INT", NUMBERS, {"1": FIRST, "true": [], "success": []}),
    ("BIT", "1, 0, 0, NULL", {"1": FIRST, "true": FIRST}),
    ("BIT(8)", "129, 1, 0, NULL", {"129": FIRST, "true": []}),
    ("FLOAT", NUMBERS, {"1": FIRST, "success": []}),
    ("DOUBLE", NUMBERS, {"1": FIRST, "success": []}),
    ("DECIMAL(3,1)", NUMBERS, {"1": FIRST, "1.0": FIRST, "success": []}),
    ("DECIMAL(20,0)", "12345678901234567890, 0, 0, NULL", {"12345678901234567890": FIRST, "success": []}),
    ("DATE", "'2024-01-01', '2024-01-02', NULL, NULL", {"2024-01-01": FIRST, "success": []}),
    ("UUID", "uuid(), NULL, NULL, NULL", {"success": []}),
]
VIEWS = {
    "merged": "CREATE ALGORITHM=MERGE VIEW {name} AS SELECT * FROM {table}",
    "temporary": "CREATE ALGORITHM=TEMPTABLE VIEW {name} AS SELECT * FROM {table}",
}


@contextmanager
def granted(mariadb: MariadbDatabase, name: str) -> Iterator[MariadbDatabase]:
    """Give a database in which the reader may read one view of the table, by SELECT alone."""
    with_views = f"{mariadb.name}_{name}"
    mariadb.server.execute(f"CREATE DATABASE {with_views}")
    table = f"{mariadb.name}.partition_state"
    mariadb.server.execute(VIEWS[name].format(name="partition_state", table=table), database=with_views)
    mariadb.server.execute(f"GRANT SELECT ON {with_views}.partition_state TO {READER}@'127.0.0.1'")
    other = MariadbDatabase(mariadb.server, with_views)
    try:
        yield other
    finally:
        mariadb.server.execute(f"REVOKE SELECT ON {with_views}.partition_state FROM {READER}@'127.0.0.1'")
        other.drop()


def read(connection: sa.Connection, table: StateTable) -> list[str]:
    """Return all dates that a load would serve, over a connection that is there."""
    plan = DatabasePlan.look(connection, table, Filters(), "mariadb")
    parser = RowParser(table.ready, Vocabulary(Filters()))
    parser.feed(connection.execute(plan.ready()).fetchall())
    counted = connection.execute(plan.count()).scalar_one()
    found = [render_date(date).decode() for rows in parser.series().values() for date in rows.dates]
    assert len(found) <= counted, "a collation may take more rows for ready, and never fewer"
    return found


def load(database: MariadbDatabase) -> StateLoad:
    """Load once."""
    store = open_state(database.url(), StateTable(), Filters(), 5)
    try:
        return store.load()
    finally:
        store.close()


def dates(loaded: StateLoad) -> list[str]:
    """Return all dates that are served."""
    return [render_date(date).decode() for rows in loaded.series.values() for date in rows.dates]


def test_status_of_any_type_is_compared_as_text(mariadb: MariadbDatabase) -> None:
    """V1: what a table says is what a view of it says; a word that a type does not know is no error."""
    added = ", ".join(f"ADD status_{number} {kind}" for number, (kind, _, _) in enumerate(STATUSES))
    mariadb.execute(f"ALTER TABLE partition_state {added}")
    for index, day in enumerate(DAYS):
        mariadb.put(day, "2024-06-02 05:00:00", status="")
        values = (f"status_{number} = {said.split(', ')[index]}" for number, (_, said, _) in enumerate(STATUSES))
        mariadb.execute(f"UPDATE partition_state SET {', '.join(values)} WHERE logical_date = '{day}'")
    with granted(mariadb, "merged") as view:
        for database in (mariadb, view):
            engine = sa.create_engine(choose_driver(sa.make_url(database.url())))
            with engine.connect() as connection:
                for number, (kind, _, words) in enumerate(STATUSES):
                    for word, expected in words.items():
                        found = read(connection, StateTable(status=f"status_{number}", ready=word))
                        assert found == expected, (kind, word, database.name)
            engine.dispose()


def test_index_of_a_text_status_serves(mariadb: MariadbDatabase) -> None:
    """The comparison casts nothing, so that what is ready is found without a scan."""
    mariadb.execute("CREATE INDEX by_status ON partition_state (status)")
    for day in range(1, 20):
        mariadb.put(f"2024-06-{day:02}", "2024-06-02 05:00:00", status="failed")
    mariadb.put("2024-07-01", "2024-06-02 05:00:00")
    mariadb.execute("ANALYZE TABLE partition_state")
    mariadb.server.execute("SET GLOBAL log_output = 'TABLE'")
    mariadb.server.execute("SET GLOBAL general_log = ON")
    try:
        assert dates(load(mariadb)) == ["2024-07-01"]
    finally:
        mariadb.server.execute("SET GLOBAL general_log = OFF")
    log = "SELECT argument FROM mysql.general_log WHERE argument LIKE %s ORDER BY event_time DESC"
    ((statement,), *_) = mariadb.server.execute(log, "SELECT%text_status%")
    ((_, _, _, _, _, key, *_),) = mariadb.execute(f"EXPLAIN {statement}")
    assert key == "by_status"


@pytest.mark.parametrize("view", VIEWS)
def test_view_needs_no_right_but_select(mariadb: MariadbDatabase, view: str) -> None:
    """SHOW VIEW is a right of its own, which a mount, its doctor and a check do without."""
    mariadb.put("2024-06-01", "2024-06-02 05:00:00")
    with granted(mariadb, view) as database:
        assert dates(load(database)) == ["2024-06-01"]
        inspector = open_inspector(database.url(), StateTable(), 5)
        assert inspector.columns()["status"] == "status"
        assert inspector.is_view()
        assert inspector.count_rows() == 1
        assert len(inspector.sample(Filters(), 10)) == 1
        assert inspector.newest() is not None


def test_column_that_may_not_be_read_is_absent_and_no_other_is_needed(mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-06-01", "2024-06-02 05:00:00")
    name, reader = mariadb.name, f"{READER}@'127.0.0.1'"
    mariadb.server.execute(f"REVOKE SELECT ON {name}.* FROM {reader}")
    columns = "source, customer_id, query_name, logical_date, status, current_run_id, updated_at"
    mariadb.server.execute(f"GRANT SELECT ({columns}) ON {name}.partition_state TO {reader}")
    try:
        assert dates(load(mariadb)) == ["2024-06-01"]
    finally:
        mariadb.server.execute(f"REVOKE SELECT ({columns}) ON {name}.partition_state FROM {reader}")


def test_keys_of_fixed_width_mean_the_same_on_every_route_and_in_every_mode(mariadb: MariadbDatabase) -> None:
    """What fills CHAR(n) up is no part of a customer, a run or a status, whatever the server's mode says of it."""
    mariadb.execute("DROP TABLE partition_state")
    wide = {"VARCHAR(100)": "CHAR(100)", "VARCHAR(20)": "CHAR(20)", "DATE  ": "CHAR(12)"}
    statement = CREATE_TABLE
    for before, after in wide.items():
        statement = statement.replace(before, after)
    mariadb.execute(statement.replace("CHARACTER SET utf8mb4", "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"))
    mariadb.put("2024-06-01", "2024-06-02 05:00:00", customer_id="a b")
    expected = {}
    for mode in ("", "PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES"):
        ((before,),) = mariadb.server.execute("SELECT @@GLOBAL.sql_mode")
        mariadb.server.execute("SET GLOBAL sql_mode = %s", mode)
        try:
            found = [load(mariadb)]
            for view in VIEWS:
                with granted(mariadb, view) as database:
                    found.append(load(database))
            filtered = open_state(mariadb.url(), StateTable(), Filters(customers=("a b",)), 5)
            try:
                found.append(filtered.load())
            finally:
                filtered.close()
            inspector = open_inspector(mariadb.url(), StateTable(), 5)
            assert [one.key.series.customer_id for one in inspector.sample(Filters(), 10)] == [b"a b"]
        finally:
            mariadb.server.execute("SET GLOBAL sql_mode = %s", before)
        expected[mode] = [
            {
                key: (list(rows.dates), list(rows.run_ids), list(rows.schema_versions))
                for key, rows in one.series.items()
            }
            for one in found
        ]
    assert all(one == expected[""][0] for ones in expected.values() for one in ones)
    (key,) = expected[""][0]
    assert key == (b"ads", b"a b", b"daily")


def test_case_that_a_collation_ignores_makes_no_row_ready(mariadb: MariadbDatabase) -> None:
    """V1: nor does it hide one, though each load is whole then."""
    mariadb.put("2024-06-01", "2024-06-02 05:00:00")
    mariadb.put("2024-06-02", "2024-06-02 05:00:00", status="SUCCESS")
    store = open_state(mariadb.url(), StateTable(), Filters(), 5, 600)
    with capture_logs() as logs:
        try:
            assert [dates(store.load()), dates(store.load())] == [FIRST, FIRST]
        finally:
            store.close()
    assert [line["reason"] for line in logs if line["event"] == "the state table is read whole"] == [
        "the database takes more rows for wanted or ready than the filters and the status say"
    ]
