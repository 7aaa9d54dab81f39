"""Patching what is remembered of a PostgreSQL table with the rows that changed since, in proportion to these."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from readyfs.partition import SeriesKey, SeriesRows, WithheldExample, WithheldTally
from readyfs.state.columns import NULL, SEPARATOR, Chunk
from readyfs.state.postgres_connection import PostgresConnection
from readyfs.state.postgres_facts import Moment, Relation
from readyfs.state.postgres_memory import MANY_ODD_ROWS, CannotPatchError, PostgresMemory, feed, has_null_keys
from readyfs.state.postgres_plan import TablePlan
from readyfs.state.rows import RawKey, RowParser
from readyfs.state.values import BadValueError
from readyfs.state.vocabulary import Vocabulary

ADDRESSES: Final = 10_000
"""So many rows are read by address at a time."""
FEW_CHANGES: Final = 10_000
MANY_CHANGES: Final = 0.2
"""Where more than this share of the rows changed, reading all of them is quicker."""
SERIES_AT_A_TIME: Final = 100
MANY_SERIES: Final = 2_000
"""Where rows vanished from more series than this, reading everything is quicker."""

NULL_IN_KEY: Final = "rows without a key are not told apart"

_Key: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
_NO_ROWS: Final = SeriesRows.of(())


def patch(
    connection: PostgresConnection, plan: TablePlan, known: PostgresMemory, now: Moment, ready: str
) -> Callable[[], PostgresMemory]:
    """Return what makes of that which was known of an earlier moment what is there now.

    That changes what was known in place, which is for after the transaction: one that fails may be tried again. Raises
    `CannotPatchError` if row versions cannot tell what changed.
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
    known.vocabulary.prune()
    edits = _Edits(known, ready)
    for leaf, size, batch in addresses:
        ready_rows = connection.row(plan.addressed(leaf), (batch, *plan.parameters))
        edits.take_ready(ready_rows)
        if ready_rows[0] < size:
            edits.take_unready(connection.row(plan.unready(leaf), (batch, *plan.parameters)))
    edits.apply()
    if edits.rows + len(edits.odd) != total:
        _reread_vanished(connection, plan, edits)
    if edits.rows + len(edits.odd) != total:
        raise CannotPatchError("the number of rows does not follow from what changed")
    edits.check()
    return partial(edits.finish, now)


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


