"""Mount points and paths in mounts, found without touching a mount: from names, links above it, and the mount table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.errors import UsageError
from readyfs.fuse.mount_table import read_mount_table, resolve_mount_point, stack_at
from readyfs.text import escape_text

_MOST_LINKS: Final = 40
"""As many as the kernel follows (path_resolution(7))."""


class PathInMount(NamedTuple):
    """A path with the mount that it leads into; below the mount point its links are not followed."""

    mountpoint: Path
    path: str


def resolve_named(mountpoint: str) -> Path:
    """Return the one spelling of a mount point that a user named; raise `UsageError` if that cannot be told."""
    if not mountpoint:
        # As a path it would be the working directory, which nobody means who writes "$DIR" and has not set it.
        raise UsageError("the mount point is empty", "name a directory; an unset variable perhaps?")
    try:
        return resolve_mount_point(mountpoint)
    except OSError as error:
        raise UsageError(
            f"cannot tell where {escape_text(mountpoint)} is: {error.strerror}", "give an absolute path"
        ) from error


def find_in_mount(path: str) -> PathInMount | None:
    """Return where a path leads into a mount of ours, None if it leads into none; raise `UsageError`.

    Links are followed as far as the mount point. What is there or below it is not touched, so that a mount that hangs
    holds nothing up.
    """
    table = read_mount_table()
    ours = {mount.mount_point for mount in table if mount.is_readyfs}
    names = _split(path)
    if not path.startswith("/"):
        names += _split(_working_directory())
    here, links = Path("/"), 0
    inside: PathInMount | None = None
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            if inside is not None and not here.is_relative_to(inside.mountpoint):
                inside = None
            continue
        here = here / name
        if inside is not None:
            continue
        if here in ours and (stack := stack_at(table, here)) and stack[-1].is_readyfs:
            inside = PathInMount(here, "")
            continue
        try:
            target = os.readlink(here)  # noqa: PTH115 - a path would lose what is not in its normal form
        except OSError:
            continue  # no link, or nothing at all: the words alone say where it leads
        links += 1
        if links > _MOST_LINKS:
            return None
        names.extend(_split(target))
        here = Path("/") if target.startswith("/") else here.parent
    return None if inside is None else inside._replace(path=str(here))


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - as above
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be found: {error.strerror}", "change to another, or give an absolute path"
        ) from error


def _split(path: str) -> list[str]:
    """Return the names of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
