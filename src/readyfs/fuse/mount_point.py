"""Whether a mount point is fit to be mounted on, after what a dead mount left there was cleared.

Each refusal is one line that names the thing and the remedy. Nothing here looks below a mount: what is mounted is
learned from the mount table, and only whether one of ours is dead is asked, with a time limit.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from readyfs.errors import MountPointError
from readyfs.fuse.mount_table import (
    Answer,
    Mount,
    ask_mount,
    mount_containing,
    mounts_at,
    read_mount_table,
    resolve_mount_point,
)
from readyfs.fuse.unmount import detach
from readyfs.privileges import Capability, has_capability
from readyfs.text import escape_text

_MOST_DEAD_MOUNTS: Final = 64


@dataclass(frozen=True, slots=True)
class Reserved:
    """A path of our own that a mount point must not touch, and what it is, e.g. "raw root"."""

    path: Path
    what: str


def prepare_mount_point(path: Path, reserved: Sequence[Reserved]) -> None:
    """Clear what a dead readyfs left at the mount point, then make sure that it can be mounted on.

    Raises `MountPointError` if something is mounted there (a readyfs that does not answer is said to be one), if it is
    missing, a symbolic link, not a directory, not empty or not ours to use, and if it is, holds or lies in one of the
    `reserved` paths (links and bind mounts resolved).
    """
    place = resolve_mount_point(path)
    _clear_dead(place)
    check_mount_point(place, reserved)


def check_mount_point(place: Path, reserved: Sequence[Reserved]) -> None:
    """Raise what `prepare_mount_point` raises, at a resolved mount point, and change nothing."""
    _refuse_mounted(place)
    _refuse_unfit(place)
    check_overlap(place, reserved)
    _refuse_not_empty(place)


def check_overlap(place: Path, reserved: Sequence[Reserved]) -> None:
    """Raise `MountPointError` if a resolved mount point is, holds or lies in one of the paths of our own."""
    table = read_mount_table()
    here = _location(table, place)
    for item in reserved:
        real = Path(os.path.realpath(item.path))
        _refuse_overlap(place, item, ((place, real), (here, _location(table, real))))


def _refuse_overlap(place: Path, item: Reserved, spellings: Sequence[tuple[Path, Path]]) -> None:
    for ours, theirs in spellings:
        if ours == theirs:
            relation = "is"
        elif ours.is_relative_to(theirs):
            relation = "lies inside"
        elif theirs.is_relative_to(ours):
            relation = "would hide"
        else:
            continue
        raise MountPointError(
            f"mount point {_show(place)} {relation} the {item.what} {_show(item.path)}",
            f"choose a mount point apart from the {item.what}",
        )


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))


def _quote(path: Path) -> str:
    """Return a path as one word for a shell."""
    return escape_text(os.fsencode(shlex.quote(os.fspath(path))))


def _clear_dead(place: Path) -> None:
    for _ in range(_MOST_DEAD_MOUNTS):
        stack = mounts_at(place)
        if not stack or not stack[-1].is_readyfs:
            return
        answer = ask_mount(stack[-1])
        if answer is Answer.NONE:
            raise MountPointError(
                f"readyfs is already mounted at {_show(place)}, and its daemon does not answer",
                f"`readyfs status {_quote(place)}` names it: kill -CONT it, or kill -9 it and mount again",
            )
        if answer is Answer.SERVED:
            return
        detach(place)
        structlog.get_logger("readyfs.mount").warning(
            "cleared a dead mount", mountpoint=_show(place), source=escape_text(stack[-1].source)
        )


def _refuse_mounted(place: Path) -> None:
    stack = mounts_at(place)
    if not stack:
        return
    top = stack[-1]
    if top.is_readyfs:
        raise MountPointError(
            f"readyfs is already mounted at {_show(place)}", f"end it with: readyfs umount {_quote(place)}"
        )
    raise MountPointError(
        f"{escape_text(top.fs_type)} ({escape_text(top.source)}) is already mounted at {_show(place)}",
        "choose another mount point" if place == Path("/") else "choose another mount point, or unmount that first",
    )


def _refuse_unfit(place: Path) -> None:
    try:
        mode = place.lstat().st_mode
        target = place.readlink() if stat.S_ISLNK(mode) else None
    except FileNotFoundError:
        raise MountPointError(
            f"mount point {_show(place)} does not exist", f"create it with: mkdir -p {_quote(place)}"
        ) from None
    except OSError as error:
        raise _unreadable(place, error) from None
    if target is not None:
        raise MountPointError(
            f"mount point {_show(place)} is a symbolic link to {_show(target)}", "give the directory that it points to"
        )
    if not stat.S_ISDIR(mode):
        raise MountPointError(f"mount point {_show(place)} is not a directory", "give an empty directory")
    # fusermount3 demands this, and says so less clearly; mount(2) does not.
    if not has_capability(Capability.SYS_ADMIN) and not os.access(place, os.W_OK, effective_ids=True):
        raise MountPointError(
            f"mount point {_show(place)} is not writable for you", "give an empty directory of your own"
        )


def _refuse_not_empty(place: Path) -> None:
    try:
        with os.scandir(place) as found:
            first = next(found, None)
    except PermissionError:
        return  # as the directory below should be: nobody who may not list it can miss anything
    except OSError as error:
        raise _unreadable(place, error) from None
    if first is not None:
        raise MountPointError(
            f"mount point {_show(place)} is not empty (it holds {escape_text(os.fsencode(first.name))})",
            "give an empty directory",
        )


def _unreadable(place: Path, error: OSError) -> MountPointError:
    return MountPointError(
        f"mount point {_show(place)} cannot be looked at ({error.strerror})", "check its parent directories"
    )


def _location(table: Sequence[Mount], path: Path) -> Path:
    """Return where a path lies on its file system, as `MAJOR:MINOR/path`: the same for all bind mounts of it."""
    mount = mount_containing(table, path)
    if mount is None:
        return path
    major, minor = mount.device
    return Path(f"{major}:{minor}", mount.root.relative_to("/"), path.relative_to(mount.mount_point))
