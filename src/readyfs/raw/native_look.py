"""Looks at run directories and raw files in one call of the compiled module, the interpreter released meanwhile.

What was found, or which call failed with which errno, comes back from C; here it becomes what `local` gives and raises,
which does the same in Python.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import ModuleType
from typing import Final, TypeAlias

from readyfs.raw.store import EntryKind, NotRegularError, RawEntry, RawStat, UnreadableFileError

_Failure: TypeAlias = tuple[int, int, bytes]
"""Which call failed, with which errno, and the name of the entry."""

_NOT_FOR_C: Final = frozenset({errno.ENAMETOOLONG, errno.EOVERFLOW})
"""A path longer than the kernel takes at once, and a time that 64 bits do not hold: Python can do both."""


class NativeLook:
    """Lists and opens beneath a root. Everything returns None for what Python's way has to do."""

    __slots__ = ("_at_path", "_at_readable", "_at_root", "_look", "_not_regular", "_open", "_root")

    def __init__(self, module: ModuleType, root: bytes) -> None:
        self._root = root
        self._look: Callable[[bytes, bytes, tuple[bytes, ...]], list[tuple[bytes, bool, int, int, int]] | _Failure] = (
            module.look
        )
        self._open: Callable[[bytes, bytes], tuple[int, int, int, int] | _Failure] = module.open_regular
        self._at_root: int = module.AT_ROOT
        self._at_path: int = module.AT_PATH
        self._at_readable: int = module.AT_READABLE
        self._not_regular: int = module.NOT_REGULAR

    def list_directory(self, path: bytes, readable: tuple[bytes, ...]) -> tuple[RawEntry, ...] | None:
        """Return what lies in a directory; see `RawStore.list_directory`."""
        found = self._look(self._root, path, readable)
        if isinstance(found, tuple):
            self._refuse(found, path, errno.ENOTDIR, "not a directory")
            return None
        found.sort()
        new, file, directory = tuple.__new__, EntryKind.FILE, EntryKind.DIRECTORY
        return tuple(
            [
                # A named tuple's own constructor would cost a call of Python more.
                new(RawEntry, (name, directory if is_directory else file, new(RawStat, (size, mtime_ns, number))))
                for name, is_directory, size, mtime_ns, number in found
            ]
        )

    def open_file(self, path: bytes) -> tuple[int, RawStat] | None:
        """Return the descriptor of a regular file that is open now; see `RawStore.open_file`."""
        found = self._open(self._root, path)
        if len(found) == 3:
            self._refuse(found, path, errno.ENXIO, "not a regular file")
            return None
        fd, size, mtime_ns, file = found
        return fd, RawStat(size, mtime_ns, file)

    def _refuse(self, failure: _Failure, path: bytes, unlike: int, what: str) -> None:
        """Raise what a failure means, or return if Python's way has to find that out.

        `unlike` is the errno of an open that finds something of another kind.
        """
        step, code, name = failure
        if code in _NOT_FOR_C:
            return
        where = os.fsdecode(self._root if step == self._at_root else name or path)
        if code == self._not_regular:
            error: OSError = NotRegularError("not a regular file", where)
        elif step == self._at_path and code in (errno.ENXIO, unlike):
            # ENXIO, open(2): a socket, or a device that has no driver.
            raise NotRegularError(what if code == unlike else "not a regular file", where)
        else:
            error = OSError(code, os.strerror(code), where)
        raise UnreadableFileError(name, error) if step == self._at_readable else error
