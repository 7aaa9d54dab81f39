"""The state in a real PostgreSQL server: who may read it, as of which moment, and for how long it is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import StateError
from readyfs.partition import SeriesKey, parse_date
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateLoad, StateStore, StateTable
from tests.descriptors import open_descriptors
from tests.postgres.database import READER, READER_PASSWORD, StateDatabase
from tests.postgres.proxy import Proxy

KEY = SeriesKey(b"s1", b"c1", b"q1")
PARTITION = LogicalPartition("s1", "c1", "q1", "2024-06-01")
OTHER = PARTITION._replace(customer_id="c2")
SECRETS = (READER_PASSWORD, "p%40ss", "hunter2", "w/rd")


@contextmanager
def reading(
    database: StateDatabase, *, port: int = 0, timeout_s: float = 5, table: StateTable | None = None
) -> Iterator[StateStore]:
    with closing(open_state(database.url(port=port), table or StateTable(), Filters(), timeout_s)) as store:
        yield store


def customers(load: StateLoad) -> list[str]:
    return sorted(key.customer_id.decode() for key, rows in load.series.items() if len(rows.dates))


def wait_for_sessions(database: StateDatabase, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(database.sessions()) != count:
        assert time.monotonic() < deadline, f"sessions: {database.sessions()}, expected {count}"
        time.sleep(0.01)


def test_load_gives_the_ready_rows_to_a_role_that_may_only_read(postgres: StateDatabase) -> None:
    """V1, V8: the right to read the table is all that is needed."""
    postgres.set_row(PARTITION, run_id="2024-06-02T04:05:06.789Z", record_count=7)
    postgres.set_row(OTHER, status="failed")
    with reading(postgres) as store:
        load = store.load()
    assert customers(load) == ["c1"]
    rows = load.series[KEY]
    assert list(rows.dates) == [parse_date(b"2024-06-01")]
    assert list(rows.run_ids) == [b"2024-06-02T04:05:06.789Z"]
    assert (list(rows.record_counts), list(rows.schema_versions)) == ([7], [b"1"])


def test_every_transaction_is_read_only_at_repeatable_read(postgres: StateDatabase) -> None:
    """V8, V4: proven from inside, by a view that shows its reader's transaction and one that tries to write."""
    postgres.set_row(PARTITION)
    postgres.execute(
        "CREATE VIEW shown AS SELECT source, customer_id, query_name, logical_date, status,"
        " current_setting('transaction_isolation') || ', ' || current_setting('transaction_read_only')"
        " AS current_run_id, updated_at FROM partition_state"
    )
    postgres.execute(
        "CREATE FUNCTION write() RETURNS text LANGUAGE plpgsql SECURITY DEFINER VOLATILE AS"
        " $$ BEGIN DELETE FROM partition_state; RETURN 'r'; END $$"
    )
    postgres.execute(
        "CREATE VIEW writing AS SELECT source, customer_id, query_name, logical_date, status,"
        " write() AS current_run_id, updated_at FROM partition_state"
    )
    for view in ("shown", "writing"):
        postgres.execute(f"GRANT SELECT ON {view} TO {READER}")
    with reading(postgres, table=StateTable("shown")) as store:
        assert list(store.load().series[KEY].run_ids) == [b"repeatable read, on"]
    with (
        pytest.raises(StateError, match="cannot execute DELETE in a read-only transaction"),
        reading(postgres, table=StateTable("writing")) as store,
    ):
        store.load()
    assert postgres.execute("SELECT count(*) FROM partition_state") == [(1,)]


def test_rows_committed_while_it_reads_are_of_the_next_load(postgres: StateDatabase) -> None:
    """V4: a writer comes in while the store waits in the middle of its table, held up by a row that asks for a lock."""
    postgres.set_row(PARTITION)
    postgres.execute(
        "CREATE FUNCTION gate(value text) RETURNS text LANGUAGE plpgsql VOLATILE AS"
        " $$ BEGIN PERFORM pg_advisory_lock_shared(1); PERFORM pg_advisory_unlock_shared(1); RETURN value; END $$"
    )
    postgres.execute(
        "CREATE VIEW gated AS SELECT source, customer_id, query_name, logical_date, status,"
        " gate(current_run_id) AS current_run_id, updated_at FROM partition_state"
    )
    postgres.execute(f"GRANT SELECT ON gated TO {READER}")
    loads: list[StateLoad] = []
    with reading(postgres, table=StateTable("gated"), timeout_s=20) as store, postgres.connect() as writer:
        writer.execute("SELECT pg_advisory_lock(1)")
        reader = threading.Thread(target=lambda: loads.append(store.load()))
        reader.start()
        try:
            wait_for_gate(postgres)
            postgres.set_row(OTHER)
            postgres.set_row(PARTITION, run_id="r2")
        finally:
            writer.execute("SELECT pg_advisory_unlock(1)")
            reader.join()
        (during,) = loads
        assert customers(during) == ["c1"]
        assert list(during.series[KEY].run_ids) == [b"r1"]
        after = store.load()
        assert customers(after) == ["c1", "c2"]
        assert list(after.series[KEY].run_ids) == [b"r2"]


