"""What the doctor says of a PostgreSQL state: of a real server, and of what only figures show."""

from __future__ import annotations

import re

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.examine import choose_checks
from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.postgres_state import judge_server
from readyfs.doctor.state import look_at_state
from readyfs.state.filters import Filters
from readyfs.state.inspect import open_inspector
from readyfs.state.postgres.inspector import PostgresServer
from readyfs.state.store import StateTable
from tests.doctor.subjects import looked_at, make_subject, the, verdicts
from tests.postgres.database import READER_PASSWORD, StateDatabase

ROW = (
    "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id, updated_at) "
    "VALUES ('s', 'c', 'q', '2024-06-01', 'success', 'r', now())"
)
EVERY = {
    "state",
    "state-columns",
    "state-key",
    "state-server",
    "state-role",
    "state-row-security",
    "state-facts",
    "state-standby",
    "state-timeouts",
    "server-clock",
    "memory",
    "state-clock",
    "state-ready",
}


def named(database: StateDatabase, name: str) -> Finding:
    return the(name, look_at_state(make_subject(state=database.url())))


def test_a_sound_database_is_fine(postgres: StateDatabase) -> None:
    postgres.execute(ROW)
    assert looked_at(postgres.url()) == dict.fromkeys(EVERY, "ok")


def test_a_role_that_may_write_is_a_warning_that_the_remedy_mends(postgres: StateDatabase) -> None:
    postgres.execute("GRANT INSERT, DELETE ON partition_state TO reader")
    found = named(postgres, "state-role")
    assert (found.verdict, "may INSERT, DELETE in" in found.summary) == (Verdict.WARNING, True)
    postgres.execute(found.remedy)
    assert looked_at(postgres.url())["state-role"] == "ok"


def test_row_security_is_a_warning(postgres: StateDatabase) -> None:
    postgres.execute("ALTER TABLE partition_state ENABLE ROW LEVEL SECURITY")
    assert looked_at(postgres.url())["state-row-security"] == "warning"


def test_a_function_that_may_not_be_called_is_a_warning_that_the_remedy_mends(postgres: StateDatabase) -> None:
    postgres.execute(ROW)
    functions = "pg_current_wal_lsn(), pg_control_system(), pg_is_in_recovery(), has_table_privilege(oid, text)"
    postgres.execute(f"REVOKE EXECUTE ON FUNCTION {functions}, row_security_active(oid) FROM PUBLIC")
    found = named(postgres, "state-facts")
    assert (found.verdict, "is not refused if it had more transactions" in found.summary) == (Verdict.WARNING, True)
    others = {**looked_at(postgres.url())}
    assert others.pop("state-facts") == "warning"
    assert {name for name, verdict in others.items() if verdict != "ok"} == {"state-role", "state-standby"}
    postgres.execute(found.remedy)
    assert looked_at(postgres.url()) == dict.fromkeys(EVERY, "ok")


def test_values_that_the_driver_cannot_hold_fail_no_check(postgres: StateDatabase) -> None:
    """V15: the runs of the other rows are looked at."""
    postgres.execute("ALTER TABLE partition_state ALTER COLUMN current_run_id TYPE timestamptz USING 'infinity'")
    postgres.execute(ROW.replace("'r'", "'2024-06-02 04:05:06Z'"))
    postgres.execute(ROW.replace("'r'", "'infinity'").replace("'c'", "'d'"))
    inspector = open_inspector(postgres.url(), StateTable(), 5)
    assert [one.run_id for one in inspector.sample(Filters(), 10)] == [b"2024-06-02T04:05:06.000Z"]


def test_a_table_without_a_key_is_a_warning_that_the_remedy_mends(postgres: StateDatabase) -> None:
    postgres.execute("ALTER TABLE partition_state DROP CONSTRAINT partition_state_pkey")
    postgres.execute(
        "CREATE UNIQUE INDEX a ON partition_state(source, customer_id, query_name, logical_date) WHERE status = 'x'"
    )
    postgres.execute("CREATE UNIQUE INDEX b ON partition_state((source || 'x'))")
    found = named(postgres, "state-key")
    assert found.verdict is Verdict.WARNING
    postgres.execute(found.remedy)
    assert looked_at(postgres.url())["state-key"] == "ok"


