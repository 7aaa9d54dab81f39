"""How much memory pinned catalogs add: of those that are in memory, from when they are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.daemon import pinned_memory
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.errors import WouldBlockError
from readyfs.history.moments import Moment

IN_FORCE, PINNED, OTHER = "aa" * 16, "bb" * 16, "cc" * 16


class FakeHistory:
    """Has the catalog in force in memory, and others on disk until they are loaded."""

    def __init__(self) -> None:
        self.loaded = {IN_FORCE}
        self.catalogs = {one: cast(Catalog, SimpleNamespace()) for one in (IN_FORCE, PINNED, OTHER)}

    def moments(self) -> Sequence[Moment]:
        return [Moment(OTHER, 1), Moment(PINNED, 2), Moment(IN_FORCE, 3)]

    def in_memory(self) -> set[str]:
        return self.loaded

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        if fingerprint not in self.loaded:
            raise WouldBlockError("on disk")
        return self.catalogs[fingerprint]


def test_a_pin_of_before_counts_from_when_its_catalog_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart pinned catalogs are on disk alone: they add nothing, until somebody looks at one."""
    monkeypatch.setattr(pinned_memory, "memory_added", lambda _catalog, _others: 1000)
    history, pinned = FakeHistory(), [PINNED, IN_FORCE]
    memory = PinnedMemory(history)
    assert memory.is_due(pinned)
    memory.measure(pinned)
    assert (memory.of(PINNED), memory.of(IN_FORCE), memory.total) == (None, 0, 0)
    assert not memory.is_due(pinned)
    history.loaded.add(OTHER)  # which nobody pinned
    assert not memory.is_due(pinned)
    history.loaded.add(PINNED)
    assert memory.is_due(pinned)
    memory.measure(pinned)
    assert (memory.of(PINNED), memory.of(IN_FORCE), memory.total) == (1000, 0, 1000)
    assert not memory.is_due(pinned)
