"""What a generated state table holds: each row follows from its position, so that any can be made again alone.

Positions go by date, because a pipeline writes a day at a time: row 0 is the first customer's first query on the first
day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from readyfs.demo.producer import LogicalPartition

SOURCE: Final = "google_ads"
QUERIES: Final = 10
DATES: Final = 500
UNREADY_PERCENT: Final = 3
COLUMNS: Final = (
    "source",
    "customer_id",
    "query_name",
    "logical_date",
    "status",
    "current_run_id",
    "schema_version",
    "record_count",
    "updated_at",
    "error_message",
    "attempt_count",
)
_FIRST_DAY: Final = date(2020, 1, 1)
_FIRST_CUSTOMER: Final = 1_000_000_000
_BLOCK: Final = 100

Row = tuple[str | int | None, ...]
"""One row, in the order of `COLUMNS`."""


class _Day(NamedTuple):
    """What the rows of one day share: the run of the morning after, and the one that repeated what had failed."""

    logical_date: str
    run_id: str
    second_run_id: str
    written: str


@dataclass(frozen=True, slots=True)
class Shape:
    """So many rows of customers x queries x dates; of each hundred so many are pending or failed.

    The same shape with the same seed always has the same rows. The last day may be incomplete.
    """

    rows: int
    customers: int
    queries: int = QUERIES
    dates: int = DATES
    unready_percent: int = UNREADY_PERCENT
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows > self.customers * self.queries * self.dates:
            raise ValueError(
                f"{self.customers:,} customers x {self.queries:,} queries x {self.dates:,} dates are fewer than "
                f"{self.rows:,} rows"
            )

    @property
    def title(self) -> str:
        """The shape in words."""
        dates = -(-self.rows // (self.customers * self.queries))
        return f"{self.rows:,} rows of {self.customers:,} customers x {self.queries:,} queries x {dates:,} dates"

    def key(self, position: int) -> LogicalPartition:
        """Return the partition at a position."""
        day, customer, query = self._place(position)
        return LogicalPartition(
            SOURCE, str(_FIRST_CUSTOMER + customer), f"query_{query:02d}", _day(self.seed, day).logical_date
        )

    def is_ready(self, position: int) -> bool:
        """Return whether the row at a position is ready."""
        return position % _BLOCK not in _unready(self.seed, self.unready_percent, position // _BLOCK)

    def row(self, position: int) -> Row:
        """Return the row at a position."""
        day, customer, query = self._place(position)
        shared = _day(self.seed, day)
        status, run_id, error, attempts = "success", shared.run_id, None, 1
        schema_version: str | None = "1" if day < self.dates // 2 else "2"
        record_count: int | None = position * 7919 % 5000
        unready = _unready(self.seed, self.unready_percent, position // _BLOCK)
        if position % _BLOCK in unready:
            # Half of what failed had been accepted before, and half of what is pending was asked for again.
            status = "pending" if unready.index(position % _BLOCK) % 3 == 2 else "failed"
            if position % 2:
                return (
                    *(SOURCE, str(_FIRST_CUSTOMER + customer), f"query_{query:02d}", shared.logical_date, status),
                    *(None, None, None, f"{shared.written}{position * 6007 % 1_000_000:06d}+00:00"),
                    *("validation failed" if status == "failed" else None, 1),
                )
            attempts = 2
            error = "validation failed" if status == "failed" else None
        elif not position % 97:
            run_id, attempts = shared.second_run_id, 2
        return (
            *(SOURCE, str(_FIRST_CUSTOMER + customer), f"query_{query:02d}", shared.logical_date, status),
            *(run_id, schema_version, record_count),
            *(f"{shared.written}{position * 6007 % 1_000_000:06d}+00:00", error, attempts),
        )

    def chunks(self, size: int) -> Iterator[Sequence[Row]]:
        """Yield all rows in the order in which a pipeline writes them."""
        for begin in range(0, self.rows, size):
            yield [self.row(position) for position in range(begin, min(begin + size, self.rows))]

    def ready_positions(self, positions: Iterator[int] | Sequence[int] | range) -> Iterator[int]:
        """Yield those of some positions whose rows are ready."""
        return (position for position in positions if self.is_ready(position))

    def _place(self, position: int) -> tuple[int, int, int]:
        day, slot = divmod(position, self.customers * self.queries)
        return day, *divmod(slot, self.queries)


def usual_shape(rows: int, *, unready_percent: int = UNREADY_PERCENT, seed: int = 0) -> Shape:
    """Return the usual shape: queries and dates stay, and the number of customers grows with the rows."""
    return Shape(rows, -(-rows // (QUERIES * DATES)), unready_percent=unready_percent, seed=seed)


@lru_cache(maxsize=4096)
def _day(seed: int, day: int) -> _Day:
    random = Random(f"{seed}/{day}")
    morning = (_FIRST_DAY + timedelta(days=day + 1)).isoformat()
    first, second = (
        f"{morning}T{hour:02d}:{random.randrange(60):02d}:{random.randrange(60):02d}.{random.randrange(1000):03d}Z"
        for hour in (4, 9)
    )
    return _Day((_FIRST_DAY + timedelta(days=day)).isoformat(), first, second, f"{morning}T10:00:00.")


@lru_cache(maxsize=65536)
def _unready(seed: int, percent: int, block: int) -> tuple[int, ...]:
    return tuple(Random(f"{seed}:{block}").sample(range(_BLOCK), percent))
