"""A daemon with one bug in it, for seeing that the model finds it: a model that sees nothing proves nothing.

    python tests/model/seeded_daemon.py BUG python -m readyfs mount ...

runs `readyfs mount ...` with BUG, one of `BUGS`, in it; in the place of that command, a stem whose daemons all have it.
Each is a bug that a system of this kind has had or could easily get, and replaces a function or two and nothing else.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    # For a script the interpreter looks in the script's directory, where `reference` and others would be found.
    sys.path[0] = str(Path(__file__).parents[2])

import readyfs.refresh.refresher
from readyfs import layout
from readyfs.catalog.build import CatalogBuilder
from readyfs.catalog.delta import compare
from readyfs.catalog.tree import Branch, Catalog, DateDirectory, PartitionDirectory
from readyfs.cli.main import main as readyfs_main
from readyfs.errors import BrokenRunError, StateError
from readyfs.fuse import errno_table
from readyfs.fuse.notifications import Notifications
from readyfs.partition import Partition
from readyfs.raw.local import LocalRawStore
from readyfs.refresh.loader import CatalogLoader, Loaded
from readyfs.refresh.refresher import Refresher
from readyfs.state.rows import parser
from readyfs.state.sqlite import store as sqlite
from readyfs.vfs import inode_number, nodes
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.entries import Entries
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.handles import HandleTable, RawFileHandle
from readyfs.vfs.invalidation import Invalidation, plan_names
from readyfs.vfs.raw_files import RawFiles
from readyfs.vfs.resolver import Resolver
from readyfs.vfs.run_view import BrokenView
from readyfs.vfs.runs import Runs
from tests.mount import viewing_daemon
from tests.vfs.views_in_memory import ViewsInMemory

BUGS: Final[dict[str, Callable[[], None]]] = {}


def bug(seed: Callable[[], None]) -> Callable[[], None]:
    """Register a bug under its function's name."""
    BUGS[seed.__name__] = seed
    return seed


def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace an attribute by what `wrap` makes of it."""
    setattr(owner, name, wrap(getattr(owner, name)))


@bug
def status_filter_dropped() -> None:
    """A failed or pending run is shown."""

    def without_status(plan_chunks: Any) -> Any:
        def plan_all(*args: Any) -> Any:
            plan = plan_chunks(*args)
            columns, reals, cells = (text.partition(" AND (")[0] for text in (plan.columns, plan.reals, plan.cells))
            return dataclasses.replace(plan, columns=columns, reals=reals, cells=cells, ready=())

        return plan_all

    replace(sqlite, "plan_chunks", without_status)
    replace(parser, "says_ready", lambda _: lambda status, ready: True)


@bug
def unsealed_runs_served() -> None:
    """A run is shown before its last file is written."""

    def read(self: Any, partition: Partition) -> Any:
        found = {entry.name: entry for entry in self._raw.list_directory(partition)}
        return self._keep((partition.key, partition.run_id, ()), (), found)

    replace(Runs, "_read", lambda _: read)


@bug
def runs_mixed_in_listing() -> None:
    """A date directory lists the files of all its runs."""

    def with_siblings(list_directory: Any) -> Any:
        def list_all(self: Any, partition: Partition, relpath: tuple[bytes, ...] = ()) -> Any:
            found = {entry.name: entry for entry in list_directory(self, partition, relpath)}
            for run in Path(self._root, *map(os.fsdecode, self._layout.directory_of(partition))).parent.glob(
                "run_id=*"
            ):
                other = partition._replace(run_id=os.fsencode(run.name.removeprefix("run_id=")))
                found = {entry.name: entry for entry in list_directory(self, other)} | found
            return tuple(found.values())

        return list_all

    replace(LocalRawStore, "list_directory", with_siblings)


@bug
def plain_index_positions() -> None:
    """A listing goes on by index in whatever catalog is in force."""

    def by_index(read_directory: Any) -> Any:
        def read_on(self: Any, inode: Any, position: int, *, may_block: bool) -> Any:
            return dataclasses.replace(read_directory(self, inode, 0, may_block=may_block), position=position)

        return read_on

    replace(Filesystem, "read_directory", by_index)


@bug
def inodes_by_path() -> None:
    """A directory or file keeps its inode when the run changes: pages and listings of two runs mix."""
    for module in (inode_number, nodes):
        replace(module, "run_identity", lambda identity: lambda partition: identity(partition._replace(run_id=b"")))
    replace(inode_number, "_run_text", lambda text: lambda partition: text(partition._replace(run_id=b"")))


@bug
def path_reopened_per_read() -> None:
    """Each read asks anew which run is current."""
    served: list[Filesystem] = []

    def noting(init: Any) -> Any:
        def note(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            served.append(self)

        return note

    def read(self: Any, handle: RawFileHandle, offset: int, size: int) -> bytes:
        node = handle.node
        current = served[-1].in_force.catalog.meaning(node.above, node.partition.key)
        file = self._raw.open_file(current if isinstance(current, Partition) else node.partition, node.relpath)
        data: bytes = file.pread(size, offset)
        file.close()
        return data

    replace(Filesystem, "__init__", noting)
    replace(RawFiles, "read", lambda _: read)


@bug
def negative_entries_stay() -> None:
    """A name that was asked for before it existed stays absent."""

    def without_new_names(compare: Any) -> Any:
        def is_known(old: Catalog, path: Any, name: bytes) -> bool:
            directory = old.directory(path)
            if isinstance(directory, DateDirectory | PartitionDirectory):
                return directory.entry(name) is not None
            return isinstance(directory, Branch) and name in directory.children

        def compare_known(old: Catalog, new: Catalog, *others: Any) -> Any:
            delta = compare(old, new, *others)
            for index, change in enumerate(delta.directories):
                names = tuple(name for name in change.names if is_known(old, change.path, name))
                delta.directories[index] = type(change)(change.path, names, change.touched)
            return delta

        return compare_known

    replace(readyfs.refresh.refresher, "compare", without_new_names)


@bug
def nothing_invalidated() -> None:
    """The kernel is told nothing."""
    replace(Notifications, "_send", lambda _: lambda self, invalidation: None)


@bug
def touched_rows_not_invalidated() -> None:
    """A row's new time is not passed on."""

    def without_touched(plan: Any) -> Any:
        return lambda *args: (Invalidation(one.directory, one.names) for one in plan(*args))

    replace(readyfs.vfs.filesystem, "plan_invalidations", without_touched)


