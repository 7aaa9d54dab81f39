"""A mount whose catalogs are all kept as views, and what tests do with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mount.daemon import VIEWING, Daemon, Place, mounted, wait_until
from tests.mount.viewing_daemon import GATE, ORDERS


@dataclass(frozen=True, slots=True)
class Views:
    """The views of a daemon, which obeys files in a directory."""

    daemon: Daemon
    orders: Path

    @property
    def gate(self) -> Path:
        """While this is there, no answer about a run is given."""
        return self.orders.with_name("gate")

    @property
    def directory(self) -> Path:
        """Where they are, by fingerprint."""
        return self.daemon.path / ".readyfs/views"

    @property
    def at(self) -> Path:
        """Where links to them are, by name."""
        return self.daemon.path / ".readyfs/at"

    def taken(self) -> Path:
        """Return the view of the catalog in force."""
        return self.directory / os.getxattr(self.daemon.path, "user.readyfs.fingerprint").decode()

    def pin(self, name: str, view: Path) -> None:
        """Give a view a name in `at/`."""
        self._order(f"pin {name}", view)

    def expire(self, view: Path) -> None:
        """Let a view expire, and return once the kernel was told."""
        self._order("expire", view)

    def remove(self, view: Path) -> None:
        """Let a view go, and return once the kernel was told."""
        self._order("remove", view)

    def _order(self, what: str, view: Path) -> None:
        order = self.orders / f"{what} {view.name}"
        order.touch()
        wait_until(lambda: not order.exists(), f"the daemon did {what}")


@contextmanager
def viewing(place: Place, *arguments: str, engine: str) -> Iterator[Views]:
    """Mount a place for the body with all its catalogs kept."""
    orders = place.base / "orders"
    orders.mkdir(exist_ok=True)
    os.environ[ORDERS], os.environ[GATE] = str(orders), str(orders.with_name("gate"))
    try:
        with mounted(place, *arguments, engine=engine, wrapper=VIEWING) as daemon:
            yield Views(daemon, orders)
    finally:
        del os.environ[ORDERS], os.environ[GATE]


def tree(top: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a directory, by its path; an error is an error."""
    found: dict[str, bytes] = {}
    for directory, _, names in os.walk(top, onerror=_raise):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


def stats(top: Path) -> dict[str, tuple[int, ...]]:
    """Return inode, mode, size and time of everything below a directory and of itself, by its path."""
    found: dict[str, tuple[int, ...]] = {}
    for directory, directories, names in os.walk(top, onerror=_raise):
        for name in (".", *directories, *names):
            path = os.path.normpath(os.path.join(directory, name))
            stat = os.lstat(path)
            found[os.path.relpath(path, top)] = (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


def _raise(error: OSError) -> None:
    raise error
