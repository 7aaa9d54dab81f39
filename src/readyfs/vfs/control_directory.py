"""The hidden control directory: the status, the views and the links to them, and what else the daemon puts there.

Nothing here is cached by name but a view's root, which is told of when it expires. Used by `resolver` and
`directory_listings`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from readyfs.catalog.stamp import stamp_of
from readyfs.errors import StaleHandleError
from readyfs.vfs.attributes import Entry, NegativeEntry
from readyfs.vfs.entries import CONTROL_FILE, Entries
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.listing import Listing
from readyfs.vfs.nodes import VIEWS_NAME, ControlNode
from readyfs.vfs.trees import Trees, view_time_ns, view_timeout_s

AT_NAME: Final = b"at"
"""The directory of links to views by time, by the name of a pin, and by how many catalogs ago."""
NOW_NAME: Final = b"~0"
"""In `at/`, the catalog in force: refused while that is too old (V11)."""
LISTINGS_KEPT: Final = 64
"""Listings of the views that a pass may go on in, though a view came or went (V7)."""


class ControlDirectory:
    """Answers for the control directory and its directories. `links` are symbolic links in it, by name."""

    def __init__(self, trees: Trees, entries: Entries, freshness: Freshness) -> None:
        self.links: Mapping[bytes, bytes] = {}
        self._trees = trees
        self._entries = entries
        self._freshness = freshness
        self._listed: OrderedDict[int, tuple[bytes, ...]] = OrderedDict()

    def find(self, parent: ControlNode, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        """Return what a name in one of the directories stands for."""
        if parent.name == VIEWS_NAME:
            return self._find_view(name, may_block)
        if parent.name == AT_NAME:
            return self._find_moment(name, may_block)
        if name in self.links or name in (CONTROL_FILE, AT_NAME, VIEWS_NAME):
            return self._entry(name)
        return NegativeEntry(0.0)

    def listing(self, node: ControlNode, stamp: int | None) -> Listing:
        """Return the listing with a stamp, or without one as of now; raise `StaleHandleError` if it is not kept."""
        if node.name == AT_NAME:
            return Listing(0, tuple, lambda start: iter(()))
        if node.name == VIEWS_NAME:
            return self._list_views(stamp)
        names = tuple(sorted({CONTROL_FILE, AT_NAME, VIEWS_NAME, *self.links}))
        return Listing(stamp_of(b"/".join(names)), lambda: names, lambda at: ((n, self._entry(n)) for n in names[at:]))

    def _entry(self, name: bytes) -> Entry:
        if name == CONTROL_FILE:
            return self._entries.control_file_entry()
        if name in (AT_NAME, VIEWS_NAME):
            return self._entries.control_directory_entry(name)
        return self._entries.link_entry((), name, self.links[name], self._freshness.refreshed_at_ns or 0)

    def _find_view(self, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        view = self._trees.views.find(name.decode("ascii", "replace"), may_block=may_block)
        if view is None:
            return NegativeEntry(0.0)
        self._trees.note_seen(name)
        time_ns = view_time_ns(view, view.catalog.root)
        return self._entries.above_entry((), time_ns, view_timeout_s(view), name)

    def _find_moment(self, name: bytes, may_block: bool) -> Entry | NegativeEntry:
        if name == NOW_NAME:
            self._freshness.refuse_if_stale()
        fingerprint = self._trees.views.resolve(name, may_block=may_block)
        view = None if fingerprint is None else self._trees.views.find(fingerprint, may_block=may_block)
        if view is None:
            return NegativeEntry(0.0)
        target = b"../" + VIEWS_NAME + b"/" + view.fingerprint.encode()
        return self._entries.link_entry((AT_NAME,), name, target, view.taken_at_ns)

    def _list_views(self, stamp: int | None) -> Listing:
        if stamp is None:
            names = tuple(fingerprint.encode() for fingerprint in self._trees.views.held())
            stamp = stamp_of(b"/".join(names))
            self._listed[stamp] = names
            if len(self._listed) > LISTINGS_KEPT:
                self._listed.popitem(last=False)
        listed = self._listed.get(stamp)
        if listed is None:
            raise StaleHandleError("the listing is no longer kept")

        def entries_from(start: int) -> Iterator[tuple[bytes, Entry]]:
            for name in listed[start:]:
                # Whoever wants to know more asks for it: a catalog may have to be read from disk.
                self._trees.note_seen(name)
                yield name, self._entries.above_entry((), 0, 0.0, name)

        return Listing(stamp, lambda: listed, entries_from, cacheable=False)
