"""What a PostgreSQL server tells by functions, any of which may be missing, forbidden or failing.

Managed and hardened servers take such functions away, and a role that may read the one table has to be enough. So each
fact has ways to ask for it, best first, and a worst value, which stands where none of them works.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: expressions for it, best first, and the expression for its worst value.

    `functions` are what an administrator has to grant, and `loss` is what is lost without, as words for a log line.
    """

    name: str
    ways: tuple[str, ...]
    functions: tuple[str, ...]
    loss: str
    worst: str = "NULL"


def join_losses(facts: Iterable[Fact]) -> str:
    """Return what is lost without some facts, each loss once."""
    return "; ".join(dict.fromkeys(fact.loss for fact in facts))


_IF_PRIMARY: Final = "CASE WHEN pg_is_in_recovery() THEN NULL ELSE {} END"
_TIMELINE: Final = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""The first eight hexadecimal digits of the name of the file that is written to (pg_walfile_name)."""
_FLUSHED: Final = "(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::text"

_STARTED: Final = "extract(epoch FROM pg_postmaster_start_time())"
_RECOVERED: Final = "coalesce('/' || extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()), '')"
"""A process that crashes has the server recover without being started anew, and statistics are reset then."""

TOKEN_FACTS: Final = (
    Fact(
        "snapshot",
        ("pg_current_snapshot()::text", "txid_current_snapshot()::text"),
        ("pg_current_snapshot()",),
        "each refresh reads the whole table, and a server that lags behind is not noticed",
    ),
    Fact(
        "standby",
        ("pg_is_in_recovery()::text",),
        ("pg_is_in_recovery()",),
        "no refresh is quiet while any transaction is in progress",
    ),
    Fact(
        "started",
        (f"{_STARTED}::text || {_RECOVERED}", f"{_STARTED}::text", "extract(epoch FROM pg_conf_load_time())::text"),
        ("pg_postmaster_start_time()",),
        "each refresh reads the whole table",
    ),
)
"""What tells whether anything can have changed."""
SERVER_FACTS: Final = (
    *TOKEN_FACTS,
    Fact(
        "database",
        ("(SELECT oid FROM pg_database WHERE datname = current_database())::text",),
        ("current_database()",),
        "a database that was made anew under the same name is not told apart",
    ),
    Fact(
        "cluster",
        ("(SELECT system_identifier FROM pg_control_system())::text",),
        ("pg_control_system()",),
        "another server that takes the place of this one is refused if it had fewer transactions",
    ),
    Fact(
        "timeline",
        (_IF_PRIMARY.format(_TIMELINE), _TIMELINE),
        ("pg_current_wal_lsn()", "pg_walfile_name(pg_lsn)"),
        "an old primary that comes back is not refused if it had more transactions, and a promoted standby is refused "
        "if it had fewer",
    ),
    Fact(
        "flushed",
        (_IF_PRIMARY.format(_FLUSHED), _FLUSHED),
        ("pg_current_wal_flush_lsn()",),
        "a server that lost transactions in a crash is refused until it has had as many again",
    ),
)
TABLE_FACTS: Final = (
    Fact(
        "pages",
        ("pg_relation_size(c.oid) / current_setting('block_size')::bigint",),
        ("pg_relation_size(regclass)", "pg_relation_size(regclass, text)"),
        "each refresh reads the whole table, row by row",
    ),
    Fact(
        "guarded",
        ("row_security_active(c.oid)",),
        ("row_security_active(oid)",),
        "a table with row level security is read whole at each refresh, whoever reads it",
        worst="c.relrowsecurity",
    ),
    Fact(
        "readable",
        ("has_table_privilege(c.oid, 'SELECT')",),
        ("has_table_privilege(oid, text)",),
        "each refresh reads the whole table, row by row",
        worst="false",
    ),
)
