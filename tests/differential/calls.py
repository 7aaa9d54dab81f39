"""The system calls of the stream: each by a name, so that a failing stream reads as what was called.

`BY_PATH` take a path, `BY_DESCRIPTOR` an open file with an offset and a size. Whether the raw side's answer binds the
mounts is part of each; where it does not, because an ordinary file system may answer in another way, the mounts are
held to each other, and what they must say stands in `ruled`.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.differential import syscalls
from tests.differential.answers import Answer, Attributes, Failed, Listing, ask

FLAGS: Final = [
    *("O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_DIRECTORY", "O_NOFOLLOW", "O_PATH", "O_DIRECT", "O_NOATIME"),
    *("O_NONBLOCK", "O_SYNC", "O_NOCTTY"),
]
MODES: Final = ["O_RDONLY", "O_WRONLY", "O_RDWR"]

_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_FIEMAP: Final = 0xC020660B
_FICLONE: Final = 0x40049409
_FIONREAD: Final = 0x541B
_FIGETBSZ: Final = 2
_F_OFD_SETLK: Final = 37


@dataclass(frozen=True, slots=True)
class PathCall:
    """A call on a path; `ruled` is what every mount must say where the raw side does not bind."""

    act: Callable[[str], Answer]
    binds: bool = True
    ruled: Callable[[Answer], bool] | None = None


@dataclass(frozen=True, slots=True)
class DescriptorCall:
    """A call on a descriptor, with an offset and a size, which many ignore."""

    act: Callable[[int, int, int], Answer]
    binds: bool = True
    ruled: Callable[[Answer], bool] | None = None
    direct: bool = True
    """Whether the raw side binds a descriptor with O_DIRECT too; disk file systems want whole blocks there."""


def open_flags(mode: str, flags: tuple[str, ...]) -> int:
    """Return the number for the names of open(2) flags."""
    number: int = getattr(os, mode)
    for flag in flags:
        number |= getattr(os, flag)
    return number


def list_directory(fd: int, size: int = 32768) -> Listing:
    """Read a directory from its start to its end, the dots included; a name that comes twice is an error.

    The position is 0 again afterwards: where a directory ends is the file system's own affair, and calls that look at
    the position first would show it.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    records = []
    while some := syscalls.read_directory(fd, size):
        records += some
    os.lseek(fd, 0, os.SEEK_SET)
    names = frozenset((one.name, one.kind) for one in records)
    if len(names) != len(records):
        raise AssertionError(f"names come twice: {records}")
    return Listing(names, tuple((one.name, one.inode) for one in records if one.name not in (".", "..")))


def _list_path(path: str) -> Answer:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return list_directory(fd)
    finally:
        os.close(fd)


def _seek_back(fd: int, size: int) -> Answer:
    """telldir(3) after some records, the rest, seekdir(3), the rest again: the same, and all in all each name once."""
    os.lseek(fd, 0, os.SEEK_SET)
    first = syscalls.read_directory(fd, 600)
    if not first:
        return "empty"
    told = os.lseek(fd, 0, os.SEEK_CUR)
    rests = []
    for position in (None, told, first[-1].position):
        if position is not None:
            os.lseek(fd, position, os.SEEK_SET)
        rest: list[str] = []
        while some := syscalls.read_directory(fd, 600 + size):
            rest += [one.name for one in some]
        rests.append(rest)
    os.lseek(fd, 0, os.SEEK_SET)
    names = [one.name for one in first] + rests[0]
    return sorted(names), rests[0] == rests[1] == rests[2]


def _scan(path: str) -> Answer:
    with os.scandir(path) as found:
        return sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_file()) for entry in found)


def _enter(path: str) -> Answer:
    """chdir(2), look around, and come back."""
    home = os.open(".", os.O_PATH)
    try:
        os.chdir(path)
        return (
            Listing(frozenset((name, 0) for name in os.listdir(".")), ()),
            ask(lambda: os.stat("payload.jsonl").st_size),
            ask(lambda: sorted(os.listdir(".."))),
        )
    finally:
        os.fchdir(home)
        os.close(home)


def _read_whole(path: str) -> Answer:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _get_attribute(name: str, path: str) -> Answer:
    return os.getxattr(path, name)


