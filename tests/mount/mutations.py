"""Every call that would change something, tried on a mount: a program of its own, so that it can be another user.

`python mutations.py TOP DIRECTORY FILE MISSING UID` stands in TOP, becomes UID, tries each call on paths relative to it
and prints a JSON object from the call's name to the name of the errno, or to `"succeeded"`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import sys
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FS_IOC_SETFLAGS = 0x40086602


def _call(name: str, *arguments: object) -> None:
    converted = [os.fsencode(arg) if isinstance(arg, str) else arg for arg in arguments]
    if getattr(_libc, name)(*converted) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o666))


def _with_file(path: str, act: Callable[[int], object]) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        act(fd)
    finally:
        os.close(fd)


def changes(directory: str, file: str, missing: str) -> dict[str, Callable[[], object]]:
    """Return every call by name; each needs the mount to be writable and must be refused as read-only."""
    return {
        "open O_WRONLY": lambda: _open(file, os.O_WRONLY),
        "open O_RDWR": lambda: _open(file, os.O_RDWR),
        "open O_TRUNC": lambda: _open(file, os.O_RDONLY | os.O_TRUNC),
        "open O_WRONLY|O_APPEND": lambda: _open(file, os.O_WRONLY | os.O_APPEND),
        "open O_RDWR|O_DIRECT": lambda: _open(file, os.O_RDWR | os.O_DIRECT),
        "open O_CREAT": lambda: _open(missing, os.O_WRONLY | os.O_CREAT),
        "open O_CREAT|O_EXCL": lambda: _open(missing, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        "open O_TMPFILE": lambda: _open(directory, os.O_WRONLY | os.O_TMPFILE),
        "mkdir": lambda: os.mkdir(missing),
        "mkdir in a run": lambda: os.mkdir(f"{directory}/new"),
        "rmdir": lambda: os.rmdir(directory),
        "unlink": lambda: os.unlink(file),
        "rename": lambda: os.rename(file, missing),
        "rename a directory": lambda: os.rename(directory, missing),
        "renameat2 RENAME_EXCHANGE": lambda: _call(
            "renameat2", _AT_FDCWD, file, _AT_FDCWD, directory, _RENAME_EXCHANGE
        ),
        "link": lambda: os.link(file, missing),
        "symlink": lambda: os.symlink("anything", missing),
        "mknod file": lambda: os.mknod(missing, 0o100644),
        "mknod fifo": lambda: os.mkfifo(missing),
        "chmod": lambda: os.chmod(file, 0o666),
        "chmod a directory": lambda: os.chmod(directory, 0o777),
        "fchmod": lambda: _with_file(file, lambda fd: os.fchmod(fd, 0o666)),
        "chown": lambda: os.chown(file, os.getuid(), os.getgid()),
        "lchown": lambda: os.lchown(file, os.getuid(), os.getgid()),
        "fchown": lambda: _with_file(file, lambda fd: os.fchown(fd, os.getuid(), os.getgid())),
        "utime": lambda: os.utime(file),
        "utime with times": lambda: os.utime(file, (1, 1)),
        "utime of a directory": lambda: os.utime(directory, (1, 1)),
        "futimens": lambda: _with_file(file, lambda fd: os.utime(fd, (1, 1))),
        "truncate": lambda: os.truncate(file, 0),
        "truncate longer": lambda: os.truncate(file, 1 << 20),
        "setxattr": lambda: os.setxattr(file, "user.readyfs.run_id", b"other"),
        "setxattr of a new name": lambda: os.setxattr(file, "user.mine", b"x"),
        "setxattr of a directory": lambda: os.setxattr(directory, "user.mine", b"x"),
        "removexattr": lambda: os.removexattr(file, "user.readyfs.run_id"),
    }


def other_refusals(directory: str, file: str) -> dict[str, Callable[[], object]]:
    """Return calls that a read-only mount refuses in another way: mostly for want of a writable descriptor."""
    return {
        "write to a read-only descriptor": lambda: _with_file(file, lambda fd: os.write(fd, b"x")),
        "ftruncate": lambda: _with_file(file, lambda fd: os.ftruncate(fd, 0)),
        "fallocate": lambda: _with_file(file, lambda fd: os.posix_fallocate(fd, 0, 4096)),
        "copy_file_range into": lambda: _with_file(
            file, lambda fd: _with_file(file, lambda to: os.copy_file_range(fd, to, 1))
        ),
        "sendfile into": lambda: _with_file(file, lambda fd: _with_file(file, lambda to: os.sendfile(to, fd, 0, 1))),
        "shared writable mapping": lambda: _with_file(
            file, lambda fd: mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        ),
        "write lock": lambda: _with_file(file, lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        "FS_IOC_SETFLAGS": lambda: _with_file(file, lambda fd: fcntl.ioctl(fd, _FS_IOC_SETFLAGS, bytes(8))),
        "mkdir of what exists": lambda: os.mkdir(directory),
        "execute": lambda: os.execv(file, [file]),
    }


def answer(call: Callable[[], object]) -> str:
    """Return the name of the errno that a call failed with."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "succeeded"


def main() -> None:
    """Try everything and print what came of it."""
    top, directory, file, missing, uid = sys.argv[1:]
    os.chdir(top)  # as root: the way to the mount may be closed to others
    if int(uid) != os.getuid():
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
    result: dict[str, object] = {name: answer(call) for name, call in changes(directory, file, missing).items()}
    others = {name: answer(call) for name, call in other_refusals(directory, file).items()}
    writable = {path: os.access(path, os.W_OK) for path in (".", directory, file)}
    with open(file, "rb") as opened:
        print(json.dumps({"changes": result, "others": others, "writable": writable, "first": opened.read(1).hex()}))


if __name__ == "__main__":
    main()
