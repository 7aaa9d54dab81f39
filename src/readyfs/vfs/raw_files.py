"""Raw files, opened and read: checked against what their run was sealed with, and damage where they are not that.

Here a reader's open or read becomes an error that is EIO to a client (V10). Used by `filesystem`, on any thread that
may wait for the raw store. Damage goes to the register of `runs`, and the kernel is told to ask again for the names.
"""

from __future__ import annotations

from collections.abc import Callable

from readyfs.errors import BrokenRunError, TooManyHandlesError
from readyfs.partition import Partition
from readyfs.raw.store import EntryKind, RawFile, RawStat, RawStore
from readyfs.vfs.damage import Failure, Sealed
from readyfs.vfs.damage_cause import Cause, DamageError, ended_early, modified, other_size, raw_store_failed
from readyfs.vfs.descriptors import Descriptors, are_exhausted
from readyfs.vfs.former_runs import mark_stat
from readyfs.vfs.handles import RawFileHandle
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.nodes import RawNode
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.runs import Runs
from readyfs.vfs.trees import Trees


class RawFiles:
    """Opens and reads files of sealed runs.

    Everything raises `BrokenRunError` if a file cannot be had or is not as it was sealed, and `TooManyHandlesError` for
    want of descriptors. `on_damage` is told which names the kernel must ask for again; it must not block.
    """

    def __init__(
        self,
        raw: RawStore,
        runs: Runs,
        trees: Trees,
        inodes: InodeTable,
        descriptors: Descriptors,
        on_damage: Callable[[Invalidation], None],
    ) -> None:
        self._raw = raw
        self._trees = trees
        self._inodes = inodes
        self._runs = runs
        self._descriptors = descriptors
        self._on_damage = on_damage

    def open(self, node: RawNode) -> RawFile:
        """Open a file for a caller who closes it; what is opened is what was sealed."""
        try:
            file = self._raw.open_file(node.partition, node.relpath)
        except OSError as error:
            if are_exhausted(error):
                raise TooManyHandlesError(error.strerror) from error
            raise self._damaged(node, raw_store_failed(node.relpath, error)) from error
        if file.stat.matches(node.stat) and (file.stat.file == node.stat.file or not self._runs.is_past(node)):
            return file
        file.close()
        if file.stat.size != node.stat.size:
            raise self._damaged(node, other_size(node.relpath, file.stat.size, node.stat.size))
        raise self._damaged(node, modified(node.relpath))

    def hold(self, node: RawNode, fd: int, stat: RawStat) -> RawFileHandle:
        """Return the handle of a file that was opened elsewhere, and found there to be what was sealed."""
        return RawFileHandle(node, self._raw.hold_file(node.partition, fd, stat))

    def read(self, handle: RawFileHandle, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`, fewer only at the end of the file as it was sealed."""
        sealed = handle.node.stat.size
        wanted = max(min(size, sealed - offset), 0)
        try:
            data = handle.file.pread(wanted, offset) if wanted else b""
            if len(data) == wanted:
                return data
            there = handle.file.current_stat().size
        except OSError as error:
            raise self._unreadable(handle, raw_store_failed(handle.node.relpath, error), offset) from error
        relpath = handle.node.relpath
        cause = other_size(relpath, there, sealed) if there < sealed else ended_early(relpath)
        raise self._unreadable(handle, cause, offset)

    def read_whole(self, handle: RawFileHandle) -> bytes:
        """Return all bytes of a file, which are those that were sealed: it was compared before, and is once more."""
        data = self.read(handle, 0, handle.node.stat.size)
        try:
            there = handle.file.current_stat()
        except OSError as error:
            raise self._unreadable(handle, raw_store_failed(handle.node.relpath, error), 0) from error
        if not there.matches(handle.node.stat):
            raise self._damaged(handle.node, modified(handle.node.relpath))
        return data

    def read_unopened(self, node: RawNode, offset: int, size: int) -> bytes:
        """Return bytes as `read` does, of a file that nobody opened here; it is kept open for the next read."""
        handle = self._descriptors.get(node)
        while True:
            if handle is None:
                handle = RawFileHandle(node, self.open(node))
                self._descriptors.keep(handle)
            try:
                data = self.read(handle, offset, size)
                if handle.file.current_stat().matches(node.stat):
                    return data
            except BrokenRunError:
                self._descriptors.drop(handle)
                raise
            # It was kept open since it was compared with what was sealed, and has changed: it is compared once more.
            self._descriptors.drop(handle)
            handle = None

    def _unreadable(self, handle: RawFileHandle, cause: Cause, offset: int) -> DamageError:
        """Refuse a read; it is damage once for each handle, whose file may stay bad although the run was restored."""
        if handle.failed:
            return DamageError(cause)
        handle.failed = True
        return self._damaged(handle.node, cause, offset)

    def _damaged(self, node: RawNode, cause: Cause, offset: int = 0) -> DamageError:
        """Report a raw file that is not there as sealed, and have the kernel ask again for the run's names.

        It is no damage if the run was sealed anew since: then the node is of the past, and only its name is asked for.
        """
        held = self._inodes.peek(node.inode)
        if isinstance(held, RawNode) and held.is_same_file(node):
            node = held  # a later look may have found the file to be the same
        if self._runs.is_past(node) or self._runs.is_sealed_otherwise(node):
            self._ask_again(node.partition, node.relpath[:-1], (node.relpath[-1],))
            return DamageError(cause)
        failure = Failure(node.relpath, Sealed(EntryKind.FILE, node.stat.size, mark_stat(node.stat)), offset)
        self._report(node.partition, cause, failure)
        return DamageError(cause)

    def look_again(self, partition: Partition) -> Cause | None:
        """Look anew at a run that is known to be sealed; return what keeps it from being served, which is reported."""
        found = self._runs.look_again(partition)
        if found is None:
            return None
        self._report(partition, *found)
        return found[0]

    def _report(self, partition: Partition, cause: Cause, failure: Failure) -> None:
        if self._runs.report_damage(partition, cause, failure):
            self._ask_again(partition, (), self._runs.top_names(partition))
            if len(failure.relpath) > 1:
                self._ask_again(partition, failure.relpath[:-1], (failure.relpath[-1],))

    def _ask_again(self, partition: Partition, directory: RelPath, names: tuple[bytes, ...]) -> None:
        """Have the kernel ask for names of a run again, in every tree that shows it."""
        for invalidation in self._trees.in_every_tree(partition, directory, names):
            self._on_damage(invalidation)
