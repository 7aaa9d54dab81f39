"""Looking at the state table of a server that has no inspector of its own: a real MariaDB."""

from __future__ import annotations

from contextlib import closing

import sqlalchemy as sa

from readyfs.partition import parse_date
from readyfs.state.database.sqlalchemy_engine import choose_driver
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.inspect import open_inspector
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from tests.doctor.subjects import looked_at
from tests.mariadb.database import RUN, MariadbDatabase
from tests.postgres.database import StateDatabase
from tests.state.state_files import KEY, UPDATED_NS


def test_table_keys_rows_and_times_are_told(mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-05-01", "2024-05-02 05:00:00")
    mariadb.put("2024-06-01", "2024-06-02 05:00:00.123456")
    mariadb.put("2024-06-02", "2024-06-02 05:00:00", status="failed")
    inspector = open_inspector(mariadb.url(), StateTable(), 5)
    assert inspector.dialect == "mariadb"
    assert inspector.columns()["current_run_id"] == "current_run_id"
    assert not inspector.is_view()
    key = ("source", "customer_id", "query_name", "logical_date")
    assert any(index.is_unique and index.columns == key for index in inspector.indexes())
    assert (inspector.count_rows(), inspector.newest()) == (3, UPDATED_NS)
    sample = inspector.sample(Filters(since=parse_date(b"2024-06-01")), rows=10)
    assert [(one.key.series, one.run_id) for one in sample] == [(KEY, RUN.encode())]


def test_words_of_the_status_are_counted_letter_by_letter(mariadb: MariadbDatabase) -> None:
    """Whatever its collation takes for the same, and whatever its type."""
    mariadb.execute("ALTER TABLE partition_state ADD is_ready BOOLEAN")
    inspector = open_inspector(mariadb.url(), StateTable(), 5)
    assert inspector.survey() == StatusSurvey("status", "varchar(20)", 0, 0, ())
    for day, word in enumerate(["success", "Success", "SUCCESS", "Success"], 1):
        mariadb.put(f"2024-06-{day:02}", "2024-06-02 05:00:00", status=word, is_ready=word == "success")
    words = (("'Success'", 2), ("'SUCCESS'", 1), ("'success'", 1))
    assert inspector.survey() == StatusSurvey("status", "varchar(20)", 4, 1, words)
    truths = open_inspector(mariadb.url(), StateTable(status="is_ready"), 5)
    assert truths.survey() == StatusSurvey("is_ready", "tinyint(1)", 4, 0, (("'0'", 3), ("'1'", 1)))


def test_words_of_a_boolean_in_postgresql_are_counted(postgres: StateDatabase) -> None:
    postgres.execute("ALTER TABLE partition_state ADD is_ready boolean")
    postgres.execute(
        "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, updated_at, is_ready) "
        "SELECT 's', 'c', 'q', date '2024-06-01' + n, 'done', now(), n > 0 FROM generate_series(0, 2) AS n"
    )
    inspector = open_inspector(postgres.url(), StateTable(status="is_ready"), 5)
    assert inspector.survey() == StatusSurvey("is_ready", "BOOLEAN", 3, 0, (("'true'", 2), ("'false'", 1)))
    for word, count in (("true", 2), ("Yes", 2), ("0", 1), ("done", 0)):
        assert open_inspector(postgres.url(), StateTable(status="is_ready", ready=word), 5).survey().ready == count


def test_statuses_of_every_type_of_postgresql_are_read_by_any_driver(postgres: StateDatabase) -> None:
    """V1: the words are those of the store that reads PostgreSQL by itself."""
    values = {
        "boolean": ("'true'", "yes"),
        "bit(1)": ("'1'", "true"),
        "bit(3)": ("'101'", "101"),
        "jsonb": ("'\"done\"'", "done"),
        "json": ("'\"done\"'", '"done"'),
        "numeric(5,2)": ("1.50", "1.5"),
        "float8": ("0.5", "0.5"),
        "int": ("7", "7"),
        "bytea": ("'done'", "done"),
        "char(9)": ("'done'", "done"),
        "text[]": ("'{done}'", "{done}"),
        "date": ("'2024-06-01'", "2024-06-01"),
    }
    added = ", ".join(f"ADD s{number} {kind}" for number, kind in enumerate(values))
    postgres.execute(f"ALTER TABLE partition_state {added}")
    names, cells = ", ".join(f"s{n}" for n in range(len(values))), ", ".join(cell for cell, _ in values.values())
    postgres.execute(
        "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id, "
        f"updated_at, {names}) VALUES ('s', 'c', 'q', '2024-06-01', 'done', 'r', now(), {cells})"
    )
    for number, (kind, (_, word)) in enumerate(values.items()):
        for ready, expected in ((word, 1), ("success", 0)):
            table = StateTable(status=f"s{number}", ready=ready)
            with closing(DatabaseStore(choose_driver(sa.make_url(postgres.url())), table, Filters(), 5)) as store:
                assert store.load().rows == expected, (kind, ready)
            assert open_inspector(postgres.url(), table, 5).survey().ready == expected, (kind, ready)


def test_doctor_says_what_a_mariadb_cannot_tell_and_that_nothing_is_ready(mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-06-01", "2024-06-02 05:00:00", status="done")
    found = looked_at(mariadb.url())
    assert (found["state-position"], found["state-ready"]) == ("note", "warning")
    mariadb.server.execute("SET GLOBAL gtid_slave_pos = '0-9-7'")
    try:
        assert looked_at(mariadb.url())["state-position"] == "ok"
    finally:
        mariadb.server.execute("SET GLOBAL gtid_slave_pos = ''")
