"""PostgreSQL's snapshots: which transactions a reader sees, and what that proves about a table.

The reasoning, on which the change detection stands (sources: PostgreSQL 15 documentation, sections 9.27.8 "Transaction
ID and Snapshot Information", 25.1.5 "Preventing Transaction ID Wraparound Failures", 73.6 "Database Page Layout"):

- Two equal snapshots of one server see the same transactions, so they see the same rows. On a standby the list of
  transactions in progress is not shown, so there two snapshots prove that only if nothing was in progress.
- A row version that a later snapshot sees and an earlier one did not was written by a transaction that the earlier one
  did not see: one at or above its `xmin`, below which all had ended. Who wrote a version is the row's `xmin` column.
- That column has 32 bits of the number's 64. `age(xmin)` counts back from now, modulo 2**32, so that versions at or
  above a horizon are those whose age is at most the horizon's, as long as fewer than 2**31 transactions lie between;
  half of that is allowed, because `age` counts from a moment after the snapshot.
  An old frozen version may be taken for a new one by this (it is read again, no more), never the reverse.
- It is below the later snapshot's `xmax`, from which on that one sees nothing. So where few numbers lie between, these
  are all that can have written it, subtransactions included, which take their numbers from the same row.
- No snapshot of one history sees less than an earlier one. One that does is of a server that lags behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DISTANCE: Final = 2**30
"""Twice as many transactions apart, ages of 32 bits wrap around."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pg_current_snapshot()`: below `xmin` all transactions had ended, from `xmax` on none had begun."""

    xmin: int
    xmax: int
    in_progress: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Parse `xmin:xmax:xip,xip...`, transaction numbers of 64 bits; raise ValueError for anything else."""
        xmin, xmax, in_progress = text.split(":")
        return cls(int(xmin), int(xmax), tuple(sorted(map(int, filter(None, in_progress.split(","))))))

    def lags_behind(self, earlier: Snapshot) -> bool:
        """Tell whether this snapshot misses transactions that an earlier one saw."""
        return self.xmin < earlier.xmin or self.xmax < earlier.xmax

    def written_since(self, earlier: Snapshot) -> range:
        """Return all transactions that may have written what only this one sees, as 64 bits."""
        return range(earlier.xmin, self.xmax)

    def horizon_since(self, earlier: Snapshot) -> int | None:
        """Return the lowest transaction that may have written what only this one sees, as 32 bits.

        None if 32 bits cannot tell any more: too many transactions lie between.
        """
        if self.xmax - earlier.xmin >= MAX_DISTANCE:
            return None
        return earlier.xmin % 2**32
