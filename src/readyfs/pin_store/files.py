"""The files of a pin store: every system call on them, below one open directory and through no link.

Others write there, too. So a name is looked up from directory to directory, and whatever is no regular file is never
waited for. A file comes under a temporary name, and gets its own once it is on the disk.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

Where: TypeAlias = tuple[str, ...]
"""Names that lead from the directory of the store to something in it."""

TEMPORARY: Final = "tmp"
CLOCK: Final = "clock"
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IS_ANOTHERS: Final = frozenset({errno.EPERM, errno.EACCES})
_IS_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR})


class ForeignFileError(Exception):
    """Something is there that is no file of ours; the text says what."""


class Stamped(NamedTuple):
    """The content of a file, and when it was written by the clock of the store."""

    content: bytes
    written_s: float


class Files:
    """The files below a directory that is open; `holder` tells this mount from all others.

    Files and directories take group and permissions from the directory. Raises `OSError`, and what is said of each.
    """

    def __init__(self, descriptor: int, holder: str) -> None:
        self.holder = holder
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._group = found.st_gid
        self._directory_mode = stat.S_IMODE(found.st_mode) & 0o3777
        # What is made by somebody who is in no such group could be read by nobody else.
        self._is_of_the_group = bool(found.st_mode & 0o070) and not found.st_mode & 0o007
        # Where nobody may remove the files of others, nobody shall write into them either.
        self._file_mode = found.st_mode & (0o644 if found.st_mode & stat.S_ISVTX else 0o666) | 0o600

    @classmethod
    @contextmanager
    def opened(cls, directory: Path, holder: str) -> Iterator[Files]:
        """Open the directory as long as the context lasts, so that it stays the same one."""
        descriptor = os.open(directory, _DIRECTORY)
        try:
            yield cls(descriptor, holder)
        finally:
            os.close(descriptor)

    # ---- reading --------------------------------------------------------------------------------------------

    def names(self, where: Where = ()) -> list[str]:
        """Return the names in a directory, in order; none if there is no directory."""
        try:
            with self._open(where) as descriptor:
                return sorted(os.listdir(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, where: Where, most: int) -> Stamped | None:
        """Return a file of at most so many bytes, None if there is none; raise `ForeignFileError`."""
        try:
            with self._open(where[:-1]) as directory:
                descriptor = os.open(where[-1], os.O_RDONLY | _FLAGS, dir_fd=directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _foreign(error) from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ForeignFileError("it is no regular file")
            if found.st_size > most:
                raise ForeignFileError("it is too large")
            return Stamped(_read_all(descriptor, found.st_size), found.st_mtime)
        finally:
            os.close(descriptor)

    def stat(self, where: Where) -> os.stat_result | None:
        """Tell what there is at a name, None if there is none."""
        try:
            with self._open(where[:-1]) as directory:
                return os.stat(where[-1], dir_fd=directory, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def now_s(self) -> float:
        """Return what time it is by the clock of the store, which is no clock of this machine."""
        try:
            with self._open((CLOCK,)) as directory:
                descriptor = os.open(self.holder, os.O_WRONLY | _FLAGS, dir_fd=directory)
        except FileNotFoundError:
            return self.put((CLOCK, self.holder), ())
        try:
            os.utime(descriptor)
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)

    # ---- writing --------------------------------------------------------------------------------------------

    def make_directory(self, where: Where) -> None:
        """Make a directory, and those above it, if they are not there."""
        for end in range(1, len(where) + 1):
            with self._open(where[: end - 1]) as above:
                try:
                    os.mkdir(where[end - 1], self._directory_mode, dir_fd=above)
                except FileExistsError:
                    continue
                with self._open(where[:end]) as made:
                    try:
                        self._take_over(made, self._directory_mode)
                    except PermissionError:
                        os.rmdir(where[end - 1], dir_fd=above)
                        raise
                os.fsync(above)

    def put(self, where: Where, content: Iterable[bytes]) -> float:
        """Write a file in the place of what was there, on the disk and in one step; return when, by the store's clock.

        The directory has to be there.
        """
        with self._written(content) as (temporary, written_s, tmp), self._open(where[:-1]) as directory:
            os.rename(temporary, where[-1], src_dir_fd=tmp, dst_dir_fd=directory)
            os.fsync(directory)
        return written_s

    def put_new(self, where: Where, content: bytes) -> bool:
        """Do so if there is nothing; return False, and write nothing, if there is."""
        with self._written((content,)) as (temporary, _, tmp), self._open(where[:-1]) as directory:
            try:
                os.link(temporary, where[-1], src_dir_fd=tmp, dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError:
                return False
            os.fsync(directory)
        return True

    def touch(self, where: Where) -> bool:
        """Have a file or directory written now; return False if it is somebody else's. It has to be there."""
        with self._open(where[:-1]) as directory:
            try:
                os.utime(where[-1], dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _IS_ANOTHERS:
                    raise
                return False
        return True

    def move(self, old: Where, new: Where) -> bool:
        """Rename something; return False if it is gone, or somebody else's, or a directory is in the way."""
        try:
            with self._open(old[:-1]) as source, self._open(new[:-1]) as target:
                os.rename(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target)
                os.fsync(target)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in {*_IS_ANOTHERS, errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    def move_new(self, old: Where, new: Where) -> bool:
        """Do so with a file if there is nothing at the new name."""
        with self._open(old[:-1]) as source, self._open(new[:-1]) as target:
            try:
                os.link(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except (FileExistsError, FileNotFoundError):
                return False
        self.remove(old)
        return True

    def remove(self, where: Where) -> bool:
        """Remove a file; return False if it is somebody else's, or no file."""
        try:
            with self._open(where[:-1]) as directory:
                os.unlink(where[-1], dir_fd=directory)
        except FileNotFoundError:
            return True
        except (PermissionError, IsADirectoryError):
            return False
        return True

    def remove_directory(self, where: Where) -> bool:
        """Remove an empty directory; return False if that cannot be."""
        try:
            with self._open(where[:-1]) as directory:
                os.rmdir(where[-1], dir_fd=directory)
        except FileNotFoundError:
            return True
        except (PermissionError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def remove_temporary(self) -> None:
        """Remove what a former life of this mount was writing when it was killed."""
        for name in self.names((TEMPORARY,)):
            if name.startswith(f"{self.holder}-"):
                self.remove((TEMPORARY, name))

    # ---- within ---------------------------------------------------------------------------------------------

    @contextmanager
    def _written(self, content: Iterable[bytes]) -> Iterator[tuple[str, float, int]]:
        """Write a file under a temporary name, which is gone when the context ends; yield it, when, and where."""
        name = f"{self.holder}-{secrets.token_hex(8)}"
        with self._open((TEMPORARY,)) as directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
            descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                try:
                    self._take_over(descriptor, self._file_mode)
                    for piece in content:
                        _write_all(descriptor, piece)
                    os.utime(descriptor)  # by the clock of the store, where a file system has the writer say it
                    os.fsync(descriptor)
                    written_s = os.fstat(descriptor).st_mtime
                finally:
                    os.close(descriptor)
                yield name, written_s, directory
            finally:
                with suppress(OSError):
                    os.unlink(name, dir_fd=directory)

    @contextmanager
    def _open(self, where: Where) -> Iterator[int]:
        """Open a directory of the store, through no link."""
        descriptor = os.dup(self._descriptor)
        try:
            for name in where:
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _take_over(self, descriptor: int, mode: int) -> None:
        """Give what was made the group and mode of the store; raise `PermissionError` if others could not use it."""
        found = os.fstat(descriptor)
        if found.st_gid != self._group:
            with suppress(PermissionError):
                os.fchown(descriptor, -1, self._group)
        if stat.S_IMODE(found.st_mode) != mode:  # whatever the umask is
            os.fchmod(descriptor, mode)
        # For somebody who is not in the group the kernel takes the set-group-ID bit away, and says nothing.
        found = os.fstat(descriptor)
        if self._is_of_the_group and (found.st_gid != self._group or stat.S_IMODE(found.st_mode) != mode):
            raise PermissionError(errno.EPERM, "it is not in the group of the directory")


def _read_all(descriptor: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0:
        piece = os.read(descriptor, size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _foreign(error: OSError) -> Exception:
    """Return what says that there is no file of ours, or the error itself if it is of the disk."""
    if error.errno in _IS_NO_FILE or isinstance(error, NotADirectoryError):
        return ForeignFileError("it is no regular file")
    return error
