"""The filesystem: every operation that a kernel can ask for, implemented once, without FUSE.

Engines call it from any thread. Down to and including the date directory every answer comes from the catalog in
force, with no I/O; below it the raw store is asked, and an engine that must not wait there says so with `may_block`.
`publish`, called by the refresh, swaps the catalog in one step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from readyfs.catalog.history import CatalogHistory
from readyfs.catalog.tree import Catalog
from readyfs.errors import (
    BrokenRunError,
    IsADirectoryNodeError,
    NameTooLongError,
    TooManyHandlesError,
    WouldBlockError,
)
from readyfs.layout import MAX_NAME_BYTES
from readyfs.partition import PartitionKey
from readyfs.raw.store import EntryKind, RawFile, RawStat, RawStore
from readyfs.vfs.attributes import Attributes, Entry, NegativeEntry, Presentation
from readyfs.vfs.catalogs import Catalogs, InForce
from readyfs.vfs.damage import Failure, Sealed
from readyfs.vfs.damage_cause import Cause, DamageError, DamageKind, ended_early, modified, other_size, raw_store_failed
from readyfs.vfs.descriptors import KEPT, Descriptors, are_exhausted
from readyfs.vfs.directory_listings import DirectoryListings
from readyfs.vfs.entries import Entries
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.handles import HandleNumber, HandleTable, MemoryFileHandle, RawFileHandle
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber, date_inode
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation
from readyfs.vfs.listing import DirectoryPass, stamp_at
from readyfs.vfs.look_ahead import ReadAhead
from readyfs.vfs.nodes import AboveNode, BrokenNode, ControlNode, DateNode, RawNode, parent_inode
from readyfs.vfs.resolver import Resolver
from readyfs.vfs.runs import Runs
from readyfs.vfs.spare_memory import SpareMemory
from readyfs.vfs.xattrs import PREFIX, get_attribute, lineage, list_attributes, render_time


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """An open file: `keep_pages` lets the kernel keep what it cached, `direct` makes it cache nothing."""

    handle: HandleNumber
    keep_pages: bool
    direct: bool


class Filesystem:
    """One read-only tree over a catalog and a raw store.

    `on_damage` is told which names of a sealed run the kernel must ask for again; it must not block. `read_ahead` says
    which runs to look at before they are asked for, if any.
    """

    def __init__(
        self,
        catalog: Catalog,
        raw: RawStore,
        runs: Runs,
        presentation: Presentation,
        freshness: Freshness,
        max_open_files: int,
        on_damage: Callable[[Invalidation], None],
        read_ahead: ReadAhead | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inodes = InodeTable()
        self._spare_memory = SpareMemory()
        self.handles = HandleTable(max_open_files)
        # An engine either opens files or reads them by inode, so that these two need not share one limit.
        self._descriptors = Descriptors(max(min(max_open_files, KEPT), 1), monotonic)
        self._catalogs = Catalogs(catalog, CatalogHistory(monotonic))
        self._entries = Entries(self._catalogs, presentation, freshness, self.inodes)
        self._resolver = Resolver(self._catalogs, runs, self._entries, presentation, freshness)
        self._listings = DirectoryListings(self._catalogs, runs, self._entries, presentation.name_timeout_s, read_ahead)
        self._raw = raw
        self._runs = runs
        self._xattrs_enabled = presentation.xattrs
        self._freshness = freshness
        self._on_damage = on_damage

    # ---- what the refresh and the daemon do -----------------------------------------------------------------

    @property
    def in_force(self) -> InForce:
        """The catalog in force and its revision."""
        return self._catalogs.in_force

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog into force, in one step."""
        self._catalogs.publish(catalog)
        self._runs.forget_unless(self._is_current)

    def broken_partitions(self) -> int:
        """Return how many ready partitions are known to be broken."""
        return self.broken_by_kind().total()

    def broken_by_kind(self) -> Counter[DamageKind]:
        """Return the same by what was found last."""
        return Counter(kind for key, run, kind in self._runs.damage_kinds() if self._is_current(key, run))

    def serve_status(self, document: Callable[[], bytes]) -> None:
        """Choose what makes the bytes of the hidden status file; called anew for every lookup of it."""
        self._entries.status_document = document

    def expire_idle(self) -> None:
        """Let go of raw files and replaced catalogs that nobody needs any more; to be called now and then."""
        self._descriptors.expire_idle()
        self._catalogs.history.expire()

    def _is_current(self, key: PartitionKey, run_id: bytes) -> bool:
        series = self.in_force.catalog.by_key.get(key.series)
        partition = series.find(key.date) if series is not None else None
        return partition is not None and partition.run_id == run_id

    # ---- names ----------------------------------------------------------------------------------------------

    def lookup(self, parent: InodeNumber, name: bytes, *, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for, and count one lookup of its node.

        Raises `WouldBlockError` if the raw store must be asked, `StaleCatalogError` at the root by V11,
        `BrokenRunError` for a name of a broken run that need not be there, `NameTooLongError`.
        """
        if len(name) > MAX_NAME_BYTES:
            raise NameTooLongError
        entry = self._resolver.find(self.inodes.get(parent), name, may_block)
        if isinstance(entry, NegativeEntry):
            return entry
        node = self.inodes.remember(entry.node)
        return Entry(node, entry.attributes, entry.entry_timeout_s, entry.attr_timeout_s)

    def forget(self, counts: Iterable[tuple[InodeNumber, int]]) -> None:
        """Lower lookup counts: the kernel dropped so many references."""
        self._spare_memory.note(self.inodes.forget(counts))

    def getattr(self, inode: InodeNumber) -> tuple[Attributes, float]:
        """Return a node's attributes and for how many seconds they hold. Never does I/O."""
        return self._entries.attributes(self.inodes.get(inode))

    # ---- directories ----------------------------------------------------------------------------------------

    def read_directory(self, inode: InodeNumber, position: int, *, may_block: bool) -> DirectoryPass:
        """Return the entries from a position on; 0 begins a pass over the catalog in force (V7).

        Entries are not counted: the engine calls `inodes.remember_all` for those that it handed to the kernel.
        Raises `StaleHandleError` for a position in a listing that is no longer kept, else as `lookup` does.
        """
        node = self.inodes.get(inode)
        if inode == ROOT_INODE:
            self._freshness.refuse_if_stale()
        listing = self._listings.listing(node, stamp_at(position), may_block)
        return DirectoryPass(listing, lambda index: self._entries.dot_entry(node, index), position)

    # ---- files ----------------------------------------------------------------------------------------------

    def is_in_memory(self, inode: InodeNumber) -> bool:
        """Whether opening the file needs no raw I/O."""
        return not isinstance(self.inodes.peek(inode), RawNode)

    def is_raw_file(self, inode: InodeNumber) -> bool:
        """Whether the inode is a file of a sealed run."""
        node = self.inodes.peek(inode)
        return isinstance(node, RawNode) and not node.is_directory

    def open_file(self, inode: InodeNumber) -> OpenedFile:
        """Open a file for reading; asks the raw store, so it may block.

        Raises `BrokenRunError` if the run cannot be served or the raw file is not what was sealed (V10).
        """
        node = self.inodes.get(inode)
        if isinstance(node, ControlNode) and not node.is_directory:
            return OpenedFile(self.handles.add(MemoryFileHandle(node)), keep_pages=False, direct=True)
        raw = self._raw_file_node(inode)
        file = self._open_raw(raw)
        try:
            return OpenedFile(self.handles.add(RawFileHandle(raw, file)), keep_pages=True, direct=False)
        except BaseException:
            file.close()
            raise

    def open_raw(self, inode: InodeNumber) -> RawFile:
        """Open a raw file that the caller closes, checked against what was sealed; may block, raises as `open_file`."""
        return self._open_raw(self._raw_file_node(inode))

    def supersede(self, inode: InodeNumber) -> None:
        """Have the next lookup of a raw file give another inode: who has this one open reads what was replaced."""
        node = self.inodes.peek(inode)
        if isinstance(node, RawNode):
            node.superseded = True

    def read(self, number: HandleNumber, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of a raw file from `offset`, fewer only at its end; may block.

        Raises `BrokenRunError` if that fails, or the raw file became shorter than it was when its run was sealed.
        """
        return self._read(self.handles.get(number, RawFileHandle), offset, size)

    def read_memory(self, number: HandleNumber, offset: int, size: int) -> bytes | None:
        """Return bytes of a control file, or None if the handle is a raw file's."""
        handle = self.handles.peek(number)
        return handle.node.document[offset : offset + size] if isinstance(handle, MemoryFileHandle) else None

    def read_by_inode(self, inode: InodeNumber, offset: int, size: int, *, may_block: bool) -> bytes:
        """Return bytes as `read` does, of a file that nobody opened here: for a kernel that opens by itself.

        Raises as `open_file` and `read` do, and `WouldBlockError` if the raw store must be asked.
        """
        node = self.inodes.get(inode)
        if isinstance(node, ControlNode) and not node.is_directory:
            return node.document[offset : offset + size]
        raw = self._raw_file_node(inode)
        if not may_block:
            raise WouldBlockError
        handle = self._descriptors.get(raw)
        while True:
            if handle is None:
                handle = RawFileHandle(raw, self._open_raw(raw))
                self._descriptors.keep(handle)
            try:
                data = self._read(handle, offset, size)
                if handle.file.current_stat() == raw.stat:
                    return data
            except BrokenRunError:
                self._descriptors.drop(handle)
                raise
            # It was kept open since it was compared with what was sealed, and has changed: it is compared once more.
            self._descriptors.drop(handle)
            handle = None

    def may_block_on_close(self, number: HandleNumber) -> bool:
        """Whether closing the handle closes a raw file, which a store that hangs does not answer."""
        return isinstance(self.handles.peek(number), RawFileHandle)

    def close_file(self, number: HandleNumber) -> None:
        """Close a file."""
        self.handles.remove(number)

    def _raw_file_node(self, inode: InodeNumber) -> RawNode:
        """Return the node of a raw file, or refuse to open what is none."""
        node = self.inodes.get(inode)
        if node.is_directory:
            raise IsADirectoryNodeError
        if not isinstance(node, RawNode):
            raise BrokenRunError("the run is broken")
        return node

    def _read(self, handle: RawFileHandle, offset: int, size: int) -> bytes:
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

    def _open_raw(self, node: RawNode) -> RawFile:
        try:
            file = self._raw.open_file(node.partition, node.relpath)
        except OSError as error:
            if are_exhausted(error):
                raise TooManyHandlesError(error.strerror) from error
            raise self._damaged(node, raw_store_failed(node.relpath, error)) from error
        if file.stat == node.stat:
            return file
        file.close()
        if file.stat.size != node.stat.size:
            raise self._damaged(node, other_size(node.relpath, file.stat.size, node.stat.size))
        raise self._changed(node, file.stat)

    def _changed(self, node: RawNode, stat: RawStat) -> DamageError:
        """Refuse a file of another time than the node's, which is damage unless the run was sealed with it since."""
        cause = modified(node.relpath)
        if not self._runs.is_sealed_with(node.partition, node.relpath, stat):
            return self._damaged(node, cause)
        self._on_damage(Invalidation(parent_inode(node), (node.relpath[-1],)))
        return DamageError(cause)

    def _unreadable(self, handle: RawFileHandle, cause: Cause, offset: int) -> DamageError:
        """Refuse a read; it is damage once for each handle, whose file may stay bad although the run was restored."""
        if handle.failed:
            return DamageError(cause)
        handle.failed = True
        return self._damaged(handle.node, cause, offset)

    def _damaged(self, node: RawNode, cause: Cause, offset: int = 0) -> DamageError:
        """Report a raw file that is not there as sealed, and have the kernel ask again for the run's names."""
        failure = Failure(node.relpath, Sealed(EntryKind.FILE, node.stat.size), offset)
        if self._runs.report_damage(node.partition, cause, failure):
            self._on_damage(Invalidation(date_inode(node.partition), self._runs.top_names(node.partition)))
            if len(node.relpath) > 1:
                self._on_damage(Invalidation(parent_inode(node), (node.relpath[-1],)))
        return DamageError(cause)

    # ---- extended attributes and the whole ------------------------------------------------------------------

    def getxattr(self, inode: InodeNumber, name: bytes) -> bytes:
        """Return one extended attribute; see `readyfs.vfs.xattrs` for the errors."""
        return get_attribute(self._xattrs_enabled, lambda: self._xattrs(inode), name)

    def listxattr(self, inode: InodeNumber) -> list[bytes]:
        """Return the names of a node's extended attributes."""
        return list_attributes(self._xattrs_enabled, lambda: self._xattrs(inode))

    def _xattrs(self, inode: InodeNumber) -> dict[bytes, bytes]:
        node = self.inodes.get(inode)
        match node:
            case AboveNode() if not node.path:
                return self._root_xattrs()
            case DateNode() | RawNode() | BrokenNode():
                partition = self._entries.current_row(node)
                return {} if partition is None else lineage(partition)
            case _:
                return {}

    def _root_xattrs(self) -> dict[bytes, bytes]:
        found = {
            b"revision": b"%d" % self.in_force.revision,
            b"fingerprint": self.in_force.catalog.fingerprint.encode(),
        }
        age_s, refreshed_at_ns = self._freshness.age_s(), self._freshness.refreshed_at_ns
        if age_s is not None and refreshed_at_ns is not None:
            found |= {b"refreshed_at": render_time(refreshed_at_ns), b"age_seconds": b"%.3f" % age_s}
        return {PREFIX + name: value for name, value in found.items()}
