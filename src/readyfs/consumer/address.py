"""Addresses: what a person names, as a path in a mount or as a key; and why one can never be there.

`address_text` reads both. Here is what was read: a beginning of source, customer, query and dates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import escape as escape_glob
from typing import Final, NamedTuple

from readyfs.errors import ImpossibleError
from readyfs.partition import PartitionKey, SeriesKey
from readyfs.state.filters import Filters
from readyfs.text import escape_text

LATEST: Final = b"latest"
"""The name of the link to the newest date, in a directory of dates; it stands for that date in a key, too."""

_FIELDS: Final = ("source", "customer_id", "query_name")


class ImpossibleAddressError(ImpossibleError):
    """An address that no partition can have; `reason` says why, `nearest` is what was probably meant, if anything."""

    def __init__(self, reason: str, nearest: bytes | None = None, remedy: str = "") -> None:
        self.reason = reason
        self.nearest = nearest
        meant = f"did you mean {escape_text(nearest)}?" if nearest is not None else remedy
        super().__init__(reason, meant)


class ViewName(NamedTuple):
    """A view in a path: the directory below `.readyfs` that it was found in, and its name there."""

    directory: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """What was named: every part that was not is None.

    `first` and `last` are the dates that it covers, inclusive; in some layouts a directory stands for a year. `file`
    is what follows the directory of the partition. A path does not tell the source unless the layout shows it.
    """

    source: bytes | None = None
    customer_id: bytes | None = None
    query_name: bytes | None = None
    first: int | None = None
    last: int | None = None
    is_latest: bool = False
    view: ViewName | None = None
    file: tuple[bytes, ...] = ()

    @property
    def date(self) -> int | None:
        """The one date that was named."""
        return self.first if self.first == self.last else None

    @property
    def names_partition(self) -> bool:
        """Whether one partition was named, of one source or of any."""
        return (
            self.customer_id is not None and self.query_name is not None and (self.date is not None or self.is_latest)
        )

    @property
    def key(self) -> PartitionKey | None:
        """The key that was named, if all of it was."""
        if self.source is None or self.customer_id is None or self.query_name is None or self.date is None:
            return None
        return PartitionKey(SeriesKey(self.source, self.customer_id, self.query_name), self.date)

    def admits(self, series: SeriesKey) -> bool:
        """Tell whether a series is among what was named."""
        return all(getattr(self, field) in (None, getattr(series, field)) for field in _FIELDS)

    def narrow(self, filters: Filters) -> Filters | None:
        """Return the filters that let pass what is named and passes the given ones; None if that can be nothing.

        A name that holds characters of globs lets pass no more than itself.
        """
        sources = _narrow(filters.sources, self.source)
        customers = _narrow(filters.customers, self.customer_id)
        queries = _narrow(filters.queries, self.query_name)
        if sources is None or customers is None or queries is None:
            return None
        starts = [date for date in (filters.since, self.first) if date is not None]
        ends = [date for date in (filters.until, self.last) if date is not None]
        since, until = max(starts, default=None), min(ends, default=None)
        if since is not None and until is not None and since > until:
            return None
        return Filters(sources, customers, queries, since, until)


def _narrow(patterns: tuple[str, ...], value: bytes | None) -> tuple[str, ...] | None:
    """Return a pattern of the value alone, if it was named; None if the patterns do not let it pass."""
    if value is None:
        return patterns
    if not Filters(sources=patterns).admits(SeriesKey(value, b"", b"")):
        return None
    return (escape_glob(os.fsdecode(value)),)