def _get_attribute_into(size: int, path: str) -> Answer:
    buffer = ctypes.create_string_buffer(64)
    filled = syscalls.call("getxattr", path, "user.readyfs.run_id", buffer, ctypes.c_size_t(size))
    return filled, buffer.value


def _statx(flags: int, mask: int, path: str) -> Answer:
    return Attributes.of_statx(syscalls.ask_statx(path, flags, mask))


def _statistics(path: str) -> Answer:
    found = os.statvfs(path)
    return tuple(found)


def _is_refused(answer: Answer) -> bool:
    return isinstance(answer, Failed)


def _is_full_of_names(answer: Answer) -> bool:
    return isinstance(answer, Failed) or (isinstance(answer, tuple) and answer[9] == 255 and answer[1] > 0)


BY_PATH: Final[dict[str, PathCall]] = {
    "stat": PathCall(lambda path: Attributes.of(os.stat(path))),
    "lstat": PathCall(lambda path: Attributes.of(os.lstat(path))),
    "statx": PathCall(partial(_statx, 0, syscalls.STATX_BASIC_STATS)),
    "statx of all": PathCall(partial(_statx, syscalls.AT_SYMLINK_NOFOLLOW, syscalls.STATX_ALL)),
    "statx FORCE_SYNC": PathCall(partial(_statx, syscalls.AT_STATX_FORCE_SYNC, syscalls.STATX_BASIC_STATS)),
    "statx DONT_SYNC": PathCall(partial(_statx, syscalls.AT_STATX_DONT_SYNC, syscalls.STATX_BASIC_STATS)),
    **{
        f"access {word}": PathCall(partial(syscalls.access, mode=mode))
        for word, mode in {"F": os.F_OK, "R": os.R_OK, "W": os.W_OK, "X": os.X_OK, "RWX": 7}.items()
    },
    "faccessat EACCESS": PathCall(partial(syscalls.access, mode=os.R_OK, flags=syscalls.AT_EACCESS)),
    "listdir": PathCall(lambda path: sorted(os.listdir(path))),
    "getdents64": PathCall(_list_path),
    "scandir": PathCall(_scan),
    "chdir": PathCall(_enter),
    "read": PathCall(_read_whole),
    "readlink": PathCall(os.readlink),
    "listxattr": PathCall(lambda path: sorted(os.listxattr(path))),
    "llistxattr": PathCall(lambda path: sorted(os.listxattr(path, follow_symlinks=False))),
    **{
        f"getxattr {name}": PathCall(partial(_get_attribute, f"user.readyfs.{name}"))
        for name in ("run_id", "logical_date", "source", "updated_at", "record_count", "missing")
    },
    "getxattr user.mine": PathCall(partial(_get_attribute, "user.mine")),
    "getxattr for its size": PathCall(partial(_get_attribute_into, 0)),
    "getxattr into one byte": PathCall(partial(_get_attribute_into, 1)),
    "getxattr without a namespace": PathCall(partial(_get_attribute, "mine")),
    "getxattr of a long name": PathCall(partial(_get_attribute, "user." + "x" * 300)),
    "getxattr security.capability": PathCall(partial(_get_attribute, "security.capability"), False, _is_refused),
    "getxattr posix_acl": PathCall(partial(_get_attribute, "system.posix_acl_access"), False, _is_refused),
    "statvfs": PathCall(_statistics, False, _is_full_of_names),
}


def _sign_of_mapping(flags: int, protection: int, fd: int, offset: int, size: int) -> Answer:
    return syscalls.read_mapped(fd, size, offset, flags, protection)


def _send(fd: int, offset: int | None, size: int) -> Answer:
    target = os.memfd_create("sent")
    try:
        sent = os.sendfile(target, fd, offset, size)
        return sent, os.pread(target, sent, 0)
    finally:
        os.close(target)


def _splice(fd: int, offset: int, size: int) -> Answer:
    reader, writer = os.pipe()
    try:
        moved = os.splice(fd, writer, min(size, 4096), offset_src=offset)
        return os.read(reader, moved) if moved else b""
    finally:
        os.close(reader)
        os.close(writer)


