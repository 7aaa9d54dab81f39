"""The state store: read as a mount would read it, then what makes it slow, wrong or dangerous.

`look_at_state` asks; each `judge_...` below it turns answers into findings and asks nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from readyfs.doctor.finding import Finding, good, note, problem, quote, refused, show, warning
from readyfs.doctor.raw import is_remote, open_subject
from readyfs.doctor.subject import Places, Subject
from readyfs.duration import render_duration
from readyfs.errors import UserError
from readyfs.fuse.mount_table import Mount, mount_containing, read_mount_table
from readyfs.state.filters import Filters
from readyfs.state.inspect import Columns, Index, StateInspector
from readyfs.state.open import open_state
from readyfs.state.postgres.inspector import PostgresInspector, PostgresServer
from readyfs.state.rows.parser import KEY_FIELDS
from readyfs.state.sqlite.file import Access
from readyfs.state.sqlite.inspector import SqliteFiles, SqliteInspector
from readyfs.state.sqlite.store import MANY_ROWS
from readyfs.state.store import StateTable
from readyfs.text import escape_text

CLOCK_NOTICED_S: Final = 2.0
CLOCK_WRONG_S: Final = 60.0
REPLAY_LATE_S: Final = 60.0
OLDEST_POSTGRES: Final = 130000
"""The first version whose snapshots and row versions can be compared (pg_current_snapshot)."""
DAEMON_BYTES: Final = 60_000_000
ROW_BYTES: Final = 170
"""A daemon's memory without a partition, and for each; measured, see docs/performance.md."""

_ROW_VERSIONED: Final = frozenset({"sqlite", "postgresql"})
"""Databases in which a change is found without a watermark."""


def look_at_state(subject: Subject) -> Iterator[Finding]:
    """Open the store as a mount does; if that succeeds look at it from all sides, each apart from the others."""
    url = subject.state()
    if url is None:
        return
    try:
        store = open_state(url, subject.table, Filters(), subject.state_timeout_s)
    except UserError as error:
        yield refused("state", error)
        return
    store.close()
    yield good("state", f"{store.label} can be read, and its table is as configured")
    inspector = open_subject(subject, url)
    for name, look in _looks(subject, inspector):
        try:
            yield from look()
        except UserError as error:
            yield refused(name, error)


def _looks(subject: Subject, inspector: StateInspector) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    yield "state-columns", lambda: judge_columns(inspector.columns())
    yield (
        "state-key",
        lambda: (
            judge_view(subject.table)
            if inspector.is_view()
            else judge_indexes(subject.table, inspector.dialect, inspector.columns(), inspector.indexes())
        ),
    )
    match inspector:
        case SqliteInspector():
            yield "state-journal", partial(_look_at_journal, subject, inspector)
        case PostgresInspector():
            yield "state-server", partial(_look_at_server, subject, inspector)
        case _:
            pass
    yield "memory", lambda: judge_memory(inspector.count_rows(), available_bytes(subject.places))
    # The last: without an index it reads the whole table.
    yield "state-clock", lambda: judge_newest(inspector.newest(), time.time_ns())


def _look_at_journal(subject: Subject, inspector: SqliteInspector) -> Iterator[Finding]:
    files = inspector.files()
    mount = mount_containing(read_mount_table(subject.places.mount_table), files.path)
    return judge_journal(files, inspector.count_rows(), mount)


def _look_at_server(subject: Subject, inspector: PostgresInspector) -> Iterator[Finding]:
    return judge_server(inspector.server(), subject.table, subject.interval_s)


def judge_columns(columns: Columns) -> Iterator[Finding]:
    """Say which optional columns are not there."""
    absent = [field for field, column in columns.items() if column is None]
    if absent:
        yield note("state-columns", f"the table has no {', '.join(absent)}: readers will not see that of a partition")
    else:
        yield good("state-columns", "the table has every column")


def judge_view(table: StateTable) -> Iterator[Finding]:
    """Say what a view cannot tell."""
    yield note(
        "state-key",
        f"{escape_text(table.table)} is a view: it has no key that keeps a partition from standing in two rows, and a "
        "changed row cannot be found without reading the others",
        "name the table behind it with --state-table, and select with --source, --customer, --query, --since",
    )


