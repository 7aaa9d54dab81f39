"""Histories for tests: catalogs of few rows, and what is left of them after a restart."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.clock import boottime_s
from readyfs.history.directory import HistoryDirectory
from readyfs.history.history import History
from readyfs.history.moments import Bounds
from readyfs.history.segment import Segment
from tests.catalog.rows import JUNE_1, NOW_NS, Row, build, shape

SECOND_NS: Final = 1_000_000_000
BOUNDS: Final = Bounds(count=64, age_s=86400.0, max_bytes=1 << 30)
SETTINGS: Final = {"state": "sqlite:///s.db", "layout": "{x}\udcff"}


@contextmanager
def opened(
    path: Path,
    bounds: Bounds = BOUNDS,
    settings: Mapping[str, str] = SETTINGS,
    of: CatalogShape | None = None,
    now_s: Callable[[], float] = boottime_s,
) -> Iterator[History]:
    """Open the history in a directory, and close it at the end."""
    directory = HistoryDirectory(path, settings)
    history = History(directory, of or shape(), bounds, lambda: NOW_NS + 10**6 * SECOND_NS, now_s)
    history.open()
    try:
        yield history
    finally:
        history.close()


def catalogs(count: int, rows: int = 3) -> list[Catalog]:
    """Return catalogs of which each differs from the one before, in the run of one row that is there in all."""
    found: list[Catalog] = []
    for number in range(count):
        ready = [Row(date=JUNE_1 + index, run=b"r%d" % (number if index == 0 else 0)) for index in range(rows)]
        found.append(build(ready, found[-1] if found else None))
    return found


def record_all(history: History, found: Sequence[Catalog], begin: int = 0) -> None:
    """Record catalogs a second apart, the last of them on the disk."""
    for index, catalog in enumerate(found):
        history.record(catalog, NOW_NS + (begin + index) * SECOND_NS)
    history.flush(found[-1].fingerprint)


def fingerprints(history: History) -> list[str]:
    """Return what is kept, the oldest first."""
    return [moment.fingerprint for moment in history.moments()]


def segments(path: Path) -> list[Path]:
    """Return the segments in a directory."""
    return sorted(path.glob("*.history"))


def read(path: Path) -> Segment:
    """Read one segment."""
    return Segment.read(path, int(path.stem), SETTINGS)


def change_fingerprint_version(segment: Path, version: str | None) -> None:
    """Have the header of a segment name another version of fingerprints, or none as before there were versions."""
    content = segment.read_bytes()
    form, length = struct.unpack_from("<II", content, 16)
    settings = json.loads(content[28 : 28 + length])
    settings.pop("fingerprint-version", None)
    if version is not None:
        settings["fingerprint-version"] = version
    text = json.dumps(settings).encode()
    head = struct.pack("<II", form, len(text))
    checksum = struct.pack("<I", zlib.crc32(text, zlib.crc32(head)))
    segment.write_bytes(content[:16] + head + checksum + text + content[28 + length :])
