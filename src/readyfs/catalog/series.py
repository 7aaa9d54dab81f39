"""One series: the ready dates of one (source, customer, query) with their runs, in compact parallel columns.

Built by `readyfs.catalog.build`, read by every directory above it. Invariant: dates are sorted and unique, and
two series with the same digest are the same content under the same key.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from operator import ge
from typing import Final

from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.series_rows import SeriesRows

DIGEST_BYTES: Final = 16


def hash_parts(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """Hash byte strings so that no two different sequences feed the hash the same bytes."""
    digest = blake2b(digest_size=DIGEST_BYTES, person=kind)
    for part in parts:
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return digest.digest()


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The ready partitions of one series; `ambiguous` holds the dates that two of its own rows claim."""

    key: SeriesKey
    dates: array[int]
    run_ids: tuple[bytes, ...]
    updated_at_ns: array[int]
    record_counts: array[int]
    schema_versions: tuple[bytes | None, ...]
    ambiguous: tuple[int, ...]
    newest_ns: int
    digest: bytes

    def __len__(self) -> int:
        return len(self.dates)

    def find(self, date: int) -> Partition | None:
        """Return the ready partition of a date, or None."""
        index = bisect_left(self.dates, date)
        if index == len(self.dates) or self.dates[index] != date:
            return None
        return self.at(index)

    def at(self, index: int) -> Partition:
        """Return the partition at a position of the sorted dates."""
        return Partition(
            PartitionKey(self.key, self.dates[index]),
            self.run_ids[index],
            self.updated_at_ns[index],
            self.record_counts[index],
            self.schema_versions[index if len(self.schema_versions) > 1 else 0],
        )


def build_series(key: SeriesKey, rows: SeriesRows) -> Series:
    """Sort the rows of one series, set apart the dates that stand twice, and hash the result."""
    ambiguous: tuple[int, ...] = ()
    if any(map(ge, rows.dates, rows.dates[1:])):
        rows, ambiguous = _sorted_unique(rows)
    versions = rows.schema_versions
    if len(set(versions)) == 1:
        versions = versions[:1]
    return Series(
        key=key,
        dates=rows.dates,
        run_ids=rows.run_ids,
        updated_at_ns=rows.updated_at_ns,
        record_counts=rows.record_counts,
        schema_versions=versions,
        ambiguous=ambiguous,
        newest_ns=max(rows.updated_at_ns, default=NOT_SET),
        digest=_digest(key, rows, versions, ambiguous),
    )


def _sorted_unique(rows: SeriesRows) -> tuple[SeriesRows, tuple[int, ...]]:
    order = sorted(range(len(rows)), key=rows.dates.__getitem__)
    twice = {rows.dates[a] for a, b in pairwise(order) if rows.dates[a] == rows.dates[b]}
    return rows.take([index for index in order if rows.dates[index] not in twice]), tuple(sorted(twice))


def _digest(key: SeriesKey, rows: SeriesRows, versions: tuple[bytes | None, ...], ambiguous: tuple[int, ...]) -> bytes:
    def column(values: array[int]) -> bytes:
        if sys.byteorder == "big":  # the fingerprint is the same on every machine
            values = array(values.typecode, values)
            values.byteswap()
        return values.tobytes()

    columns = (column(rows.dates), column(rows.updated_at_ns), column(rows.record_counts))
    runs = (b"".join(rows.run_ids), column(array("I", map(len, rows.run_ids))))
    schemas = (b"" if version is None else b"=" + version for version in versions)
    return hash_parts(b"series", (*key, *columns, *runs, column(array("i", ambiguous)), *schemas))
