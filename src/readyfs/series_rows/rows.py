"""The ready rows of one series: as columns when they were just read, and as blocks once they are kept and patched."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence, Set

from readyfs.series_rows.blocks import Blocks, find_row, join_blocks, make_blocks, patch_blocks
from readyfs.series_rows.columns import Columns, Row


class SeriesRows:
    """The ready rows of one series, never changed once made.

    Integers are `NOT_SET` for NULL. Dates are sorted where a state store hands them over; one may stand twice, and
    making sense of that is the catalog's business. `is_ordered` says that the dates are known to be sorted, each once.
    What was patched is kept as blocks, and shares these with what it was made from. Its columns are made when they are
    asked for.
    """

    __slots__ = ("_blocks", "_columns", "is_ordered")

    def __init__(
        self,
        dates: array[int],
        run_ids: tuple[bytes, ...],
        updated_at_ns: array[int],
        record_counts: array[int],
        schema_versions: tuple[bytes | None, ...],
        is_ordered: bool = False,
    ) -> None:
        self._columns: Columns | None = Columns(dates, run_ids, updated_at_ns, record_counts, schema_versions)
        self._blocks: Blocks | None = None
        self.is_ordered = is_ordered

    @classmethod
    def of(cls, rows: Iterable[Row]) -> SeriesRows:
        """Return rows of (date, run id, updated_at in ns, record count, schema version)."""
        return cls.of_columns(Columns.of(rows), False)

    @classmethod
    def of_columns(cls, columns: Columns, is_ordered: bool) -> SeriesRows:
        """Return rows that are in columns; `is_ordered` as for all rows."""
        rows = cls.__new__(cls)
        rows._columns, rows._blocks, rows.is_ordered = columns, None, is_ordered
        return rows

    @classmethod
    def of_blocks(cls, blocks: Blocks) -> SeriesRows:
        """Return the rows of blocks."""
        rows = cls.__new__(cls)
        rows._columns, rows._blocks, rows.is_ordered = None, blocks, True
        return rows

    def in_blocks(self, blocks: Blocks) -> SeriesRows:
        """Return the same rows in blocks that are known to hold them."""
        rows = self.of_columns(self.columns, True)
        rows._blocks = blocks
        return rows

    def are_in(self, blocks: Blocks) -> bool:
        """Tell whether these very blocks are known to hold all rows."""
        return self._blocks is blocks

    def __len__(self) -> int:
        if self._columns is not None:
            return len(self._columns)
        return sum(map(len, self.blocks))

    @property
    def columns(self) -> Columns:
        """All rows in columns."""
        return self._columns if self._columns is not None else join_blocks(self.blocks)

    @property
    def blocks(self) -> Blocks:
        """All rows in blocks; they must be sorted, each date once."""
        if self._blocks is None:
            assert self._columns is not None
            self._blocks = make_blocks(self._columns)  # whoever makes them makes the same
        return self._blocks

    @property
    def dates(self) -> array[int]:
        """The dates of the rows."""
        return self.columns.dates

    @property
    def run_ids(self) -> tuple[bytes, ...]:
        """Their run ids."""
        return self.columns.run_ids

    @property
    def updated_at_ns(self) -> array[int]:
        """When they were updated, in nanoseconds since the epoch."""
        return self.columns.updated_at_ns

    @property
    def record_counts(self) -> array[int]:
        """Their record counts."""
        return self.columns.record_counts

    @property
    def schema_versions(self) -> tuple[bytes | None, ...]:
        """Their schema versions, one for each."""
        return self.columns.versions(0, len(self))

    def take(self, indexes: Sequence[int]) -> SeriesRows:
        """Return the rows at these positions, in this order."""
        return self.of_columns(self.columns.take(indexes), False)

    def row(self, date: int) -> Row | None:
        """Return the row of a date among the sorted ones, or None."""
        if self._columns is None:
            return find_row(self.blocks, date)
        place = self._columns.place(date)
        return None if place < 0 else self._columns.row(place)

    def holds(self, date: int) -> bool:
        """Tell whether a date is among the sorted dates."""
        return self.row(date) is not None

    def differing(self, rows: SeriesRows) -> list[int]:
        """Return the positions of those of the rows that are not among these sorted ones, equal in every column."""
        if self._columns is None and len(rows) <= len(self.blocks):
            # Few rows are sooner found one by one than all columns are joined.
            return [index for index, row in enumerate(rows.columns) if self.row(row[0]) != row]
        return self.columns.differing(rows.columns)

    def patched(self, rows: SeriesRows, gone: Set[int]) -> SeriesRows:
        """Return these rows with others in place of those of the same dates, and without the dates that are gone.

        Both must be sorted and without duplicates; so is the result. It shares the blocks that stay as they were.
        """
        return self.of_blocks(patch_blocks(self.blocks, rows.columns, gone - set(rows.dates)))
