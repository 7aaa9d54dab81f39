"""The sizes of all files of each partition, found through the mount, in a tree that holds still."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from readyfs.cli.manifest_place import ManifestPlace
from readyfs.cli.manifest_rows import Row, Shown, read_shown
from readyfs.errors import NotRunningError
from readyfs.text import decode_text, escape_text


class Sizes:
    """Rows with the sizes of their files; `broken` counts those of which none are known."""

    def __init__(self, place: ManifestPlace, file: str | None) -> None:
        self.broken = 0
        self._place = place
        self._file = file

    def rows(self) -> Iterator[Row]:
        """Yield the rows, with null for the sizes where the run is broken; raise `NotRunningError` if a view is gone.

        The live tree is pinned for so long.
        """
        with _held(self._place) as place:
            top = os.fsencode(place.directory)
            for shown in read_shown(place, self._file):
                sizes = _find_sizes(top, shown)
                if sizes is None:
                    self.broken += 1
                    shown.row["broken"] = True
                yield {**shown.row, "sizes": sizes}


@contextmanager
def _held(place: ManifestPlace) -> Iterator[ManifestPlace]:
    if place.view is not None:
        yield place
        return
    from readyfs.pinned_view import pin

    with pin(place.mountpoint, note="readyfs manifest") as view:
        yield place.in_view(view)


def _find_sizes(top: bytes, shown: Shown) -> dict[str, int] | None:
    required = shown.files[0]
    path = required.rpartition(b"/")[0]
    try:
        sizes = {decode_text(path + b"/" + name): size for name, size in _sizes_below(b"%b/%b" % (top, path))}
        # A broken run looks whole until it is opened, and with `--reads cached` until it is read.
        with open(b"%b/%b" % (top, required), "rb", buffering=0) as file:
            file.read(1)
    except OSError as error:
        if error.errno == errno.EIO:
            return None
        raise NotRunningError(
            f"cannot read {escape_text(b'%b/%b' % (top, path))}: {error.strerror}",
            "pin the view for longer, and start again",
        ) from error
    return sizes


def _sizes_below(directory: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the path from a directory, and the size, of each file at any depth below it, in order of the names."""
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            for name, size in _sizes_below(entry.path):
                yield entry.name + b"/" + name, size
        else:
            yield entry.name, entry.stat(follow_symlinks=False).st_size
