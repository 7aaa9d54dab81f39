"""The pin store: whether it can be entered and written, is one that this release can use, and on what it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from readyfs.catalog.build import CatalogShape
from readyfs.doctor.finding import Finding, good, note, problem, quote, refused, show, warning
from readyfs.doctor.raw import is_remote
from readyfs.doctor.subject import Subject
from readyfs.errors import PinStoreError
from readyfs.fuse.mount_table import mount_containing, read_mount_table
from readyfs.layout import DEFAULT_MOUNT_LAYOUT, MountLayout
from readyfs.pin_store.places import MARKER, refuse_foreign
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Identity
from readyfs.text import escape_text

_NOBODY: Final = "0" * 32
"""A holder that never writes."""


def look_at_pin_store(subject: Subject) -> Iterator[Finding]:
    """See what a mount would meet, and change nothing."""
    path = subject.pin_store
    assert path is not None
    if not os.path.lexists(path):
        remedy = f"mkdir -m 2770 {quote(path)}  # or mount what holds it"
        yield warning("pin-store", f"the pin store {show(path)} is not there: nothing can be pinned", remedy)
        return
    if not path.is_dir():
        yield problem("pin-store", f"the pin store {show(path)} is no directory", "name a directory with --pin-store")
        return
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        yield warning(
            "pin-store",
            f"the pin store {show(path)} is on storage that is mounted read-only: nothing can be pinned or found",
            f"mount -o remount,rw {quote(path)}  # or what holds it",
        )
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield warning(
            "pin-store",
            f"this user may not read and write the pin store {show(path)}: nothing can be pinned",
            f"chmod 2770 {quote(path)}  # and have the daemon in its group",
        )
        return
    names = sorted(os.listdir(path))
    if MARKER in names:
        shape = CatalogShape(MountLayout.parse(DEFAULT_MOUNT_LAYOUT), subject.raw_layout)
        try:
            PinStore(path, Identity("", {}), _NOBODY, shape, 0.0).resolve("nobody")
        except PinStoreError as error:
            yield refused("pin-store", error)
            return
        yield good("pin-store", f"{show(path)} is a pin store, and can be written")
    else:
        try:
            refuse_foreign(path, names)
        except PinStoreError as error:
            yield refused("pin-store", error)
            return
        yield good("pin-store", f"{show(path)} is empty, and can be written: the first mount makes it a pin store")
    yield from _look_at_storage(subject, path)


def _look_at_storage(subject: Subject, path: Path) -> Iterator[Finding]:
    mount = mount_containing(read_mount_table(subject.places.mount_table), Path(os.path.realpath(path)))
    if mount is not None and is_remote(mount.fs_type):
        yield note(
            "pin-store-filesystem",
            f"the pin store lies on {escape_text(mount.fs_type)} ({escape_text(mount.source)}): when it hangs, views "
            "of other mounts are EIO after --pin-store-timeout, and the rest goes on",
            "readyfs config show  # pin-store-timeout",
        )
