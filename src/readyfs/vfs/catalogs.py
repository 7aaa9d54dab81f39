"""Which catalog is in force: the one from which all names down to the dates come."""

from __future__ import annotations

from dataclasses import dataclass

from readyfs.catalog.history import CatalogHistory
from readyfs.catalog.tree import Catalog


@dataclass(frozen=True, slots=True)
class InForce:
    """The catalog that answers, and its revision: the number of catalogs published since the start."""

    catalog: Catalog
    revision: int


class Catalogs:
    """The catalog in force, and the ones before for the passes over directories that are under way in them (V7).

    `in_force` is replaced whole by the refresh, in one assignment; every answer reads it once.
    """

    def __init__(self, catalog: Catalog, history: CatalogHistory) -> None:
        self.in_force = InForce(catalog, 1)
        self.history = history

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog into force, in one step."""
        before = self.in_force
        self.history.add(before.catalog)
        self.in_force = InForce(catalog, before.revision + 1)
