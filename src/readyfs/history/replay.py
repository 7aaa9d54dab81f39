"""From a segment back to a catalog: the very one that was recorded, which its fingerprint proves."""

from __future__ import annotations

from collections.abc import Iterable

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.series import Series
from readyfs.catalog.tree import Catalog
from readyfs.history.changes import Rows, SeriesChange
from readyfs.history.packing import DamagedError
from readyfs.history.segment import Recorded, Segment
from readyfs.series_rows import SeriesRows
from readyfs.series_rows.blocks import join_blocks


def replay(segment: Segment, upto: Recorded, shape: CatalogShape, like: Catalog | None) -> Catalog:
    """Return the catalog of a moment; it shares with `like` whatever is equal.

    Raises `OSError`, and `DamagedError` if what is on disk is not what was recorded. Blocking.
    """
    moment = upto.moment
    return rebuild(segment.changes(upto), moment.fingerprint, moment.taken_at_ns, shape, like)


def rebuild(
    changes: Iterable[SeriesChange], fingerprint: str, taken_at_ns: int, shape: CatalogShape, like: Catalog | None
) -> Catalog:
    """Return the catalog to which changes lead, as `replay` does; raise `DamagedError` if it is another one."""
    rows = Rows()
    for change in changes:
        try:
            rows.add(change)
        except KeyError as error:
            raise DamagedError("it changes a series that it does not have") from error
    by_series = rows.by_series()
    if like is not None:
        by_series = {key: _sharing(found, like.by_key.get(key)) for key, found in by_series.items()}
    catalog, _ = CatalogBuilder(shape).build(by_series, like, taken_at_ns)
    if catalog.fingerprint != fingerprint:
        raise DamagedError(f"it leads to the catalog {catalog.fingerprint}, not to {fingerprint}")
    return catalog


def _sharing(rows: SeriesRows, other: Series | None) -> SeriesRows:
    """Return the same rows, in the blocks of another series where these hold the same."""
    if other is None or other.ambiguous or not rows.is_ordered:
        return rows
    shared, columns = SeriesRows.of_blocks(other.blocks), join_blocks(other.blocks)
    differing = columns.differing(rows.columns)
    gone = set() if columns.dates == rows.dates else set(columns.dates).difference(rows.dates)
    same = shared.patched(rows.take(differing), gone) if differing or gone else shared
    return rows.in_blocks(same.blocks)
