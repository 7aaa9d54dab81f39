"""Where a manifest is read: a directory of a mount, and what below it is asked for.

The mount gives the records, all of one catalog, and how many bytes they are. Here they are read to the end or not at
all: what is only a part of a manifest is never taken for one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from readyfs.cli.mount_paths import find_in_mount
from readyfs.errors import (
    NoAnswerError,
    NothingReadyError,
    NotPermittedError,
    NotRunningError,
    UsageError,
    UserError,
)
from readyfs.text import escape_text

_AT_ONCE: Final = 1 << 20
_VIEWS: Final = (".readyfs", "views")


class Form(StrEnum):
    """The forms in which a mount gives its manifests."""

    JSONL = "jsonl"
    PATHS = "paths"
    PATHS0 = "paths0"

    @property
    def end(self) -> bytes:
        """What ends a record."""
        return b"\0" if self is Form.PATHS0 else b"\n"


@dataclass(frozen=True, slots=True)
class ManifestPlace:
    """A directory without links that paths are relative to, the mount that it is of, and what below it is asked for."""

    mountpoint: Path
    directory: Path
    prefix: str = ""

    @property
    def view(self) -> Path | None:
        """The root of the view that this is in, None in the live tree."""
        names = self._names
        return self.mountpoint.joinpath(*names[:3]) if names[:2] == _VIEWS and len(names) > 2 else None

    @property
    def _names(self) -> tuple[str, ...]:
        return self.directory.relative_to(self.mountpoint).parts

    def in_view(self, view: Path) -> ManifestPlace:
        """Return the same directory of the live tree in a view of it."""
        assert self.view is None
        return replace(self, directory=view.joinpath(*self._names))

    def read(self, form: Form) -> Iterator[list[bytes]]:
        """Yield the records without their ends, some at a time; raise a `UserError` where they cannot be had whole.

        Paths in them are relative to the directory with the prefix.
        """
        path = self.directory / self.prefix / f".manifest.{form}"
        try:
            # Unbuffered: a large piece is one system call, and the kernel reads ahead.
            with path.open("rb", buffering=0) as file:
                size, done, left = os.fstat(file.fileno()).st_size, 0, b""
                while piece := file.read(_AT_ONCE):
                    done += len(piece)
                    *records, left = (left + piece).split(form.end)
                    yield records
        except OSError as error:
            raise self._explain(path, error) from error
        if left or done != size:
            raise NoAnswerError(f"{_show(path)} ended after {done} of {size} bytes", "start again")

    def _explain(self, path: Path, error: OSError) -> UserError:
        if error.errno == errno.ENOTCONN:
            return NotRunningError(f"no daemon serves {_show(self.mountpoint)}", "mount it again")
        if error.errno in (errno.EACCES, errno.EPERM):
            return NotPermittedError(f"{_show(path)} may not be read: {error.strerror}", "ask as a user who may enter")
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return NoAnswerError(f"{_show(path)} cannot be read: {error.strerror}", "the log of the mount says why")
        if not path.parent.is_dir():
            return NothingReadyError(f"nothing is ready at {_show(path.parent)}", "see `readyfs ls` for what is")
        return UsageError(
            f"{_show(path.parent)} has no manifest",
            "name a directory above partitions; a daemon of an earlier version has none, and is to be mounted again",
        )


def find_place(named: str, prefix: str) -> ManifestPlace:
    """Return the place that a user named, with every link on the way resolved; raise a `UserError`."""
    if not named:
        raise UsageError("the path is empty", "name a directory; an unset variable perhaps?")
    inside = find_in_mount(named)
    if inside is None:
        raise UsageError(
            f"{escape_text(os.fsencode(named))} is in no mount of readyfs",
            "name a mount point, a view as `readyfs pin` prints it, or a directory in one",
        )
    names = prefix.rstrip("/").split("/") if prefix else []
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise UsageError(
            f"--prefix {escape_text(os.fsencode(prefix))!r} is no path below it", "leave out dots and leading slashes"
        )
    place = ManifestPlace(inside.mountpoint, Path(inside.path), "/".join(names))
    try:
        return replace(place, directory=place.directory.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOTCONN:
            raise NotRunningError(f"no daemon serves {_show(place.mountpoint)}", "mount it again") from error
        raise NothingReadyError(
            f"nothing is ready at {_show(place.directory)}", "see `readyfs ls` for what is"
        ) from error


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))
