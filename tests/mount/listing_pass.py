"""One pass over a directory in pieces as small as the caller likes: getdents64(2), which `os.scandir` hides."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

_HEAD: Final = struct.Struct("=QqHB")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Dirent(NamedTuple):
    """One record: the name, its inode number (d_ino) and its kind (d_type)."""

    name: str
    inode: int
    kind: int


class ListingPass:
    """An open directory that is read some records at a time."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def read(self, size: int = 4096) -> list[Dirent]:
        """Return the records of one call with a buffer of that many bytes, dots left out; none means the end.

        Raises `OSError` as getdents64(2) does.
        """
        while True:
            buffer = ctypes.create_string_buffer(size)
            filled = _libc.getdents64(ctypes.c_int(self.fd), buffer, ctypes.c_size_t(size))
            if filled < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            found = [entry for entry in _parse(buffer.raw[:filled]) if entry.name not in (".", "..")]
            if found or not filled:
                return found

    def rest(self, size: int = 4096) -> list[Dirent]:
        """Return all records up to the end."""
        found = []
        while records := self.read(size):
            found += records
        return found

    def rewind(self) -> None:
        """Go back to the start, as rewinddir(3) does."""
        os.lseek(self.fd, 0, os.SEEK_SET)


def _parse(data: bytes) -> Iterator[Dirent]:
    offset = 0
    while offset < len(data):
        inode, _, length, kind = _HEAD.unpack_from(data, offset)
        name = data[offset + _HEAD.size : offset + length].split(b"\0", 1)[0]
        yield Dirent(os.fsdecode(name), inode, kind)
        offset += length
