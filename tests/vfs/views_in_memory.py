"""A source of views that keeps every catalog it is given, until it is told otherwise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from readyfs.catalog.tree import Catalog
from readyfs.errors import BrokenRunError, WouldBlockError
from readyfs.vfs.views import View


class ViewsInMemory:
    """Views by fingerprint, in the order of their coming; `pins` are names in `at/`.

    A fingerprint `on_disk` is not found where the caller must not wait. Of one that is `lost` nothing is left.
    """

    def __init__(self) -> None:
        self.kept: dict[str, View] = {}
        self.pins: dict[bytes, str] = {}
        self.on_disk: set[str] = set()
        self.lost: set[str] = set()
        self.expires_ns: dict[str, int] = {}
        self.uses: Counter[str] = Counter()

    def add(self, catalog: Catalog, taken_at_ns: int) -> View:
        """Keep a catalog that is put into force."""
        known = self.kept.pop(catalog.fingerprint, None)
        view = self.kept[catalog.fingerprint] = known or View(catalog.fingerprint, catalog, taken_at_ns)
        return view

    def expire(self, fingerprint: str) -> None:
        """Have a view answer names only."""
        self.kept[fingerprint] = replace(self.kept[fingerprint], expired=True)

    def remove(self, fingerprint: str) -> None:
        """Let go of a view."""
        del self.kept[fingerprint]

    def held(self) -> Sequence[str]:
        return tuple(reversed(self.kept))

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        if fingerprint in self.lost:
            raise BrokenRunError("the view has expired")
        if fingerprint in self.on_disk and not may_block:
            raise WouldBlockError
        return self.kept.get(fingerprint)

    def expires_at_ns(self, fingerprint: str) -> int | None:
        return self.expires_ns.get(fingerprint)

    def resolve(self, name: bytes, *, may_block: bool) -> str | None:
        if name in self.pins:
            return self.pins[name]
        held = self.held()
        ago = re.fullmatch(rb"~([0-9]+)", name)
        return held[int(ago[1])] if ago is not None and int(ago[1]) < len(held) else None

    def used(self, fingerprint: str) -> None:
        self.uses[fingerprint] += 1
