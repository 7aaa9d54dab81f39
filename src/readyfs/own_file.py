"""Files of ours: what they are named after a mount, and small ones that are replaced in one step.

A process or a machine that dies leaves the old content or the new. Only one thread at a time uses a file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path


class UnreadableFileError(Exception):
    """A file is there and is not ours, or cannot be read; the text says why."""


def name_mount(mountpoint: Path) -> str:
    """Return what stands for a mount point in the names of its files: 32 hexadecimal digits."""
    return hashlib.blake2b(os.fsencode(mountpoint), digest_size=16).hexdigest()


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk (fsync(2)); raise `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_own_file(path: Path, max_bytes: int) -> bytes | None:
    """Return the content, None if there is no file; raise `UnreadableFileError`."""
    try:
        # Without waiting for a FIFO, and without following a link: neither is ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableFileError(error.strerror) from error
    try:
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFileError("it is no regular file")
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UnreadableFileError(error.strerror) from error
    if len(content) > max_bytes:
        raise UnreadableFileError("it is too large")
    return content


def replace_own_file(path: Path, content: bytes) -> None:
    """Put content in the place of what was there, on the disk and in one step; raise `OSError`.

    The directory is made if it is not there. Its parent has to be.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        temporary.unlink()  # of a daemon that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)  # the new name is on the disk only then
