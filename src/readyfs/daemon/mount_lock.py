"""The lock per mount point: two daemons can never serve one place, however close together they start."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readyfs.errors import MountPointError, UsageError
from readyfs.own_file import name_mount
from readyfs.text import escape_text


@contextmanager
def hold_mount_lock(state_dir: Path, mountpoint: Path) -> Iterator[None]:
    """Hold the lock of a resolved mount point for as long as the context lasts.

    Creates `state_dir` (0700). Raises `MountPointError` if another process holds the lock, `UsageError` if the
    directory cannot be used. The lock is a flock(2): it ends with the process, whatever ends it.
    """
    shown = escape_text(str(state_dir))
    try:
        locks = state_dir / "locks"
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        locks.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(locks / f"{name_mount(mountpoint)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"state directory {shown}: {error.strerror}", "choose one that can be written with --state-dir"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            where, owner = escape_text(str(mountpoint)), os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise MountPointError(
                f"{where}: another readyfs{f' (pid {owner})' if owner else ''} is mounting it, serving it, or still "
                "serving files that were open when it was stopped",
                f"see `readyfs status`, or end it and wait for that with: readyfs umount {shlex.quote(where)}",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)