class _Edits:
    """What becomes of the rows that are known; collected first, so that nothing is changed by halves."""

    def __init__(self, known: PostgresMemory, ready: str) -> None:
        self._known = known
        self._ready = ready
        self._parser = self._new_parser()
        self._gone: defaultdict[SeriesKey, set[int]] = defaultdict(set)
        self.replaced: dict[SeriesKey, SeriesRows] = {}
        self.rows = known.rows
        self.odd: dict[RawKey, WithheldExample] = dict(known.odd)

    @property
    def vocabulary(self) -> Vocabulary:
        """The numbers of what is known."""
        return self._known.vocabulary

    def known_keys(self) -> set[tuple[bytes, ...]]:
        """Return the keys of all series that have rows, and of those that lost them."""
        return {*self._known.series, *self.replaced}

    def current(self, key: SeriesKey) -> SeriesRows:
        """Return the rows of a series as edited so far."""
        rows = self.replaced.get(key)
        return self._known.series.get(key, _NO_ROWS) if rows is None else rows

    def take_ready(self, row: tuple[Any, ...]) -> None:
        """Take new versions that are ready, as a chunk."""
        if not feed(self._parser, row):
            raise CannotPatchError("a value holds the separator")
        if self.odd and row[0]:
            self._drop_odd(_raw_keys(row[1:5]))

    def take_unready(self, row: tuple[Any, ...]) -> None:
        """Take new versions that are not ready: the key columns as a chunk has them."""
        count, *columns = row
        if not count:
            return
        if any(column.count(SEPARATOR) != count - 1 for column in columns):
            raise CannotPatchError("a value holds the separator")
        series, dates = self.vocabulary.series, self.vocabulary.dates
        for key in _raw_keys(columns):
            source, customer, query, date = key
            if source is None or customer is None or query is None or date is None:
                raise CannotPatchError(NULL_IN_KEY)
            self.odd.pop(key, None)
            try:
                number, ordinal = series[source, customer, query], dates[date]
            except BadValueError:
                continue  # it was never served
            self._gone[series.keys_by_number[number]].add(ordinal)

    def apply(self) -> None:
        """Patch the series of all that was taken."""
        fresh = self._take_series(self._parser)
        for key in fresh.keys() | self._gone.keys():
            before, came = self.current(key), fresh.get(key, _NO_ROWS)
            gone = {date for date in self._gone[key].difference(came.dates) if before.holds(date)}
            if len(came) or gone:
                self._replace(key, before.patched(came, gone))

    def reread(self, keys: list[SeriesKey], row: tuple[Any, ...]) -> None:
        """Take all rows of these series anew."""
        wanted = set(keys)
        self.odd = {key: example for key, example in self.odd.items() if key[:3] not in wanted}
        parser = self._new_parser()
        if not feed(parser, row):
            raise CannotPatchError("a value holds the separator")
        fresh = self._take_series(parser)
        for key in keys:
            self._replace(key, fresh.pop(key, _NO_ROWS))
        if fresh:
            raise CannotPatchError("rows came that were not asked for")

    def check(self) -> None:
        """Raise `CannotPatchError` if what was taken cannot be told apart."""
        if len(self.odd) > MANY_ODD_ROWS:
            raise CannotPatchError("too many rows are withheld")
        if has_null_keys(self.odd):
            raise CannotPatchError(NULL_IN_KEY)
        if self.vocabulary.dates.has_synonyms:
            # The count proves nothing then: one row came where another one was served, and a third one went.
            raise CannotPatchError("two texts mean one date")

    def finish(self, moment: Moment) -> PostgresMemory:
        """Change what is known."""
        for key, rows in self.replaced.items():
            if len(rows):
                self._known.series[key] = rows
            else:
                self._known.series.pop(key, None)
        withheld = WithheldTally()
        for example in self.odd.values():
            withheld.add(*example)
        return PostgresMemory(
            moment, self._known.series, self.rows, self.odd, withheld, self.vocabulary, True, frozenset(self.replaced)
        )

    def _new_parser(self) -> RowParser:
        return RowParser(self._ready, self._known.vocabulary, odd_rows_kept=MANY_ODD_ROWS + 1)

    def _take_series(self, parser: RowParser) -> dict[SeriesKey, SeriesRows]:
        series = parser.series()
        if parser.has_duplicates:
            raise CannotPatchError("a partition stands twice")
        if parser.withheld.total() != len(parser.odd):
            raise CannotPatchError("too many rows are withheld")
        self.odd.update(parser.odd)
        return series

    def _replace(self, key: SeriesKey, rows: SeriesRows) -> None:
        self.rows += len(rows) - len(self.current(key))
        self.replaced[key] = rows

    def _drop_odd(self, keys: Iterator[_Key]) -> None:
        for key in keys:
            self.odd.pop(key, None)


def _raw_keys(columns: tuple[bytes, ...] | list[bytes]) -> Iterator[_Key]:
    cells = ([None if value == NULL else value for value in column.split(SEPARATOR)] for column in columns)
    sources, customers, queries, dates = cells
    return zip(sources, customers, queries, dates, strict=True)


def _reread_vanished(connection: PostgresConnection, plan: TablePlan, edits: _Edits) -> None:
    """Find the series that hold more rows than the table does, and read these anew."""
    counts: Counter[tuple[bytes, ...]] = Counter()
    for leaf in plan.leaves:
        for *key, count in connection.rows(plan.counts(leaf), plan.parameters):
            counts[tuple(key)] += count
    odd: Counter[tuple[object, ...]] = Counter(key[:3] for key in edits.odd)
    keys = edits.known_keys() | counts.keys()
    differing = [
        SeriesKey(*key) for key in keys if len(edits.current(SeriesKey(*key))) + odd[key] != counts.get(key, 0)
    ]
    if len(differing) > MANY_SERIES:
        raise CannotPatchError("rows vanished from too many series")
    for start in range(0, len(differing), SERIES_AT_A_TIME):
        batch = differing[start : start + SERIES_AT_A_TIME]
        rows = [connection.row(plan.of_series(leaf), (*_columns_of(batch), *plan.parameters)) for leaf in plan.leaves]
        edits.reread(batch, _joined(rows))


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