def wait_for_gate(database: StateDatabase) -> None:
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while database.execute(query) != [(1,)]:
        assert time.monotonic() < deadline, "nobody reads"
        time.sleep(0.01)


def test_times_beyond_python_withhold_their_rows_and_no_others(postgres: StateDatabase) -> None:
    """V15: infinity and years before Christ are values of PostgreSQL that fail a driver's whole fetch."""
    postgres.set_row(PARTITION)
    for customer, column, value in (
        ("c2", "updated_at", "infinity"),
        ("c3", "logical_date", "infinity"),
        ("c4", "logical_date", "0044-03-15 BC"),
        ("c5", "updated_at", "-infinity"),
    ):
        postgres.set_row(PARTITION._replace(customer_id=customer))
        postgres.execute(f"UPDATE partition_state SET {column} = '{value}' WHERE customer_id = '{customer}'")
    with reading(postgres) as store:
        load = store.load()
        assert customers(load) == ["c1", "c2", "c5"]
        assert sum(load.withheld.counts.values()) == 2


def test_time_zone_of_the_server_changes_nothing(postgres: StateDatabase) -> None:
    """V9: the server's own zone is far from UTC, and `updated_at` is exact to the microsecond."""
    postgres.set_row(PARTITION)
    postgres.execute("UPDATE partition_state SET updated_at = '2024-06-02T05:00:00.123456Z'")
    with reading(postgres) as store:
        assert list(store.load().series[KEY].updated_at_ns) == [1_717_304_400_123_456_000]


