"""Which errno a client is answered with, EIO above all, and why; decided nowhere else."""

from __future__ import annotations

import errno
from typing import Final

from readyfs import errors

_ERRNO: Final[dict[type[Exception], int]] = {
    # A bug: the reader must neither take it for absence nor wait for ever, and the mount goes on.
    Exception: errno.EIO,
    # A system error keeps its own number. One without a number, or with 0, would be taken for success.
    OSError: errno.EIO,
    # An error of ours that has no row is loud.
    errors.FilesystemError: errno.EIO,
    # EIO and never ENOENT: a reader that skips what is missing would return less data without an error (V10, V11).
    errors.BrokenRunError: errno.EIO,
    errors.StaleCatalogError: errno.EIO,
    errors.UnreadableHistoryError: errno.EIO,
    # Nobody knows whether there is such a view, and ENOENT would say that there is none.
    errors.UnreadablePinStoreError: errno.EIO,
    # Past --raw-timeout, or at the end of the daemon: nothing is known of the file, and nobody may wait for ever.
    errors.RawStoreUnresponsiveError: errno.EIO,
    # What the client's signal asked for, as read(2) and open(2) say.
    errors.RequestInterruptedError: errno.EINTR,
    errors.NotADirectoryNodeError: errno.ENOTDIR,
    # As readlink(2) has it.
    errors.NotALinkError: errno.EINVAL,
    errors.IsADirectoryNodeError: errno.EISDIR,
    # The kernel looks the path up once more after this.
    errors.StaleHandleError: errno.ESTALE,
    # The kernel lets longer names through to us than other filesystems have (FUSE_NAME_MAX, 1024).
    errors.NameTooLongError: errno.ENAMETOOLONG,
    errors.NoSuchAttributeError: errno.ENODATA,
    # ls and cp remember ENOTSUP for the whole filesystem and stop asking; ENODATA they ask again for every file.
    errors.AttributesUnsupportedError: errno.ENOTSUP,
    # The kernel itself stops asking after the first ENOSYS.
    errors.AttributesDisabledError: errno.ENOSYS,
    # To this reader the system's table is full; EMFILE would blame the reader's own limit.
    errors.TooManyHandlesError: errno.ENFILE,
}

# What an engine answers by itself, where the filesystem raised nothing.
ABSENT: Final = errno.ENOENT
"""No such name, and the kernel must not remember so. Nothing else is ever answered with ENOENT."""
READ_ONLY: Final = errno.EROFS
"""What would change something comes only after somebody remounted for writing."""
UNSUPPORTED: Final = errno.ENOSYS
"""The kernel does without the request from now on, and sends it no more."""
NO_IOCTL: Final = errno.ENOTTY
"""As ioctl(2) has it of a file that knows no such request."""
VALUE_TOO_LONG: Final = errno.ERANGE
"""The reader's buffer is too small: getxattr(2)."""
UNKNOWN_INTERRUPT: Final = errno.EAGAIN
"""The kernel sends the interrupt again, if it still matters then."""
MALFORMED: Final = errno.EIO
"""A request whose size is wrong cannot be understood."""


def errno_of(error: Exception) -> int:
    """Return the errno of whatever was raised instead of an answer; of the nearest ancestor that has a row."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return next(_ERRNO[cls] for cls in type(error).__mro__ if cls in _ERRNO)
