"""Views: kept catalogs as trees of their own, which hold still; and the port to whoever keeps them.

The daemon says which catalogs are kept (`ViewSource`). What the names below one mean is decided where those of the
live tree are: a view is the same tree over another catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from readyfs.catalog.tree import Catalog


@dataclass(frozen=True, slots=True)
class View:
    """One kept catalog as a tree; its name below `views/` is its fingerprint, in hex.

    `taken_at_ns` is when this mount put it into force first, as far as that is kept, in nanoseconds since the epoch. Of
    an `expired` view names answer and files cannot be opened.
    """

    fingerprint: str
    catalog: Catalog
    taken_at_ns: int
    expired: bool = False


class ViewSource(Protocol):
    """Which views there are; asked on any thread."""

    def held(self) -> Sequence[str]:
        """Return the fingerprints of all views, the newest first."""
        ...

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return a view, None if there is none.

        Raises `WouldBlockError` if it must be read from disk, `BrokenRunError` if it expired and nothing of it is left,
        and `UnreadableHistoryError`.
        """
        ...

    def expires_at_ns(self, fingerprint: str) -> int | None:
        """Return when the last lease of a view's pins ends, in nanoseconds since the epoch; None without any."""
        ...

    def resolve(self, name: bytes, *, may_block: bool) -> str | None:
        """Return the fingerprint that a name in `at/` stands for: a time, the name of a pin, or `~N`; else None."""
        ...

    def used(self, fingerprint: str) -> None:
        """Note that something of a view was looked up now."""
        ...


class NoViews:
    """The source of a mount that keeps no catalogs."""

    def held(self) -> Sequence[str]:
        """Return nothing."""
        return ()

    def find(self, fingerprint: str, *, may_block: bool) -> View | None:
        """Return None."""
        return None

    def expires_at_ns(self, fingerprint: str) -> int | None:
        """Return None."""
        return None

    def resolve(self, name: bytes, *, may_block: bool) -> str | None:
        """Return None."""
        return None

    def used(self, fingerprint: str) -> None:
        """Nothing."""
