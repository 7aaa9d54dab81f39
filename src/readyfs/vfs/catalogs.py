"""Which catalog is in force: the one from which all names down to the dates come.

A catalog is put into force in three steps, so that no reader sees an older run again. It is *announced*: whatever is
answered from then on of a directory whose names change is not for the kernel to keep. The kernel is told to drop those
names, which also waits for the answers that are on their way to its cache. Then it is *published*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from readyfs.catalog.history import CatalogHistory
from readyfs.catalog.tree import Catalog, Path


@dataclass(frozen=True, slots=True)
class InForce:
    """The catalog that answers, and its revision: the number of catalogs published since the start.

    `changing` are the directories of which the next catalog, which is announced, has other names or runs.
    """

    catalog: Catalog
    revision: int
    changing: frozenset[Path] = frozenset()

    def timeout_s(self, directory: Path, timeout_s: float) -> float:
        """Return for how long the kernel may keep what a name in a directory means, or that there is none."""
        return 0.0 if directory in self.changing else timeout_s


class Catalogs:
    """The catalog in force, and the ones before for the passes over directories that are under way in them (V7).

    `in_force` is replaced whole by the refresh, in one assignment; every answer reads it once. So an answer that may be
    kept was asked for before the announcement, and the kernel drops what it says.
    """

    def __init__(self, catalog: Catalog, history: CatalogHistory) -> None:
        self.in_force = InForce(catalog, 1)
        self.history = history

    def announce(self, changing: Iterable[Path]) -> None:
        """Say in which directories names will change."""
        self.in_force = replace(self.in_force, changing=frozenset(changing))

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog into force, in one step."""
        before = self.in_force
        self.history.add(before.catalog)
        self.in_force = InForce(catalog, before.revision + 1)
