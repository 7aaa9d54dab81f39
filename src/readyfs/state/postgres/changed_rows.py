"""The rows of a PostgreSQL table that changed: found by their versions, read, and compared with what was known.

Costs are in proportion to what changed. The comparison itself, value by value, is the same for other databases: see
`rows.comparison`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from readyfs.partition import SeriesKey
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import Moment, Relation
from readyfs.state.postgres.memory import PostgresMemory, feed
from readyfs.state.postgres.plan import TablePlan
from readyfs.state.rows.columns import NULL, SEPARATOR, Chunk
from readyfs.state.rows.comparison import NO_ROWS, NULL_IN_KEY, CannotPatchError, Comparison
from readyfs.state.rows.values import BadValueError

ADDRESSES: Final = 10_000
"""So many rows are read by address at a time."""
FEW_CHANGES: Final = 10_000
MANY_CHANGES: Final = 0.2
"""Where more than this share of the rows changed, reading all of them is quicker."""
SERIES_AT_A_TIME: Final = 100
MANY_SERIES: Final = 2_000
"""Where rows vanished from more series than this, reading everything is quicker."""

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
    horizon = now.snapshot.horizon_since(was.snapshot)
    if horizon is None:
        raise CannotPatchError("too many transactions lie between")
    total, addresses = _find_changed(connection, plan, horizon, known.rows)
    comparison = _VersionComparison(known.series, known.rows, known.odd, known.vocabulary, ready)
    for leaf, size, batch in addresses:
        ready_rows = connection.row(plan.addressed(leaf), (batch, *plan.parameters))
        comparison.take_ready(ready_rows)
        if ready_rows[0] < size:
            comparison.take_unready(connection.row(plan.unready(leaf), (batch, *plan.parameters)))
    comparison.compare()
    if comparison.rows + len(comparison.odd) != total:
        _reread_vanished(connection, plan, comparison)
    comparison.check(total)
    return partial(_finish, comparison, known, now)


def _find_changed(
    connection: PostgresConnection, plan: TablePlan, horizon: int, rows: int
) -> tuple[int, list[tuple[Relation, int, str]]]:
    """Return how many rows are ready, and the addresses of the versions that are new, in batches with their sizes."""
    total, changed = 0, 0
    batches: list[tuple[Relation, int, str]] = []
    for leaf in plan.leaves:
        count, text = connection.row(plan.changed(leaf), (*plan.parameters, str(horizon)))
        total += count
        found = text.decode("ascii").strip('{}"').split('","') if text else []
        changed += len(found)
        for start in range(0, len(found), ADDRESSES):
            batch = found[start : start + ADDRESSES]
            batches.append((leaf, len(batch), '{"' + '","'.join(batch) + '"}'))
    if changed > max(FEW_CHANGES, MANY_CHANGES * rows):
        raise CannotPatchError("most of the table changed")
    return total, batches


class _VersionComparison(Comparison):
    """Takes chunks of new row versions."""

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
                continue  # it was never served

    def reread(self, keys: list[SeriesKey], row: tuple[Any, ...]) -> None:
        """Take all rows of these series anew."""
        wanted = set(keys)
        self.odd = {key: example for key, example in self.odd.items() if key[:3] not in wanted}
        parser = self.new_parser()
        if not feed(parser, row):
            raise CannotPatchError("a value holds the separator")
        fresh = self.take_series(parser)
        for key in keys:
            self.replace(key, fresh.pop(key, NO_ROWS))
        if fresh:
            raise CannotPatchError("rows came that were not asked for")


def _finish(comparison: _VersionComparison, known: PostgresMemory, moment: Moment) -> PostgresMemory:
    withheld = comparison.finish()
    return PostgresMemory(
        moment,
        known.series,
        comparison.rows,
        comparison.odd,
        withheld,
        known.vocabulary,
        True,
        comparison.changed,
    )


def _raw_keys(columns: tuple[bytes, ...] | list[bytes]) -> Iterator[_Key]:
    cells = ([None if value == NULL else value for value in column.split(SEPARATOR)] for column in columns)
    sources, customers, queries, dates = cells
    return zip(sources, customers, queries, dates, strict=True)


def _reread_vanished(connection: PostgresConnection, plan: TablePlan, comparison: _VersionComparison) -> None:
    """Find the series that hold more rows than the table does, and read these anew."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for leaf in plan.leaves:
        for *key, count in connection.rows(plan.counts(leaf), plan.parameters):
            counts[tuple(key)] += count
    odd: Counter[tuple[Any, ...]] = Counter(key[:3] for key in comparison.odd)
    keys = comparison.known_keys() | counts.keys() | odd.keys()
    differing = [
        SeriesKey(*key) for key in keys if len(comparison.current(SeriesKey(*key))) + odd[key] != counts.get(key, 0)
    ]
    if len(differing) > MANY_SERIES:
        raise CannotPatchError("rows vanished from too many series")
    for start in range(0, len(differing), SERIES_AT_A_TIME):
        batch = differing[start : start + SERIES_AT_A_TIME]
        rows = [connection.row(plan.of_series(leaf), (*_columns_of(batch), *plan.parameters)) for leaf in plan.leaves]
        comparison.reread(batch, _joined(rows))


def _columns_of(keys: list[SeriesKey]) -> Iterator[list[str]]:
    try:
        for column in zip(*keys, strict=True):
            yield [part.decode() for part in column]
    except (UnicodeDecodeError, AttributeError) as error:
        raise CannotPatchError("a key is no text") from error


def _joined(rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return chunks of several relations as one."""
    full = [row for row in rows if row[0]]
    if not full:
        return (0, *(b"" for _ in Chunk._fields[1:]))
    columns = zip(*(row[1:] for row in full), strict=True)
    return (sum(row[0] for row in full), *map(SEPARATOR.join, columns))
