"""What a call gave, in a form that can be compared, and what a mount owes given what the raw side gave.

Most answers must simply be equal. Attributes are where docs/semantics.md says that a mount differs from an ordinary
file system (V9): `owed` turns the raw side's into a mount's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple, Self

from tests.differential.reference_tree import NOT_PROMISED_NS
from tests.differential.syscalls import Statx


class Failed(NamedTuple):
    """The call failed."""

    error: str


class Attributes(NamedTuple):
    """What stat(2) or statx(2) says: what V9 promises, then what mounts have in common only with each other."""

    mode: int
    uid: int
    gid: int
    links: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    beside: tuple[int, ...] = ()

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """Take them from a stat."""
        return cls(
            *(found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_size, found.st_blocks),
            *(found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns, found.st_ino),
            (found.st_blksize, found.st_rdev),
        )

    @classmethod
    def of_statx(cls, found: Statx) -> Self:
        """Take them from a statx."""
        return cls(
            *(found.mode, found.uid, found.gid, found.links, found.size, found.blocks),
            *(found.atime_ns, found.mtime_ns, found.ctime_ns, found.inode),
            (found.mask, found.block_size, found.attributes),
        )

    def owed(self) -> Self:
        """Return what a mount must say where the raw side says this.

        One link, no size and no blocks of directories, blocks from the size, one time; the inode number is its own.
        """
        size = 0 if stat.S_ISDIR(self.mode) else self.size
        return self._replace(
            links=1,
            size=size,
            blocks=-(-size // 512),
            atime_ns=self.mtime_ns,
            ctime_ns=self.mtime_ns,
            inode=0,
            beside=(),
        )


class Listing(NamedTuple):
    """What a directory lists: names with types in any order; between mounts also in which order, with the inodes."""

    names: frozenset[tuple[str, int]]
    in_order: tuple[tuple[str, int], ...]


Answer = object
"""A `Failed`, `Attributes`, `Listing`, or any value that is simply equal or not."""


def ask(call: Callable[[], Answer]) -> Answer:
    """Return what a call gives, or how it fails."""
    try:
        return call()
    except OSError as error:
        return Failed(errno.errorcode.get(error.errno or 0, str(error)))


def agree_with_raw(raw: Answer, mount: Answer) -> bool:
    """Return whether a mount says what it must where the raw side says this."""
    match raw, mount:
        case Attributes(), Attributes():
            wanted, found = raw.owed(), mount._replace(inode=0, beside=())
            return wanted == (_without_times(found) if raw.mtime_ns == NOT_PROMISED_NS else found)
        case Listing(), Listing():
            return raw.names == mount.names
        case _:
            return raw == mount


def agree_with_each_other(raw: Answer, one: Answer, other: Answer) -> bool:
    """Return whether two mounts say the same; the times of directories above the dates are each mount's own."""
    if isinstance(raw, Attributes) and isinstance(one, Attributes) and isinstance(other, Attributes):
        return one == other or (raw.mtime_ns == NOT_PROMISED_NS and _without_times(one) == _without_times(other))
    return one == other


def _without_times(found: Attributes) -> Attributes:
    return found._replace(atime_ns=NOT_PROMISED_NS, mtime_ns=NOT_PROMISED_NS, ctime_ns=NOT_PROMISED_NS)


def shorten(answer: Answer) -> str:
    """Render an answer for a message."""
    if isinstance(answer, bytes) and len(answer) > 120:
        return f"{len(answer)} bytes {answer[:60]!r} ... {answer[-40:]!r}"
    text = repr(answer)
    return text if len(text) < 1500 else f"{text[:1500]} ..."
