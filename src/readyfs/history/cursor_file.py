"""A catalog that a program keeps in one file, to tell later what changed since: a history of one moment.

The file is replaced in one step. A lock beside it keeps two programs from moving it on at once. What is being written
lies beside it, too, and what a kill left of that is overwritten.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.errors import ResyncError, UsageError
from readyfs.history.changes import find_changes
from readyfs.history.moments import Moment
from readyfs.history.packing import DamagedError, pack_pieces
from readyfs.history.replay import replay
from readyfs.history.segment import OtherSettingsError, OtherVersionError, Segment
from readyfs.own_file import sync_directory
from readyfs.text import escape_text

_ANEW: Final = "load everything anew, with `--since beginning`"


class CursorFile:
    """The file at a path; `settings` are what gives its catalog a meaning. Blocking."""

    def __init__(self, path: Path, settings: Mapping[str, str], shape: CatalogShape) -> None:
        self.path = path
        self._settings = settings
        self._shape = shape
        self._lock = path.with_name(f"{path.name}.lock")
        self._shown = escape_text(os.fsencode(path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else use the file while the context lasts; raise `UsageError` if somebody does."""
        self._refuse_all_but_files()
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process uses the cursor file {self._shown}", "wait for its end, or use another file"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Catalog:
        """Return the catalog; raise `ResyncError` if there is none that can be compared with, `UsageError`."""
        try:
            segment = Segment.read(self.path, 1, self._settings)
            return replay(segment, segment.recorded[-1], self._shape, None)
        except FileNotFoundError:
            raise self._lost("is not there") from None
        except OtherSettingsError as error:
            raise self._lost(f"is of other settings ({', '.join(error.names)})") from error
        except (OtherVersionError, DamagedError) as error:
            raise self._lost(f"cannot be used: {error}") from error
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, catalog: Catalog) -> None:
        """Put a catalog in the place of the one before, on the disk and in one step; raise `UsageError`."""
        begun = self.path.with_name(f".{self.path.name}.readyfs.next")  # no name that other files have
        moment = Moment(catalog.fingerprint, time.time_ns())
        try:
            with suppress(FileNotFoundError):
                begun.unlink()  # of a program that was killed
            Segment.create(begun, 1, self._settings, moment, pack_pieces(find_changes(None, catalog)))
            begun.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                begun.unlink()
            raise UsageError(
                f"the cursor file {self._shown} cannot be written: {error.strerror}",
                "mend that; what was printed is printed again",
            ) from error

    def _refuse_all_but_files(self) -> None:
        """Raise `UsageError` for a directory, a device or a link: whatever there is would be replaced."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"the cursor file {self._shown} is no regular file", "name another with --cursor-file")

    def _lost(self, what: str) -> ResyncError:
        return ResyncError(f"what changed cannot be told: the cursor file {self._shown} {what}", _ANEW)

    def _unusable(self, error: OSError) -> UsageError:
        if not self.path.parent.is_dir():
            directory = escape_text(os.fsencode(self.path.parent))
            return UsageError(
                f"the directory {directory} of the cursor file is not there", "make it, or name another cursor file"
            )
        return UsageError(f"the cursor file {self._shown} cannot be used: {error.strerror}", "name another place")