def judge_indexes(table: StateTable, dialect: str, columns: Columns, indexes: Sequence[Index]) -> Iterator[Finding]:
    """Say whether a partition can stand in two rows, and whether changes can be found without reading everything."""
    key = [columns[field] or field for field in KEY_FIELDS]
    name = table.table
    if any(index.is_unique and index.columns and _is_within(index.columns, key) for index in indexes):
        yield good("state-key", "a unique key allows one row for each partition")
    else:
        yield warning(
            "state-key",
            "no unique key on source, customer, query and date: a partition can stand in two rows and is withheld "
            "then, and a changed row cannot be found without reading the others",
            f"CREATE UNIQUE INDEX readyfs_key ON {name} ({', '.join(key)});",
        )
    updated = columns["updated_at"]
    if dialect in _ROW_VERSIONED:
        return
    if updated is None:
        yield warning(
            "state-watermark",
            f"the table has no updated_at, so each look reads all of it: {dialect} has no other sign of change",
            f"ALTER TABLE {name} ADD COLUMN updated_at TIMESTAMP;",
        )
    elif any(index.columns and index.columns[0].casefold() == updated.casefold() for index in indexes):
        yield good("state-watermark", f"an index on {escape_text(updated)} finds the rows that changed")
    else:
        yield warning(
            "state-watermark",
            f"no index on {escape_text(updated)}: {dialect} reads the whole table to find the rows that changed",
            f"CREATE INDEX readyfs_updated ON {name} ({updated});",
        )


def judge_journal(files: SqliteFiles, rows: int, mount: Mount | None) -> Iterator[Finding]:
    """Say whether reading and writing a SQLite state hinder each other."""
    path = files.path
    if mount is not None and is_remote(mount.fs_type):
        yield warning(
            "state-filesystem",
            f"{show(path)} lies on {escape_text(mount.fs_type)}: SQLite's locks are not reliable there, and its "
            "WAL mode does not work between machines",
            "keep the database on a local file system of the producer's machine, or use PostgreSQL",
        )
    foreign = {one: uid for one, uid in files.beside.items() if uid != files.owner}
    if foreign:
        one, uid = next(iter(foreign.items()))
        yield problem(
            "state-journal",
            f"{show(one)} belongs to user {uid} and the database to user {files.owner}: the producer may be unable to "
            "write",
            f"sudo chown --reference={quote(path)} {' '.join(map(quote, foreign))}",
        )
    elif files.access is Access.ROLLBACK:
        wal = f"sqlite3 {quote(path)} 'PRAGMA journal_mode=WAL'  # by the producer"
        if rows > MANY_ROWS:
            yield warning(
                "state-journal",
                f"rollback journal with about {rows:,} rows: each load holds up the producer's commits",
                wal,
            )
        else:
            yield good("state-journal", f"rollback journal, about {rows:,} rows")
    else:
        rest = " (nobody has it open)" if files.access is Access.WAL_AT_REST else ""
        yield good("state-journal", f"WAL mode{rest}, about {rows:,} rows: readers hold up nobody")
    if os.geteuid() != 0 and os.access(path, os.W_OK):
        yield note(
            "state-rights",
            f"this user may write {show(path)}; readyfs only reads it, and a user that cannot write is safer",
            f"sudo setfacl -m u:readyfs:r {quote(path)}  # and run the daemon as the user readyfs",
        )


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
    if server.is_standby:
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


def judge_newest(newest_ns: int | None, now_ns: int) -> Iterator[Finding]:
    """Say whether the table knows a time that has not come yet."""
    if newest_ns is None:
        yield note("state-clock", "no updated_at can be read, so the producer's clock cannot be compared with ours")
        return
    ahead_s = (newest_ns - now_ns) / 1e9
    if ahead_s > CLOCK_WRONG_S:
        yield warning(
            "state-clock",
            f"the newest updated_at lies {_render_span(ahead_s)} in the future: the producer's clock or ours is wrong",
            "sudo timedatectl set-ntp true  # on both machines; then correct the rows",
        )
    else:
        yield good("state-clock", f"the newest updated_at is {_render_span(max(-ahead_s, 0))} old")


def judge_memory(rows: int, available: int) -> Iterator[Finding]:
    """Say whether the catalog of so many rows, were they all ready, would fit into the memory that is there."""
    needed = DAEMON_BYTES + ROW_BYTES * rows
    shown = f"about {needed / 1e6:,.0f} MB for {rows:,} rows, of {available / 1e6:,.0f} MB available"
    remedy = "systemctl edit readyfs@NAME  # MemoryMax; or a smaller part with --source, --customer, --since"
    if needed > available:
        yield problem("memory", f"a daemon needs {shown}", remedy)
    elif 2 * needed > available:
        yield warning("memory", f"a daemon needs {shown}, which is more than half", remedy)
    else:
        yield good("memory", f"a daemon needs {shown}")


def available_bytes(places: Places) -> int:
    """Return how much memory can still be had: of the machine, and of this process's control group."""
    text = places.memory.read_text("ascii")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    least = int(found.group(1)) * 1024 if found is not None else 0
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            least = min(least, int(Path(places.control_groups, limit).read_text("ascii")))
        except (OSError, ValueError):
            continue  # another version of control groups, or "max"
    return least


def _is_within(columns: Sequence[str], key: Sequence[str]) -> bool:
    """Tell whether a unique index on some columns makes the key unique: it does if it has no other column."""
    return {column.casefold() for column in columns} <= {column.casefold() for column in key}


def _render_span(seconds: float) -> str:
    for unit, factor in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds:.0f} s"
