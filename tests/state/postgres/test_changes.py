"""Reading PostgreSQL by what changed finds all of it: after any history the same as reading everything anew."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from structlog.testing import capture_logs

from readyfs.errors import StateError
from readyfs.partition import parse_date
from readyfs.state.database.sqlalchemy_engine import choose_driver
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.store import StateTable
from readyfs.state.url import parse_url
from tests.postgres.database import CREATE_TABLE, GRANT, READER, StateDatabase
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer
from tests.state.change_machine import DAYS, KEYS, VALUES, ChangeMachine, Key, Value, upsert, where
from tests.state.comparing import Follower, contents_of

COLUMNS = (
    "source, customer_id, query_name, logical_date, status, current_run_id, schema_version, record_count, updated_at"
)
FILL = f"""
INSERT INTO {{}} ({COLUMNS}) SELECT 's1', 'c' || i % 3, 'q1', DATE '2024-01-01' + i / 3, 'success', 'r' || i,
    'v' || i % 2, i, TIMESTAMPTZ '2024-06-02T05:00:00Z' FROM generate_series(0, 29) AS i
"""
KEY = "customer_id = 'c{}' AND logical_date = '2024-01-{:02}'"
NOW = "TIMESTAMPTZ '2024-06-02T05:00:00Z'"


def row(customer: str, day: str, status: str = "success", run: str = "'new'", updated: str = NOW) -> str:
    return (
        f"INSERT INTO partition_state ({COLUMNS}) VALUES"
        f" ('s1', '{customer}', 'q1', '{day}', '{status}', {run}, 'v1', 7, {updated})"
    )


def update(change: str, customer: int = 0, day: int = 1) -> str:
    return f"UPDATE partition_state SET {change} WHERE {KEY.format(customer, day)}"


def delete(customer: int = 0, day: int = 1) -> str:
    return f"DELETE FROM partition_state WHERE {KEY.format(customer, day)}"


def several(customer: int, *days: int) -> str:
    return ";".join(delete(customer, day) for day in days)


def fill(database: StateDatabase) -> None:
    database.execute(FILL.format("partition_state"))


@contextmanager
def following(
    database: StateDatabase, *, table: str = "partition_state", filters: Filters | None = None
) -> Iterator[Follower]:
    with Follower(database.url(), StateTable(table), filters) as follower:
        follower.check(patched=False)
        yield follower


HISTORIES = {
    "new row": [row("c9", "2024-01-01"), row("c0", "2023-01-01"), row("c0", "2025-01-01")],
    "equal timestamps": [update("current_run_id = 'x'"), row("c0", "2024-02-01"), update("current_run_id = 'y'")],
    "clock set back": [
        update("current_run_id = 'x', updated_at = '2001-01-01Z'"),
        row("c0", "2024-02-01", updated="TIMESTAMPTZ '1999-01-01Z'"),
    ],
    "attributes only": [update("record_count = 5"), update("schema_version = NULL"), update("record_count = NULL")],
    "deleted": [delete(), delete(1), delete(2, 10), "DELETE FROM partition_state WHERE customer_id = 'c1'"],
    "several of a series deleted": [
        several(0, 1, 2),
        several(0, 3, 4, 5) + ";" + several(1, 1, 2),
        several(1, 3) + ";" + several(2, 1, 2, 3, 4, 5, 6) + ";" + update("current_run_id = 'x'", 1, 4),
        several(2, 7, 8) + ";" + row("c2", "2024-02-01") + ";" + several(0, 6, 7, 8, 9, 10),
    ],
    "not ready come, become ready and vanish": [
        row("c0", "2024-02-01", "pending") + ";" + row("c9", "2024-02-01", "pending"),
        update("status = 'failed'") + ";" + row("c0", "2024-02-02", "pending"),
        "UPDATE partition_state SET status = 'success' WHERE status = 'pending' AND customer_id = 'c0'",
        "DELETE FROM partition_state WHERE status = 'pending';" + row("c0", "2024-02-03"),
        update("status = 'success'") + ";" + delete(1),
        "DELETE FROM partition_state WHERE logical_date >= '2024-02-02'",
    ],
    "one that is not ready makes room for one that vanished": [
        row("c9", "2024-02-01", "pending"),
        "UPDATE partition_state SET status = 'success' WHERE status = 'pending';" + delete(),
        row("c9", "2024-02-02", "pending") + ";" + delete(1),
        "DELETE FROM partition_state WHERE status = 'pending';" + row("c9", "2024-02-02", "pending"),
        row("c9", "2024-02-03") + ";" + delete(2),
    ],
    "deleted and inserted again": [delete() + ";" + row("c0", "2024-01-01"), delete(), row("c0", "2024-01-01")],
    "one deleted and one inserted": [
        delete() + ";" + row("c0", "2024-02-01"),
        delete(0, 2) + ";" + row("c1", "2024-02-01"),
        delete(0, 3) + ";" + row("c9", "2024-02-01"),
        delete(0, 4) + ";" + row("c2", "2024-02-01", run="NULL"),
    ],
    "one deleted and one changed": [delete(1, 1) + ";" + update("current_run_id = 'x'")],
    "key changed": [
        update("logical_date = '2024-03-01'"),
        update("customer_id = 'c1', logical_date = '2024-04-01'", 0, 2),
        update("source = 's2'", 1, 1),
        update("logical_date = 'infinity'", 1, 2),
        update("query_name = ''", 1, 3),
    ],
    "keys exchanged": [
        update("logical_date = '2030-01-01'", 0, 1)
        + ";"
        + update("logical_date = '2024-01-01'", 0, 2)
        + "; UPDATE partition_state SET logical_date = '2024-01-02' WHERE logical_date = '2030-01-01'"
    ],
    "ready, pending, ready": [update("status = 'pending'"), update("status = 'success'")],
    "pending and a deletion": [update("status = 'pending'") + ";" + delete(1, 1), update("status = 'success'")],
    "all pending, all ready": [
        "UPDATE partition_state SET status = 'pending'",
        "UPDATE partition_state SET status = 'success'",
    ],
    "emptied and filled": ["DELETE FROM partition_state", row("c0", "2024-01-01"), row("c1", "2024-01-01")],
    "withheld come and heal": [
        row("c0", "2024-02-01", run="NULL"),
        row("c0", "2024-02-02", run="''"),
        row("c7", "infinity"),
        row("c7", "2024-02-01", updated="TIMESTAMPTZ 'infinity'"),
        "UPDATE partition_state SET current_run_id = 'x' WHERE current_run_id IS NULL",
        "UPDATE partition_state SET updated_at = now() WHERE customer_id = 'c7'",
        "UPDATE partition_state SET logical_date = '2024-02-02' WHERE customer_id = 'c7' AND logical_date = 'infinity'",
    ],
    "withheld vanish": [
        row("c7", "-infinity") + ";" + row("c8", "2024-02-01", run="NULL") + ";" + row("c8", "2024-02-02"),
        "DELETE FROM partition_state WHERE logical_date = '-infinity'",
        "DELETE FROM partition_state WHERE current_run_id IS NULL;" + row("c9", "2024-02-01"),
    ],
    "withheld vanish while others come": [
        row("c7", "-infinity"),
        "DELETE FROM partition_state WHERE customer_id = 'c7';" + row("c0", "infinity"),
        "DELETE FROM partition_state WHERE logical_date = 'infinity';" + row("c7", "2024-01-01"),
    ],
    "served become withheld": [
        update("current_run_id = NULL"),
        update("current_run_id = NULL", 1, 1) + ";" + delete(2, 1),
        update("updated_at = 'infinity'", 0, 2) + ";" + row("c0", "2024-02-01"),
        update("record_count = -1", 0, 3) + ";" + update("current_run_id = 'x'"),
    ],
    "withheld become pending": [
        update("current_run_id = NULL"),
        update("status = 'pending'"),
        update("status = 'success'"),
        update("current_run_id = 'x'"),
    ],
    "rolled back": [
        "BEGIN; " + delete() + "; ROLLBACK; BEGIN; " + row("c9", "2024-01-01") + "; ROLLBACK",
        update("current_run_id = 'x'"),
    ],
    "savepoints": [
        "BEGIN; SAVEPOINT a; " + row("c9", "2024-01-01") + "; RELEASE a; SAVEPOINT b; " + delete() + "; ROLLBACK TO b;"
        "SAVEPOINT c; " + update("current_run_id = 'x'", 1) + "; RELEASE c; COMMIT"
    ],
    "locked rows": ["BEGIN; SELECT * FROM partition_state FOR UPDATE; COMMIT", update("current_run_id = 'x'")],
    "vacuumed": [
        "DELETE FROM partition_state WHERE customer_id = 'c0'",
        "VACUUM partition_state",
        row("c0", "2024-01-01") + ";" + delete(1),
        "VACUUM FREEZE partition_state",
        row("c0", "2024-01-02") + ";" + delete(1, 2),
    ],
    "analysed": ["ANALYZE partition_state", row("c9", "2024-01-01")],
    "many at once": [
        "INSERT INTO partition_state SELECT 's2', 'c' || i % 2500, 'q1', DATE '2020-01-01' + i / 2500, 'success', 'r'"
        f", NULL, NULL, {NOW} FROM generate_series(0, 9999) AS i",
        "UPDATE partition_state SET status = 'failed' WHERE logical_date = '2020-01-02'",
        "DELETE FROM partition_state WHERE logical_date = '2020-01-03'",
        "DELETE FROM partition_state WHERE source = 's2' AND customer_id IN ('c1', 'c2', 'c3')",
    ],
    "separators in values": [
        update("current_run_id = E'a\\x1fb'"),
        update("current_run_id = E'\\x1e\\x1e'", 1),
        row("c\x1f", "2024-01-01"),
        update("schema_version = E'\\x1f'", 2),
        delete(0, 5),
        "DELETE FROM partition_state WHERE customer_id = E'c\\x1f'",
        update("current_run_id = 'x'") + ";" + update("current_run_id = 'x'", 1),
        update("current_run_id = 'y'"),
    ],
}
REWRITES = {
    "swapped": [
        "CREATE TABLE fresh (LIKE partition_state INCLUDING ALL)",
        FILL.format("fresh").replace("'r'", "'n'"),
        "GRANT SELECT ON fresh TO reader",
        "BEGIN; ALTER TABLE partition_state RENAME TO old; ALTER TABLE fresh RENAME TO partition_state; COMMIT",
        "BEGIN; ALTER TABLE partition_state RENAME TO fresh; ALTER TABLE old RENAME TO partition_state; COMMIT",
    ],
    "truncated and filled": [
        "BEGIN; TRUNCATE partition_state; " + FILL.format("partition_state").replace("'r'", "'n'") + "; COMMIT",
        "TRUNCATE partition_state",
        row("c0", "2024-01-01"),
    ],
    "dropped and made again": [
        f"BEGIN; DROP TABLE partition_state; {CREATE_TABLE}; {GRANT}; {row('c0', '2024-01-01')}; COMMIT"
    ],
    "rewritten": [
        "ALTER TABLE partition_state ALTER COLUMN record_count TYPE numeric",
        "ALTER TABLE partition_state ALTER COLUMN record_count TYPE bigint USING record_count + 1",
        "ALTER TABLE partition_state ALTER COLUMN logical_date TYPE text",
        "ALTER TABLE partition_state ALTER COLUMN logical_date TYPE varchar",
        "ALTER TABLE partition_state ALTER COLUMN updated_at TYPE timestamp",
        "ALTER TABLE partition_state SET UNLOGGED",
        "ALTER TABLE partition_state ALTER COLUMN current_run_id TYPE char(6)",
    ],
    "column dropped and added": [
        "ALTER TABLE partition_state DROP COLUMN record_count",
        "ALTER TABLE partition_state ADD COLUMN record_count bigint DEFAULT 5",
        "ALTER TABLE partition_state DROP COLUMN record_count, ADD COLUMN record_count bigint DEFAULT 6",
        "ALTER TABLE partition_state ALTER COLUMN record_count SET DEFAULT 7",
    ],
    "columns exchanged": [
        "BEGIN; ALTER TABLE partition_state RENAME current_run_id TO x; "
        "ALTER TABLE partition_state RENAME schema_version TO current_run_id; "
        "ALTER TABLE partition_state RENAME x TO schema_version; COMMIT",
    ],
    "vacuumed full": [
        delete() + ";" + row("c9", "2024-01-01"),
        "VACUUM FULL partition_state",
        row("c8", "2024-01-01") + ";" + delete(1),
        "CLUSTER partition_state USING partition_state_pkey",
        delete(2) + ";" + row("c7", "2024-01-01"),
    ],
    "emptied and filled again from a copy": [
        "BEGIN; CREATE TABLE kept AS TABLE partition_state; TRUNCATE partition_state; INSERT INTO partition_state "
        "SELECT * FROM kept WHERE customer_id <> 'c1'; COMMIT",
    ],
    "key dropped and made again": [
        "ALTER TABLE partition_state DROP CONSTRAINT partition_state_pkey",
        row("c0", "2024-01-01"),
        delete(1) + ";" + row("c2", "2024-01-01"),
        "DELETE FROM partition_state WHERE current_run_id = 'new'",
        "ALTER TABLE partition_state ADD UNIQUE (source, customer_id, query_name, logical_date)",
        row("c9", "2024-01-01") + ";" + delete(1, 2),
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_history_is_followed_by_its_changes(postgres: StateDatabase, history: str) -> None:
    """V3, V4: every step is found, and by its changes: not by the luck of a whole load."""
    fill(postgres)
    with following(postgres) as follower:
        for step in HISTORIES[history]:
            postgres.execute(step)
            may_be_whole = history in ("separators in values", "many at once") or step.startswith("VACUUM")
            follower.check(patched=None if may_be_whole else True)
        # And all steps at once.
        postgres.execute("DELETE FROM partition_state")
        fill(postgres)
        follower.check()
        for step in HISTORIES[history]:
            postgres.execute(step)
        follower.check()


def test_refresh_reads_what_changed_and_takes_no_row_apart_to_count(
    postgres: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V3: a change costs the rows that changed, and one or two deletions of a series no row at all."""
    asked: list[str] = []
    rows = PostgresConnection.rows

    def note(
        connection: PostgresConnection, statement: str, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        asked.append(statement)
        return rows(connection, statement, parameters)

    fill(postgres)
    with closing(open_state(postgres.url(), StateTable(), Filters(), 10)) as store:
        store.load()
        postgres.execute(update("current_run_id = 'x'"))
        store.load()  # from now on it is known how many rows there are
        monkeypatch.setattr(PostgresConnection, "rows", note)
        postgres.execute(update("current_run_id = 'y'"))
        assert store.load().rows == 30
        assert [statement for statement in asked if "status" in statement and "ctid = ANY" not in statement] == []
        asked.clear()
        postgres.execute(several(0, 1, 2) + ";" + delete(1))
        assert store.load().rows == 27
        assert [statement for statement in asked if "string_agg" in statement] == []


@pytest.mark.parametrize("history", REWRITES)
def test_table_that_is_not_what_it_was_is_read_whole(postgres: StateDatabase, history: str) -> None:
    """V3, V4: where row versions prove nothing they are not heeded, and are heeded again afterwards."""
    fill(postgres)
    with following(postgres) as follower:
        for step in REWRITES[history]:
            postgres.execute(step)
            follower.check()
        postgres.execute(update("record_count = 77", 2, 2))
        follower.check()


def test_long_transactions_are_found_when_they_commit(postgres: StateDatabase) -> None:
    """V3: begun before the last load or the one before that, with savepoints, while others commit."""
    fill(postgres)
    with postgres.connect() as old, postgres.connect() as long, following(postgres) as follower:
        old.execute("BEGIN")
        old.execute(row("old", "2024-01-01"))
        follower.check()
        long.execute("BEGIN; SAVEPOINT a")
        long.execute(update("current_run_id = 'late'", 1))
        long.execute("RELEASE a; SAVEPOINT b")
        long.execute(delete(1, 2))
        for number in range(3):
            postgres.execute(update(f"current_run_id = 'x{number}'"))
            follower.check(patched=True)
        long.execute(row("long", "2024-01-01"))
        long.execute("ROLLBACK TO b; SAVEPOINT c")
        long.execute(delete(1, 3))
        long.execute("COMMIT")
        follower.check(patched=True)
        postgres.execute(delete(2, 1))
        follower.check(patched=True)
        old.execute("COMMIT")
        follower.check(patched=True)


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize(
    "change",
    [
        update("current_run_id = 'late'", 1, 1),
        update("record_count = 99", 1, 1),
        update("status = 'pending'", 1, 1) + ";" + update("status = 'success'", 1, 1),
        delete(1, 1) + ";" + row("c1", "2024-01-01"),
    ],
    ids=["run", "attribute", "twice", "again"],
)
def test_late_change_that_leaves_the_count_is_found(postgres: StateDatabase, change: str, nested: bool) -> None:
    """V3: nothing but the row's version tells of it, and that is older than what the last load saw."""
    fill(postgres)
    with postgres.connect() as long, following(postgres) as follower:
        long.execute("BEGIN")
        for statement in change.split(";"):
            long.execute(f"SAVEPOINT one; {statement}; RELEASE one" if nested else statement)
        for number in range(3):
            postgres.execute(update(f"current_run_id = 'x{number}'"))
            follower.check(patched=True)
        long.execute("COMMIT")
        follower.check(patched=True)


REFILL = "TRUNCATE partition_state; " + FILL.format("partition_state").replace("'r'", "'n'")


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("partition_state", REFILL),
        ("partition_state", "ALTER TABLE partition_state ALTER COLUMN record_count TYPE numeric(20, {0})"),
        (
            "partition_state",
            "CREATE TABLE other (LIKE partition_state INCLUDING ALL); INSERT INTO other SELECT * FROM partition_state; "
            "GRANT SELECT ON other TO reader; DROP TABLE partition_state CASCADE; "
            "ALTER TABLE other RENAME TO partition_state",
        ),
        ("one", REFILL),
        ("one", "ALTER TABLE partition_state SET {1}"),
        ("two", REFILL),
    ],
    ids=["truncated", "rewritten", "replaced", "below a view", "rewritten below a view", "below two views"],
)
def test_table_that_is_written_anew_while_a_load_waits_is_not_empty(
    postgres: StateDatabase, table: str, change: str
) -> None:
    """V4: what TRUNCATE and ALTER TABLE leave is empty to every older snapshot."""
    fill(postgres)
    if table != "partition_state":
        postgres.execute("CREATE VIEW one AS SELECT * FROM partition_state")
        postgres.execute("CREATE VIEW two AS SELECT * FROM one")
        postgres.execute(f"GRANT SELECT ON one, two TO {READER}")
    errors: list[BaseException] = []

    def load() -> None:
        try:
            follower.follow()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            errors.append(error)

    with following(postgres, table=table) as follower:
        for words in ((2, "UNLOGGED"), (3, "LOGGED")):
            with postgres.connect() as writer:
                writer.execute("BEGIN")
                writer.execute(change.format(*words))
                reader = threading.Thread(target=load)
                reader.start()
                wait_for_lock(postgres)
                writer.execute("COMMIT")
                reader.join()
            assert not errors
            assert follower.held == contents_of(follower.fresh().series)
            assert sum(map(len, follower.held.values())) == 30


