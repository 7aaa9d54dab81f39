"""The one table from our errors to errno."""

from __future__ import annotations

import errno
from typing import Final

from readyfs import errors

_ERRNO: Final[dict[type[errors.FilesystemError], int]] = {
    errors.NotADirectoryNodeError: errno.ENOTDIR,
    errors.IsADirectoryNodeError: errno.EISDIR,
    # EIO and never ENOENT: a reader that skips what is missing would return less data without an error (V10, V11).
    errors.BrokenRunError: errno.EIO,
    errors.StaleCatalogError: errno.EIO,
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


def errno_of(error: errors.FilesystemError) -> int:
    """Return the errno of an error of ours; of the nearest ancestor where the class itself has no row."""
    return next((_ERRNO[cls] for cls in type(error).__mro__ if cls in _ERRNO), errno.EIO)