def _copy_range(fd: int, offset: int, size: int) -> Answer:
    with tempfile.TemporaryFile() as target:
        copied = os.copy_file_range(fd, target.fileno(), size, offset_src=offset)
        return os.pread(target.fileno(), copied + 1, 0)


def _refuse_other_than(*names: str) -> Callable[[Answer], bool]:
    return lambda answer: isinstance(answer, Failed) and answer.error in names


def _lock(how: int, fd: int, offset: int, size: int) -> Answer:
    return fcntl.lockf(fd, how | fcntl.LOCK_NB, size, offset)


def _open_description_lock(kind: int, fd: int, offset: int, size: int) -> Answer:
    return fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, offset, size, 0)) is not None


def _ask_for_lock(fd: int, offset: int, size: int) -> Answer:
    wanted = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, offset, size, 0)
    return struct.unpack("hhqqi", fcntl.fcntl(fd, fcntl.F_GETLK, wanted))[0]


def _status_flags(fd: int, offset: int, size: int) -> Answer:
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def _available(fd: int, offset: int, size: int) -> Answer:
    return struct.unpack("i", fcntl.ioctl(fd, _FIONREAD, bytes(4)))[0]


def _stat_of(fd: int, offset: int, size: int) -> Answer:
    return Attributes.of(os.fstat(fd))


def _statx_of(fd: int, offset: int, size: int) -> Answer:
    return Attributes.of_statx(syscalls.ask_statx("", syscalls.AT_EMPTY_PATH, syscalls.STATX_ALL, fd))


def _seek(whence: int, fd: int, offset: int, size: int) -> Answer:
    return os.lseek(fd, offset if whence != os.SEEK_CUR else size - 4096, whence)


def _reopen(flags: int, fd: int, offset: int, size: int) -> Answer:
    again = os.open(f"/proc/self/fd/{fd}", flags)
    try:
        return ask(lambda: os.pread(again, size, offset))
    finally:
        os.close(again)


