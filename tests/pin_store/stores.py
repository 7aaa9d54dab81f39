"""Pin stores for tests: catalogs of few rows, and what time and others do to a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Identity, SharedPin
from tests.catalog.rows import JUNE_1, Row, build, shape

A: Final = "a" * 32
B: Final = "b" * 32
C: Final = "c" * 32
GRACE_S: Final = 3600.0
LEASE_S: Final = 100.0
SETTINGS: Final = {"layout": "{x}\udcff", "files": "*.jsonl"}


def open_store(
    path: Path,
    holder: str = A,
    *,
    raw_id: str = "raw",
    settings: Mapping[str, str] = SETTINGS,
    of: CatalogShape | None = None,
    grace_s: float = GRACE_S,
) -> PinStore:
    """Return the store in a directory, as another mount would see it for the first time."""
    store = PinStore(path, Identity(raw_id, settings), holder, of or shape(), grace_s)
    store.check()
    return store


def make_catalog(number: int, before: Catalog | None = None, rows: int = 40) -> Catalog:
    """Return a catalog of which each number differs from every other in one row of many."""
    ready = [
        Row(query=b"q%d" % (index % 4), date=JUNE_1 + index, run=b"r%d" % (number if index == 0 else 0))
        for index in range(rows)
    ]
    return build([*ready, *(Row(query=b"twice", run=b"r%d" % run) for run in range(2))], before)


def pin_of(catalog: Catalog, name: str = "nightly", lease_s: float = LEASE_S, latest_s: float = 1e6) -> SharedPin:
    """Return a pin of a catalog, as somebody has just made it."""
    return SharedPin(name, catalog.fingerprint, 1_717_300_000_000_000_000, 1000, "a note", lease_s, latest_s)


def pass_time(path: Path, seconds: float) -> None:
    """Have everything in a store be older, as it is when so much time has passed by its clock."""
    for above, directories, files in os.walk(path):
        for name in (*directories, *files):
            found = os.stat(place := os.path.join(above, name), follow_symlinks=False)
            times = (found.st_atime - seconds, found.st_mtime - seconds)
            os.utime(place, times, follow_symlinks=False)


def is_whole(store: PinStore, catalog: Catalog) -> bool:
    """Tell whether a catalog is found under a lease that goes on, and is what it was; False if it is not found."""
    found = store.find(catalog.fingerprint)
    if found is None or found.ends_in_s <= 0:
        return False
    assert store.load(found, None).fingerprint == catalog.fingerprint
    return True


def entries(path: Path, *below: str) -> list[str]:
    """Return all files below a directory of the store, as texts."""
    place = path.joinpath(*below)
    return sorted(str(one.relative_to(path)) for one in place.rglob("*") if not one.is_dir())
