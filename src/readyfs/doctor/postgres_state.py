"""What holds of a PostgreSQL state: the server's version, our role in it, its limits, its standby and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from readyfs.doctor.finding import Finding, good, note, warning
from readyfs.doctor.subject import Subject
from readyfs.duration import render_duration
from readyfs.state.postgres.functions import join_losses
from readyfs.state.postgres.inspector import PostgresInspector, PostgresServer
from readyfs.state.store import StateTable
from readyfs.text import escape_text

CLOCK_NOTICED_S: Final = 2.0
REPLAY_LATE_S: Final = 60.0
OLDEST_POSTGRES: Final = 130000
"""The first version whose snapshots and row versions can be compared (pg_current_snapshot)."""


def look_at_server(subject: Subject, inspector: PostgresInspector) -> Iterator[Finding]:
    """Ask the server what it is, and judge that."""
    return judge_server(inspector.server(), subject.table, subject.interval_s)


def judge_server(server: PostgresServer, table: StateTable, interval_s: float) -> Iterator[Finding]:
    """Say what a PostgreSQL server and our role in it are like."""
    if server.version_number < OLDEST_POSTGRES:
        yield warning(
            "state-server",
            f"PostgreSQL {escape_text(server.version)} is too old to tell which rows changed: each look reads all",
            "upgrade to PostgreSQL 13 or later",
        )
    else:
        yield good("state-server", f"PostgreSQL {escape_text(server.version)}")
    yield from _judge_role(server, table)
    yield _judge_untold(server)
    if server.is_standby is None:
        yield note("state-standby", "the server does not tell whether it is a primary or a standby")
    elif server.is_standby:
        lag = server.replay_lag_s
        late = lag is not None and lag > REPLAY_LATE_S
        since = "" if lag is None else f"; the last change that it replayed is {lag:.0f} s old"
        yield note(
            "state-standby",
            f"the server is a standby: a mount follows its replay, not the primary{since}",
            "SELECT * FROM pg_stat_wal_receiver;  -- is it streaming?" if late else "",
        )
    else:
        yield good("state-standby", "the server is a primary")
    yield from _judge_timeouts(server, interval_s)
    yield from _judge_clock(server)


def _judge_role(server: PostgresServer, table: StateTable) -> Iterator[Finding]:
    role = escape_text(server.role)
    make = (
        f"CREATE ROLE readyfs LOGIN; GRANT SELECT ON {table.table} TO readyfs;  "
        "-- and name it in the URL: postgresql://readyfs@..."
    )
    if server.is_superuser:
        yield warning("state-role", f"role {role} is a superuser, and readyfs only reads", make)
    elif server.may is None:
        yield note("state-role", f"the server does not tell what else role {role} may do in {table.table}")
    elif server.may:
        may = ", ".join(server.may)
        yield warning(
            "state-role",
            f"role {role} may {may} in {table.table}, and readyfs only reads",
            f"REVOKE {may} ON {table.table} FROM {role};",
        )
    else:
        yield good("state-role", f"role {role} may read {table.table} and not write it")
    if server.hides_rows:
        yield warning(
            "state-row-security",
            f"row security is in force for role {role}: partitions whose rows it hides are not shown, "
            "without a word, and each look reads all rows",
            f"CREATE POLICY readyfs_reads ON {table.table} FOR SELECT TO {role} USING (true);",
        )
    else:
        yield good("state-row-security", f"no row is hidden from role {role}")


def _judge_untold(server: PostgresServer) -> Finding:
    """Say which facts a mount asks for in vain, and what is lost with them."""
    if not server.untold:
        return good("state-facts", "the server tells all that readyfs asks for")
    functions = [function for fact in server.untold for function in fact.functions]
    return warning(
        "state-facts",
        f"the server does not tell all that readyfs asks for: {join_losses(server.untold)}",
        f"GRANT EXECUTE ON FUNCTION {', '.join(functions)} TO {escape_text(server.role)};  "
        "-- where the server has them at all",
    )


def _judge_timeouts(server: PostgresServer, interval_s: float) -> Iterator[Finding]:
    """Say which of the server's limits end what we do; the statement's own one is set anew in each transaction."""
    cuts = {
        name: limit_ms
        for name, limit_ms in server.timeouts_ms.items()
        if limit_ms > 0
        and (
            (name == "idle_session_timeout" and limit_ms <= 1000 * interval_s)
            or (name == "idle_in_transaction_session_timeout" and limit_ms < 1000)
            or (name == "transaction_timeout" and limit_ms < 60_000)
        )
    }
    if not cuts:
        yield good("state-timeouts", "no limit of the server ends a connection or a load of ours")
    for name, limit_ms in cuts.items():
        yield warning(
            "state-timeouts",
            f"the server's {name} of {render_duration(limit_ms / 1000)} ends what readyfs does, load after load",
            f"ALTER ROLE {escape_text(server.role)} SET {name} = 0;",
        )


def _judge_clock(server: PostgresServer) -> Iterator[Finding]:
    off = server.clock_ahead_s
    which = "ahead of" if off > 0 else "behind"
    if abs(off) <= CLOCK_NOTICED_S + server.round_trip_s:
        yield good("server-clock", "the server's clock and this machine's agree")
        return
    yield warning(
        "server-clock",
        f"the server's clock is {abs(off):.0f} s {which} this machine's: ages and times shown are wrong by that much",
        "sudo timedatectl set-ntp true  # on both machines",
    )
