"""The port through which runs are listed and their files opened and read, whatever stores them.

The vfs calls it from worker threads, several at a time; an implementation keeps no state that a call changes. Failures
are `OSError` as the kernel (or the storage client) gave them, never an empty answer: absence is not theirs to declare.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from enum import Enum, auto
from typing import NamedTuple, Protocol

from readyfs.partition import Partition


class EntryKind(Enum):
    """What a served entry of a run directory can be."""

    FILE = auto()
    DIRECTORY = auto()


class RawStat(NamedTuple):
    """Size in bytes, modification time in nanoseconds since the epoch, and `file`, which tells files apart.

    `file` is a number of 64 bits with a sign, made of what the file system calls the file. Two files that are there at
    once do not share it, unless they lie on two devices and the hash of one device meets a number of the other.
    """

    size: int
    mtime_ns: int
    file: int = 0

    def matches(self, other: RawStat) -> bool:
        """Whether both are of the same size and time: as far as can be told, the same bytes, in whatever file."""
        return self.size == other.size and self.mtime_ns == other.mtime_ns


class RawEntry(NamedTuple):
    """One name of a run directory; a directory's size is 0."""

    name: bytes
    kind: EntryKind
    stat: RawStat


class NotRegularError(OSError):
    """What stands there is not a regular file (open) or not a directory (list); its errno is EINVAL."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EINVAL, what, path)


class UnreadableFileError(OSError):
    """A file of a directory that was listed cannot be opened; `name` is which."""

    def __init__(self, name: bytes, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.name = name


class RawFile(Protocol):
    """An open raw file, pinned to the bytes it was opened on.

    `pread` may be called from several threads. The owner calls `close` once no `pread` is under way.
    """

    @property
    def stat(self) -> RawStat:
        """Size and mtime as they were when the file was opened."""
        ...

    def pread(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset`; fewer only at the end of the file as it is now."""
        ...

    def current_stat(self) -> RawStat:
        """Return the file's size and mtime as they are now. Raises `OSError`."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that stays valid until `close`."""
        ...

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        ...


class RawStore(Protocol):
    """Where runs lie."""

    @property
    def label(self) -> str:
        """A name for messages and the mount table that holds no secret."""
        ...

    def list_directory(
        self, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
    ) -> tuple[RawEntry, ...]:
        """List the partition's run directory, or a directory below it, sorted by name.

        Symbolic links, fifos, sockets and devices are left out. Files named in `readable` are opened to see that they
        can be read. Raises `OSError`, `UnreadableFileError` for one that cannot, `NotRegularError` if it is no
        directory, and `UnusableNameError` if the partition has no raw path.
        """
        ...

    def open_file(self, partition: Partition, relpath: tuple[bytes, ...]) -> RawFile:
        """Open a regular file of the partition's run.

        Raises `OSError`, `NotRegularError` if it is anything but a regular file, and `UnusableNameError` if the
        partition has no raw path.
        """
        ...

    def hold_file(self, partition: Partition, fd: int, stat: RawStat) -> RawFile:
        """Return an open regular file of the partition's run as `open_file` does; the descriptor is its own then."""
        ...

    def place_of(self, partition: Partition) -> bytes:
        """Return the path of the partition's run directory from the root on; touches nothing.

        Raises `UnusableNameError` if the partition has no raw path.
        """
        ...

    def describe(self, partition: Partition) -> str:
        """Return where the partition's run is looked for, for messages; touches nothing.

        Raises `UnusableNameError` if the partition has no raw path.
        """
        ...

    def check(self) -> None:
        """Raise `RawRootError` if the store cannot be used at all."""
        ...
