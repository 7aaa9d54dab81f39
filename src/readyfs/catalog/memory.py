"""What a kept catalog adds to memory beside others: an estimate from what no other one holds.

Catalogs share whatever did not change, object by object. So directories, series and blocks that another one holds are
skipped at once, and counting costs in proportion to what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getsizeof
from typing import Any, Final

from readyfs.catalog.series import Series
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, Directory
from readyfs.series_rows import Block
from readyfs.series_rows.columns import Columns

_GARBAGE_COLLECTOR: Final = 16
"""Bytes before each object that the garbage collector follows."""
_DIGEST: Final = getsizeof(bytes(16))
_INTEGER: Final = getsizeof(10**18)


def memory_added(catalog: Catalog, others: Iterable[Catalog]) -> int:
    """Return about how many bytes are held for this catalog and for none of the others."""
    rest = [other for other in others if other is not catalog]
    total = getsizeof(catalog)
    if all(other.by_key is not catalog.by_key for other in rest):
        total += getsizeof(catalog.by_key)
    return total + _directory_bytes(catalog.root, [other.root for other in rest])


def _directory_bytes(directory: Directory, others: Sequence[Directory]) -> int:
    if any(other is directory for other in others):
        return 0
    total = _object_bytes(directory) + _DIGEST
    if isinstance(directory, DateDirectory):
        known = _distinct(one for other in others if isinstance(other, DateDirectory) for one in other.series)
        return total + getsizeof(directory.series) + sum(_series_bytes(one, known) for one in directory.series)
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


def _object_bytes(one: Directory) -> int:
    return getsizeof(one) + getsizeof(vars(one)) + _INTEGER


def _distinct(found: Iterable[Any]) -> list[Any]:
    return list({id(one): one for one in found}.values())
