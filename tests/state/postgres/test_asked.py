"""Functions of a PostgreSQL server that are forbidden or fail: the right to read the one table is enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import StateError
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.postgres import asked, connection
from readyfs.state.postgres.functions import SERVER_FACTS, TABLE_FACTS
from readyfs.state.store import StateTable
from tests.postgres.database import READER, StateDatabase
from tests.state.comparing import Follower

A = LogicalPartition("s1", "a", "q1", "2024-06-01")
MISSING = "the server does not tell all that readyfs asks for"
BACK = "the server tells again what readyfs asks for"

TAKEN: dict[str, tuple[str, ...]] = {
    "snapshot": ("pg_current_snapshot() pg_snapshot", "txid_current_snapshot() txid_snapshot"),
    "standby": ("pg_is_in_recovery() bool",),
    "started": ("pg_postmaster_start_time() timestamptz", "pg_conf_load_time() timestamptz"),
    "database": ("current_database() name",),
    "cluster": ("pg_control_system() record",),
    "timeline": ("pg_current_wal_lsn() pg_lsn",),
    "name of the log": ("pg_walfile_name(pg_lsn) text",),
    "flushed": ("pg_current_wal_flush_lsn() pg_lsn",),
    "pages": ("pg_relation_size(regclass) int8",),
    "guarded": ("row_security_active(oid) bool",),
    "readable": ("has_table_privilege(oid, text) bool",),
}
"""By fact: the functions without which it cannot be had, with the types that they return."""
QUIET = frozenset(TAKEN) - {"snapshot", "started", "pages", "readable"}
"""Facts without which a refresh still finds out by itself that nothing changed."""
READ_BY_CHANGES = QUIET | {"guarded"}


class Functions:
    """Takes functions away from the reader of a database, and gives them back."""

    def __init__(self, database: StateDatabase, way: str) -> None:
        self._database, self._way = database, way
        if way == "failing":
            database.execute("CREATE SCHEMA shadow")
            database.execute(f"GRANT USAGE ON SCHEMA shadow TO {READER}")
            database.execute(
                f"ALTER ROLE {READER} IN DATABASE {database.name} SET search_path = shadow, pg_catalog, public"
            )

    def take(self, fact: str) -> None:
        for function in TAKEN[fact]:
            signature, _, returned = function.rpartition(" ")
            if self._way == "revoked":
                self._database.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC")
                continue
            columns = " OUT system_identifier int8, OUT other int4" if returned == "record" else ""
            arguments = signature.replace(")", columns + ")")
            self._database.execute(
                f"CREATE FUNCTION shadow.{arguments} RETURNS {returned} LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE feature_not_supported USING MESSAGE = 'not supported by this server'; END $$"
            )

    def give_back(self, fact: str) -> None:
        for function in TAKEN[fact]:
            signature = function.rpartition(" ")[0]
            if self._way == "revoked":
                self._database.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO PUBLIC")
            else:
                self._database.execute(f"DROP FUNCTION shadow.{signature}")


@pytest.fixture(params=["revoked", "failing"])
def functions(postgres: StateDatabase, request: pytest.FixtureRequest) -> Functions:
    postgres.fill(40)
    postgres.set_row(A)
    return Functions(postgres, request.param)


@pytest.fixture
def tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "RETRY_S", 0.0)


@contextmanager
def following(database: StateDatabase) -> Iterator[Follower]:
    with Follower(database.url()) as follower:
        follower.check(patched=False)
        yield follower


@pytest.mark.usefixtures("tried_again_at_once")
def test_function_may_be_taken_away_and_given_back_while_mounted(postgres: StateDatabase, functions: Functions) -> None:
    """V3, V11: no outage at any time, every change is found, and what is lost is told."""
    with following(postgres) as follower:
        for fact in TAKEN:
            functions.take(fact)
            with capture_logs() as logs:
                follower.follow()
                postgres.set_row(A, run_id=f"without {fact}")
                follower.check(patched=fact in READ_BY_CHANGES)
                assert (follower.store.probe() is not None) == (fact in QUIET | {"pages", "readable"})
            of_store = [log for log in logs if log["event"] == MISSING]
            assert of_store, f"nothing says that {fact} is gone"
            assert all(log["lost"] and log["functions"] for log in of_store)
            functions.give_back(fact)
            with capture_logs() as logs:
                follower.follow()
                follower.follow()
                postgres.set_row(A, run_id=f"with {fact}")
                follower.check(patched=True)
            assert BACK in [log["event"] for log in logs]


def test_right_to_read_the_table_is_all_that_is_needed(postgres: StateDatabase, functions: Functions) -> None:
    """V8, V11: a mount comes up without any of them, and says once what that costs."""
    for fact in TAKEN:
        functions.take(fact)
    with capture_logs() as logs, following(postgres) as follower:
        postgres.set_row(A, run_id="r2")
        follower.check(patched=False)
        postgres.delete_row(A)
        follower.check(patched=False)
        assert follower.store.probe() is None
    told = [log for log in logs if log["event"] == MISSING and log["store"] == follower.store.label]
    first = told[:2]
    assert {function for log in first for function in log["functions"]} == {
        function for fact in (*SERVER_FACTS, *TABLE_FACTS) for function in fact.functions
    }


def test_row_level_security_is_heeded_without_its_function(postgres: StateDatabase, functions: Functions) -> None:
    """V1: rules may show other rows at any time, so that the table is read whole."""
    functions.take("guarded")
    with following(postgres) as follower:
        postgres.execute("ALTER TABLE partition_state ENABLE ROW LEVEL SECURITY")
        assert follower.follow().rows == 0
        postgres.execute("CREATE POLICY all_of_it ON partition_state USING (true)")
        assert follower.follow().rows == 41


def test_other_right_that_is_missing_is_no_missing_function(postgres: StateDatabase) -> None:
    """V11: it is an outage, and once it is over everything is as it was."""
    postgres.fill(40)
    with Follower(postgres.url(), StateTable("public.partition_state")) as follower, capture_logs() as logs:
        follower.check(patched=False)
        postgres.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        with pytest.raises(StateError, match="permission denied for schema public"):
            follower.follow()
        postgres.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        postgres.set_row(A)
        follower.check(patched=True)
    assert not [log for log in logs if log["event"] == MISSING]


def test_server_that_is_suspended_is_no_server_without_functions(
    postgres: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: a quiet look gives it up in time, is an outage, and is quiet again after it."""
    monkeypatch.setattr(connection, "GRACE_S", 0.8)
    postgres.set_row(A)
    with closing(open_state(postgres.url(), StateTable(), Filters(), 0.3)) as store, capture_logs() as logs:
        token = store.load().token
        postgres.server.pause()
        try:
            with pytest.raises(StateError, match="gave no answer"):
                store.probe()
        finally:
            postgres.server.resume()
        assert store.probe() == token
    assert not logs
