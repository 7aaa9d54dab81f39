"""What a kept catalog adds to memory beside others: an estimate from what no other one holds.

Catalogs share whatever did not change, object by object. So directories, series and blocks that another one holds are
skipped at once, and counting costs in proportion to what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from sys import getsizeof
from typing import Any, Final

from readyfs.catalog.series import Series
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Node, PartitionNames, SeriesGroup
from readyfs.partition import SeriesKey
from readyfs.series_rows import Block
from readyfs.series_rows.columns import Columns

_DIGEST: Final = getsizeof(bytes(16))
_INTEGER: Final = getsizeof(10**18)


def memory_added(catalog: Catalog, others: Iterable[Catalog]) -> int:
    """Return about how many bytes are held for this catalog and for none of the others."""
    rest = [other for other in others if other is not catalog]
    total = getsizeof(catalog)
    if all(other.by_key is not catalog.by_key for other in rest):
        total += getsizeof(catalog.by_key)
    total += _groups_bytes(catalog.tree.groups, [other.tree.groups for other in rest])
    return total + _directory_bytes(catalog.root, [other.root for other in rest])


def _groups_bytes(groups: Mapping[SeriesKey, SeriesGroup], others: Sequence[Mapping[SeriesKey, SeriesGroup]]) -> int:
    if any(other is groups for other in others):
        return 0
    known = (_distinct(other[key] for other in others if key in other) for key in groups)
    return getsizeof(groups) + sum(map(_group_bytes, groups.values(), known))


def _group_bytes(group: SeriesGroup, others: Sequence[SeriesGroup]) -> int:
    if any(other is group for other in others):
        return 0
    known = _distinct(one for other in others for one in other.series)
    own = _object_bytes(group) + _DIGEST + getsizeof(group.series)
    return own + sum(_series_bytes(one, known) for one in group.series)


def _directory_bytes(directory: Node, others: Sequence[Node]) -> int:
    if isinstance(directory, DateDirectory):
        return _group_bytes(directory, [other for other in others if isinstance(other, DateDirectory)])
    if any(other is directory for other in others):
        return 0
    if isinstance(directory, PartitionNames):
        return getsizeof(directory) + _INTEGER  # the names are shared by many such directories
    total = _object_bytes(directory) + _DIGEST
    branches = [other.children for other in others if isinstance(other, Branch)]
    total += getsizeof(directory.children)
    for name, child in directory.children.items():
        below = [other[name] for other in branches if name in other]
        if not any(one is child for one in below):
            total += _directory_bytes(child, _distinct(below))
    return total


def _series_bytes(series: Series, others: Sequence[Series]) -> int:
    if any(other is series for other in others):
        return 0
    total = getsizeof(series) + _DIGEST + _INTEGER + getsizeof(series.blocks)
    known: set[int] = set()
    bases: set[int] = set()
    for other in others:
        known.update(map(id, other.blocks))
        bases.update(id(block.base) for block in other.blocks)
    for block in series.blocks:
        if id(block) not in known:
            total += _block_bytes(block)
            if id(block.base) not in bases:
                bases.add(id(block.base))
                total += _columns_bytes(block.base)
    return total


def _block_bytes(block: Block) -> int:
    return getsizeof(block) + _DIGEST + (0 if block.patch is None else _columns_bytes(block.patch))


def _columns_bytes(columns: Columns) -> int:
    parts = (columns.dates, columns.run_ids, columns.updated_at_ns, columns.record_counts, columns.schema_versions)
    return getsizeof(columns) + sum(map(getsizeof, parts))


def _object_bytes(one: Branch | SeriesGroup) -> int:
    return getsizeof(one) + getsizeof(vars(one)) + _INTEGER


def _distinct(found: Iterable[Any]) -> list[Any]:
    return list({id(one): one for one in found}.values())
