"""The choice between passthrough and cached: which way of reading serves a tree better.

It is made once for a mount, because an OPEN that was answered ENOSYS stays so.

Passthrough costs one trip to the daemon for every open and nothing for the bytes; cached costs nothing for what was
read before, and a trip and a copy for what was not. So the size of a run's largest file decides: that is
what people read. At 256 KiB the one loses as much on the first read as the other on each later one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from readyfs.catalog.tree import Catalog
from readyfs.errors import FuseError
from readyfs.fuse.engine_words import ReadsWord
from readyfs.partition import Partition
from readyfs.raw.store import EntryKind, RawFile, RawStore

LARGE_BYTES: Final = 256 * 1024
"""From this size on, on average over the runs that were looked at, passthrough is the better choice."""
SAMPLED_RUNS: Final = 64
SAMPLE_BUDGET_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether to read by passthrough, and why."""

    passthrough: bool
    reason: str


def choose_reads(
    word: ReadsWord, obstacle: str | None, sample: FileSample, refusal: Callable[[RawFile], str | None]
) -> Choice:
    """Decide how files are read.

    `obstacle` says why passthrough cannot be had at all, and `refusal` tries it on one file and says why not. Raises
    `FuseError` if passthrough was asked for and cannot be had.
    """
    if word is ReadsWord.CACHED:
        return Choice(False, "as asked for")
    if obstacle is not None:
        if word is ReadsWord.PASSTHROUGH:
            raise FuseError(f"passthrough cannot be had: {obstacle}", "use --reads auto, or mend that")
        return Choice(False, f"passthrough cannot be had: {obstacle}")
    if word is ReadsWord.PASSTHROUGH:
        return Choice(True, "as asked for")
    if sample.file is not None and (refused := refusal(sample.file)) is not None:
        return Choice(False, f"the raw store's filesystem refuses passthrough: {refused}")
    if sample.mean_bytes is None:
        return Choice(True, "no file is there yet to judge by")
    found = f"a run's largest file has {sample.mean_bytes / 1024:,.0f} KiB on average"
    if sample.mean_bytes < LARGE_BYTES:
        return Choice(False, f"{found}, which is small (below {LARGE_BYTES // 1024} KiB)")
    return Choice(True, f"{found}, which is large (from {LARGE_BYTES // 1024} KiB on)")


@dataclass(slots=True)
class FileSample:
    """What some runs hold: the mean size of their largest files in bytes, and an open file; None if none was found."""

    mean_bytes: float | None = None
    file: RawFile | None = None

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()


def sample_files(catalog: Catalog, raw: RawStore, budget_s: float = SAMPLE_BUDGET_S) -> FileSample:
    """Look at the files of some runs, spread evenly over the catalog, for so many seconds at most."""
    until_s = time.monotonic() + budget_s
    sizes: list[int] = []
    file = None
    for partition in _spread(catalog, SAMPLED_RUNS):
        try:
            entries = [entry for entry in raw.list_directory(partition) if entry.kind is EntryKind.FILE]
            if file is None and entries:
                file = raw.open_file(partition, (entries[0].name,))
        except OSError:
            continue  # a run that cannot be read is reported when somebody looks at it
        if entries:
            sizes.append(max(entry.stat.size for entry in entries))
        if time.monotonic() > until_s:
            break
    return FileSample(sum(sizes) / len(sizes) if sizes else None, file)


def _spread(catalog: Catalog, count: int) -> Iterator[Partition]:
    """Yield up to so many partitions at even distances."""
    step = max(catalog.partitions // count, 1)
    index = 0
    for series in catalog.by_key.values():
        while index < len(series):
            yield series.at(index)
            index += step
        index -= len(series)
