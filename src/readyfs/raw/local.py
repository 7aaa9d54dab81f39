"""Runs in a directory tree of this machine (a local or a network file system)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Final

from readyfs import native
from readyfs.errors import RawRootError
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.beneath import Opener, has_openat2, open_beneath, until_not_again
from readyfs.raw.native_look import NativeLook
from readyfs.raw.places import Places
from readyfs.raw.store import EntryKind, NotRegularError, RawEntry, RawStat, UnreadableFileError
from readyfs.text import escape_text

_ROOT_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK a fifo that someone put in place of a file would hold the open for ever.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_LIST_FLAGS: Final = _FILE_FLAGS | os.O_DIRECTORY

_ODD: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63


class LocalRawStore:
    """Opens runs beneath `root`, which is opened afresh by its path each time.

    So a raw root that was unmounted and mounted again heals by itself. Safe to call from several threads: nothing
    changes after construction. Nothing below the root is ever opened for writing. With the `compiled` module, a look or
    an open is one call of that (which knows openat2(2) alone).
    """

    __slots__ = ("_native", "_open", "_places", "_root", "label")

    def __init__(
        self,
        root: Path,
        layout: RawLayout,
        *,
        opener: Opener = open_beneath,
        compiled: ModuleType | None = native.module,
    ) -> None:
        self._root = root.absolute()
        self._places = Places(layout)
        self._open = opener
        self._native = NativeLook(compiled, os.fsencode(self._root)) if compiled is not None and has_openat2() else None
        self.label = escape_text(os.fsencode(self._root))

    def list_directory(
        self, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
    ) -> tuple[RawEntry, ...]:
        """List a directory of the partition's run, sorted by name; see `RawStore.list_directory`.

        An entry that vanishes while the directory is read is left out; any other failure to look at one is raised.
        """
        path = self._places.of_path(partition, relpath)
        if self._native is not None:
            listed = self._native.list_directory(path, tuple(readable))
            if listed is not None:
                return listed
        fd = self._open_beneath_root(path, _LIST_FLAGS)
        try:
            with os.scandir(fd) as found:
                entries = [entry for item in found if (entry := _describe(fd, item, readable)) is not None]
        finally:
            os.close(fd)
        entries.sort()
        return tuple(entries)

    def open_file(self, partition: Partition, relpath: tuple[bytes, ...]) -> LocalRawFile:
        """Open a regular file of the partition's run; see `RawStore.open_file`."""
        path = self._places.of_path(partition, relpath)
        if self._native is not None:
            opened = self._native.open_file(path)
            if opened is not None:
                return LocalRawFile(*opened)
        fd = self._open_beneath_root(path, _FILE_FLAGS)
        try:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode):
                raise NotRegularError("not a regular file", os.fsdecode(path))
            return LocalRawFile(fd, _stat_of(seen))
        except BaseException:
            os.close(fd)
            raise

    def hold_file(self, partition: Partition, fd: int, stat: RawStat) -> LocalRawFile:
        """Return a file that was opened elsewhere; see `RawStore.hold_file`."""
        return LocalRawFile(fd, stat)

    def place_of(self, partition: Partition) -> bytes:
        """Return the path of the partition's run directory from the root on; see `RawStore.place_of`."""
        return self._places.of_run(partition)

    def describe(self, partition: Partition) -> str:
        """Return the path of the partition's run directory; see `RawStore.describe`."""
        return escape_text(os.fsencode(self._root) + b"/" + self.place_of(partition))

    def check(self) -> None:
        """Raise `RawRootError` if the root is missing, is not a directory, may not be entered or does not answer.

        Only search permission is asked for: the root itself is never listed.
        """
        try:
            with self._root_fd() as fd:
                os.fstatvfs(fd)
                os.stat(".", dir_fd=fd)
        except FileNotFoundError:
            raise RawRootError(
                f"raw root {self.label} does not exist", "give an existing directory with --raw"
            ) from None
        except NotADirectoryError:
            raise RawRootError(f"raw root {self.label} is not a directory", "give a directory with --raw") from None
        except PermissionError as error:
            raise RawRootError(
                f"raw root {self.label} may not be entered ({error.strerror})",
                "give the user that runs readyfs read and search permission there",
            ) from None
        except OSError as error:
            raise RawRootError(
                f"raw root {self.label} cannot be read ({error.strerror})", "check the file system that it lies on"
            ) from None

    @contextmanager
    def _root_fd(self) -> Iterator[int]:
        fd = os.open(self._root, _ROOT_FLAGS)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_beneath_root(self, path: bytes, flags: int) -> int:
        with self._root_fd() as root_fd:
            try:
                return self._open(root_fd, path.split(b"/"), flags)
            except OSError as error:
                if error.errno == errno.ENXIO:  # open(2): a socket, or a device that has no driver
                    raise NotRegularError("not a regular file", os.fsdecode(path)) from None
                if error.errno == errno.ENOTDIR and flags & os.O_DIRECTORY:
                    raise NotRegularError("not a directory", os.fsdecode(path)) from None
                raise


