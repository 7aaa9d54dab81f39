"""Servers that fail over, are promoted, replaced or wrap around: what changed is found, and time never goes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import StateError
from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateLoad, StateStore, StateTable
from tests.postgres.database import CREATE_TABLE, GRANT, READER, StateDatabase
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer

ROWS = 40
A = LogicalPartition("s1", "a", "q1", "2024-06-01")
B = LogicalPartition("s1", "b", "q1", "2024-06-01")
NEW = LogicalPartition("s1", "new", "q1", "2024-06-01")

Content = dict[tuple[SeriesKey, int], tuple[object, ...]]


def content_of(load: StateLoad) -> Content:
    """Return what a load holds, row by row."""
    return {
        (key, date): tuple(row)
        for key, rows in load.series.items()
        for date, *row in zip(
            rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions, strict=True
        )
    }


@contextmanager
def reading(database: StateDatabase, port: int = 0) -> Iterator[StateStore]:
    with closing(open_state(database.url(port=port), StateTable(), Filters(), 5)) as store:
        yield store


def follow(store: StateStore, database: StateDatabase) -> Content:
    """Load, and check the result against a reader that is new."""
    content = content_of(store.load())
    with reading(database) as other:
        assert content == content_of(other.load())
    return content


def follow_again(store: StateStore, database: StateDatabase) -> Content:
    """Follow once a server is back; the load that finds its connection gone may fail."""
    with suppress(StateError):
        return follow(store, database)
    return follow(store, database)


def run_of(content: Content, partition: LogicalPartition) -> object:
    """Return the run that a customer shows, None without one."""
    customer = partition.customer_id.encode()
    runs = {row[0] for (key, _), row in content.items() if key.customer_id == customer}
    (run,) = runs or {None}
    return run


@pytest.fixture
def primary(own_postgres: StateDatabase) -> StateDatabase:
    own_postgres.fill(ROWS)
    own_postgres.set_row(A)
    return own_postgres


def test_failover_to_a_replica_that_is_behind_never_goes_back_silently(primary: StateDatabase) -> None:
    """I5, V11: an outage while it lags, and none once it has caught up or was promoted."""
    with primary.server.standby() as standby, Proxy(primary.server.port) as proxy:
        replica = StateDatabase(standby, primary.name)
        standby.wait_replayed(primary.server)
        with reading(primary, proxy.port) as store:
            standby.pause_replay()
            for number in range(5):
                primary.set_row(A, run_id=f"r{number}")
            before = content_of(store.load())
            proxy.target_port = standby.port
            proxy.cut()
            for _ in range(3):
                with pytest.raises(StateError, match="behind"):
                    store.load()
            standby.resume_replay()
            standby.wait_replayed(primary.server)
            assert follow_again(store, replica) == before
            primary.set_row(A, run_id="more")
            standby.wait_replayed(primary.server)
            assert run_of(follow(store, replica), A) == b"more"
            primary.server.kill()
            standby.promote()
            replica.set_row(A, run_id="promoted")
            assert run_of(follow_again(store, replica), A) == b"promoted"


def test_promotion_of_a_replica_that_lost_commits_is_believed(primary: StateDatabase) -> None:
    """V4: the promoted server's rows are the truth from then on, though its transaction numbers are used twice."""
    with primary.server.standby() as standby, Proxy(primary.server.port) as proxy:
        replica = StateDatabase(standby, primary.name)
        standby.wait_replayed(primary.server)
        standby.stop_receiving()
        with reading(primary, proxy.port) as store:
            primary.set_row(A, run_id="lost")
            primary.set_row(B, run_id="lost")
            assert run_of(content_of(store.load()), A) == b"lost"
            primary.server.kill()
            standby.promote()
            replica.set_row(NEW)
            replica.set_row(NEW, run_id="r2")
            proxy.target_port = standby.port
            content = follow_again(store, replica)
            assert (run_of(content, A), run_of(content, B), run_of(content, NEW)) == (b"r1", None, b"r2")
            replica.delete_row(A)
            assert run_of(follow(store, replica), A) is None


def test_other_server_behind_the_same_name_is_read_anew(primary: StateDatabase, postgres: StateDatabase) -> None:
    """V4: a database of the same name and of as many rows, in a cluster of another history."""
    other = StateDatabase.create(postgres.server, primary.name)
    try:
        other.fill(ROWS)
        other.set_row(A, run_id="elsewhere")
        with Proxy(primary.server.port) as proxy, reading(primary, proxy.port) as store:
            assert run_of(content_of(store.load()), A) == b"r1"
            proxy.target_port = postgres.server.port
            proxy.cut()
            assert run_of(follow_again(store, other), A) == b"elsewhere"
    finally:
        other.drop()


def test_other_server_that_does_not_say_who_it_is_is_refused_if_it_is_behind(
    primary: StateDatabase, postgres: StateDatabase
) -> None:
    """V3: what cannot be known has its worst value, so that time does not go back."""
    other = StateDatabase.create(postgres.server, primary.name)
    try:
        other.fill(ROWS)
        for number in range(50):
            other.set_row(A, run_id=f"r{number}")
        for database in (primary, other):
            database.execute("REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_current_wal_lsn() FROM PUBLIC")
        with Proxy(other.server.port) as proxy, reading(other, proxy.port) as store:
            assert run_of(content_of(store.load()), A) == b"r49"
            proxy.target_port = primary.server.port
            proxy.cut()
            with pytest.raises(StateError, match="is behind what was served"):
                follow_again(store, primary)
            proxy.target_port = other.server.port
            proxy.cut()
            assert run_of(follow_again(store, other), A) == b"r49"
    finally:
        other.drop()


