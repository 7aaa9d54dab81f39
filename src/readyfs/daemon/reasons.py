"""Gathering the facts behind `why`, from the catalog in force, the state store and the raw store; all of one moment.

What waits for memory, for the database or for the raw store runs on threads of its own kind, each with a deadline: a
store that hangs leaves an answer that says so. Nobody is told of what the mount's filters keep back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs.catalog.series import Series
from readyfs.catalog.tree import AMBIGUOUS, Catalog, Meaning, SeriesGroup
from readyfs.consumer.address import Address, ImpossibleAddressError
from readyfs.consumer.address_text import parse_address
from readyfs.consumer.explanation import Explanation, fields_of_partition
from readyfs.consumer.facts import NOT_ASKED, Look, Recorded, Rules, Shown
from readyfs.consumer.why import explain, explain_filtered, explain_impossible, several_sources
from readyfs.control.peer import Peer
from readyfs.control.question_requests import ShownRequest, WhyRequest
from readyfs.daemon.reader_pool import ReaderPool
from readyfs.daemon.turns import Turns
from readyfs.duration import render_duration
from readyfs.errors import FilesystemError, NoAnswerError, StateError, UnreadablePinStoreError, UsageError
from readyfs.layout import UnusableNameError
from readyfs.partition import Partition, PartitionKey, SeriesKey
from readyfs.refresh.refresher import Refresher
from readyfs.text import escape_text
from readyfs.vfs.control_directory import AT_NAME
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.inode_number import LIVE, TreeName
from readyfs.vfs.views import View, ViewSource

log = structlog.get_logger("readyfs.daemon")

DEADLINE_S: Final = 3.0
"""How long one store may take over a question; a client waits for ten seconds."""
TROUBLED_DEADLINE_S: Final = 0.5
"""The same of a state store that the refresh could not read."""
LOOKS: Final = 3
"""How often the facts are gathered until the mount shows the same before and after."""
EXPIRED: Final = Shown(expired=True)


@dataclass(frozen=True, slots=True)
class _Place:
    """The tree that an address is in: a catalog, the name of its tree, and what is said of all of it."""

    catalog: Catalog
    tree: TreeName
    shown: Shown


@dataclass(slots=True)
class Reasons:
    """Answers why; called on the trio loop. The readers see the state within the mount's filters."""

    rules: Rules
    files: FileFilter
    filesystem: Filesystem
    freshness: Freshness
    refresher: Refresher
    views: ViewSource
    readers: ReaderPool
    view_deadline_s: float = DEADLINE_S
    """How long it may take to find a view, which the pin store may have to be asked for."""
    why_not: Callable[[str], str | None] = lambda fingerprint: None
    """Returns why a view of the pin store is not shown here, None if that is not so."""
    memory: Turns = field(default_factory=lambda: Turns(2, 1))
    state: Turns = field(default_factory=lambda: Turns(4, 2))
    raw: Turns = field(default_factory=lambda: Turns(4, 2))
    _sources: tuple[str, frozenset[bytes]] = ("", frozenset())

    async def explain(self, request: WhyRequest, peer: Peer) -> Explanation:
        """Return why an address is ready or is not; raise `UsageError` if it cannot be told which is meant."""
        asked = escape_text(os.fsencode(request.asked))
        try:
            address = parse_address(request.asked, self.rules.layout, Path(request.mountpoint), source=request.source)
        except ImpossibleAddressError as error:
            return explain_impossible(asked, error)
        shows_file = not address.file or self.files.shows(address.file)
        filtered = explain_filtered(asked, address, self.rules, shows_file=shows_file)
        if filtered is not None:
            return filtered
        names = _names_below(request) if request.asked.startswith("/") else None
        for _ in range(LOOKS):
            dated, before = await self._remember(peer, address, names)
            recorded = await self._ask_state(peer, dated, before.shown)
            look = await self._look(peer, dated, before)
            _, after = await self._remember(peer, dated, names)
            if _is_same(before.shown, after.shown):
                explanation = explain(asked, dated, self.rules, after.shown, recorded, look)
                path = _path(dated, after, recorded)
                return replace(explanation, fields={**explanation.fields, "path": path})
        raise NoAnswerError(f"the mount showed something else at {asked} at each of {LOOKS} looks", "try again")

    async def list_shown(self, request: ShownRequest, peer: Peer) -> tuple[str, list[tuple[str, object] | None]]:
        """Return the fingerprint of the catalog in force, and what it shows at each address: run and time, or None."""
        try:
            return await self.memory.run(peer.uid, lambda: self._list_shown(request), DEADLINE_S)
        except trio.TooSlowError:
            raise _too_much() from None

    def _list_shown(self, request: ShownRequest) -> tuple[str, list[tuple[str, object] | None]]:
        catalog = self.filesystem.in_force.catalog
        mountpoint = Path(request.mountpoint)
        found: list[tuple[str, object] | None] = []
        for asked in request.asked:
            try:
                address = parse_address(asked, self.rules.layout, mountpoint, source=request.source)
                shown = self._find(address, None, catalog)[1].shown
            except (UsageError, ImpossibleAddressError):
                shown = Shown()  # `why` tells
            partition = None if shown.stale_s is not None or shown.expired else shown.meaning
            if isinstance(partition, Partition):
                fields = fields_of_partition(partition)
                found.append((str(fields["run_id"]), fields["updated_at"]))
            else:
                found.append(None)
        return catalog.fingerprint, found

    # ---- what the mount shows -------------------------------------------------------------------------------

    async def _remember(self, peer: Peer, address: Address, names: tuple[bytes, ...] | None) -> tuple[Address, _Place]:
        """Return what is shown at an address, and the address with its date."""
        try:
            return await self.memory.run(
                peer.uid,
                lambda: self._find(address, names, self.filesystem.in_force.catalog),
                DEADLINE_S if address.view is None else self.view_deadline_s,
            )
        except trio.TooSlowError:
            raise _too_much() from None

    def _find(self, address: Address, names: tuple[bytes, ...] | None, live: Catalog) -> tuple[Address, _Place]:
        """Return what is shown at an address by the live catalog, or by the view that it is in."""
        place = self._place(address, live)
        if place.shown.expired:
            return address, place
        catalog = place.catalog
        group = self._group(catalog, address) if address.names_partition else None
        address = _with_date(address, group)
        if not address.names_partition or address.date is None:
            is_there = _has_directory(catalog, address, names)
            return address, replace(place, shown=replace(place.shown, is_directory=is_there))
        meaning, claims = _meaning(group, address)
        return address, replace(place, shown=replace(place.shown, meaning=meaning, claims=claims))

    def _group(self, catalog: Catalog, address: Address) -> SeriesGroup | None:
        """Return the series that have the paths of an address; raise `UsageError` if its source has to be told."""
        series = _series(address)
        try:
            if address.source is not None or not catalog.layout.shows_source:
                return catalog.tree.group(series)
            if catalog.fingerprint != self._sources[0]:
                self._sources = catalog.fingerprint, frozenset(key.source for key in catalog.by_key)
            keys = [series._replace(source=source) for source in self._sources[1]]
            there = sorted(key for key in keys if _has(catalog.by_key.get(key), address.date))
            if len(there) > 1:
                raise several_sources(key.source for key in there)
            return catalog.tree.group(there[0]) if there else None
        except UnusableNameError:
            return None  # a key that makes no path

    def _place(self, address: Address, live: Catalog) -> _Place:
        if address.view is None:
            age_s, outage, held = self.freshness.age_s(), self.refresher.outage, self.refresher.held_back
            shown = Shown(
                refreshed_at_ns=self.freshness.refreshed_at_ns,
                stale_s=age_s if self.freshness.stale else None,
                trouble=None if outage is None else outage.cause,
                held_back=None if held is None else held.cause,
            )
            return _Place(live, LIVE, shown)
        view, shown = self._view(address.view.directory, address.view.name)
        if view is None:
            return _Place(live, LIVE, shown)
        tree = view.fingerprint.encode()
        return _Place(view.catalog, tree, Shown(taken_at_ns=view.taken_at_ns, expired=view.expired))

    def _view(self, directory: bytes, name: bytes) -> tuple[View | None, Shown]:
        """Return a view, or else why there is none."""
        try:
            resolved = self.views.resolve(name, may_block=True) if directory == AT_NAME else name.decode("ascii")
            view = None if resolved is None else self.views.find(resolved, may_block=True)
        except UnreadablePinStoreError as error:
            return None, replace(EXPIRED, trouble=str(error))
        except (FilesystemError, UnicodeDecodeError):
            return None, EXPIRED  # nothing of it is left, or can be read
        return view, replace(EXPIRED, refused=None if resolved is None else self.why_not(resolved))

    # ---- what the stores say --------------------------------------------------------------------------------

    async def _ask_state(self, peer: Peer, address: Address, shown: Shown) -> Recorded:
        if shown.expired or shown.stale_s is not None or address.view is not None or address.date is None:
            return NOT_ASKED
        if address.customer_id is None or address.query_name is None:
            return NOT_ASKED
        series = SeriesKey(address.source or b"", address.customer_id, address.query_name)
        key = PartitionKey(series, address.date)
        deadline_s = DEADLINE_S if shown.trouble is None else TROUBLED_DEADLINE_S
        try:
            return await self.state.run(peer.uid, lambda: self._read(key), deadline_s)
        except trio.TooSlowError:
            return Recorded(problem=f"the state store did not answer within {render_duration(deadline_s)}")

    def _read(self, key: PartitionKey) -> Recorded:
        try:
            with self.readers.borrowed() as reader:
                return Recorded(tuple(reader.find(key)))
        except StateError as error:
            return Recorded(problem=error.message)

    async def _look(self, peer: Peer, address: Address, place: _Place) -> Look:
        partition = place.shown.meaning
        if not isinstance(partition, Partition) or place.shown.stale_s is not None or place.shown.expired:
            return Look()
        try:
            fault, is_there = await self.raw.run(
                peer.uid,
                lambda: self.filesystem.look_at_run(partition, address.file, place.tree),
                DEADLINE_S,
            )
        except trio.TooSlowError:
            return Look(problem=f"the raw store did not answer within {render_duration(DEADLINE_S)}")
        except FilesystemError as error:
            return Look(problem=str(error) or "the raw store could not be asked")
        return Look(fault, lacks_file=not is_there)


