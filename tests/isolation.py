"""What each of the processes that run tests beside each other has for itself: mounts, temporary files and ports.

A process in a mount namespace of its own sees no other's mounts, and its mounts go when it ends, whatever ends it.
Tests that look at all mounts there are, or at the whole temporary directory, so look at their own process's alone.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x20000
"""include/uapi/linux/sched.h, unshare(2)."""
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
"""include/uapi/linux/mount.h, mount(2)."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def worker_number() -> int:
    """Return the number of this process among those that run tests, 0 for the only one."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def unshare_mounts() -> None:
    """Give the calling thread, and all that it starts from now on, mounts of their own; only root may (unshare(2))."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount")


def make_temporary_directory() -> Path:
    """Make a directory, open to every user as /tmp is, and have `tempfile` and all children take it for theirs.

    Its path is short, because sockets below it have to fit into 107 bytes (unix(7)).
    """
    directory = Path(tempfile.mkdtemp(prefix=f"readyfs-t{worker_number()}-"))
    directory.chmod(0o1777)
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    return directory


def remove_temporary_directory(directory: Path) -> None:
    """Remove what `make_temporary_directory` made, and all that is in it."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory.parent)
    shutil.rmtree(directory)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), call)
