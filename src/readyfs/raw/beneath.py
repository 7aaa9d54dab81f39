"""Opening a path beneath a directory: no symbolic link is followed and nothing outside can be reached (V12).

Two ways with one outcome: `openat2(2)`, which resolves the whole path in the kernel, and `openat(2)` part by part with
`O_NOFOLLOW` where the kernel is older than 5.6 or a seccomp filter refuses the call. Mounts below the root are crossed:
a raw store may span volumes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

# include/uapi/linux/openat2.h; the system call has this number on every architecture but alpha.
_SYS_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE: Final = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS

_PATH_MAX: Final = 4096
_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_AGAIN_PAUSES_S: Final = (0.0, 0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Waits before each new try after EAGAIN, about a quarter of a second in all."""

Opener = Callable[[int, Sequence[bytes], int], int]
"""`(root_fd, parts, flags) -> fd`, as `open_beneath`."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)
_HOW_BYTES: Final = ctypes.sizeof(_OpenHow)
_NO_NAMES: Final = frozenset({b"", b".", b".."})


def open_beneath(root_fd: int, parts: Sequence[bytes], flags: int) -> int:
    """Open `parts` below the directory `root_fd` and return a close-on-exec descriptor.

    `root_fd` may be an `O_PATH` descriptor; no parts means the directory itself. With `O_PATH` in `flags` give
    `O_DIRECTORY` too: alone it opens a final symbolic link as such. Raises `OSError`: ELOOP for a symbolic link
    anywhere, EINVAL for a part that is not a single name, EAGAIN if a lease on the file was not given up in time, and
    what else `openat2(2)` documents.
    """
    opener = open_by_openat2 if has_openat2() else open_part_by_part
    return opener(root_fd, parts, flags)


def open_by_openat2(root_fd: int, parts: Sequence[bytes], flags: int) -> int:
    """Do what `open_beneath` says in one system call."""
    path = join_path(parts)
    if len(path) >= _PATH_MAX:
        return open_part_by_part(root_fd, parts, flags)
    # RESOLVE_NO_SYMLINKS refuses a final link too, and with ELOOP always; O_NOFOLLOW would let ENOTDIR come first.
    return until_not_again(lambda: _openat2(root_fd, path, flags & ~os.O_NOFOLLOW | os.O_CLOEXEC))


def open_part_by_part(root_fd: int, parts: Sequence[bytes], flags: int) -> int:
    """Do what `open_beneath` says with one `openat(2)` a part, holding no more than two descriptors at a time."""
    path = join_path(parts)
    steps = list(parts) or [b"."]
    here = root_fd
    try:
        for name in steps[:-1]:
            step = _open_part(here, name, _STEP, path)
            if here != root_fd:
                os.close(here)
            here = step
        return until_not_again(lambda: _open_part(here, steps[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, path))
    finally:
        if here != root_fd:
            os.close(here)


@cache
def has_openat2() -> bool:
    """Whether this kernel offers `openat2(2)` to this process; found out once."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(root, b".", _STEP))
    except OSError:
        # ENOSYS from an old kernel, EPERM from a seccomp filter that does not know the call. Opening "/" fails for
        # no reason of the file system's own, so any error means that the call is not to be had.
        return False
    finally:
        os.close(root)
    return True


def join_path(parts: Sequence[bytes]) -> bytes:
    """Return the parts as one path; raise `OSError` (EINVAL) if one of them is not a single name."""
    path = b"/".join(parts)
    if not _NO_NAMES.isdisjoint(parts) or b"\0" in path or path.count(b"/") >= max(len(parts), 1):
        raise OSError(errno.EINVAL, "not a single path component", os.fsdecode(path))
    return path or b"."


def until_not_again(attempt: Callable[[], int]) -> int:
    """Repeat an open that answers EAGAIN: a rename raced with openat2, or a lease on the file is being broken."""
    for pause_s in _AGAIN_PAUSES_S:
        try:
            return attempt()
        except BlockingIOError:
            time.sleep(pause_s)
    return attempt()


def _openat2(dir_fd: int, path: bytes, flags: int) -> int:
    how = _how(flags)
    while True:
        fd: int = _libc.syscall(_SYS_OPENAT2, dir_fd, path, how, _HOW_BYTES)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code != errno.EINTR:  # os.open tries again after EINTR (PEP 475), and so do we
            raise OSError(code, os.strerror(code), os.fsdecode(path))


@cache
def _how(flags: int) -> _OpenHow:
    """Return what the call is told; the kernel only reads it, and there are a handful of flags."""
    return _OpenHow(flags=flags, mode=0, resolve=_RESOLVE)


def _open_part(dir_fd: int, name: bytes, flags: int, path: bytes) -> int:
    try:
        return os.open(name, flags, dir_fd=dir_fd)
    except OSError as error:
        code = error.errno or errno.EIO
        # With O_DIRECTORY a symbolic link is answered with ENOTDIR; openat2 says ELOOP, and both ways must agree.
        if code == errno.ENOTDIR and _is_symlink(dir_fd, name):
            code = errno.ELOOP
        raise OSError(code, os.strerror(code), os.fsdecode(path)) from None


def _is_symlink(dir_fd: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False  # gone or changed meanwhile: the first error stands
