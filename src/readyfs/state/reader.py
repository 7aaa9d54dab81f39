"""The port through which people's questions see a state store: all rows in any status, read when they are asked for.

A refresh reads ready rows alone and remembers them; that is `readyfs.state.store`. Here nothing is remembered, and
what a row means is judged in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.series_rows import SeriesRows


class StateRow(NamedTuple):
    """One row of the state table, in any status.

    `date` is an ordinal, None if the cell is no date; `series` then and always holds what can be read of the key.
    `word` is what the status column says. `run_id` is empty where the row names none. `updated_at_ns`, `record_count`
    and `attempt_count` are `NOT_SET` where the row holds NULL, or nothing that can be read. `error_message` and
    `attempt_count` are told of rows that do not have the ready word. `withheld` tells why a row
    with the ready word cannot be shown, as far as the row alone can tell, and `detail` says it in words.
    """

    series: SeriesKey
    date: int | None
    status: PartitionStatus
    word: str
    run_id: bytes
    updated_at_ns: int
    record_count: int
    schema_version: bytes | None
    error_message: str | None
    attempt_count: int
    withheld: WithheldReason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SeriesDays:
    """What the rows of one series say of its dates.

    `ready` are the sorted ordinals of rows that are ready and can be shown, as far as rows can tell. `others` are all
    further rows with a date, sorted by it. `newest_ns` is the newest `updated_at` of the ready ones, or `NOT_SET`.
    """

    series: SeriesKey
    ready: Sequence[int]
    others: Sequence[StateRow]
    newest_ns: int


class SeriesState(NamedTuple):
    """The rows of one series: those that are ready and can be shown in columns, as far as rows can tell, and the rest.

    Both are sorted by date; of `others` those without one come last.
    """

    series: SeriesKey
    ready: SeriesRows
    others: Sequence[StateRow]


def is_of(row: StateRow, key: PartitionKey) -> bool:
    """Tell whether a row is one of those that are looked for by a key."""
    series = row.series if key.series.source else row.series._replace(source=b"")
    return series == key.series and row.date == key.date


class StateReader(Protocol):
    """Reads a state store within filters; each call is one read-only transaction. Raises `StateError`."""

    label: str

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """Yield rows in the order of their keys as texts (source, customer, query, date), as they come in.

        With `statuses`, only rows of these.
        """
        ...

    def by_series(self) -> Iterator[SeriesState]:
        """Yield the same rows series by series: the quick way, for nothing is made of a row that is ready."""
        ...

    def series(self) -> Iterator[SeriesDays]:
        """Yield each series, in the order of keys, as they come in."""
        ...

    def find(self, key: PartitionKey) -> list[StateRow]:
        """Return the rows of one key, by an index where there is one; more than one if the table has no unique key.

        An empty source stands for any: a path does not tell it where the layout hides it.
        """
        ...

    def has_one_source(self) -> bool:
        """Tell whether at most one source has rows, as far as that is quickly told."""
        ...

    def close(self) -> None:
        """Let go of every connection and file."""
        ...
