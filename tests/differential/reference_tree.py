"""The raw side: an ordinary directory tree that holds what the mounts must show, made without any code of readyfs.

Files are copies of the raw runs' with their times, modes and lineage, so that the kernel's own answers on this tree are
the truth. What is no longer shown is moved aside and not deleted: who holds it open goes on seeing it, as V5 and V6
promise of a mount. What comes again is the same directory as before, as on a mount.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DATED: Final = 4
"""How many levels a date directory lies deep."""
ROW_FACTS: Final = frozenset({"updated_at", "record_count", "schema_version"})
"""What a date directory alone says, because files are shared by all trees that show them (V9)."""
NOT_PROMISED_NS: Final = 10**9
"""The time of every directory above the dates here: a mount gives them the time of a catalog, each mount its own."""

Place = tuple[str, ...]


class ReferenceTree:
    """The tree at `top`; what is not shown lies at `aside`, beside it."""

    def __init__(self, top: Path, aside: Path) -> None:
        self.top = top
        self._aside = aside
        self._shown: dict[Place, str] = {}
        self._emptied: dict[Place, Path] = {}
        top.mkdir()
        aside.mkdir()
        self._settle(())

    def add_run(self, run: str, files: Mapping[str, tuple[bytes, int]], directory_time_ns: int) -> None:
        """Keep a run's files, by relative path with content and mtime, under a name of its own; nothing shows it."""
        directory = self._aside / run
        directory.mkdir()
        for name, (content, mtime_ns) in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(mtime_ns, mtime_ns))
        for path in directory.rglob("*/"):
            os.utime(path, ns=(directory_time_ns, directory_time_ns))

    def show(self, place: Place, run: str, mtime_ns: int, lineage: Mapping[str, str]) -> None:
        """Make a run what a date directory is, with its time and the extended attributes of all in it."""
        shown = self._shown.get(place)
        if shown != run:
            if shown is not None:
                self.top.joinpath(*place).rename(self._aside / shown)
            for depth in range(1, len(place)):
                self._raise(place[:depth])
            (self._aside / run).rename(self.top.joinpath(*place))
            self._shown[place] = run
        directory = self.top.joinpath(*place)
        for path in (directory, *directory.rglob("*")):
            for name in os.listxattr(path):
                os.removexattr(path, name)
            for name, value in lineage.items():
                if path == directory or name not in ROW_FACTS:
                    os.setxattr(path, f"user.readyfs.{name}", value.encode())
            path.chmod(0o555 if path.is_dir() else 0o444)
        os.utime(directory, ns=(mtime_ns, mtime_ns))
        self._settle(place)

    def hide(self, place: Place) -> None:
        """Show a date directory no longer, and no directory above it that is empty then."""
        run = self._shown.pop(place, None)
        if run is None:
            return
        self.top.joinpath(*place).rename(self._aside / run)
        for depth in range(len(place) - 1, 0, -1):
            above = self.top.joinpath(*place[:depth])
            if not os.listdir(above):
                self._emptied[place[:depth]] = self._aside / f"emptied {'|'.join(place[:depth])}"
                os.utime(above, ns=(NOT_PROMISED_NS, NOT_PROMISED_NS))
                above.rename(self._emptied[place[:depth]])
        self._settle(place)

    def clear(self) -> None:
        """Remove everything."""
        for directory in (self.top, self._aside):
            for entry in directory.iterdir():
                shutil.rmtree(entry)
        self._shown.clear()
        self._emptied.clear()
        self._settle(())

    def names(self, path: str) -> frozenset[str] | None:
        """Return what a directory of this tree lists now, or None if it is not shown."""
        try:
            return frozenset(os.listdir(self.top / path))
        except OSError:
            return None

    def _raise(self, place: Place) -> None:
        path = self.top.joinpath(*place)
        if place in self._emptied:
            self._emptied.pop(place).rename(path)
        else:
            path.mkdir(exist_ok=True)

    def _settle(self, place: Place) -> None:
        for depth in range(DATED):
            above = self.top.joinpath(*place[:depth])
            if above.exists():
                above.chmod(0o555)
                os.utime(above, ns=(NOT_PROMISED_NS, NOT_PROMISED_NS))
