"""The rows of a PostgreSQL table that changed: found by their versions, read, and compared with what was known.

Costs are in proportion to what changed, but for one look of the server at the headers of all rows. The comparison
itself, value by value, is the same for other databases: see `rows.comparison`. Rows that vanished leave no version: see
`vanished_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import Moment, Relation
from readyfs.state.postgres.memory import PostgresMemory, UnreadyKey, feed
from readyfs.state.postgres.plan import TablePlan
from readyfs.state.postgres.vanished_rows import take_vanished
from readyfs.state.rows.columns import NULL, SEPARATOR
from readyfs.state.rows.comparison import NULL_IN_KEY, CannotPatchError, Comparison
from readyfs.state.rows.values import BadValueError

ADDRESSES: Final = 2_500
"""So many rows are read by address at a time. More would keep the interpreter from readers while they are parsed."""
FEW_CHANGES: Final = 10_000
MANY_CHANGES: Final = 0.2
"""Where more than this share of the rows changed, reading all of them is quicker."""
LISTED: Final = 50_000
"""So many transactions are listed at most, for all partitions of a table together; a horizon costs a server more."""
MANY_UNREADY: Final = 20_000
"""Of more rows than this that are not ready it is not remembered that they are there."""
_FIRST_NORMAL: Final = 3
"""FirstNormalTransactionId of PostgreSQL's access/transam.h: lower numbers are no transaction's."""

_Key: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


def read_changes(
    connection: PostgresConnection, plan: TablePlan, known: PostgresMemory, now: Moment, ready: str
) -> Callable[[], PostgresMemory]:
    """Read what changed since the memory's moment, and return a function that brings the memory up to date.

    To be called once the transaction has ended: it patches the memory in place, and a transaction that fails may be
    tried again. Raises `CannotPatchError` if row versions cannot tell what changed.
    """
    was = known.moment
    if not known.can_patch:
        raise CannotPatchError("rows of the table are not told apart by a key, or filters leave some out")
    if was.server != now.server or was.signature != now.signature:
        raise CannotPatchError("server, table or columns are not those of the last load")
    table_rows, addresses = _find_changed(connection, plan, was, now, known.rows)
    comparison = _VersionComparison(known.series, known.rows, known.odd, known.vocabulary, ready)
    for leaf, size, batch in addresses:
        ready_rows = connection.row(plan.addressed(leaf), (batch, *plan.parameters))
        comparison.take_ready(ready_rows)
        if ready_rows[0] < size:
            comparison.take_unready(connection.row(plan.unready(leaf), (batch, *plan.parameters)))
    comparison.compare()
    unready = _account_for_all(connection, plan, known, comparison, table_rows)
    return partial(_finish, comparison, known, now, table_rows, unready)


def _find_changed(
    connection: PostgresConnection, plan: TablePlan, was: Moment, now: Moment, rows: int
) -> tuple[int, list[tuple[Relation, int, str]]]:
    """Return how many rows there are, and the addresses of the versions that are new, in batches with their sizes."""
    horizon = now.horizon_since(was)
    if horizon is None or now.snapshot is None or was.snapshot is None:
        raise CannotPatchError("too many transactions lie between")
    statement, parameter = plan.changed_since, str(horizon)
    written = now.snapshot.written_since(was.snapshot)
    if len(written) * len(plan.leaves) <= LISTED:
        numbers = (number % 2**32 for number in written)
        statement = plan.changed_by
        parameter = "{" + ",".join(str(number) for number in numbers if number >= _FIRST_NORMAL) + "}"
    table_rows, changed = 0, 0
    batches: list[tuple[Relation, int, str]] = []
    for leaf in plan.leaves:
        count, text = connection.row(statement(leaf), (parameter,))
        table_rows += count
        found = text.decode("ascii").strip('{}"').split('","') if text else []
        changed += len(found)
        for start in range(0, len(found), ADDRESSES):
            batch = found[start : start + ADDRESSES]
            batches.append((leaf, len(batch), '{"' + '","'.join(batch) + '"}'))
    if changed > max(FEW_CHANGES, MANY_CHANGES * rows):
        raise CannotPatchError("most of the table changed")
    return table_rows, batches


def _account_for_all(
    connection: PostgresConnection,
    plan: TablePlan,
    known: PostgresMemory,
    comparison: _VersionComparison,
    table_rows: int,
) -> frozenset[UnreadyKey]:
    """Make sure that no row vanished unnoticed; return which rows are known to be there and not to be ready.

    Every row that there is was there before or has a new version. So there are at most as many as before, and as many
    more as there are new versions of rows that were not known. If there are just so many, none is gone.
    """
    came = {(key, date) for key, dates in comparison.unremembered.items() for date in dates}
    unready = {(key, date) for key, dates in comparison.unready.items() for date in dates}
    limit = None
    if known.table_rows is not None and not comparison.odd and not known.odd and comparison.are_keys_known:
        limit = known.table_rows + len(came - known.unready)
    if limit == table_rows:
        comparison.check_keys()
        changed = comparison.changed
        kept = {one for one in known.unready if one[1] not in changed.get(one[0], ())}
        return _few(kept | unready)
    if limit is not None and table_rows > limit:
        raise CannotPatchError("there are more rows than those that were there or came")
    # Rows that came may have been there before, not ready; only if none came is it certain that some went.
    if limit is None or came:
        total = sum(connection.row(plan.ready(leaf), plan.parameters)[0] for leaf in plan.leaves)
        if comparison.rows + len(comparison.odd) == total:
            comparison.check(total)
            return _few(unready)
    comparison.check(take_vanished(connection, plan, comparison))
    return _few(unready)


def _few(unready: set[UnreadyKey]) -> frozenset[UnreadyKey]:
    return frozenset(unready) if len(unready) <= MANY_UNREADY else frozenset()


class _VersionComparison(Comparison):
    """Takes chunks of new row versions; `are_keys_known` tells whether the key of each could be understood."""

    are_keys_known = True

    def take_ready(self, row: tuple[Any, ...]) -> None:
        """Take new versions that are ready, as a chunk."""
        if not feed(self.parser, row):
            raise CannotPatchError("a value holds the separator")
        if self.odd and row[0]:
            self.drop_odd(_raw_keys(row[1:5]))

    def take_unready(self, row: tuple[Any, ...]) -> None:
        """Take new versions that are not ready: the key columns as a chunk has them."""
        count, *columns = row
        if not count:
            return
        if any(column.count(SEPARATOR) != count - 1 for column in columns):
            raise CannotPatchError("a value holds the separator")
        for key in _raw_keys(columns):
            source, customer, query, date = key
            if source is None or customer is None or query is None or date is None:
                raise CannotPatchError(NULL_IN_KEY)
            self.drop_odd((key,))
            try:
                self.take_gone((source, customer, query), self.vocabulary.dates[date])
            except BadValueError:
                self.are_keys_known = False  # it was never served


def _finish(
    comparison: _VersionComparison,
    known: PostgresMemory,
    moment: Moment,
    table_rows: int,
    unready: frozenset[UnreadyKey],
) -> PostgresMemory:
    withheld = comparison.finish()
    return PostgresMemory(
        moment,
        known.series,
        comparison.rows,
        comparison.odd,
        withheld,
        known.vocabulary,
        True,
        comparison.changed_dates(),
        table_rows,
        unready,
    )


def _raw_keys(columns: tuple[bytes, ...] | list[bytes]) -> Iterator[_Key]:
    cells = ([None if value == NULL else value for value in column.split(SEPARATOR)] for column in columns)
    sources, customers, queries, dates = cells
    return zip(sources, customers, queries, dates, strict=True)
