"""The filesystem: every operation that a kernel can ask for, implemented once, without FUSE.

Engines call it from any thread. Down to and including the date directory every answer comes from the catalog in
force, with no I/O; below it the raw store is asked, and an engine that must not wait there says so with `may_block`.
Each operation is a few lines here: what it means stands in `resolver`, `directory_listings`, `entries`, `raw_files`
and `node_xattrs`.
`publish`, called by the refresh, swaps the catalog in one step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from readyfs.catalog.delta import Delta
from readyfs.catalog.history import CatalogHistory
from readyfs.catalog.tree import Catalog
from readyfs.errors import (
    BrokenRunError,
    IsADirectoryNodeError,
    NameTooLongError,
    NotALinkError,
    WouldBlockError,
)
from readyfs.layout import MAX_NAME_BYTES
from readyfs.partition import Partition, RunKey
from readyfs.raw.store import RawStat, RawStore
from readyfs.vfs.attributes import Attributes, Entry, NegativeEntry, Presentation
from readyfs.vfs.catalogs import Catalogs, InForce
from readyfs.vfs.control_directory import ControlDirectory
from readyfs.vfs.damage_cause import Cause, DamageKind
from readyfs.vfs.descriptors import KEPT, Descriptors
from readyfs.vfs.directory_listings import DirectoryListings
from readyfs.vfs.entries import Entries
from readyfs.vfs.former_runs import FormerRuns
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.handles import HandleNumber, HandleTable, ManifestHandle, MemoryFileHandle, RawFileHandle
from readyfs.vfs.inode_number import LIVE, ROOT_INODE, InodeNumber, TreeName
from readyfs.vfs.inode_table import InodeTable
from readyfs.vfs.invalidation import Invalidation, plan_expiry, plan_invalidations, plan_names
from readyfs.vfs.listing import DirectoryPass, stamp_at
from readyfs.vfs.look_ahead import LookAhead
from readyfs.vfs.manifests import Manifests
from readyfs.vfs.node_xattrs import NodeXattrs
from readyfs.vfs.nodes import (
    ControlNode,
    LinkNode,
    ManifestNode,
    Node,
    RawNode,
    date_node,
)
from readyfs.vfs.packed_rows import MakeRows, PackedRows, compiled_rows
from readyfs.vfs.raw_files import RawFiles
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.resolver import Resolver
from readyfs.vfs.runs import Runs
from readyfs.vfs.spare_memory import SpareMemory
from readyfs.vfs.tree_runs import TreeRuns
from readyfs.vfs.trees import Trees, is_run_of
from readyfs.vfs.turnover import KnownSeries, Turnover
from readyfs.vfs.views import NoViews, ViewSource


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """An open file: `keep_pages` lets the kernel keep what it cached, `direct` makes it cache nothing."""

    handle: HandleNumber
    keep_pages: bool
    direct: bool


class Filesystem:
    """One read-only tree over a catalog and a raw store.

    `on_damage` is told which names of a sealed run the kernel must ask for again; it must not block. `look_ahead` says
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
        look_ahead: LookAhead | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        views: ViewSource | None = None,
        make_rows: MakeRows = compiled_rows or PackedRows,
    ) -> None:
        self.inodes = InodeTable(make_rows)
        self._spare_memory = SpareMemory()
        self.handles = HandleTable(max_open_files)
        # An engine either opens files or reads them by inode, so that these two need not share one limit.
        self._descriptors = Descriptors(max(min(max_open_files, KEPT), 1), monotonic)
        self._catalogs = Catalogs(catalog, CatalogHistory(monotonic))
        self._trees = trees = Trees(self._catalogs, views if views is not None else NoViews(), self.inodes, monotonic)
        self._former = FormerRuns()
        tree_runs = TreeRuns(trees, runs, self._former)
        self._entries = entries = Entries(self._catalogs, trees, presentation, freshness, self.inodes, runs.is_past)
        self._tree_runs = tree_runs
        self._control = control = ControlDirectory(trees, entries, freshness)
        self._manifests = manifests = Manifests(self._catalogs, trees, runs, presentation, monotonic)
        self._resolver = Resolver(
            self._catalogs, trees, tree_runs, control, manifests, entries, presentation, freshness
        )
        self._listings = DirectoryListings(
            self._catalogs, trees, runs, tree_runs, control, entries, presentation.name_timeout_s, look_ahead
        )
        self._raw_files = RawFiles(raw, runs, trees, self.inodes, self._descriptors, on_damage)
        self._runs = runs
        self._turnover = Turnover(runs, self.inodes, trees, self._former, self._let_go)
        self.has_let_go = False
        """Whether `expire_idle` is due at once."""
        self._xattrs = NodeXattrs(presentation.xattrs, self.inodes, self._catalogs, trees, entries, freshness)
        self.presentation = presentation
        self._freshness = freshness

    # ---- what the refresh and the daemon do -----------------------------------------------------------------

    @property
    def in_force(self) -> InForce:
        """The catalog in force and its revision."""
        return self._catalogs.in_force

    def announce(self, delta: Delta) -> Iterator[Invalidation]:
        """Have nothing kept of the names that change, and return what the kernel must forget before they do.

        To be called with what differs in the next catalog, before that is published.
        """
        self._catalogs.announce(change.path for change in delta.directories if change.names)
        return plan_names(delta, self.inodes)

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog into force, in one step; the kernel has forgotten by now what it was announced to change."""
        held = frozenset(fingerprint.encode() for fingerprint in self._trees.views.held())
        self._former.enter(catalog.fingerprint.encode(), held)
        self._catalogs.publish(catalog)
        self._trees.drop_unseen()
        self._runs.drop_unless(self._trees.shows)
        self._manifests.expire()

    def plan_invalidations(self, delta: Delta) -> Iterator[Invalidation]:
        """Yield what the kernel must forget once a catalog is in force: listings and times, and names below runs.

        Called by the refresh, on a thread that serves no request; `delta` is of `compare` with `is_known`. To be taken
        to its end: what is remembered of runs follows the delta, too (see `Turnover`).
        """
        below = self._turnover.begin_anew(delta)
        yield from plan_invalidations(delta, self.inodes)
        yield from below
        self._turnover.let_go_departed(delta)

    def plan_expiry(self, fingerprint: str) -> Iterator[Invalidation]:
        """Yield what makes the kernel ask again for all names of a view: once it has expired, and once it is gone.

        Called as `plan_invalidations` is.
        """
        self._trees.begin_expiry()
        yield from plan_expiry(fingerprint.encode(), self.inodes, self._catalogs.in_force.catalog.layout)
        self._trees.drop_unseen()

    def is_known(self, partition: Partition) -> bool:
        """Whether anything is remembered of a partition's run, here or by the kernel."""
        return self._turnover.is_known(partition)

    def known_series(self) -> KnownSeries:
        """Return the series in which there may be a partition that is known."""
        return self._turnover.known_series()

    def _let_go(self, runs: frozenset[RunKey]) -> None:
        self.has_let_go = self._descriptors.let_go(runs) or self.has_let_go

    def open_files(self) -> int:
        """Return how many files are open: for readers, or where the kernel opens by itself, kept between its reads."""
        return len(self.handles) + len(self._descriptors)

    def broken_by_kind(self) -> Counter[DamageKind]:
        """Return how many ready partitions are known to be broken, by what was found last."""
        return Counter(cause.kind for _, cause in self.broken_runs())

    def broken_runs(self) -> list[tuple[RunKey, Cause]]:
        """Return the runs of ready partitions that are known to be broken, with what was found last."""
        catalog = self.in_force.catalog
        return [(run, cause) for run, cause in self._runs.damage_causes() if is_run_of(catalog, *run)]

    def look_at_run(
        self, partition: Partition, relpath: RelPath = (), tree: TreeName = LIVE
    ) -> tuple[str | None, bool]:
        """Return why a place in a run cannot be served in a tree, None if it can, and whether there is one; may block.

        It is looked at afresh, whatever is known of it, and what is found is known from then on. Raises
        `FilesystemError` if nobody can tell now.
        """
        cause = self._raw_files.look_again(partition)
        if cause is not None:
            return cause.text, True
        return self._tree_runs.look(date_node((), partition, tree), relpath)

    def serve_status(self, document: Callable[[], bytes]) -> None:
        """Choose what makes the bytes of the hidden status file; called anew for every lookup of it."""
        self._entries.status_document = document

    def serve_links(self, links: Mapping[bytes, bytes]) -> None:
        """Choose symbolic links that the control directory holds: their targets by name."""
        self._control.links = dict(links)

    def expire_idle(self) -> None:
        """Let go of raw files and replaced catalogs that nobody needs any more; to be called now and then."""
        self.has_let_go = False
        self._descriptors.expire_idle()
        self._catalogs.history.expire()
        self._manifests.expire()

    # ---- names ----------------------------------------------------------------------------------------------

    def must_look(self, directory: InodeNumber) -> bool:
        """Whether what a date directory holds cannot be told without a look at its run; False if that is not known.

        It spares an engine the way to a `WouldBlockError`, and costs little.
        """
        run = self.inodes.live_run(directory)
        return run is not None and not self._runs.is_sealed(run)

    def lookup(self, parent: InodeNumber, name: bytes, *, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in a directory stands for, and count one lookup of its node.

        Raises `WouldBlockError` if the raw store must be asked, `StaleCatalogError` at the root by V11,
        `BrokenRunError` for a name of a broken run that need not be there, `NameTooLongError`.
        """
        if len(name) > MAX_NAME_BYTES:
            raise NameTooLongError
        directory = self.inodes.get(parent)
        while True:
            expiries = self._trees.expiries
            entry = self._resolver.find(directory, name, may_block)
            if isinstance(entry, NegativeEntry):
                return entry
            node = self.inodes.remember(entry.node)
            if self._trees.expiries == expiries:
                return Entry(node, entry.attributes, entry.entry_timeout_s, entry.attr_timeout_s)
            self.inodes.forget(((node.inode, 1),))

    def forget(self, counts: Iterable[tuple[InodeNumber, int]]) -> None:
        """Lower lookup counts: the kernel dropped so many references."""
        self._spare_memory.note(self.inodes.forget(counts))

    def getattr(self, inode: InodeNumber, *, may_block: bool = True) -> tuple[Attributes, float]:
        """Return a node's attributes and for how many seconds they hold.

        Raises `WouldBlockError` if the catalog of a view must be read for it, `StaleHandleError` if the view is gone.
        """
        return self._entries.attributes(self.inodes.get(inode), may_block)

    def readlink(self, inode: InodeNumber) -> bytes:
        """Return where a symbolic link leads."""
        node = self.inodes.get(inode)
        if not isinstance(node, LinkNode):
            raise NotALinkError
        return node.target

    # ---- directories ----------------------------------------------------------------------------------------

    def read_directory(self, inode: InodeNumber, position: int, *, may_block: bool) -> DirectoryPass:
        """Return the entries from a position on; 0 begins a pass over the catalog in force (V7).

        Entries are not counted: the engine calls `remember_listed` for those that it hands to the kernel.
        Raises `StaleHandleError` for a position in a listing that is no longer kept, else as `lookup` does.
        """
        node = self.inodes.get(inode)
        if inode == ROOT_INODE:
            self._freshness.refuse_if_stale()
        expiries = self._trees.expiries
        listing = self._listings.listing(node, stamp_at(position), may_block)
        return DirectoryPass(listing, lambda index: self._entries.dot_entry(node, index), position, expiries)

    def remember_listed(self, found: DirectoryPass, nodes: Sequence[Node]) -> bool:
        """Count one lookup for each node that a pass hands to the kernel; none of them if any collides.

        Returns False, with nothing counted, if a view has expired meanwhile: then another pass must give the answer.
        """
        self.inodes.remember_all(nodes)
        if self._trees.expiries == found.expiries:
            return True
        self.inodes.forget((node.inode, 1) for node in nodes)
        return False

    # ---- files ----------------------------------------------------------------------------------------------

    def is_in_memory(self, inode: InodeNumber) -> bool:
        """Whether opening the file needs neither raw I/O nor time."""
        if self.inodes.is_raw(inode):
            return False
        node = self.inodes.peek(inode)
        return not isinstance(node, ManifestNode) or self._manifests.can_open_at_once(node)

    def sealed_size(self, inode: InodeNumber) -> int | None:
        """Return the size in bytes that a file of a sealed run has as long as it has this inode; None for all else."""
        return self.inodes.sealed_size(inode)

    def open_file(self, inode: InodeNumber) -> OpenedFile:
        """Open a file for reading; asks the raw store, so it may block.

        Raises `BrokenRunError` if the run cannot be served or the raw file is not what was sealed (V10).
        """
        node = self.inodes.get(inode)
        if isinstance(node, ControlNode) and not node.is_directory:
            return OpenedFile(self.handles.add(MemoryFileHandle(node)), keep_pages=False, direct=True)
        if isinstance(node, ManifestNode):
            # Another content is another inode, so that the kernel may keep what it read.
            handle = self.handles.add(ManifestHandle(node, self._manifests.open(node)))
            return OpenedFile(handle, keep_pages=True, direct=False)
        raw = _raw_file(node)
        file = self._raw_files.open(raw)
        self._trees.note_open(raw.partition)
        try:
            return OpenedFile(self.handles.add(RawFileHandle(raw, file)), keep_pages=True, direct=False)
        except BaseException:
            file.close()
            raise

    def hold_file(self, inode: InodeNumber, fd: int, stat: RawStat) -> RawFileHandle | None:
        """Return the handle of a raw file that an engine opened by itself; None if the kernel holds no such inode."""
        node = self.inodes.peek(inode)
        return self._raw_files.hold(node, fd, stat) if isinstance(node, RawNode) else None

    def watch_trees(self, on_seen: Callable[[bool], None]) -> None:
        """Have it said whether the live tree is alone, now and whenever that changes: see `Trees.on_seen`."""
        self._trees.on_seen = on_seen
        on_seen(len(self._trees.seen) == 1)

    def raw_descriptor(self, number: HandleNumber) -> int:
        """Return the descriptor of an open raw file; valid until it is closed or handed to the kernel."""
        return self.handles.get(number, RawFileHandle).file.fileno()

    def supersede(self, inode: InodeNumber) -> None:
        """Have the next lookup of a raw file give another inode: who has this one open reads what was replaced."""
        self.inodes.amend(inode, RawNode, _supersede)

    def read_to_push(self, number: HandleNumber) -> bytes | None:
        """Return all bytes of an open raw file, None if the kernel was given them before; may block.

        Nothing either of a file whose number stands for another by now: an open that was late may find that. Raises
        `BrokenRunError` if they cannot be read, or are not what was sealed any more.
        """
        handle = self.handles.get(number, RawFileHandle)
        if handle.node.pushed:
            return None
        data = self._raw_files.read_whole(handle)
        held = self.inodes.peek(handle.node.inode)
        return data if isinstance(held, RawNode) and held.is_same_file(handle.node) else None

    def note_pushed(self, inode: InodeNumber) -> None:
        """Note that the kernel was given the bytes of a raw file, for as long as it knows that."""
        self.inodes.note_pushed(inode)

    def read(self, number: HandleNumber, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of a raw file or manifest from `offset`, fewer only at its end; may block.

        Raises `BrokenRunError` if that fails, or the raw file became shorter than it was when its run was sealed.
        """
        handle = self.handles.peek(number)
        if isinstance(handle, ManifestHandle):
            return self._manifests.read(handle.node, handle.manifest, offset, size, may_block=True)
        return self._raw_files.read(self.handles.get(number, RawFileHandle), offset, size)

    def read_memory(self, number: HandleNumber, offset: int, size: int) -> bytes | None:
        """Return bytes of a control file or of a manifest, None if they are not at hand: then `read` has them."""
        handle = self.handles.peek(number)
        match handle:
            case MemoryFileHandle():
                return handle.node.document[offset : offset + size]
            case ManifestHandle():
                try:
                    return self._manifests.read(handle.node, handle.manifest, offset, size, may_block=False)
                except WouldBlockError:
                    return None
            case _:
                return None

    def read_by_inode(self, inode: InodeNumber, offset: int, size: int, *, may_block: bool) -> bytes:
        """Return bytes as `read` does, of a file that nobody opened here: for a kernel that opens by itself.

        Raises as `open_file` and `read` do, and `WouldBlockError` if the raw store must be asked.
        """
        node = self.inodes.get(inode)
        if isinstance(node, ControlNode) and not node.is_directory:
            return node.document[offset : offset + size]
        if isinstance(node, ManifestNode):
            manifest = self._manifests.open(node, may_block)
            return self._manifests.read(node, manifest, offset, size, may_block=may_block)
        raw = _raw_file(node)
        if not may_block:
            raise WouldBlockError
        self._trees.note_open(raw.partition)
        return self._raw_files.read_unopened(raw, offset, size)

    def may_block_on_close(self, number: HandleNumber) -> bool:
        """Whether closing the handle closes a raw file, which a store that hangs does not answer, or takes time.

        With a manifest its catalog may go.
        """
        return isinstance(self.handles.peek(number), RawFileHandle | ManifestHandle)

    def close_file(self, number: HandleNumber) -> None:
        """Close a file."""
        self.handles.remove(number)

    # ---- extended attributes ----------------------------------------------------------------------------------

    def getxattr(self, inode: InodeNumber, name: bytes, *, may_block: bool = True) -> bytes:
        """Return one extended attribute; see `readyfs.vfs.xattrs` for the errors, and `getattr`."""
        return self._xattrs.get(inode, name, may_block)

    def listxattr(self, inode: InodeNumber, *, may_block: bool = True) -> list[bytes]:
        """Return the names of a node's extended attributes; see `getattr` for the errors."""
        return self._xattrs.names(inode, may_block)


def _raw_file(node: Node) -> RawNode:
    """Return a node that is a raw file's, or refuse to open what is none."""
    if node.is_directory:
        raise IsADirectoryNodeError
    if not isinstance(node, RawNode):
        raise BrokenRunError("the run is broken")
    return node


def _supersede(node: RawNode) -> None:
    node.superseded = True
