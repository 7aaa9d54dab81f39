"""Manifests as files: found by name, opened on the catalog that they are of, and read.

A manifest's inode says what it holds: a catalog by its fingerprint, a directory, a form, and what of it was known to be
broken. So the kernel may keep its pages, and whoever has one open reads that catalog's to the end, whatever is in
force. Its node holds no catalog; an open does. What was looked up lately is kept for the open that follows, though the
catalog be replaced meanwhile. Used by `resolver` and `filesystem`, on any thread.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from hashlib import blake2b
from typing import Final, TypeAlias

import structlog

from readyfs.catalog.tree import Catalog, Path
from readyfs.errors import BrokenRunError, StaleHandleError, WouldBlockError
from readyfs.manifest.form import Form
from readyfs.manifest.manifest import Manifest
from readyfs.partition import NOT_SET, RunKey, SeriesKey, render_date
from readyfs.text import escape_text
from readyfs.vfs.attributes import FOREVER_S, Entry, Presentation
from readyfs.vfs.catalogs import Catalogs
from readyfs.vfs.nodes import ManifestNode, manifest_node
from readyfs.vfs.runs import Runs
from readyfs.vfs.trees import Trees, is_run_of

log = structlog.get_logger("readyfs.manifests")

AT_ONCE: Final = 256
"""A manifest of so many partitions or series, and damage of so many runs, hold up nobody."""
KEPT: Final = 32
"""So many manifests are kept for whoever opens them next."""
KEPT_FOR_S: Final = 10.0
PIECES_BYTES: Final = 8 << 20
"""How much of what was made of manifests is kept for the next read."""

_Key: TypeAlias = tuple[str, Path, Form]


class Manifests:
    """Finds, opens and reads manifests of catalogs that are in force or shown as views."""

    def __init__(
        self,
        catalogs: Catalogs,
        trees: Trees,
        runs: Runs,
        presentation: Presentation,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogs = catalogs
        self._trees = trees
        self._runs = runs
        self._presentation = presentation
        self._monotonic = monotonic
        # In the order in which they are part of a fingerprint: so the same one means the same bytes everywhere.
        self._files = sorted(set(runs.required_names))
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[Manifest, float]] = OrderedDict()
        self._pieces: OrderedDict[tuple[object, int], bytes] = OrderedDict()
        self._pieces_bytes = 0
        self._broken: tuple[bytes, Mapping[SeriesKey, set[int]]] | None = None
        self._making = threading.Lock()
        self._has_told = False

    def find(self, catalog: Catalog, path: Path, form: Form, may_block: bool) -> Entry | None:
        """Return the entry of a manifest, None if nothing ready lies below the directory; its name is never kept.

        Raises `WouldBlockError` if that takes a while.
        """
        directory = catalog.directory(path)
        if directory is None:
            return None
        if not may_block and _takes_time(catalog, path) and self._held((catalog.fingerprint, path, form)) is None:
            raise WouldBlockError
        broken = self._broken_below(catalog, path, may_block) if form is Form.JSONL else ()
        manifest = self._manifest(catalog, path, form)
        time_ns = directory.newest_ns if directory.newest_ns != NOT_SET else 0
        node = manifest_node(catalog.fingerprint, path, form, manifest.size, time_ns, broken, _digest(broken))
        return Entry(node, self._presentation.manifest(node.inode, node.size, time_ns), 0.0, FOREVER_S)

    def can_open_at_once(self, node: ManifestNode) -> bool:
        """Whether `open` needs no time."""
        in_force = self._catalogs.in_force.catalog.fingerprint
        return node.fingerprint == in_force and self._held((in_force, node.path, node.form)) is not None

    def open(self, node: ManifestNode, may_block: bool = True) -> Manifest:
        """Return the manifest of a node, with its catalog.

        Raises `StaleHandleError` if the catalog is gone, `BrokenRunError` if its view has expired or if the form cannot
        hold the names of files, and `WouldBlockError` if it takes a while.
        """
        if node.form is Form.PATHS and any(b"\n" in name for name in self._files):
            self._tell_of_newlines()
            raise BrokenRunError("the name of a required file holds a newline")
        key = (node.fingerprint, node.path, node.form)
        catalog = self._catalogs.in_force.catalog
        if catalog.fingerprint != node.fingerprint:
            view = self._trees.views.find(node.fingerprint, may_block=may_block)
            if view is not None and view.expired:
                raise BrokenRunError("the view has expired")
            if view is not None:
                self._trees.views.used(node.fingerprint)
                catalog = view.catalog
            elif (held := self._held(key)) is not None:
                return held
            else:
                raise StaleHandleError("the catalog is gone")
        if not may_block and self._held(key) is None:
            raise WouldBlockError
        return self._manifest(catalog, node.path, node.form)

    def read(self, node: ManifestNode, manifest: Manifest, offset: int, size: int, *, may_block: bool) -> bytes:
        """Return bytes of an open manifest; raise `WouldBlockError` if they must be made first."""
        parts: list[bytes] = []
        for number in manifest.pieces(offset, size):
            begin, _ = manifest.span(number)
            piece = self._piece(node, manifest, number, may_block)
            parts.append(piece[max(offset - begin, 0) : max(offset + size - begin, 0)])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def expire(self) -> None:
        """Let go of what nobody has used for a while; to be called now and then, and by every refresh."""
        limit_s = self._monotonic() - KEPT_FOR_S
        with self._lock:
            idle = [key for key, (_, used_s) in self._kept.items() if used_s < limit_s]
            gone = [self._kept.pop(key) for key in idle]
            if not self._kept:
                self._pieces.clear()
                self._pieces_bytes = 0
        gone.clear()  # catalogs go with them, which takes time: not under the lock

    def _manifest(self, catalog: Catalog, path: Path, form: Form) -> Manifest:
        key = (catalog.fingerprint, path, form)
        held = self._held(key)
        if held is not None:
            return held
        # Whoever wants the same one meanwhile finds it then; nobody waits for another's where waiting is not allowed.
        with self._making if _takes_time(catalog, path) else nullcontext():
            held = self._held(key)
            if held is None:
                held = Manifest.of(catalog, path, form, self._files)
                assert held is not None
                with self._lock:
                    self._kept[key] = held, self._monotonic()
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
        return held

    def _held(self, key: _Key) -> Manifest | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept[key] = found[0], self._monotonic()
            self._kept.move_to_end(key)
            return found[0]

    def _piece(self, node: ManifestNode, manifest: Manifest, number: int, may_block: bool) -> bytes:
        key = (node.identity, number)
        with self._lock:
            piece = self._pieces.get(key)
            if piece is not None:
                self._pieces.move_to_end(key)
                return piece
        begin, end = manifest.span(number)
        if not may_block and manifest.size > AT_ONCE << 10:
            raise WouldBlockError
        piece = manifest.render(number, self._known_broken(node))
        if len(piece) != end - begin:
            log.error("a manifest is not as long as it was said to be, refusing it", path=_shown(node.path))
            raise BrokenRunError("the manifest is not as long as it was said to be")
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = piece
                self._pieces_bytes += len(piece)
            while self._pieces_bytes > PIECES_BYTES and len(self._pieces) > 1:
                self._pieces_bytes -= len(self._pieces.popitem(last=False)[1])
        return piece

    def _known_broken(self, node: ManifestNode) -> Mapping[SeriesKey, set[int]]:
        """Return the dates of a node's broken runs: made once for all pieces, which are read one after another."""
        known = self._broken
        if known is None or known[0] != node.damage:
            known = self._broken = node.damage, by_series(node.broken)
        return known[1]

    def _broken_below(self, catalog: Catalog, path: Path, may_block: bool) -> tuple[RunKey, ...]:
        """Return the runs below a directory that are known to be broken, in order."""
        damaged = self._runs.damaged()
        if len(damaged) > AT_ONCE and not may_block:
            raise WouldBlockError
        layout = catalog.layout
        return tuple(
            sorted(run for run in damaged if is_run_of(catalog, *run) and layout.path_of(*run[0])[: len(path)] == path)
        )

    def _tell_of_newlines(self) -> None:
        if not self._has_told:
            self._has_told = True
            log.error(
                "the name of a required file holds a newline, so no .manifest.paths can be read",
                remedy="read .manifest.paths0",
            )


def _takes_time(catalog: Catalog, path: Path) -> bool:
    """Whether making the manifest of a directory would hold up others: it looks at each series that may be below."""
    directory = catalog.directory(path)
    partitions = directory.partitions if directory is not None else 0
    return max(partitions, len(catalog.tree.groups)) > AT_ONCE


def by_series(runs: Sequence[RunKey]) -> Mapping[SeriesKey, set[int]]:
    """Return the dates of runs by their series."""
    found: defaultdict[SeriesKey, set[int]] = defaultdict(set)
    for key, _ in runs:
        found[key.series].add(key.date)
    return found


def _digest(runs: Sequence[RunKey]) -> bytes:
    """Return what tells sets of runs apart, nothing for none."""
    if not runs:
        return b""
    digest = blake2b(digest_size=16)
    for key, run_id in runs:
        for part in (*key.series, render_date(key.date), run_id):
            digest.update(len(part).to_bytes(4, "little") + part)
    return digest.digest()


def _shown(path: Path) -> str:
    return escape_text(b"/".join(path))
