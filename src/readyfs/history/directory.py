"""The segments of one mount's history on disk: found at the start, begun, set aside and removed.

One directory for each mount point, below the state directory. Only the process that holds the lock of the mount point
writes there. Blocking; the writer alone calls it, once it is open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from readyfs.history.moments import Moment
from readyfs.history.packing import DamagedError
from readyfs.history.segment import OtherSettingsError, OtherVersionError, Segment
from readyfs.own_file import name_mount, sync_directory
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.history")

_NAME: Final = re.compile(r"(\d{10})\.history", re.ASCII)
ASIDE: Final = "set-aside"
"""Where segments go that cannot be read; nothing there is ever looked at or removed."""


def history_dir(state_dir: Path, mountpoint: Path) -> Path:
    """Return where the history of a mount point lies."""
    return state_dir / "history" / name_mount(mountpoint)


class HistoryDirectory:
    """The segments, the oldest first. `settings` are what gives the catalogs their meaning.

    `is_end_lost` says that there was something behind the last moment which cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, str]) -> None:
        self.path = path
        self.segments: list[Segment] = []
        self.is_end_lost = False
        self._settings = settings
        self._next = 1

    def open(self) -> None:
        """Find the segments that are there; what cannot be used is set aside or removed, with a log line.

        Raises `OSError` if the directory cannot be read; one that is not there is empty.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(self.path))
        except FileNotFoundError:
            return
        others: set[str] = set()
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                if name.endswith(".new"):
                    with suppress(OSError):
                        (self.path / name).unlink()  # of a daemon that was killed
                continue
            self._next = int(match[1]) + 1
            self._find(self.path / name, int(match[1]), others)
        if others:
            log.info("the history is of other settings and begins anew", path=self.shown(), settings=sorted(others))

    def _find(self, path: Path, number: int, others: set[str]) -> None:
        try:
            segment = Segment.read(path, number, self._settings)
        except OtherSettingsError as error:
            others.update(error.names)
            with suppress(OSError):
                path.unlink()
        except OtherVersionError as error:
            self._set_aside(path, str(error))
        except (DamagedError, OSError) as error:
            self._set_aside(path, error.strerror or str(error) if isinstance(error, OSError) else str(error))
        else:
            if segment.damage is not None:
                log.warning(
                    "a part of the history is damaged and lost",
                    path=self.shown(path),
                    error=segment.damage,
                    kept=len(segment.recorded),
                )
            self.segments.append(segment)
            self.is_end_lost = segment.damage is not None

    def _set_aside(self, path: Path, why: str) -> None:
        log.warning("a part of the history cannot be read and is set aside", path=self.shown(path), error=why)
        self.is_end_lost = True
        with suppress(OSError):
            aside = self.path / ASIDE
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / path.name)

    def begin(self, moment: Moment, pieces: Iterable[bytes]) -> Segment:
        """Begin a segment with a catalog; raise `OSError`."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        path = self.path / f"{self._next:010}.history"
        segment = Segment.create(path, self._next, self._settings, moment, pieces)
        self._next += 1
        self.segments.append(segment)
        return segment

    def remove(self, segment: Segment) -> None:
        """Remove a segment; raise `OSError`."""
        segment.path.unlink(missing_ok=True)
        self.segments.remove(segment)
        sync_directory(self.path)

    @property
    def size(self) -> int:
        """How many bytes the segments take."""
        return sum(segment.size for segment in self.segments)

    def shown(self, path: Path | None = None) -> str:
        """Return the directory, or a path in it, for people."""
        return escape_text(os.fsencode(path or self.path))
