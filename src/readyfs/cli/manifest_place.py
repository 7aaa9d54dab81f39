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
_NAME: Final = ".manifest."
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
        path = self.directory / self.prefix / f"{_NAME}{form}"
        try:
            # Unbuffered: a large piece is one system call, and the kernel reads ahead.
            with path.open("rb", buffering=0) as file:
                size, done, left = os.fstat(file.fileno()).st_size, 0, b""
                while piece := file.read(_AT_ONCE):
                    done += len(piece)
                    *records, left = (left + piece).split(form.end)
                    yield records
        except OSError as error:
            raise _explain(self.mountpoint, path, error) from error
        if left or done != size:
            raise NoAnswerError(f"{_show(path)} ended after {done} of {size} bytes", "start again")


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
    try:
        directory = Path(inside.path).resolve(strict=True)
    except OSError as error:
        raise _explain(inside.mountpoint, Path(inside.path), error) from error
    return ManifestPlace(inside.mountpoint, directory, "/".join(names))


def _explain(mountpoint: Path, path: Path, error: OSError) -> UserError:
    """Return what it means that a manifest, or the directory that was named, cannot be had."""
    shown = _show(path)
    match error.errno:
        case errno.ENOTCONN:
            return NotRunningError(f"no daemon serves {_show(mountpoint)}", "mount it again")
        case errno.EACCES | errno.EPERM:
            return NotPermittedError(f"{shown} may not be read: {error.strerror}", "ask as a user who may enter")
        case errno.ESTALE:
            return NoAnswerError(
                f"the catalog of {shown} is gone before all of it was read", "read that of a view: `readyfs pin`"
            )
        case errno.EISDIR:
            return UsageError(
                f"{shown} is a directory of that name, and no manifest", "choose another form, or the directory above"
            )
        case errno.ENOENT | errno.ENOTDIR:
            asked = path.parent if path.name.startswith(_NAME) else path
            if not os.path.lexists(asked):
                return NothingReadyError(f"nothing is ready at {_show(asked)}", "list what is above it")
            return UsageError(
                f"{_show(asked)} has no manifest",
                "name a directory above partitions; mount again what an earlier version has mounted",
            )
        case _:
            return NoAnswerError(f"{shown} cannot be read: {error.strerror}", "see `readyfs status` and the log")


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))