def test_lock_is_waited_for_no_longer_than_the_timeout(postgres: StateDatabase) -> None:
    """V11: a table that is locked is an outage, and over when the lock is."""
    postgres.set_row(PARTITION)
    with reading(postgres, timeout_s=0.2) as store:
        with postgres.connect() as writer, writer.transaction():
            writer.execute("LOCK TABLE partition_state IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                with pytest.raises(StateError, match="was locked for"):
                    store.start_over()
                    store.load()
        assert customers(store.load()) == ["c1"]


def test_slow_statement_is_given_up(postgres: StateDatabase) -> None:
    """V11: nobody waits for a view that takes for ever, and the server stops working on it."""
    postgres.set_row(PARTITION)
    postgres.execute(
        "CREATE VIEW slow AS SELECT source, customer_id, query_name, logical_date, status,"
        " current_run_id || pg_sleep(60)::text AS current_run_id, updated_at FROM partition_state"
    )
    postgres.execute(f"GRANT SELECT ON slow TO {READER}")
    with (
        pytest.raises(StateError, match="statement timeout"),
        reading(postgres, timeout_s=0.2, table=StateTable("slow")) as store,
    ):
        store.load()
    wait_for_sessions(postgres, 0)


def test_server_that_never_answers_is_given_up(postgres: StateDatabase) -> None:
    """V11: a host that takes a connection and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StateError) as caught:
            open_state(postgres.url(port=port), StateTable(), Filters(), 0.2).close()
    assert_no_secret(caught.value)


def test_no_message_shows_the_password(own_postgres: StateDatabase) -> None:
    """V11: not a wrong one, and not of a server that refuses, cuts, or is gone, nor in what led to the error."""
    refused = own_postgres.url(password="wr0ng hunter2")
    with pytest.raises(StateError, match="authentication failed") as caught:
        open_state(refused, StateTable(), Filters(), 2).close()
    assert_no_secret(caught.value)
    with pytest.raises(StateError, match="does not exist") as caught:
        open_state(
            own_postgres.server.url("nothing", user=READER, password=READER_PASSWORD), StateTable(), Filters(), 2
        )
    assert_no_secret(caught.value)
    own_postgres.fill(3000)
    with Proxy(own_postgres.server.port) as proxy, reading(own_postgres, port=proxy.port) as store:
        assert all(secret not in store.label for secret in (*SECRETS, READER))
        proxy.cut_after = 20_000
        with pytest.raises(StateError) as caught:
            store.load()
        assert_no_secret(caught.value)
        own_postgres.server.kill()
        with pytest.raises(StateError) as caught:
            store.load()
        assert_no_secret(caught.value)


def assert_no_secret(error: BaseException) -> None:
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None:
            continue
        for secret in SECRETS:
            assert secret not in repr(link), "a message shows a secret"
            assert secret not in str(link), "a message shows a secret"
        links += [link.__cause__, None if link.__suppress_context__ else link.__context__]


@pytest.mark.parametrize("trouble", ["ended", "cut", "cut in mid-result"])
def test_lost_connection_is_an_outage_until_the_next_load(postgres: StateDatabase, trouble: str) -> None:
    """V11: recovery needs nobody, and nothing of what was half read is taken for the table."""
    postgres.fill(3000)
    with Proxy(postgres.server.port) as proxy, reading(postgres, port=proxy.port) as store:
        assert store.load().rows == 3000
        for round_number in range(3):
            if trouble == "ended":
                postgres.server.end_sessions(postgres.name)
            elif trouble == "cut":
                proxy.cut()
            else:
                postgres.server.end_sessions(postgres.name)
                proxy.cut_after = 30_000
                store.start_over()
                with pytest.raises(StateError):
                    load_twice(store)
                proxy.cut_after = None
            postgres.set_row(PARTITION._replace(customer_id=f"new{round_number}"))
            store.start_over()
            load = load_again(store)
            assert load.rows == 3001 + round_number
            assert sum(len(rows.dates) for rows in load.series.values()) == 3001 + round_number


def load_twice(store: StateStore) -> StateLoad:
    """Load; one that a lost connection did not fail is followed by another, over a new one."""
    store.load()
    store.start_over()
    return store.load()


def load_again(store: StateStore) -> StateLoad:
    """Load; the first that finds its connection gone may fail, and no other."""
    try:
        return store.load()
    except StateError:
        return store.load()


@pytest.mark.parametrize(
    ("damage", "repair", "message"),
    [
        ("ALTER TABLE {} RENAME TO away", "ALTER TABLE away RENAME TO {}", "no table|does not exist"),
        ("ALTER TABLE {} RENAME COLUMN status TO away", "ALTER TABLE {} RENAME COLUMN away TO status", "column status"),
        ("REVOKE SELECT ON {} FROM reader", "GRANT SELECT ON {} TO reader", "permission denied"),
    ],
)
def test_schema_that_changes_under_it_is_an_outage(
    postgres: StateDatabase, damage: str, repair: str, message: str
) -> None:
    """V11: the cause is named, and no restart is needed."""
    postgres.set_row(PARTITION)
    with reading(postgres) as store:
        store.load()
        postgres.execute(damage.format("partition_state"))
        store.start_over()  # a change that moves no row need not be seen before the next whole load
        with pytest.raises(StateError, match=message):
            store.load()
        postgres.execute(repair.format("partition_state"))
        assert customers(store.load()) == ["c1"]


def test_optional_column_may_go_and_come(postgres: StateDatabase) -> None:
    """V9: what is not there is not shown, and it is no outage."""
    postgres.set_row(PARTITION, record_count=7)
    with reading(postgres) as store:
        assert list(store.load().series[KEY].record_counts) == [7]
        postgres.execute("ALTER TABLE partition_state DROP COLUMN record_count")
        without = store.load().series[KEY].record_counts
        assert list(without) != [7]
        postgres.execute("ALTER TABLE partition_state ADD COLUMN record_count BIGINT")
        postgres.execute("UPDATE partition_state SET record_count = 8")
        assert list(store.load().series[KEY].record_counts) == [8]


def test_replica_serves_the_state(own_postgres: StateDatabase) -> None:
    """V1: a read replica does, which takes no write at all."""
    own_postgres.set_row(PARTITION)
    with own_postgres.server.standby() as standby:
        standby.wait_replayed(own_postgres.server)
        replica = StateDatabase(standby, own_postgres.name)
        with reading(replica) as store:
            assert customers(store.load()) == ["c1"]
            own_postgres.set_row(OTHER)
            standby.wait_replayed(own_postgres.server)
            assert customers(store.load()) == ["c1", "c2"]


@pytest.mark.parametrize(
    "cycles", [60, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(0)], id="1000")]
)
def test_outages_leak_neither_sessions_nor_descriptors_nor_threads(postgres: StateDatabase, cycles: int) -> None:
    """V11: connections that are ended, reset, and cut in the middle, time after time."""
    postgres.fill(2000)
    with Proxy(postgres.server.port) as proxy:
        with reading(postgres, port=proxy.port) as store:
            store.load()
            before, threads = len(open_descriptors()), threading.active_count()
            for cycle in range(cycles):
                match cycle % 3:
                    case 0:
                        postgres.server.end_sessions(postgres.name)
                    case 1:
                        proxy.cut()
                    case _:
                        proxy.cut_after = 30_000
                store.start_over()
                try:
                    store.load()
                except StateError:
                    pass  # which of them notice is not the point
                proxy.cut_after = None
                store.start_over()
                assert load_again(store).rows == 2000
            assert len(postgres.sessions()) <= 1
            assert len(open_descriptors()) <= before + 4  # the proxy's, of a connection on its way out
            assert threading.active_count() <= threads + 4
        wait_for_sessions(postgres, 0)


def test_close_ends_every_session(postgres: StateDatabase) -> None:
    """V11: also after a failure."""
    postgres.set_row(PARTITION)
    with reading(postgres) as store:
        store.load()
        postgres.execute("ALTER TABLE partition_state RENAME TO away")
        with pytest.raises(StateError):
            store.start_over()
            store.load()
    wait_for_sessions(postgres, 0)
