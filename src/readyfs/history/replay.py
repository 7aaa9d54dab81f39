"""From a segment back to a catalog: the very one that was recorded, which its fingerprint proves."""

from __future__ import annotations

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.history.changes import Rows
from readyfs.history.packing import DamagedError
from readyfs.history.segment import Recorded, Segment


def replay(segment: Segment, upto: Recorded, shape: CatalogShape, like: Catalog | None) -> Catalog:
    """Return the catalog of a moment; it shares with `like` whatever is equal.

    Raises `OSError`, and `DamagedError` if what is on disk is not what was recorded. Blocking.
    """
    rows = Rows()
    for change in segment.changes(upto):
        try:
            rows.add(change)
        except KeyError as error:
            raise DamagedError("it changes a series that it does not have") from error
    catalog, _ = CatalogBuilder(shape).build(rows.by_series(), like, upto.moment.taken_at_ns)
    if catalog.fingerprint != upto.moment.fingerprint:
        raise DamagedError(f"it leads to the catalog {catalog.fingerprint}, not to {upto.moment.fingerprint}")
    return catalog