def wait_for_lock(database: StateDatabase) -> None:
    deadline = time.monotonic() + 10
    while database.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def test_words_of_an_enum_may_be_renamed(postgres: StateDatabase) -> None:
    """V3: no row has another version, and what all of them say is another thing."""
    fill(postgres)
    postgres.execute("CREATE TYPE word AS ENUM ('pending', 'success', 'v0', 'v1', 's1')")
    for column in ("status", "schema_version", "source"):
        postgres.execute(f"ALTER TABLE partition_state ALTER COLUMN {column} TYPE word USING {column}::word")
    with following(postgres) as follower:
        for old, new in (("v0", "v9"), ("s1", "s2"), ("success", "done"), ("pending", "success")):
            postgres.execute(f"ALTER TYPE word RENAME VALUE '{old}' TO '{new}'")
            follower.check()
        postgres.execute("ALTER TYPE word RENAME VALUE 'success' TO 'pending'")
        postgres.execute("ALTER TYPE word RENAME VALUE 'done' TO 'success'")
        follower.check()
        postgres.execute("ALTER TYPE word ADD VALUE 'v7' BEFORE 'v1'")
        postgres.execute(update("schema_version = 'v7'") + ";" + delete(1))
        follower.check()
        postgres.execute(update("status = 'pending'") + ";" + delete(1, 2))
        follower.check(patched=True)


