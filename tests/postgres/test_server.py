"""The server under the other tests does what they rely on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psycopg
import pytest

from readyfs.demo.producer import LogicalPartition
from tests.descriptors import open_descriptors
from tests.postgres.database import READER_PASSWORD, StateDatabase
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer

PARTITION = LogicalPartition("s1", "c1", "q1", "2024-06-01")


def try_reading(database: StateDatabase, port: int = 0) -> None:
    with psycopg.connect(database.url(port=port), connect_timeout=2) as session:
        session.execute("SELECT count(*) FROM partition_state")


def test_reader_may_read_and_nothing_else(postgres: StateDatabase) -> None:
    postgres.set_row(PARTITION)
    with psycopg.connect(postgres.url(), autocommit=True) as session:
        assert session.execute("SELECT status FROM partition_state").fetchall() == [("success",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM partition_state")


def test_password_counts(postgres: StateDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url(password=f"not {READER_PASSWORD}"))


def test_server_is_not_run_by_root(own_postgres_server: PostgresServer) -> None:
    assert os.stat(f"/proc/{own_postgres_server.pid}").st_uid != 0


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_stopped_and_killed_server_comes_back_with_its_rows(own_postgres: StateDatabase, ending: str) -> None:
    server = own_postgres.server
    own_postgres.set_row(PARTITION)
    own_postgres.execute("CHECKPOINT")
    with own_postgres.connect():
        pids = server.processes()
        getattr(server, ending)()
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        try_reading(own_postgres)
    server.start()
    assert own_postgres.execute("SELECT customer_id FROM partition_state") == [("c1",)]


def test_paused_server_answers_nobody_until_it_is_resumed(own_postgres: StateDatabase) -> None:
    own_postgres.server.pause()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        try_reading(own_postgres)
    own_postgres.server.resume()
    try_reading(own_postgres)


def shared_memory_of(pids: list[int]) -> list[str]:
    """Return the segments of shared memory that these processes made (proc_sysvipc(5), column cpid)."""
    _, *segments = Path("/proc/sysvipc/shm").read_text("ascii").splitlines()
    return [segment for segment in segments if int(segment.split()[4]) in pids]


def test_removed_server_leaves_nothing_whatever_state_it_is_in(postgres_template: PostgresServer) -> None:
    descriptors = len(open_descriptors())
    for state in ("start", "stop", "kill", "pause"):
        with postgres_template.copy() as server:
            pids = server.start().processes()
            assert shared_memory_of(pids)
            getattr(server, state)() if state != "start" else None
        assert not server.directory.exists()
        assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)
        assert not shared_memory_of(pids)
    assert len(open_descriptors()) <= descriptors


def test_replica_lags_follows_and_takes_over(own_postgres: StateDatabase) -> None:
    server = own_postgres.server
    with server.standby() as standby:
        replica = StateDatabase(standby, own_postgres.name)
        standby.wait_replayed(server)
        standby.pause_replay()
        own_postgres.set_row(PARTITION)
        assert replica.execute("SELECT count(*) FROM partition_state") == [(0,)]
        standby.resume_replay()
        standby.wait_replayed(server)
        assert replica.execute("SELECT count(*) FROM partition_state") == [(1,)]
        server.kill()
        standby.promote()
        replica.set_row(PARTITION._replace(customer_id="c2"))
        assert replica.execute("SELECT count(*) FROM partition_state") == [(2,)]


def test_proxy_forwards_and_cuts(postgres: StateDatabase) -> None:
    postgres.fill(2000)
    before = len(open_descriptors())
    with Proxy(postgres.server.port) as proxy:
        try_reading(postgres, proxy.port)
        session = psycopg.connect(postgres.url(port=proxy.port))
        session.execute("SELECT 1")
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
        proxy.cut_after = 20_000
        with psycopg.connect(postgres.url(port=proxy.port)) as cut, pytest.raises(psycopg.OperationalError):
            cut.execute("SELECT * FROM partition_state")
        assert (proxy.accepted, proxy.cuts) == (3, 1)
        with contextlib.closing(psycopg.connect(postgres.url(port=proxy.port))) as left_open:
            assert not left_open.closed
    assert len(open_descriptors()) <= before
