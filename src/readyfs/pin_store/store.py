"""The pin store: catalogs in a directory that several mounts share.

Blocking, for any thread.
"""

from __future__ import annotations

from pathlib import Path

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.pin_store.words import Collected, Found, Identity, SharedPin


class PinStore:
    """The store in a directory, as one mount sees it.

    `holder` is 32 hexadecimal digits that tell this mount from every other. `grace_s` is how long what nothing needs
    stays. Every method raises `PinStoreError` if the store cannot be used as it is, and its kind `PinStoreAwayError` if
    that may be over later.
    """

    def __init__(self, directory: Path, identity: Identity, holder: str, shape: CatalogShape, grace_s: float) -> None:
        self.directory = directory

    def check(self) -> None:
        """Make what is missing in an empty directory, and prove that the store can be used and written."""
        raise NotImplementedError

    def publish(self, catalog: Catalog, pin: SharedPin, base: Catalog | None) -> None:
        """Put a catalog, its lease and its name into the store, on the disk when this returns.

        `base` is what this mount published last: what it shares with the catalog is not written again. A name that
        another mount holds is a `PinStoreError`. A pin without a name is a lease alone.
        """
        raise NotImplementedError

    def renew(self, pin: SharedPin) -> bool:
        """Write the lease of a pin anew; return whether the catalog is there, False if it has to be published."""
        raise NotImplementedError

    def end(self, pin: SharedPin) -> None:
        """Note that a pin has ended; its catalog goes once nothing needs it."""
        raise NotImplementedError

    def find(self, fingerprint: str) -> Found | None:
        """Return what there is of a catalog; raise `MismatchError` for one of others, `DamagedStoreError`."""
        raise NotImplementedError

    def load(self, found: Found, like: Catalog | None) -> Catalog:
        """Return the very catalog that was found, verified; it shares with `like` whatever is equal.

        Raises `DamagedStoreError`, also if it has been removed since.
        """
        raise NotImplementedError

    def resolve(self, name: str) -> str | None:
        """Return the fingerprint of the pin of a name, None if there is none."""
        raise NotImplementedError

    def ends_in_s(self, fingerprint: str) -> float | None:
        """Return how long the latest lease of a catalog lasts from now on, None if there is no lease."""
        raise NotImplementedError

    def collect(self) -> Collected:
        """Remove what nothing has needed for longer than the grace, unless another daemon did so lately."""
        raise NotImplementedError
