"""The state store: read as a mount would read it, then what makes a store of any kind slow, wrong or dangerous.

`look_at_state` asks; each `judge_...` below it turns answers into findings and asks nothing. What holds of one kind of
database only is in `sqlite_state` and `postgres_state`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from readyfs.doctor.finding import Finding, good, note, refused, warning
from readyfs.doctor.memory import available_bytes, judge_memory
from readyfs.doctor.postgres_state import look_at_server
from readyfs.doctor.raw import open_subject
from readyfs.doctor.sqlite_state import look_at_files
from readyfs.doctor.subject import Subject
from readyfs.errors import UserError
from readyfs.state.database.columns import MYSQL
from readyfs.state.database.inspector import DatabaseInspector
from readyfs.state.database.position import ServerMoment
from readyfs.state.filters import Filters
from readyfs.state.inspect import Columns, Index, StateInspector
from readyfs.state.open import open_state
from readyfs.state.postgres.inspector import PostgresInspector
from readyfs.state.rows.parser import KEY_FIELDS
from readyfs.state.sqlite.inspector import SqliteInspector
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from readyfs.text import escape_text

CLOCK_WRONG_S: Final = 60.0
SAMPLED_ROWS: Final = 1_000

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
            yield "state-journal", partial(look_at_files, subject, inspector)
        case PostgresInspector():
            yield "state-server", partial(look_at_server, subject, inspector)
        case DatabaseInspector() if inspector.dialect in MYSQL:
            yield "state-position", lambda: judge_position(inspector.position())
        case _:
            pass
    yield "memory", lambda: judge_memory(inspector.count_rows(), available_bytes(subject.places))
    # The last two: without an index they read the whole table.
    yield "state-clock", lambda: judge_newest(inspector.newest(), time.time_ns())
    yield (
        "state-ready",
        lambda: judge_ready(subject.table, inspector.survey(), bool(inspector.sample(Filters(), SAMPLED_ROWS))),
    )


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


def judge_position(server: ServerMoment) -> Iterator[Finding]:
    """Say whether a replica that lags would be recognised."""
    if server.position:
        yield good("state-position", f"server {server.label} tells its position: one that lags is not followed back")
        return
    yield note(
        "state-position",
        f"server {server.label} tells no position: if the address leads to several servers, one that lags takes "
        "readers back in time",
        "name one server in the URL, or have all of them write a binary log or follow by GTID",
    )


def judge_ready(table: StateTable, survey: StatusSurvey, some_can_be_shown: bool) -> Iterator[Finding]:
    """Say whether the table has rows of which none would be shown."""
    if not survey.rows:
        yield note("state-ready", "the table has no rows yet")
    elif not survey.ready:
        yield warning("state-ready", survey.describe(table.ready), "name the word of ready rows with --ready-status")
    elif not some_can_be_shown:
        yield warning(
            "state-ready",
            f"of {survey.ready:,} ready rows none of the first {SAMPLED_ROWS:,} can be shown: they have no run id, or "
            "a value that cannot be parsed",
            "readyfs config check  # names the first of them",
        )
    else:
        yield good("state-ready", f"{survey.ready:,} of {survey.rows:,} rows are ready")


def _is_within(columns: Sequence[str], key: Sequence[str]) -> bool:
    """Tell whether a unique index on some columns makes the key unique: it does if it has no other column."""
    return {column.casefold() for column in columns} <= {column.casefold() for column in key}


def _render_span(seconds: float) -> str:
    for unit, factor in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds:.0f} s"
