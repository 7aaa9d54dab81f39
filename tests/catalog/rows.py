"""Rows for catalog tests, and a naive model of what a catalog of them must hold.

The model is a dictionary from path and date to the rows that claim it, written without looking at how the catalog is
built: no sharing, no digests, no sorting.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from hypothesis import strategies as st

from readyfs.catalog.build import BuildReport, CatalogBuilder, CatalogShape
from readyfs.catalog.tree import AMBIGUOUS, Branch, Catalog, DateDirectory, Directory, Meaning, Path
from readyfs.layout import MountLayout, RawEncoding, RawLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, SeriesKey
from readyfs.series_rows import SeriesRows

JUNE_1: Final = datetime.date(2024, 6, 1).toordinal()
NOW_NS: Final = 1_717_300_000_000_000_000
HIDDEN_SOURCE: Final = "{customer_id}/{query_name}/{logical_date}"
SHOWN_SOURCE: Final = "{source}/{customer_id}/{query_name}/{logical_date}"


class Row(NamedTuple):
    """One ready row, with defaults for what a test does not care about."""

    source: bytes = b"s"
    customer: bytes = b"c"
    query: bytes = b"q"
    date: int = JUNE_1
    run: bytes = b"r1"
    updated_at_ns: int = 1_000
    record_count: int = 7
    schema_version: bytes | None = b"v1"

    @property
    def series(self) -> SeriesKey:
        """The row's series."""
        return SeriesKey(self.source, self.customer, self.query)

    @property
    def partition(self) -> Partition:
        """What the row means where nobody else claims its path."""
        key = PartitionKey(self.series, self.date)
        return Partition(key, self.run, self.updated_at_ns, self.record_count, self.schema_version)


def shape(
    template: str = HIDDEN_SOURCE,
    raw: RawLayout | None = None,
    files: tuple[str, ...] = (),
    required: tuple[str, ...] = ("payload.jsonl",),
) -> CatalogShape:
    """Return a shape, by default that of the default layouts."""
    return CatalogShape(MountLayout.parse(template), raw or RawLayout.parse(), files, required)


def as_series(rows: Iterable[Row]) -> dict[SeriesKey, SeriesRows]:
    """Group rows as a state store hands them over, in the order given."""
    series: dict[SeriesKey, list[Row]] = defaultdict(list)
    for row in rows:
        series[row.series].append(row)
    return {key: SeriesRows.of(row[3:] for row in found) for key, found in series.items()}


def build(
    rows: Iterable[Row], previous: Catalog | None = None, now_ns: int = NOW_NS, of: CatalogShape | None = None
) -> Catalog:
    """Build a catalog of rows."""
    return report(rows, previous, now_ns, of)[0]


def report(
    rows: Iterable[Row], previous: Catalog | None = None, now_ns: int = NOW_NS, of: CatalogShape | None = None
) -> tuple[Catalog, BuildReport]:
    """Build a catalog of rows; return it with the report."""
    return CatalogBuilder(of or shape()).build(as_series(rows), previous, now_ns)


def usable(row: Row) -> bool:
    """Tell whether a row has a path in the mount and one in the raw store, with the default layouts."""
    return bool(row.customer and row.query) and all(
        value not in (b"", b".", b"..") and b"/" not in value and b"\0" not in value
        for value in (row.source, row.customer, row.query, row.run)
    )


def model(rows: Iterable[Row], of: CatalogShape) -> dict[Path, Meaning]:
    """Return what each path must mean."""
    claims: dict[Path, list[Row]] = defaultdict(list)
    for row in filter(usable, rows):
        claims[of.layout.path_of(row.series, row.date)].append(row)
    return {path: (rows[0].partition if len(rows) == 1 else AMBIGUOUS) for path, rows in claims.items()}


def contents(catalog: Catalog) -> dict[Path, Meaning]:
    """Return what a walk through the whole catalog finds, by listing each directory and asking for each name."""
    found: dict[Path, Meaning] = {}
    for path, directory in directories(catalog):
        if isinstance(directory, Branch):
            assert list(directory.names) == sorted(directory.names)
            continue
        names = list(directory.names())
        assert names and len(names) == len(set(names))
        assert [entry.name for entry in directory.entries_from(1)] == names[1:]
        ready = 0
        for entry in directory.entries_from(0):
            assert directory.entry(entry.name) == entry
            assert catalog.layout.read((*path, entry.name)) is not None
            found[(*path, entry.name)] = entry.meaning
            if entry.meaning is not AMBIGUOUS:
                ready += 1
                assert catalog.meaning(path, entry.meaning.key) == entry.meaning
                assert names[directory.index_of(entry.meaning.key)] == entry.name
        assert directory.partitions == ready
    return found


def directories(catalog: Catalog, path: Path = ()) -> Iterator[tuple[Path, Directory]]:
    """Yield every directory over the partitions with its path, each before those below it."""
    directory = catalog.directory(path)
    assert directory is not None
    yield path, directory
    if isinstance(directory, Branch):
        for name in directory.children:
            yield from directories(catalog, (*path, name))


def meaning_at(catalog: Catalog, path: Path, date: int) -> Meaning | None:
    """Return what a date stands for in a directory of dates, None if there is no such directory or date."""
    directory = catalog.directory(path)
    return directory.find(date) if isinstance(directory, DateDirectory) else None


def date_directory(catalog: Catalog, *path: bytes) -> DateDirectory:
    """Return a directory of dates that must be there."""
    directory = catalog.directory(path)
    assert isinstance(directory, DateDirectory)
    return directory


def times(catalog: Catalog) -> dict[Path, int]:
    """Return the time of every directory over the partitions."""
    return {path: directory.changed_ns for path, directory in directories(catalog)}


def newest(catalog: Catalog) -> dict[Path, int]:
    """Return the newest `updated_at` in every directory over the partitions."""
    return {path: directory.newest_ns for path, directory in directories(catalog)}


ROWS: Final = st.lists(
    st.builds(
        Row,
        source=st.sampled_from([b"s1", b"s2"]),
        customer=st.sampled_from([b"c1", b"c2", b"a:b", b"..", b""]),
        query=st.sampled_from([b"q1", b"q2"]),
        date=st.integers(JUNE_1, JUNE_1 + 4),
        run=st.sampled_from([b"r1", b"r2", b"x/y"]),
        updated_at_ns=st.sampled_from([NOT_SET, 5, NOW_NS, NOW_NS + 10**18]),
        record_count=st.sampled_from([NOT_SET, 0, 7]),
        schema_version=st.sampled_from([None, b"", b"v1"]),
    ),
    max_size=12,
)
"""Few values, so that rows often meet: duplicates, two sources for one path, names and runs that are unusable."""

SHAPES: Final = st.sampled_from(
    [
        shape(),
        shape(SHOWN_SOURCE),
        shape("all/c={customer_id}/{query_name}/{logical_date}"),
        shape("by-date"),
        shape("{year}/{source}/{month}-{day}/{query_name}/c={customer_id}"),
        shape("{customer_id}/{query_name}/y={year}/{month}/d{day}"),
        shape("{query_name}/{day}.{month}/{customer_id}/{year}/all"),
    ]
)
"""Dates at the end, at the begin and between, whole and in parts; with and without the source."""
HIVE_RAW: Final = RawLayout.parse(encoding=RawEncoding.HIVE)
