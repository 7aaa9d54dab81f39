"""A PostgreSQL state whose table and server are other than usual: what a reader of the mount sees of that."""

from __future__ import annotations

import errno
import os

import pytest

from tests.mount.daemon import Place, fails_with, mounted, partition
from tests.postgres.database import READER, StateDatabase

FUNCTIONS = (
    "pg_current_snapshot(), txid_current_snapshot(), pg_postmaster_start_time(), pg_conf_load_time(), "
    "pg_is_in_recovery(), pg_control_system(), pg_current_wal_lsn(), pg_walfile_name(pg_lsn), "
    "pg_current_wal_flush_lsn(), row_security_active(oid), pg_relation_size(regclass), pg_relation_filenode(regclass), "
    "has_table_privilege(oid, text)"
)


@pytest.mark.parametrize("revoked", ["before", "while mounted"])
def test_right_to_read_the_table_is_all_that_a_mount_needs(place: Place, postgres: StateDatabase, revoked: str) -> None:
    """V3, V11: functions that every role may call by default are no condition, and no outage when they go."""
    first, second = partition(), partition(date="2024-06-02")
    postgres.publish(place.producer.write_run(first, "r1", b"one\n"))
    if revoked == "before":
        postgres.execute(f"REVOKE EXECUTE ON FUNCTION {FUNCTIONS} FROM PUBLIC")
    with mounted(place, "--state", postgres.url()) as daemon:
        assert daemon.of(first).read_bytes() == b"one\n"
        postgres.execute(f"REVOKE EXECUTE ON FUNCTION {FUNCTIONS} FROM PUBLIC")
        postgres.publish(place.producer.write_run(first, "r2", b"other\n"))
        postgres.publish(place.producer.write_run(second, "r1", b"two\n"))
        daemon.refresh()
        assert (daemon.of(first).read_bytes(), daemon.of(second).read_bytes()) == (b"other\n", b"two\n")
        postgres.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTIONS} TO PUBLIC")
        postgres.delete_row(second)
        daemon.refresh()
        with fails_with(errno.ENOENT):
            os.stat(daemon.of(second))
        assert daemon.status()["state_error"] is None
        assert not daemon.events("state cannot be read, serving the last good catalog")
        told = daemon.events("the server does not tell all that readyfs asks for")
        assert len(told) == 2, "once for the server and once for the table"
        assert "a server that lags behind is not noticed" in str(told)
        assert "row_security_active(oid)" in str(told)


def test_row_level_security_that_is_enabled_renames_no_path(place: Place, postgres: StateDatabase) -> None:
    """V1, V12: blanks that fill up CHAR(n) are in no name, and no run is looked for under a name that has them."""
    postgres.publish(place.producer.write_run(partition(), "r1", b"x\n"))
    columns = ("source", "customer_id", "query_name", "status", "current_run_id", "schema_version")
    postgres.execute("ALTER TABLE partition_state " + ", ".join(f"ALTER {name} TYPE char(30)" for name in columns))
    postgres.execute(f"CREATE VIEW shown AS SELECT * FROM partition_state; GRANT SELECT ON shown TO {READER}")
    with mounted(place, "--state", postgres.url()) as daemon:
        fingerprint = daemon.status()["fingerprint"]
        postgres.execute("ALTER TABLE partition_state ENABLE ROW LEVEL SECURITY")
        postgres.execute(f"CREATE POLICY readyfs_reads ON partition_state FOR SELECT TO {READER} USING (true)")
        daemon.refresh()
        assert os.listdir(daemon.path) == ["c1"]
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert daemon.status()["fingerprint"] == fingerprint
    with mounted(place, "--state", postgres.url(), "--state-table", "shown") as daemon:
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert daemon.status()["fingerprint"] == fingerprint