class LocalRawFile:
    """An open regular file; see `RawFile`.

    It closes itself when it is dropped, so that an open whose caller went away meanwhile leaves no descriptor behind.
    """

    __slots__ = ("_fd", "stat")

    def __init__(self, fd: int, stat: RawStat) -> None:
        self._fd = fd
        self.stat = stat

    def pread(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset`; fewer only at the end of the file as it is now. Raises `OSError`."""
        data = os.pread(self._fd, size, offset)
        # A network file system may answer short in the middle; at the end that is known, spare the extra call.
        while data and len(data) < size and offset + len(data) != self.stat.size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def current_stat(self) -> RawStat:
        """Return size and mtime as they are now, which is not what `stat` says if the file was written to since."""
        return _stat_of(os.fstat(self._fd))

    def fileno(self) -> int:
        """Return the descriptor, valid until `close`."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # of what was only read nothing is lost, and the descriptor is gone either way
                os.close(fd)

    def __del__(self) -> None:
        self.close()


def file_number(device: int, inode: int) -> int:
    """Return what tells a file from others, in 64 bits with a sign; `file_number` of src/native/look.c is the same.

    No two files of one device share it. Those of two devices do by accident alone.
    """
    number = (inode + device * _ODD) & _WORD
    return number - ((number & _SIGN) << 1)


def _stat_of(seen: os.stat_result) -> RawStat:
    return RawStat(seen.st_size, seen.st_mtime_ns, file_number(seen.st_dev, seen.st_ino))


def _describe(directory_fd: int, item: os.DirEntry[str], readable: Collection[bytes]) -> RawEntry | None:
    name = os.fsencode(item.name)
    # The directory itself says which kind most entries have (d_type): one that is opened need not be looked at before.
    if name in readable and item.is_file(follow_symlinks=False):
        return RawEntry(name, EntryKind.FILE, _try(directory_fd, name))
    try:
        seen = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(seen.st_mode):
        return RawEntry(name, EntryKind.FILE, _stat_of(seen))
    if stat.S_ISDIR(seen.st_mode):
        return RawEntry(name, EntryKind.DIRECTORY, _stat_of(seen)._replace(size=0))
    return None


def _try(directory_fd: int, name: bytes) -> RawStat:
    """Open a listed file and return it as it was then; a single name with O_NOFOLLOW cannot lead anywhere else."""
    try:
        fd = until_not_again(lambda: os.open(name, _FILE_FLAGS | os.O_NOFOLLOW, dir_fd=directory_fd))
    except OSError as error:
        raise UnreadableFileError(name, error) from None
    try:
        seen = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(seen.st_mode):
        raise UnreadableFileError(name, NotRegularError("not a regular file", os.fsdecode(name)))
    return _stat_of(seen)