def test_two_texts_of_one_date_hide_no_deletion(postgres: StateDatabase) -> None:
    """V3: the key tells such rows apart and a partition does not, so that their number proves nothing."""
    fill(postgres)
    postgres.execute("ALTER TABLE partition_state ALTER COLUMN logical_date TYPE text USING logical_date::text")
    with following(postgres) as follower:
        postgres.execute(update("current_run_id = 'x'"))
        follower.check(patched=True)
        postgres.execute(row("c0", "20240101") + ";" + delete(1, 1))
        follower.check()
        postgres.execute(row("c0", "2024-01-02T00:00:00Z", status="pending") + ";" + delete(1, 2))
        follower.check()
        postgres.execute(delete(1, 3))
        follower.check()
    postgres.execute("DELETE FROM partition_state WHERE logical_date !~ '^....-..-..$'")
    with following(postgres) as follower:
        postgres.execute(row("c0", "20240103", status="pending") + ";" + delete(1, 4))
        follower.check()


def test_transaction_that_fails_at_its_end_changes_nothing(
    postgres: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V3: the load is tried again, and what it found is found again."""
    fill(postgres)
    run = PostgresConnection._run
    cuts: list[bool] = []

    def run_or_cut(self: PostgresConnection, statements: str) -> None:
        if statements == "ROLLBACK" and cuts:
            cuts.clear()
            postgres.server.end_sessions(postgres.name)
        run(self, statements)

    with following(postgres) as follower:
        monkeypatch.setattr(PostgresConnection, "_run", run_or_cut)
        for day in (1, 2):
            postgres.execute(delete(1, day) + ";" + row("c0", f"2024-02-{day:02}"))
            cuts.append(True)
            assert follower.follow().changed is not None
            assert not cuts
            assert follower.held == contents_of(follower.fresh().series)


PARTITIONS = f"""
DROP TABLE partition_state;
{CREATE_TABLE.rstrip().rstrip(";")} PARTITION BY RANGE (logical_date);
CREATE TABLE early PARTITION OF partition_state FOR VALUES FROM (MINVALUE) TO ('2024-01-04');
CREATE TABLE middle PARTITION OF partition_state FOR VALUES FROM ('2024-01-04') TO ('2024-01-08')
    PARTITION BY LIST (customer_id);
CREATE TABLE middle_0 PARTITION OF middle FOR VALUES IN ('c0');
CREATE TABLE middle_rest PARTITION OF middle DEFAULT;
CREATE TABLE late PARTITION OF partition_state FOR VALUES FROM ('2024-01-08') TO (MAXVALUE);
"""


@pytest.mark.parametrize("granted", ["all", "parent"])
def test_partitions_come_and_go_with_rows_as_old_as_they_like(postgres: StateDatabase, granted: str) -> None:
    """V3: also for a role that may read the table and, as usual, none of its partitions by themselves."""
    postgres.execute(PARTITIONS)
    postgres.execute(
        f"GRANT SELECT ON {'ALL TABLES IN SCHEMA public' if granted == 'all' else 'partition_state'} TO reader"
    )
    fill(postgres)
    patches = granted == "all"
    with following(postgres) as follower:
        for step in (
            update("current_run_id = 'x'"),
            update("customer_id = 'c7'", 1, 1),
            update("logical_date = '2024-02-05'", 1, 2),
            delete(0, 5) + ";" + row("c0", "2024-03-01"),
        ):
            postgres.execute(step)
            follower.check(patched=patches)
        for step in (
            "ALTER TABLE middle DETACH PARTITION middle_0",
            "UPDATE middle_0 SET current_run_id = 'y' WHERE logical_date = '2024-01-06'",
            row("c1", "2024-03-02"),
            "ALTER TABLE middle ATTACH PARTITION middle_0 FOR VALUES IN ('c0')",
            "ALTER TABLE partition_state DETACH PARTITION late CONCURRENTLY",
            "ALTER TABLE partition_state ATTACH PARTITION late FOR VALUES FROM ('2024-01-08') TO (MAXVALUE)",
            "TRUNCATE middle_rest",
            "DROP TABLE early",
        ):
            postgres.execute(step)
            follower.check()
        postgres.execute(update("current_run_id = 'z'", 2, 9))
        follower.check(patched=patches)


def test_partition_whose_detaching_has_begun_is_none(postgres: StateDatabase) -> None:
    """V1: a plain SELECT does not see it any more, for as long as somebody's old transaction holds its end up."""
    postgres.execute(PARTITIONS)
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    fill(postgres)
    with following(postgres) as follower, postgres.connect() as old, postgres.connect() as detaching:
        old.execute("BEGIN; LOCK TABLE partition_state IN ACCESS SHARE MODE")
        detaching.execute("SET statement_timeout = 1000")
        with pytest.raises(psycopg.errors.QueryCanceled):
            detaching.execute("ALTER TABLE partition_state DETACH PARTITION late CONCURRENTLY")
        old.execute("COMMIT")
        (seen,) = postgres.execute("SELECT count(*) FROM partition_state WHERE status = 'success'")
        assert follower.check().rows == seen[0] == 21
        postgres.execute("ALTER TABLE partition_state DETACH PARTITION late FINALIZE")
        assert follower.check().rows == 21


def test_inherited_rows_are_rows_of_the_table(postgres: StateDatabase) -> None:
    """V1, V3: as a SELECT has it; no key holds for both."""
    fill(postgres)
    postgres.execute("CREATE TABLE child () INHERITS (partition_state)")
    postgres.execute(f"GRANT SELECT ON child TO {READER}")
    with following(postgres) as follower:
        for step in (
            f"INSERT INTO child ({COLUMNS}) SELECT 's1', 'c9', 'q1', '2024-01-01', 'success', 'r', '1', 1, now()",
            f"INSERT INTO child ({COLUMNS}) SELECT {COLUMNS} FROM ONLY partition_state WHERE customer_id = 'c0'",
            "UPDATE child SET current_run_id = 'x'",
            "DELETE FROM child WHERE customer_id = 'c0'; " + delete(1),
            "ALTER TABLE child NO INHERIT partition_state",
            update("current_run_id = 'y'"),
        ):
            postgres.execute(step)
            follower.check()


def test_whatever_a_view_shows_is_followed(postgres: StateDatabase) -> None:
    """V3: no snapshot of this server tells of time, of another server, or of who reads."""
    fill(postgres)
    postgres.execute(
        "CREATE VIEW shown AS SELECT * FROM partition_state WHERE updated_at < clock_timestamp() - interval '3 s'"
    )
    postgres.execute("CREATE MATERIALIZED VIEW kept AS SELECT * FROM partition_state")
    postgres.execute(f"GRANT SELECT ON shown, kept TO {READER}")
    with following(postgres, table="shown") as shown, following(postgres, table="kept") as kept:
        postgres.execute(update("updated_at = clock_timestamp()") + ";" + delete(1))
        shown.check()
        kept.check()
        assert sum(map(len, shown.held.values())) == 28
        postgres.execute("REFRESH MATERIALIZED VIEW kept")
        kept.check()
        time.sleep(3)  # no shorter than a load may take
        shown.check()
        assert sum(map(len, shown.held.values())) == 29


def test_rules_that_hide_rows_are_heeded_at_each_load(postgres: StateDatabase) -> None:
    """V3: a policy may go by the time of day, and one of a partitioned table does not hold for its partitions."""
    fill(postgres)
    postgres.execute("ALTER TABLE partition_state ENABLE ROW LEVEL SECURITY")
    postgres.execute(
        "CREATE POLICY aged ON partition_state FOR SELECT USING (updated_at < clock_timestamp() - interval '3 s')"
    )
    with following(postgres) as follower:
        postgres.execute(update("updated_at = clock_timestamp()"))
        follower.check()
        assert sum(map(len, follower.held.values())) == 29
        time.sleep(3)  # no shorter than a load may take
        follower.check()
        assert sum(map(len, follower.held.values())) == 30
        postgres.execute("DROP POLICY aged ON partition_state")
        follower.check()
        assert not follower.held
    postgres.execute(PARTITIONS)
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    fill(postgres)
    postgres.execute("ALTER TABLE partition_state ENABLE ROW LEVEL SECURITY")
    postgres.execute("CREATE POLICY few ON partition_state FOR SELECT USING (customer_id = 'c0')")
    with following(postgres) as follower:
        assert sum(map(len, follower.held.values())) == 10


@pytest.mark.parametrize(
    ("granted", "reason"),
    [("SELECT", "GRANT SELECT on them as well"), (f"SELECT ({COLUMNS})", "rights to single columns")],
    ids=["table", "columns"],
)
def test_log_says_which_rights_have_a_table_read_whole(postgres: StateDatabase, granted: str, reason: str) -> None:
    """V3: nothing is missed, at the price of a whole load at each look."""
    postgres.execute(PARTITIONS)
    postgres.execute(f"GRANT {granted} ON partition_state TO {READER}")
    fill(postgres)
    with capture_logs() as logs, following(postgres) as follower:
        postgres.execute(update("current_run_id = 'x'"))
        follower.check()
    (said,) = (line["reason"] for line in logs if line["event"] == "the state table is read whole")
    assert reason in said


def test_rights_to_columns_are_enough(postgres: StateDatabase) -> None:
    """V8: whoever may read nothing but the columns that are needed."""
    fill(postgres)
    postgres.execute(f"REVOKE SELECT ON partition_state FROM {READER}")
    postgres.execute(f"GRANT SELECT ({COLUMNS}) ON partition_state TO {READER}")
    with following(postgres) as follower:
        postgres.execute(update("current_run_id = 'x'") + ";" + delete(1))
        follower.check()


def test_table_without_a_key_may_hold_a_row_twice(postgres: StateDatabase) -> None:
    """V3: then nothing tells its rows apart."""
    fill(postgres)
    postgres.execute("ALTER TABLE partition_state DROP CONSTRAINT partition_state_pkey")
    with following(postgres) as follower:
        for step in (row("c0", "2024-01-01"), delete(1), delete(0), row("c0", "2024-01-01") + ";" + delete(2)):
            postgres.execute(step)
            follower.check(patched=False)


def test_key_that_lets_null_in_is_followed(postgres: StateDatabase) -> None:
    """V15: rows without a customer are withheld, and may be many of the same kind."""
    postgres.execute("ALTER TABLE partition_state DROP CONSTRAINT partition_state_pkey")
    postgres.execute("ALTER TABLE partition_state ALTER customer_id DROP NOT NULL, ALTER logical_date DROP NOT NULL")
    postgres.execute("CREATE UNIQUE INDEX ON partition_state (source, customer_id, query_name, logical_date)")
    fill(postgres)
    nobody = row("c0", "2024-01-01").replace("'c0'", "NULL")
    never = row("c0", "2024-01-01").replace("'2024-01-01'", "NULL")
    with following(postgres) as follower:
        for step in (
            *(nobody, never, nobody + ";" + delete(1), "DELETE FROM partition_state WHERE customer_id IS NULL", never),
            "DELETE FROM partition_state WHERE logical_date IS NULL; " + row("c9", "2024-01-01"),
            update("customer_id = NULL") + ";" + delete(2),
        ):
            postgres.execute(step)
            follower.check()


@pytest.mark.parametrize(
    "filters",
    [
        Filters(customers=("c0", "c9")),
        Filters(sources=("s1",), queries=("q1",)),
        Filters(customers=("c[01]",)),
        Filters(since=parse_date(b"2024-01-03"), until=parse_date(b"2024-01-06")),
        Filters(customers=("c1",), since=parse_date(b"2024-01-05")),
        Filters(customers=("none",)),
    ],
    ids=["customers", "all parts", "glob", "dates", "customer since", "none"],
)
def test_filters_hide_no_change(postgres: StateDatabase, filters: Filters) -> None:
    """V3: rows come into what is wanted and leave it by any change."""
    fill(postgres)
    with following(postgres, filters=filters) as follower:
        for step in (
            update("customer_id = 'c9'"),
            row("c0", "2024-02-01"),
            update("logical_date = '2024-01-05', customer_id = 'x'", 1, 5),
            "UPDATE partition_state SET customer_id = 'c1' WHERE customer_id = 'x'",
            update("logical_date = '2025-01-05'", 1, 5),
            delete(0, 4) + ";" + row("c2", "2024-01-20"),
            update("logical_date = 'infinity'", 0, 5) + ";" + update("current_run_id = NULL", 1, 6),
            "UPDATE partition_state SET status = 'pending' WHERE logical_date < '2024-01-05'",
        ):
            postgres.execute(step)
            follower.check()


@pytest.mark.parametrize(
    "types",
    [
        {"customer_id": "varchar(20)", "status": "varchar(10)", "current_run_id": "varchar"},
        {"customer_id": "char(8)", "status": "char(12)", "query_name": "char(4)"},
        {"logical_date": "timestamp", "updated_at": "timestamp", "record_count": "integer"},
        {"logical_date": "timestamptz", "record_count": "numeric(20, 3)"},
        {"logical_date": "date", "updated_at": "date", "record_count": "smallint"},
        {"customer_id": 'text COLLATE "nocase"', "status": 'text COLLATE "nocase"', "source": 'text COLLATE "nocase"'},
        {"record_count": "double precision"},
        {"updated_at": "text", "logical_date": "text", "record_count": "text"},
        {"source": "name"},
    ],
    ids=str,
)
def test_types_of_columns_make_no_difference(postgres: StateDatabase, types: dict[str, str]) -> None:
    """V3: what each type means is the business of one whole load; reading by changes gives the same."""
    postgres.execute("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    fill(postgres)
    for column, kind in types.items():
        postgres.execute(f"ALTER TABLE partition_state ALTER COLUMN {column} TYPE {kind}")
    with following(postgres) as follower:
        for step in (
            update("current_run_id = 'x'"),
            row("c9", "2024-01-01", updated="'2024-06-02 05:00:00.123456'"),
            delete(1) + ";" + row("c8", "2024-01-01"),
            update("status = 'SUCCESS'", 2, 1) + ";" + delete(2, 2),
            update("customer_id = 'C2'", 2, 3) + ";" + delete(2, 4),
            update("status = 'pending'", 0, 2) + ";" + row("c7", "2024-01-01"),
            several(0, 3, 4) + ";" + several(1, 2, 3, 4),
        ):
            postgres.execute(step)
            follower.check(patched="record_count" not in types or types["record_count"] != "double precision")


def test_names_with_signs_of_their_own_are_read(postgres: StateDatabase) -> None:
    """A percent sign and quotes mean something to a driver or to SQL."""
    fill(postgres)
    postgres.execute('ALTER TABLE partition_state RENAME TO "100% ""state"""')
    postgres.execute('ALTER TABLE "100% ""state""" RENAME record_count TO "%s"')
    table = StateTable('100% "state"', record_count="%s")
    with Follower(postgres.url(), table) as follower:
        assert follower.check().rows == 30
        postgres.execute('DELETE FROM "100% ""state""" WHERE customer_id = \'c1\'')
        assert follower.check(patched=True).rows == 20


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
def test_encoding_of_the_database_makes_no_difference(own_postgres_server: PostgresServer, encoding: str) -> None:
    """V9: names are UTF-8 where the server knows what its bytes mean, else the bytes themselves."""
    own_postgres_server.execute(
        f"CREATE DATABASE state ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    database = StateDatabase(own_postgres_server, "state")
    database.execute(CREATE_TABLE)
    database.execute(GRANT)
    fill(database)
    name = "convert_from('\\xe9', 'LATIN1')" if encoding != "SQL_ASCII" else "convert_from('\\xe9', 'SQL_ASCII')"
    with following(database) as follower:
        for step in (
            row("e", "2024-01-01").replace("'e'", name),
            row("e", "2024-01-02").replace("'e'", name) + ";" + delete(1),
            f"DELETE FROM partition_state WHERE customer_id = {name} AND logical_date = '2024-01-01'",
            f"UPDATE partition_state SET status = 'pending' WHERE customer_id = {name}",
            f"UPDATE partition_state SET status = 'success', current_run_id = {name} WHERE customer_id = {name}",
            f"UPDATE partition_state SET current_run_id = NULL WHERE customer_id = {name}",
            f"DELETE FROM partition_state WHERE customer_id = {name}",
        ):
            database.execute(step)
            follower.check()


def move_transactions(server: PostgresServer, following: int) -> None:
    """Have a server that is stopped go on with another transaction; all rows must be frozen."""
    epoch, number = divmod(following, 2**32)
    oldest = (number - 1_000_000) % 2**32
    server.run("pg_resetwal", "-f", "-e", str(epoch), "-x", str(number), "-u", str(oldest), "-D", str(server.data))
    for transaction in (number - 1_000_000, number, number + 1_000_000):
        # A segment of what became of transactions (pg_xact): two bits for each, 32 pages.
        segment = server.data / "pg_xact" / f"{transaction % 2**32 // 2**20:04X}"
        if not segment.exists():
            segment.write_bytes(bytes(32 * 8192))
            server._give_away(segment)


@pytest.mark.parametrize(
    "following_transaction",
    [2**31 - 4, 5 * 2**32 - 4],
    ids=["2^31", "5 * 2^32"],
)
def test_transaction_numbers_may_wrap_around(own_postgres_server: PostgresServer, following_transaction: int) -> None:
    """V3: rows written before, across and after the boundary are found; `xmin` has 32 bits of 64."""
    database = StateDatabase.create(own_postgres_server, "state")
    fill(database)
    for name in ("state", "postgres", "template1"):
        own_postgres_server.execute("VACUUM (FREEZE)", database=name)
    own_postgres_server.stop()
    move_transactions(own_postgres_server, following_transaction)
    own_postgres_server.start()
    with database.connect() as long, following(database) as follower:
        long.execute("BEGIN")
        long.execute(row("long", "2024-01-01"))
        for number in range(8):
            database.execute(update(f"current_run_id = 'x{number}'", number % 3, 1 + number) + ";" + delete(1, 10))
            database.execute(row(f"new{number}", "2024-01-01"))
            follower.check(patched=True)
        long.execute("COMMIT")
        follower.check(patched=True)
        ((current,),) = database.execute("SELECT pg_current_xact_id()::text::bigint")
        assert current > following_transaction + 10


@pytest.mark.parametrize("lost", ["rolled back", "committed"])
def test_crash_that_takes_back_transactions_is_no_outage(own_postgres: StateDatabase, lost: str) -> None:
    """V11: a primary is the truth whatever it lost: nobody is behind, and one warning says so."""
    fill(own_postgres)
    server = own_postgres.server
    server.configure(wal_writer_delay="10s", wal_writer_flush_after="0", bgwriter_lru_maxpages="0")
    server.stop()
    server.start()
    with following(own_postgres) as follower:
        with own_postgres.connect() as writer:
            writer.execute("SELECT 1")
            own_postgres.execute("CHECKPOINT")
            time.sleep(0.1)
            writer.execute("SET synchronous_commit = off")
            for _ in range(3):
                writer.execute("BEGIN")
                writer.execute(update("current_run_id = 'lost'"))
                writer.execute("ROLLBACK" if lost == "rolled back" else "COMMIT")
            follower.check()
            server.kill()
        server.start()
        with capture_logs() as logs:
            follower.check(patched=False)
            follower.check()
        assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
            "the state store lost its last transactions in a crash"
        ]
        own_postgres.execute(update("current_run_id = 'x'"))
        follower.check(patched=True)


def test_crash_of_one_process_takes_back_transactions_without_a_new_start(own_postgres: StateDatabase) -> None:
    """V3: the server recovers and goes on as the same one, and gives the numbers that it lost to others."""
    server = own_postgres.server
    server.configure(wal_writer_delay="10s", wal_writer_flush_after="0", bgwriter_lru_maxpages="0")
    server.stop()
    server.start()
    with following(own_postgres) as follower:
        own_postgres.execute("CHECKPOINT")
        with own_postgres.connect() as writer:
            writer.execute("SET synchronous_commit = off")
            writer.execute(row("lost", "2024-01-01"))
            follower.check()
            os.kill(writer.info.backend_pid, signal.SIGKILL)
            until(lambda: has_recovered(own_postgres))
        own_postgres.execute(row("other", "2024-01-01"))
        follower.check(patched=False)
        assert [key.customer_id for key in follower.held] == [b"other"]


def has_recovered(database: StateDatabase) -> bool:
    try:
        with database.connect() as session:
            return session.execute("SELECT count(*) FROM partition_state").fetchone() == (0,)
    except psycopg.Error:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_server_that_was_set_back_is_an_outage(own_postgres: StateDatabase) -> None:
    """V11, I5: what a backup holds is older than what was served, and a crash does not explain it."""
    fill(own_postgres)
    server = own_postgres.server
    server.stop()
    backup = server.directory / "backup"
    shutil.copytree(server.data, backup)
    server.start()
    with following(own_postgres) as follower:
        for number in range(5):
            own_postgres.execute(update(f"current_run_id = 'x{number}'"))
        follower.check()
        held = follower.held
        server.stop()
        shutil.rmtree(server.data)
        shutil.move(backup, server.data)
        server._give_away(server.directory)
        server.start()
        for _ in range(2):
            with pytest.raises(StateError, match="is behind"):
                follower.follow()
        assert follower.held == held


def test_standby_that_lags_is_an_outage_and_its_promotion_a_warning(own_postgres: StateDatabase) -> None:
    """V11, I5: never back in silence; and the old primary is refused when it comes back."""
    fill(own_postgres)
    server = own_postgres.server
    with server.standby() as standby, Proxy(server.port) as proxy:
        standby.wait_replayed(server)
        with Follower(own_postgres.url(port=proxy.port)) as follower:
            standby.pause_replay()
            own_postgres.execute(update("current_run_id = 'x'"))
            own_postgres.execute(row("c9", "2024-01-01"))
            held = contents_of(follower.check().series)
            proxy.target_port = standby.port
            proxy.cut()
            for _ in range(2):
                with pytest.raises(StateError, match="is behind"):
                    follower.follow()
            assert follower.held == held
            standby.resume_replay()
            standby.wait_replayed(server)
            follower.check(patched=False)
            own_postgres.execute(delete(1))
            standby.wait_replayed(server)
            follower.check(patched=True)
            proxy.target_port = server.port
            proxy.cut()
            follower.check(patched=False)
            standby.pause_replay()
            own_postgres.execute(update("current_run_id = 'lost'"))
            follower.check(patched=True)
            server.pause()
            standby.resume_replay()
            standby.promote()
            proxy.target_port = standby.port
            proxy.cut()
            with capture_logs() as logs:
                follower.check(patched=False)
                follower.check()
            assert ["promoted" in log["event"] for log in logs if log["log_level"] == "warning"] == [True]
            StateDatabase(standby, own_postgres.name).execute(update("current_run_id = 'y'"))
            follower.check(patched=True)
            server.resume()
            own_postgres.fill(100, customers=50)
            for number in range(5):
                own_postgres.execute(update(f"current_run_id = 'z{number}'"))
            proxy.target_port = server.port
            proxy.cut()
            with pytest.raises(StateError, match="is behind"):
                follower.follow()


def test_standby_shows_what_commits_late(own_postgres: StateDatabase) -> None:
    """V3: its snapshots do not say which transactions are in progress, so that two that look the same may differ."""
    fill(own_postgres)
    with own_postgres.server.standby() as standby:
        standby.wait_replayed(own_postgres.server)
        replica = StateDatabase(standby, own_postgres.name)
        with following(replica) as follower, own_postgres.connect() as one, own_postgres.connect() as two:
            for session, step in ((one, row("one", "2024-01-01")), (two, row("two", "2024-01-01"))):
                session.execute("BEGIN")
                session.execute(step)
            own_postgres.execute(update("current_run_id = 'x'"))
            standby.wait_replayed(own_postgres.server)
            follower.check(patched=True)
            for session in (two, one):
                session.execute("COMMIT")
                standby.wait_replayed(own_postgres.server)
                follower.check(patched=True)
            for step in (delete(1), update("status = 'pending'"), delete(2) + ";" + row("c9", "2024-01-01")):
                own_postgres.execute(step)
                standby.wait_replayed(own_postgres.server)
                follower.check(patched=True)
            own_postgres.execute("VACUUM FULL partition_state")
            standby.wait_replayed(own_postgres.server)
            follower.check()


def test_unlogged_table_is_empty_after_a_crash(own_postgres: StateDatabase) -> None:
    """V3: an emptied table is what it is, even if nobody deleted a row."""
    own_postgres.execute("ALTER TABLE partition_state SET UNLOGGED")
    fill(own_postgres)
    with following(own_postgres) as follower:
        own_postgres.execute("CHECKPOINT")
        own_postgres.server.kill()
        own_postgres.server.start()
        follower.check(patched=False)
        assert not follower.held
        fill(own_postgres)
        follower.check()


class TwoSessions(ChangeMachine):
    """A second session holds its rows back until it commits."""

    def __init__(self, follower: Follower, session: psycopg.Connection[Any], long: psycopg.Connection[Any]) -> None:
        super().__init__(follower, lambda statement: session.execute(statement.encode()))
        self.long = long
        self.pending: dict[Key, Value | None] | None = None

    @rule()
    def begin(self) -> None:
        """Begin a long transaction."""
        if self.pending is None:
            self.long.execute("BEGIN")
            self.pending = {}

    @precondition(lambda self: self.pending is not None)
    @rule(customer=st.sampled_from(("l1", "l2")), day=st.sampled_from(DAYS), value=st.one_of(st.none(), VALUES))
    def set_later(self, customer: str, day: str, value: Value | None) -> None:
        """Write or delete a row of which nobody is to know yet, in a transaction of its own within."""
        assert self.pending is not None
        key = (customer, day)
        change = f"DELETE FROM partition_state WHERE {where(key)}" if value is None else upsert(key, value)
        self.long.execute("SAVEPOINT one")
        self.long.execute(change.encode())
        self.long.execute("RELEASE one")
        self.pending[key] = value

    @precondition(lambda self: self.pending is not None)
    @rule(keep=st.booleans())
    def end(self, keep: bool) -> None:
        """Commit, or roll back."""
        assert self.pending is not None
        self.long.execute("COMMIT" if keep else "ROLLBACK")
        if keep:
            self.rows.update({key: value for key, value in self.pending.items() if value is not None})
            self.rows = {key: value for key, value in self.rows.items() if self.pending.get(key, value) is not None}
        self.pending = None

    @precondition(lambda self: self.pending is None and self.rows)
    @rule(index=st.integers(0), other=KEYS, values=st.tuples(VALUES, VALUES))
    def change_late(self, index: int, other: Key, values: tuple[Value, Value]) -> None:
        """Change a row before others do, and commit after a load has seen what the others did."""
        key = sorted(self.rows)[index % len(self.rows)]
        if key == other:
            return
        self.begin()
        self.long.execute(upsert(key, values[0]).encode())
        self.pending = {key: values[0]}
        self.set_row(other, values[1])
        self.load()
        self.end(True)
        self.load()

    @rule(statement=st.sampled_from(("VACUUM partition_state", "VACUUM FREEZE partition_state", "CHECKPOINT")))
    def keep_house(self, statement: str) -> None:
        """What a server does by itself."""
        self.execute(statement)

    @precondition(lambda self: self.pending is None)
    @rule(statement=st.sampled_from(("VACUUM FULL partition_state", "CLUSTER partition_state USING one")))
    def write_anew(self, statement: str) -> None:
        """What gives all rows other places."""
        self.execute(statement)

    def teardown(self) -> None:
        """End the long transaction, too."""
        if self.pending is not None:
            self.end(True)
        super().teardown()


@pytest.mark.parametrize(
    ("examples", "steps"), [(12, 25), pytest.param(500, 50, marks=[pytest.mark.long, pytest.mark.timeout(0)])]
)
def test_any_history_is_followed(postgres: StateDatabase, examples: int, steps: int) -> None:
    """V3, V4: against a dictionary that knows what the table holds."""
    postgres.execute("ALTER INDEX partition_state_pkey RENAME TO one")
    with Follower(postgres.url()) as follower, postgres.connect() as session, postgres.connect() as long:

        class Machine(TwoSessions):
            def __init__(self) -> None:
                super().__init__(follower, session, long)

        how = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
        run_state_machine_as_test(Machine, settings=how)


PRESENT_CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\x1e"), max_size=3),
    st.sampled_from(("2024-01-01", "20240101", "2024-01-01T00:00:00Z", "2024-01-01T24:00:00Z", "infinity")),
    st.sampled_from(("2024-06-02T05:00:00.123456+02:00", "2024-06-02T05:00:00+00:00", "1717304400.123456", "7", "1")),
)
CELLS = st.none() | PRESENT_CELLS
TEXTS = st.tuples(*[CELLS] * 8)
TYPED = st.tuples(
    *[PRESENT_CELLS] * 3,
    st.sampled_from(("infinity", "0044-03-15 BC", "0001-01-01", "9999-12-31", "10000-01-01", "2024-02-29")),
    *[CELLS] * 2,
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.sampled_from(
        (
            "infinity",
            "epoch",
            "1969-12-31Z",
            "2024-06-02T05:00:00.1Z",
            "2500-01-01Z",
            "9999-01-01Z",
            "10000-01-01Z",
            "0044-03-15Z BC",
        )
    ),
)


@pytest.mark.parametrize("kinds", ["text", "typed"])
def test_chunks_give_what_rows_give(postgres: StateDatabase, kinds: str) -> None:
    """V15: whatever stands in the cells, columns joined by the server mean what the cells mean."""
    postgres.execute("ALTER TABLE partition_state DROP CONSTRAINT partition_state_pkey")
    names = COLUMNS.split(", ")
    if kinds == "text":
        for name in names:
            postgres.execute(f"ALTER TABLE partition_state ALTER {name} TYPE text, ALTER {name} DROP NOT NULL")
    by_rows = DatabaseStore(choose_driver(parse_url(postgres.url())), StateTable(), Filters(), 10)
    insert = f"INSERT INTO partition_state ({COLUMNS}) VALUES ({', '.join(['%s'] * len(names))})".encode()
    with closing(by_rows), Follower(postgres.url()) as follower, postgres.connect() as session:

        def compare(rows: list[tuple[object, ...]]) -> None:
            session.execute("TRUNCATE partition_state")
            for cells in rows:
                session.execute(insert, (*cells[:4], "success", *cells[4:]))
            by_rows.start_over()
            load, other = follower.follow(), by_rows.load()
            assert follower.held == contents_of(other.series)
            assert (load.withheld.counts, load.rows) == (other.withheld.counts, other.rows)

        settings(max_examples=60, deadline=None)(
            given(st.lists(TEXTS if kinds == "text" else TYPED, max_size=5))(compare)
        )()
