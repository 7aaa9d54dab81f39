"""A daemon that keeps every catalog as a view, in memory, and does with them what files tell it to.

    python tests/mount/viewing_daemon.py SCRIPT ...

runs another script, such as the stem, with that in it. What to do stands in a directory beside the raw root: see
`tests.mount.views`.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    # For a script the interpreter looks in the script's directory, where modules of the same names would be found.
    sys.path[0] = str(Path(__file__).parents[2])

from readyfs.catalog.tree import Catalog
from readyfs.fuse.notifications import Notifications
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.run_view import BrokenView, RunView
from readyfs.vfs.tree_runs import TreeRuns
from tests.vfs.views_in_memory import ViewsInMemory

ORDERS: Final = "VIEWS_TO_TEST"
"""The variable that names the directory with what is to be done."""
GATE: Final = "GATE_TO_TEST"
"""The variable that names a file. While it is there, no answer about a run is given; `reached` beside it says so."""


class Orders(threading.Thread):
    """Carries out orders: each is an empty file whose name says what to do with which view. It goes once it is done."""

    def __init__(self, directory: Path, views: ViewsInMemory, fs: Filesystem, notifications: Notifications) -> None:
        super().__init__(daemon=True)
        self._directory, self._views, self._fs, self._notifications = directory, views, fs, notifications

    def run(self) -> None:
        while True:
            for order in self._directory.iterdir():
                what, _, subject = order.name.partition(" ")
                name, _, fingerprint = subject.rpartition(" ")
                match what:
                    case "pin":
                        self._views.pins[os.fsencode(name)] = fingerprint
                    case "expire":
                        self._views.expire(fingerprint)
                    case "remove":
                        self._views.remove(fingerprint)
                if what != "pin":
                    self._notifications._send_all(self._fs.plan_expiry(fingerprint), self._notifications._ends)
                order.unlink()
            time.sleep(0.005)


def install() -> None:
    """Have every filesystem of this process keep its catalogs."""
    init_notifications, init, publish = Notifications.__init__, Filesystem.__init__, Filesystem.publish
    made: list[Notifications] = []
    kept: dict[Filesystem, ViewsInMemory] = {}

    def noting(self: Notifications, *args: Any, **kwargs: Any) -> None:
        init_notifications(self, *args, **kwargs)
        made.append(self)

    def viewing(self: Filesystem, catalog: Catalog, *args: Any, **kwargs: Any) -> None:
        views = kept[self] = ViewsInMemory()
        views.add(catalog, time.time_ns())
        kwargs["views"] = views
        init(self, catalog, *args, **kwargs)
        if ORDERS in os.environ:
            Orders(Path(os.environ[ORDERS]), views, self, made[-1]).start()

    def keeping(self: Filesystem, catalog: Catalog) -> None:
        kept[self].add(catalog, time.time_ns())
        publish(self, catalog)

    show = TreeRuns.view

    def gated(self: TreeRuns, *args: Any, **kwargs: Any) -> RunView | BrokenView:
        found = show(self, *args, **kwargs)
        gate = Path(os.environ.get(GATE, "/nowhere"))
        if isinstance(found, RunView) and gate.exists():
            gate.with_name("reached").touch()
            while gate.exists():
                time.sleep(0.005)
        return found

    TreeRuns.view = gated  # type: ignore[method-assign]
    Notifications.__init__ = noting  # type: ignore[method-assign]
    Filesystem.__init__ = viewing  # type: ignore[method-assign]
    Filesystem.publish = keeping  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    if sys.argv[1] == sys.executable:
        del sys.argv[1]
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
