"""What a PostgreSQL store remembers of a table: the ready rows as of one moment, and how they are read whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from readyfs.partition import ChangedDates, SeriesKey, WithheldExample, WithheldTally
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.postgres.connection import PostgresConnection
from readyfs.state.postgres.facts import Moment
from readyfs.state.postgres.plan import TablePlan
from readyfs.state.rows.columns import NULL, Chunk
from readyfs.state.rows.comparison import MANY_ODD_ROWS, has_null_keys
from readyfs.state.rows.parser import RawKey, RowParser
from readyfs.state.rows.vocabulary import Vocabulary

PAGES: Final = 256
"""So many pages are read at a time: some 15,000 rows, 2 MB of text."""


UnreadyKey: TypeAlias = tuple[SeriesKey, int]
"""Series and date of a row that is not ready."""


@dataclass(frozen=True, slots=True)
class PostgresMemory:
    """The ready rows as of a moment.

    `rows` counts them; `odd` are the rows that are ready and withheld, by what stands in their key columns; `changed`
    are the dates that differ from the memory before, None for all. `table_rows` counts all rows of the table, ready or
    not, once that is known; of those that are not ready, `unready` are some that are known to be there.
    """

    moment: Moment
    series: dict[SeriesKey, SeriesRows]
    rows: int
    odd: Mapping[RawKey, WithheldExample]
    withheld: WithheldTally
    vocabulary: Vocabulary
    can_patch: bool
    changed: ChangedDates | None
    table_rows: int | None = None
    unready: frozenset[UnreadyKey] = frozenset()

    @property
    def odd_rows(self) -> int:
        """How many ready rows are withheld."""
        return self.withheld.total()

    @classmethod
    def read(
        cls, connection: PostgresConnection, plan: TablePlan, moment: Moment, ready: str, filters: Filters
    ) -> PostgresMemory:
        """Read the table whole."""
        vocabulary = Vocabulary(filters)
        parser = RowParser(ready, vocabulary, odd_rows_kept=MANY_ODD_ROWS + 1)
        total = 0
        for leaf in plan.leaves:
            for page in range(0, leaf.pages or 0, PAGES):
                where = (f"({page},0)", f"({page + PAGES},0)", *plan.parameters)
                row = connection.row(plan.pages(leaf), where)
                total += row[0]
                if row[0] and not feed(parser, row):
                    parser.feed(with_status(connection.rows(plan.page_cells(leaf), where), ready))
        series = parser.series()
        odd_rows = parser.withheld.total()
        return cls(
            moment=moment,
            series=series,
            rows=parser.rows - odd_rows,
            odd=parser.odd,
            withheld=parser.withheld,
            vocabulary=vocabulary,
            # Rows that a filter here leaves out would be missed in the count.
            can_patch=plan.can_patch
            and not parser.has_duplicates
            and odd_rows == len(parser.odd) <= MANY_ODD_ROWS
            and parser.rows == total
            and not vocabulary.dates.has_synonyms
            and not has_null_keys(parser.odd),
            changed=None,
        )


def feed(parser: RowParser, row: tuple[Any, ...]) -> bool:
    """Feed the columns of a chunk, as the server gave them; tell whether they could be split."""
    chunk = Chunk(*row)
    if not chunk.rows:
        return True
    if not chunk.is_splittable:
        return False
    parser.feed_chunk(chunk)
    return True


def with_status(rows: list[tuple[Any, ...]], ready: str) -> list[tuple[Any, ...]]:
    """Return rows of cells without a status with the one that they were selected for.

    They mean what they would in a chunk: which neighbours a row has is chance.
    """
    cells = [[None if cell == NULL else cell for cell in row] for row in rows]
    return [(*row[:4], ready.encode(), *row[4:]) for row in cells]