def _with_date(address: Address, found: SeriesGroup | None) -> Address:
    """Return an address with the date that `latest` stands for now."""
    if not address.is_latest:
        return address
    newest = None if found is None else found.dates[-1]
    return replace(address, first=newest, last=newest)


def _meaning(group: SeriesGroup | None, address: Address) -> tuple[Meaning | None, tuple[Partition, ...]]:
    assert address.date is not None
    meaning = None if group is None else group.find(address.date)
    if group is None or meaning is None:
        return None, ()
    if meaning is AMBIGUOUS:
        return meaning, tuple(group.rows_at(address.date))
    assert isinstance(meaning, Partition)
    return (meaning if address.admits(meaning.key.series) else None), ()


def _series(address: Address) -> SeriesKey:
    assert address.customer_id is not None
    assert address.query_name is not None
    return SeriesKey(address.source or b"", address.customer_id, address.query_name)


def _path(address: Address, place: _Place, recorded: Recorded) -> str | None:
    """Return where a partition is or would be in the live tree, relative to the mount point.

    Where the layout shows a source that was not named, it is that of what was found.
    """
    if address.view is not None or not address.names_partition or address.date is None:
        return None
    layout, series, meaning = place.catalog.layout, _series(address), place.shown.meaning
    if address.source is None and layout.shows_source:
        claims = [meaning.key.series] if isinstance(meaning, Partition) else [row.series for row in recorded.rows]
        if not claims:
            return None
        series = claims[0]
    try:
        path = layout.path_of(series, address.date)
    except UnusableNameError:
        return None
    return os.fsdecode(b"/".join((*path, *address.file)))