def test_a_view_is_a_note(postgres: StateDatabase) -> None:
    postgres.execute("ALTER TABLE partition_state RENAME TO behind")
    for kind in ("VIEW", "MATERIALIZED VIEW"):
        postgres.execute(f"CREATE {kind} partition_state AS SELECT * FROM behind")
        postgres.execute("GRANT SELECT ON partition_state TO reader")
        assert looked_at(postgres.url())["state-key"] == "note"
        postgres.execute(f"DROP {kind} partition_state")


def test_a_server_that_ends_idle_sessions_is_a_warning_that_the_remedy_mends(own_postgres: StateDatabase) -> None:
    own_postgres.execute("ALTER ROLE reader SET idle_session_timeout = '5s'")
    found = named(own_postgres, "state-timeouts")
    assert found.verdict is Verdict.WARNING
    own_postgres.execute(found.remedy)
    assert looked_at(own_postgres.url())["state-timeouts"] == "ok"


def test_a_time_in_the_future_is_a_warning(postgres: StateDatabase) -> None:
    postgres.execute(ROW.replace("now()", "now() + interval '1 hour'"))
    assert looked_at(postgres.url())["state-clock"] == "warning"


def test_a_wrong_password_is_a_problem_that_does_not_show_it(postgres: StateDatabase) -> None:
    url = postgres.url(password="hunter3 secret")
    ((_, (found,)),) = run_checks(choose_checks(make_subject(state=url), ("state",)), 20, repr)
    assert found.verdict is Verdict.PROBLEM
    assert not re.search("hunter|secret", found.summary + found.remedy)
    assert READER_PASSWORD not in found.summary


def test_a_standby_is_a_note_with_its_lag(own_postgres: StateDatabase) -> None:
    own_postgres.execute(ROW)
    with own_postgres.server.standby() as server:
        server.wait_replayed(own_postgres.server)
        found = looked_at(StateDatabase(server, own_postgres.name).url())
    assert found == {**dict.fromkeys(EVERY, "ok"), "state-standby": "note"}


def test_a_server_that_is_stopped_does_not_hang_the_doctor(own_postgres: StateDatabase) -> None:
    own_postgres.server.pause()
    try:
        checks = choose_checks(make_subject(state=own_postgres.url()), ("state",))
        ((_, findings),) = run_checks(checks, 3.0, repr)
    finally:
        own_postgres.server.resume()
    assert findings[-1].verdict is Verdict.PROBLEM


def made_server(**changes: object) -> PostgresServer:
    values: dict[str, object] = {
        "version": "15.1",
        "version_number": 150001,
        "role": "reader",
        "is_superuser": False,
        "may": (),
        "hides_rows": False,
        "is_standby": False,
        "replay_lag_s": None,
        "timeouts_ms": {"statement_timeout": 10},
        "clock_ahead_s": 0.1,
        "round_trip_s": 0.01,
    }
    return PostgresServer(**{**values, **changes})  # type: ignore[arg-type]


def test_a_sound_server_is_fine() -> None:
    assert set(verdicts(judge_server(made_server(), StateTable(), 10)).values()) == {"ok"}


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"version_number": 120010}, "state-server", "warning"),
        ({"is_superuser": True}, "state-role", "warning"),
        ({"may": ("INSERT",)}, "state-role", "warning"),
        ({"hides_rows": True}, "state-row-security", "warning"),
        ({"may": None}, "state-role", "note"),
        ({"is_standby": None}, "state-standby", "note"),
        ({"is_standby": True, "replay_lag_s": 100.0}, "state-standby", "note"),
        ({"timeouts_ms": {"idle_session_timeout": 10_000}}, "state-timeouts", "warning"),
        ({"timeouts_ms": {"idle_session_timeout": 60_000}}, "state-timeouts", "ok"),
        ({"timeouts_ms": {"transaction_timeout": 5000}}, "state-timeouts", "warning"),
        ({"clock_ahead_s": -30.0}, "server-clock", "warning"),
        ({"clock_ahead_s": 3.0, "round_trip_s": 2.0}, "server-clock", "ok"),
    ],
)
def test_a_server_is_judged(changes: dict[str, object], name: str, verdict: str) -> None:
    found = verdicts(judge_server(made_server(**changes), StateTable(), 10))
    assert found.pop(name) == verdict
    assert set(found.values()) == {"ok"}