BY_DESCRIPTOR: Final[dict[str, DescriptorCall]] = {
    "pread": DescriptorCall(lambda fd, offset, size: os.pread(fd, size, offset), direct=False),
    "pread of whole pages": DescriptorCall(lambda fd, offset, size: syscalls.pread_whole_pages(fd, size, offset)),
    "pread into odd memory": DescriptorCall(
        lambda fd, offset, size: syscalls.pread_odd_memory(fd, size, offset), direct=False
    ),
    "read": DescriptorCall(lambda fd, offset, size: os.read(fd, size), direct=False),
    "readv": DescriptorCall(
        lambda fd, offset, size: os.readv(fd, [bytearray(7), bytearray(1), bytearray(size)]), direct=False
    ),
    "lseek SEEK_SET": DescriptorCall(partial(_seek, os.SEEK_SET)),
    "lseek SEEK_CUR": DescriptorCall(partial(_seek, os.SEEK_CUR)),
    "lseek SEEK_END": DescriptorCall(lambda fd, offset, size: os.lseek(fd, offset - size, os.SEEK_END)),
    "lseek SEEK_DATA": DescriptorCall(partial(_seek, os.SEEK_DATA)),
    "lseek SEEK_HOLE": DescriptorCall(partial(_seek, os.SEEK_HOLE)),
    "lseek of no kind": DescriptorCall(lambda fd, offset, size: os.lseek(fd, offset, 77)),
    "fstat": DescriptorCall(_stat_of),
    "fstatx": DescriptorCall(_statx_of),
    "mmap private": DescriptorCall(partial(_sign_of_mapping, mmap.MAP_PRIVATE, mmap.PROT_READ)),
    "mmap shared": DescriptorCall(partial(_sign_of_mapping, mmap.MAP_SHARED, mmap.PROT_READ)),
    "mmap private and write": DescriptorCall(
        lambda fd, offset, size: syscalls.read_mapped(
            fd, size, offset, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE, write=True
        )
    ),
    "mmap shared to write": DescriptorCall(
        partial(_sign_of_mapping, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    ),
    "mmap to execute": DescriptorCall(partial(_sign_of_mapping, mmap.MAP_PRIVATE, mmap.PROT_EXEC)),
    "sendfile": DescriptorCall(_send, direct=False),
    "sendfile from the position": DescriptorCall(lambda fd, offset, size: _send(fd, None, size), direct=False),
    "splice": DescriptorCall(_splice, direct=False),
    "copy_file_range out": DescriptorCall(_copy_range, False, _refuse_other_than("EXDEV", "EBADF", "EISDIR", "EINVAL")),
    "copy_file_range in": DescriptorCall(lambda fd, offset, size: os.copy_file_range(fd, fd, size, offset, 0)),
    "posix_fadvise": DescriptorCall(lambda fd, offset, size: os.posix_fadvise(fd, offset, size, 3)),
    "fsync": DescriptorCall(lambda fd, offset, size: os.fsync(fd)),
    "fdatasync": DescriptorCall(lambda fd, offset, size: os.fdatasync(fd)),
    "flistxattr": DescriptorCall(lambda fd, offset, size: sorted(os.listxattr(fd))),
    "fgetxattr": DescriptorCall(lambda fd, offset, size: os.getxattr(fd, "user.readyfs.run_id")),
    "F_GETFL": DescriptorCall(_status_flags),
    "FIONREAD": DescriptorCall(_available),
    "reopen": DescriptorCall(partial(_reopen, os.O_RDONLY)),
    "reopen to write": DescriptorCall(partial(_reopen, os.O_RDWR)),
    "flock SH": DescriptorCall(lambda fd, offset, size: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)),
    "flock EX": DescriptorCall(lambda fd, offset, size: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
    "flock UN": DescriptorCall(lambda fd, offset, size: fcntl.flock(fd, fcntl.LOCK_UN)),
    "lockf SH": DescriptorCall(partial(_lock, fcntl.LOCK_SH)),
    "lockf EX": DescriptorCall(partial(_lock, fcntl.LOCK_EX)),
    "F_GETLK": DescriptorCall(_ask_for_lock),
    "F_OFD_SETLK": DescriptorCall(partial(_open_description_lock, fcntl.F_RDLCK)),
    "write": DescriptorCall(lambda fd, offset, size: os.write(fd, b"x")),
    "pwrite": DescriptorCall(lambda fd, offset, size: os.pwrite(fd, b"x", offset)),
    "ftruncate": DescriptorCall(lambda fd, offset, size: os.ftruncate(fd, size)),
    "fallocate": DescriptorCall(lambda fd, offset, size: os.posix_fallocate(fd, offset, size + 1)),
    "fchmod": DescriptorCall(lambda fd, offset, size: os.fchmod(fd, 0o644)),
    "fchown": DescriptorCall(lambda fd, offset, size: os.fchown(fd, 1, 1)),
    "futimens": DescriptorCall(lambda fd, offset, size: os.utime(fd, (1, 1))),
    "fsetxattr": DescriptorCall(lambda fd, offset, size: os.setxattr(fd, "user.mine", b"x")),
    "fremovexattr": DescriptorCall(lambda fd, offset, size: os.removexattr(fd, "user.readyfs.run_id")),
    "read a directory": DescriptorCall(lambda fd, offset, size: list_directory(fd, 600 + size)),
    "seek in a directory": DescriptorCall(lambda fd, offset, size: _seek_back(fd, size)),
    "FS_IOC_GETFLAGS": DescriptorCall(
        lambda fd, offset, size: fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)), False, _is_refused
    ),
    "FS_IOC_FIEMAP": DescriptorCall(
        lambda fd, offset, size: fcntl.ioctl(fd, _FS_IOC_FIEMAP, bytes(32)), False, _is_refused
    ),
    "FICLONE": DescriptorCall(lambda fd, offset, size: fcntl.ioctl(fd, _FICLONE, fd), False, _is_refused),
    "FIGETBSZ": DescriptorCall(
        lambda fd, offset, size: struct.unpack("i", fcntl.ioctl(fd, _FIGETBSZ, bytes(4)))[0], False
    ),
    "ioctl of no kind": DescriptorCall(lambda fd, offset, size: fcntl.ioctl(fd, 0x12345678, bytes(8))),
    "fstatvfs": DescriptorCall(lambda fd, offset, size: tuple(os.fstatvfs(fd)), False, _is_full_of_names),
}