@bug
def absent_instead_of_broken() -> None:
    """What cannot be served is ENOENT."""
    errno_table._ERRNO[BrokenRunError] = errno.ENOENT


@bug
def broken_at_stat() -> None:
    """A broken run fails at stat, where globs skip it in silence."""

    def fail(self: Any, date: Any, relpath: Any, kind: Any) -> Any:
        raise BrokenRunError("broken")

    replace(Entries, "broken_entry", lambda _: fail)


@bug
def broken_for_ever() -> None:
    """A broken run does not heal when its files come back."""
    known: dict[Any, Any] = {}

    def remembering(read: Any) -> Any:
        def read_once(self: Any, partition: Partition) -> Any:
            key = (partition.key, partition.run_id)
            view = known.get(key) or read(self, partition)
            if isinstance(view, BrokenView):
                known[key] = view
            return view

        return read_once

    replace(Runs, "_read", remembering)


@bug
def empty_tree_on_outage() -> None:
    """A state store that cannot be read counts as one without rows."""

    def forgiving(load: Any) -> Any:
        def load_if_changed(self: Any, previous: Any, *, force: bool) -> Any:
            try:
                return load(self, previous, force=force)
            except StateError:
                return Loaded(*CatalogBuilder(self._builder._shape).build({}, previous, time.time_ns()), 0.0)

        return load_if_changed

    replace(CatalogLoader, "load_if_changed", forgiving)


@bug
def refresh_sticks() -> None:
    """After a few refreshes changes are not noticed any more."""
    loads = itertools.count()

    def sticking(load: Any) -> Any:
        return lambda self, previous, *, force: load(self, previous, force=force) if next(loads) < 4 else None

    replace(CatalogLoader, "load_if_changed", sticking)


@bug
def view_goes_back() -> None:
    """Every third refresh puts an older catalog into force."""
    published: list[Any] = []

    def going_back(publish: Any) -> Any:
        def publish_some(self: Any, catalog: Any) -> None:
            published.append(catalog)
            publish(self, published[-2] if len(published) % 3 == 0 else catalog)

        return publish_some

    replace(Filesystem, "publish", going_back)


@bug
def wrong_size() -> None:
    """A file's size is that of its blocks."""

    def in_blocks(file: Any) -> Any:
        return lambda self, inode, size, time_ns: file(self, inode, -(-size // 512) * 512, time_ns)

    replace(Presentation, "file", in_blocks)


@bug
def cold_restart_differs() -> None:
    """Inode numbers are new after each start."""
    replace(inode_number, "_number", lambda number: lambda text: number(b"%d" % os.getpid() + text))


@bug
def names_not_escaped() -> None:
    """Values are shown as they are."""
    replace(layout, "hive_escape", lambda _: lambda value: value)


@bug
def handles_kept() -> None:
    """Closing releases nothing."""
    replace(HandleTable, "remove", lambda _: lambda self, number: None)


@bug
def told_before_published() -> None:
    """The kernel forgets before there is anything new to ask for, and keeps the old answer once more."""

    async def put_into_force(self: Any, previous: Any, loaded: Any) -> Any:
        delta = compare(previous, loaded.catalog, self._fs.is_known)
        plan = [*plan_names(delta, self._fs.inodes), *self._fs.plan_invalidations(delta)]
        await self._notifications.invalidate(plan)
        self._fs.publish(loaded.catalog)
        return delta

    replace(Refresher, "_put_into_force", lambda _: put_into_force)


@bug
def view_follows_the_live_tree() -> None:
    """A view has what is in force, under the name of what was."""

    def of_the_newest(find: Any) -> Any:
        def find_newest(self: Any, fingerprint: str, *, may_block: bool) -> Any:
            view = find(self, fingerprint, may_block=may_block)
            newest = find(self, self.held()[0], may_block=may_block)
            return view and dataclasses.replace(view, catalog=newest.catalog)

        return find_newest

    replace(ViewsInMemory, "find", of_the_newest)


@bug
def expired_view_opens() -> None:
    """A view that has expired goes on being served."""
    replace(ViewsInMemory, "expire", lambda _: lambda self, fingerprint: None)


@bug
def latest_is_stale() -> None:
    """What `latest` leads to is kept for as long as any name."""

    def kept(find: Any) -> Any:
        return lambda self, catalog, parent, timeout_s: find(self, catalog, parent, 3600.0)

    replace(Resolver, "_find_latest", kept)


def main() -> int:
    """Seed the bug, then be `readyfs`, or what forks it."""
    name, _, *command = sys.argv[1:]
    viewing_daemon.install()
    BUGS[name]()
    if command[0] != "-m":
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))  # as the interpreter does for a script
        runpy.run_path(command[0], run_name="__main__")
        return 0
    sys.argv = command[command.index("readyfs") :]
    return readyfs_main()


if __name__ == "__main__":
    sys.exit(main())