def test_prepared_transaction_is_found_when_it_commits(postgres_template: PostgresServer) -> None:
    """V3: it outlives its session, and a restart of the server."""
    with postgres_template.copy(max_prepared_transactions="5") as server:
        database = StateDatabase.create(server.start(), "state")
        database.fill(ROWS)
        database.set_row(A)
        with reading(database) as store:
            store.load()
            with database.connect() as session:
                session.execute("BEGIN")
                session.execute("UPDATE partition_state SET current_run_id = 'prepared' WHERE customer_id = 'a'")
                session.execute("PREPARE TRANSACTION 'one'")
            database.set_row(B)
            assert run_of(follow(store, database), A) == b"r1"
            server.restart()
            database.set_row(B, run_id="r2")
            assert run_of(follow_again(store, database), A) == b"r1"
            database.execute("COMMIT PREPARED 'one'")
            assert run_of(follow(store, database), A) == b"prepared"


@pytest.mark.parametrize("rights", ["on the table", "on its parts too"])
def test_partition_that_comes_and_goes_is_found(postgres: StateDatabase, rights: str) -> None:
    """V3, V8: a partitioned table, whose parts have row versions of their own, and need no rights of their own."""
    postgres.execute("DROP TABLE partition_state")
    postgres.execute(f"{CREATE_TABLE.rstrip()} PARTITION BY LIST (customer_id)")
    postgres.execute(GRANT)
    for part in ("a", "b"):
        postgres.execute(f"CREATE TABLE part_{part} PARTITION OF partition_state FOR VALUES IN ('{part}')")
        if rights != "on the table":
            postgres.execute(f"GRANT SELECT ON part_{part} TO {READER}")
    postgres.set_row(A)
    postgres.set_row(B)
    with reading(postgres) as store:
        store.load()
        postgres.set_row(A, run_id="r2")
        assert run_of(follow(store, postgres), A) == b"r2"
        postgres.execute("ALTER TABLE partition_state DETACH PARTITION part_b")
        assert run_of(follow(store, postgres), B) is None
        postgres.execute("UPDATE part_b SET current_run_id = 'elsewhere'")
        postgres.execute("VACUUM FREEZE part_b")
        postgres.execute("ALTER TABLE partition_state ATTACH PARTITION part_b FOR VALUES IN ('b')")
        assert run_of(follow(store, postgres), B) == b"elsewhere"
        postgres.execute("DROP TABLE part_b")
        assert run_of(follow(store, postgres), B) is None


def jump(server: PostgresServer, number: int) -> None:
    """Have the next transaction be of this number, after all older ones were frozen."""
    server.execute("UPDATE pg_database SET datallowconn = true")
    for (name,) in server.execute("SELECT datname FROM pg_database"):
        server.execute("VACUUM FREEZE", database=name)
    server.execute("CHECKPOINT")
    server.stop()
    status = server.data / "pg_xact" / f"{number // 2**20:04X}"  # two bits for each transaction
    if not status.exists():
        status.write_bytes(bytes(2**18))
        os.chown(status, server.data.stat().st_uid, server.data.stat().st_gid)
    server.run("pg_resetwal", "--pgdata", str(server.data), "--next-transaction-id", str(number))
    server.start()


def test_numbers_that_wrap_around_hide_no_change(primary: StateDatabase) -> None:
    """V3: a row knows 32 bits of its transaction: across the wrap, and after more than can be told apart."""
    with reading(primary) as store:
        store.load()
        for number in (1_500_000_000, 3_000_000_000, 2**32 - 40):
            jump(primary.server, number)
            primary.set_row(A, run_id=f"at {number}")
            assert run_of(follow_again(store, primary), A) == f"at {number}".encode()
            primary.set_row(B, run_id=f"after {number}")
            assert run_of(follow(store, primary), B) == f"after {number}".encode()
        with primary.connect() as slow:
            slow.execute("BEGIN")
            slow.execute("UPDATE partition_state SET current_run_id = 'slow' WHERE customer_id = 'c1'")
            for number in range(100):
                primary.set_row(A, run_id=f"r{number}")
                if number % 10 == 9:
                    assert run_of(follow(store, primary), A) == b"r%d" % number
            slow.execute("COMMIT")
        assert run_of(follow(store, primary), A._replace(customer_id="c1")) == b"slow"
        primary.delete_row(A)
        assert run_of(follow(store, primary), A) is None
    ((position,),) = primary.execute("SELECT pg_current_xact_id()::text::numeric")
    assert position > 2**32, "the numbers did not wrap around"


def test_numbers_too_far_apart_to_be_told_apart_have_all_read_anew(primary: StateDatabase) -> None:
    """V3: more than 2**31 transactions between two loads."""
    with reading(primary) as store:
        store.load()
        jump(primary.server, 1_500_000_000)
        primary.set_row(A, run_id="hidden")
        jump(primary.server, 3_000_000_000)
        primary.set_row(B)
        content = follow_again(store, primary)
        assert (run_of(content, A), run_of(content, B)) == (b"hidden", b"r1")
