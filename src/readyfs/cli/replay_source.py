"""Where a replay finds its partitions: in the state table, or in what a mount shows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final

from readyfs.cli.place import Place
from readyfs.config import table as settings
from readyfs.config.build import find_files, find_raw
from readyfs.consumer.cadence import Cadence
from readyfs.consumer.change_lines import render_place
from readyfs.consumer.changes import ChangeKind
from readyfs.consumer.deadline import last_ended
from readyfs.consumer.replay.backlog import find_missing
from readyfs.consumer.replay.plan import Target
from readyfs.consumer.replay.selection import RawPlaces, Selection, select_beside_view, select_rows
from readyfs.control.change_requests import ChangesRequest
from readyfs.errors import ResyncError
from readyfs.layout import RawLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, PartitionStatus, SeriesKey, render_date
from readyfs.state.filters import Filters

if TYPE_CHECKING:
    from readyfs.check.view import ShownRow


LOOK_TIMEOUT_S: Final = 10.0
"""How long the raw store may take to show one run."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a replay is of.

    `identity` says so in a resume file. `path_of` tells where a partition's files lie. `select` finds the partitions,
    and with a cadence the backlog, too. `look` returns why a run cannot be served, an empty text if it can. A mount
    says that when files are opened. `cursor` stands for the catalog whose partitions these are, if it is one.
    """

    identity: dict[str, object]
    path_of: Callable[[Target], bytes]
    select: Callable[[Cadence | None], Selection]
    look: Callable[[Target], str] = lambda target: ""
    cursor: str | None = None


@contextmanager
def open_state(place: Place) -> Iterator[Source]:
    """Have the partitions of the state table, in the raw store."""
    resolution = place.resolution
    layout = RawLayout.parse(resolution.get(settings.RAW_LAYOUT), resolution.get(settings.RAW_ENCODING))
    raw = find_raw(resolution)
    filters = place.filters()
    places = RawPlaces(os.fsencode(raw), layout)

    def select(cadence: Cadence | None) -> Selection:
        # Nothing of the state is open any more when the first command runs.
        if cadence is None:
            with closing(place.open_reader(filters)) as reader:
                ready = reader.rows(frozenset({PartitionStatus.READY, PartitionStatus.WITHHELD}))
                return select_rows(ready, *filters.date_range, places.refuse)
        with closing(place.open_reader(replace(filters, since=None, until=None))) as reader:
            every = select_rows(reader.rows(), *filters.date_range, places.refuse)
        return _with_missing(every, cadence, filters)

    with closing(place.open_reader(filters)) as reader:
        label = reader.label
    identity: dict[str, object] = {
        "state": label,
        "state table": resolution.get(settings.STATE_TABLE),
        "raw root": raw,
        "selection": _describe(filters),
    }
    yield Source(identity, places.path_of, select, _looking(place, raw, layout))


def _looking(place: Place, raw: str, layout: RawLayout) -> Callable[[Target], str]:
    """Return what looks at a run as a mount does before it serves it."""
    from readyfs.check.one_run import look_at_run

    _, required = find_files(place.resolution)
    names = [os.fsencode(name) for name in required]

    def look(target: Target) -> str:
        partition = Partition(target.key, target.run_id, NOT_SET, NOT_SET, None)
        looked = look_at_run(raw, layout, names, partition, (), LOOK_TIMEOUT_S)
        return "the raw store did not answer" if looked is None else looked[0] or ""

    return look


@contextmanager
def open_mount(place: Place, changed_since: str | None) -> Iterator[Source]:
    """Have the partitions of a view, which is pinned as long as this lasts."""
    from readyfs.check.view import walk_view
    from readyfs.cli.replay_unreadable import Unreadable
    from readyfs.pinned_view import pin

    assert place.mountpoint is not None
    filters = place.filters()
    with pin(place.mountpoint, note="readyfs replay", socket=place.socket) as view:
        paths: dict[PartitionKey, bytes] = {}

        def select(cadence: Cadence | None) -> Selection:
            shown = Selection()
            first, last = filters.date_range
            if changed_since is None:
                found = walk_view(view, Unreadable(place.client(), view, filters, shown).note)
            else:
                found = _read_changed(place, changed_since, view)
            for path, series, (date, run_id, *_) in found:
                if not filters.admits(series):
                    continue
                dates = shown.seen.setdefault(series, set())
                if first <= date <= last:
                    dates.add(date)
                    target = Target(PartitionKey(series, date), run_id)
                    shown.ready.append(target)
                    paths[target.key] = os.fsencode(path)
            if cadence is None:
                return shown
            if not place.has_state:
                return _with_missing(shown, cadence, filters, None)
            with closing(place.open_reader(replace(filters, since=None, until=None))) as reader:
                rows = select_rows(reader.rows(), first, last, lambda target: "")
            return _with_missing(select_beside_view(rows, shown), cadence, filters)

        identity: dict[str, object] = {
            "mount point": str(place.mountpoint),
            "selection": {**_describe(filters), "changed_since": changed_since},
        }
        yield Source(identity, lambda target: paths[target.key], select, cursor=view.name)


def _read_changed(place: Place, since: str, view: Path) -> Iterator[ShownRow]:
    """Yield what a view shows of the partitions that appeared or switched since a cursor."""
    from readyfs.check.view import read_row
    from readyfs.cli.replay_unreadable import gone

    for path in _changed_paths(place, since, view.name):
        try:
            found = read_row(f"{view}/{path}")
        except OSError as error:
            raise gone(path, error) from error
        assert found is not None, path
        yield found


def _changed_paths(place: Place, since: str, until: str) -> Iterator[str]:
    """Yield the paths of what appeared or switched between two catalogs, of which a pin holds the second."""
    client = place.client()
    after: object = render_place(PartitionKey(SeriesKey(b"", b"", b""), 0))  # before every key
    while after is not None:
        try:
            answer = client.changes(ChangesRequest(since, until, str(after)), in_turn=True)
        except ResyncError as error:
            raise ResyncError(error.message, "leave out --changed-since, and replay everything") from error
        after = answer["after"]
        for line in str(answer["changes"]).split("\n"):
            change = json.loads(line) if line else {"type": ChangeKind.TOUCHED}
            if change["type"] in (ChangeKind.APPEARED, ChangeKind.SWITCHED):
                yield change["path"]


def _with_missing(
    selection: Selection,
    cadence: Cadence,
    filters: Filters,
    status: PartitionStatus | None = PartitionStatus.MISSING,
) -> Selection:
    """Add the dates that should have a row and have none, up to the last one that has ended."""
    ended = last_ended(time.time_ns(), UTC)
    last = ended if filters.until is None else min(filters.until, ended)
    selection.not_ready.extend(find_missing(selection.seen, cadence, filters.since, last, status))
    return selection


def _describe(filters: Filters) -> dict[str, object]:
    return {
        "sources": list(filters.sources),
        "customers": list(filters.customers),
        "queries": list(filters.queries),
        "since": None if filters.since is None else render_date(filters.since).decode(),
        "until": None if filters.until is None else render_date(filters.until).decode(),
    }