def _too_much() -> NoAnswerError:
    return NoAnswerError("the daemon has too much to look up", "try again")


def _has(series: Series | None, date: int | None) -> bool:
    """Whether a series has a date, or with None any."""
    return series is not None and (date is None or series.row(date) is not None or date in series.ambiguous)


def _has_directory(catalog: Catalog, address: Address, names: tuple[bytes, ...] | None) -> bool:
    if names is not None and not address.is_latest:
        return catalog.directory(names) is not None
    return any(address.admits(key) for key in catalog.by_key)


def _names_below(request: WhyRequest) -> tuple[bytes, ...]:
    """Return the names of a path below the root of its tree; it is below the mount point, as was seen before."""
    path = os.path.normpath(os.fsencode(request.asked))
    names = tuple(filter(None, path.removeprefix(os.fsencode(request.mountpoint)).split(b"/")))
    return names[3:] if names[:1] == (b".readyfs",) else names


def _is_same(before: Shown, after: Shown) -> bool:
    """Whether a mount showed the same before and after the stores were asked: then all of it was so at one moment."""
    return _without_ages(before) == _without_ages(after)


def _without_ages(shown: Shown) -> Shown:
    """Return what is shown without what time alone changes."""
    return replace(shown, refreshed_at_ns=None, stale_s=None if shown.stale_s is None else 0.0)
