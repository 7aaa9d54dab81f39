"""Collecting: what nothing has needed for longer than the grace is removed, by whichever daemon comes first.

Everything goes to the trash first, where it is still found. What turns out to be needed is put back. Only what has been
there for longer than the grace, and is needed by nothing then, is removed. So no writer and no reader has to be waited
for, and a collector that stops for an hour between two steps does no harm. All ages are by the clock of the store.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Final

from readyfs.pin_store.files import CLOCK, Files, Where
from readyfs.pin_store.leases import read_lease, read_leases
from readyfs.pin_store.names import free_names
from readyfs.pin_store.packs import is_pack, pack_place, trash_place
from readyfs.pin_store.places import (
    COLLECTED,
    LEASES,
    PACKS,
    TRASH,
    VIEWS,
    all_view_places,
    trash_name,
    untrashed,
    view_place,
)
from readyfs.pin_store.records import is_fingerprint
from readyfs.pin_store.roots import is_root, named_packs
from readyfs.pin_store.words import Collected

INTERVAL_S: Final = 600.0
"""So often something is collected, or as often as the grace lasts."""
_CLOCK_S: Final = 30 * 86400.0
"""The clock of a mount that is gone is kept for so long."""


class Collecting:
    """One round."""

    def __init__(self, files: Files, grace_s: float) -> None:
        self._files = files
        self._grace_s = grace_s
        self._now_s = files.now_s()
        self._views = self._packs = self._freed = self._skipped = 0

    def run(self) -> Collected:
        """Collect, unless another daemon did lately."""
        if not self._is_due():
            return Collected()
        self._skipped += free_names(self._files, self._now_s, self._grace_s)
        self._empty_views()
        self._move_views()
        try:
            self._move_packs()
            self._empty_packs()
        except PermissionError:
            self._skipped += 1  # a root that cannot be read may name any pack
        self._forget_clocks()
        return Collected(self._views, self._packs, self._freed, self._skipped)

    def _is_due(self) -> bool:
        found = self._files.stat((COLLECTED,))
        if found is not None and 0 <= self._now_s - found.st_mtime < min(INTERVAL_S, self._grace_s):
            return False
        # Before it begins, so that few do the same.
        if found is None or not self._files.touch((COLLECTED,)):
            with suppress(PermissionError):
                self._files.put((COLLECTED,), ())
        return True

    # ---- views ----------------------------------------------------------------------------------------------

    def _last_s(self, fingerprint: str, place: Where) -> float | None:
        """Return when the last lease in a directory of a view ends, None if there is none."""
        try:
            return max((lease.ends_s for lease in read_leases(self._files, fingerprint, [place])), default=None)
        except PermissionError:
            self._skipped += 1
            return inf

    def _is_past(self, moment_s: float) -> bool:
        return moment_s + self._grace_s < self._now_s

    def _is_old(self, place: Where) -> bool:
        found = self._files.stat(place)
        return found is None or self._is_past(found.st_mtime)

    def _move_views(self) -> None:
        """Move views that nothing needs to the trash."""
        for fingerprint in self._files.names((VIEWS,)):
            place = view_place(fingerprint)
            if not is_fingerprint(fingerprint):
                continue
            last_s = self._last_s(fingerprint, place)
            if not (self._is_old(place) if last_s is None else self._is_past(last_s)):
                continue
            trashed = (TRASH, VIEWS, trash_name(fingerprint))
            try:
                self._files.touch(place)  # its age in the trash begins
            except FileNotFoundError:
                continue
            if not self._files.move(place, trashed):
                self._skipped += 1
            elif self._is_needed(fingerprint, trashed):
                self._files.move(trashed, place)  # somebody wrote a lease just then

    def _is_needed(self, fingerprint: str, place: Where) -> bool:
        last_s = self._last_s(fingerprint, place)
        return last_s is not None and not self._is_past(last_s)

    def _empty_views(self) -> None:
        """Put back the views in the trash that somebody needs, and remove those that have been there long enough."""
        for name in self._files.names((TRASH, VIEWS)):
            fingerprint, place = untrashed(name), (TRASH, VIEWS, name)
            if fingerprint is None or not is_fingerprint(fingerprint):
                continue
            if self._is_needed(fingerprint, place):
                # If it was published anew meanwhile, it stays here until its leases are over.
                self._files.move(place, view_place(fingerprint))
            elif self._is_old(place):
                try:
                    self._remove_view(fingerprint, place)
                except PermissionError:
                    self._skipped += 1

    def _remove_view(self, fingerprint: str, place: Where) -> None:
        """Remove what is ours in the directory of a view, and then the directory."""
        for name in self._files.names(place):
            if is_root(self._files, place, fingerprint, name):
                self._remove((*place, name))
        for name in self._files.names((*place, LEASES)):
            if read_lease(self._files, place, fingerprint, name) is not None:
                self._remove((*place, LEASES, name))
        self._files.remove_directory((*place, LEASES))
        if self._files.remove_directory(place):
            self._views += 1
        else:
            self._skipped += 1

    # ---- packs ----------------------------------------------------------------------------------------------

    def _needed(self) -> set[str]:
        """Return the packs that some root names."""
        found: set[str] = set()
        for fingerprint, place in all_view_places(self._files):
            found |= named_packs(self._files, fingerprint, place)
        return found

    def _move_packs(self) -> None:
        """Move packs that no root names to the trash."""
        needed = self._needed()
        moved: list[str] = []
        for directory in self._files.names((PACKS,)):
            try:
                names = self._files.names((PACKS, directory))
            except PermissionError:
                self._skipped += 1
                continue
            for name in names:
                if name in needed or not is_pack(name) or not self._is_old(pack_place(name)):
                    continue
                try:
                    self._files.touch(pack_place(name))
                except FileNotFoundError:
                    continue
                if self._files.move(pack_place(name), trash_place(name)):
                    moved.append(name)
                else:
                    self._skipped += 1
        if moved:
            # A root may have been written since: its writer looks for the packs behind it.
            for name in self._needed().intersection(moved):
                self._put_back(name)

    def _empty_packs(self) -> None:
        """Put back the packs in the trash that a root names, and remove those that have been there long enough."""
        old = [name for name in self._files.names((TRASH, PACKS)) if is_pack(name) and self._is_old(trash_place(name))]
        needed = self._needed()
        for name in self._files.names((TRASH, PACKS)):
            if name in needed:
                self._put_back(name)
            elif name in old:
                self._remove_pack(name)

    def _remove_pack(self, name: str) -> None:
        found = self._files.stat(trash_place(name))
        # It is looked at once more: it may have been put back, and have come here again.
        if found is not None and self._is_past(found.st_mtime) and self._remove(trash_place(name)):
            self._packs += 1
            self._freed += found.st_size

    def _put_back(self, name: str) -> None:
        if self._files.stat(pack_place(name)) is None:
            self._files.move(trash_place(name), pack_place(name))

    # ---- the rest -------------------------------------------------------------------------------------------

    def _forget_clocks(self) -> None:
        for name in self._files.names((CLOCK,)):
            found = self._files.stat((CLOCK, name))
            if found is not None and found.st_mtime + _CLOCK_S < self._now_s:
                self._remove((CLOCK, name))

    def _remove(self, place: Where) -> bool:
        is_gone = self._files.remove(place)
        self._skipped += not is_gone
        return is_gone
