"""A few run directories of a catalog, looked for in the raw store: a wrong raw root or layout shows before a mount."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from readyfs.catalog.tree import Catalog
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.store import RawStore
from readyfs.text import escape_text

SAMPLES: Final = 20
"""How many runs are looked for at most; the first that is there ends the search."""


def describe_absence(catalog: Catalog, raw: RawStore, layout: RawLayout, root: str) -> str | None:
    """Return a sentence if none of a few runs, spread over the catalog, has a directory that can be listed."""
    tried, first = 0, ""
    for partition in _spread(catalog):
        try:
            raw.list_directory(partition)
        except OSError as error:
            tried += 1
            path = Path(root, *map(os.fsdecode, layout.directory_of(partition)))
            first = first or f"{escape_text(os.fsencode(path))} ({error.strerror})"
        else:
            return None
    if not tried:
        return None
    looked = (
        "the only run that was looked for is not" if tried == 1 else f"none of {tried} runs that were looked for is"
    )
    return f"{looked} where --raw and --raw-layout say; the first would be {first}"


def _spread(catalog: Catalog) -> Iterator[Partition]:
    count = min(SAMPLES, catalog.partitions)
    wanted = [catalog.partitions * index // count for index in range(count)]
    passed = 0
    for series in catalog.by_key.values():
        while wanted and wanted[0] < passed + len(series):
            yield series.at(wanted.pop(0) - passed)
        passed += len(series)
