"""Which partitions a replay finds: in rows of the state table, or among what a catalog shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from readyfs.consumer.replay.backlog import NotReady
from readyfs.consumer.replay.plan import Target
from readyfs.layout import RawLayout, UnusableNameError
from readyfs.partition import NOT_SET, Partition, PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.reader import StateRow


@dataclass(slots=True)
class Selection:
    """What was found: what is ready, what is not, and of which dates of each series anything is known.

    `unreadable` says what could not be looked at, for people: nobody knows what is in it.
    """

    ready: list[Target] = field(default_factory=list)
    not_ready: list[NotReady] = field(default_factory=list)
    seen: dict[SeriesKey, set[int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def select_rows(rows: Iterable[StateRow], first: int, last: int, refuse: Callable[[Target], str]) -> Selection:
    """Return what rows, in the order of their keys, say of the dates between two, inclusive.

    `refuse` tells why the run of a ready partition has no place, or returns an empty text. Where two ready rows have
    one key nobody can say which counts, so that neither does. A series is seen though all its rows are of other dates.
    """
    found = Selection()
    for (series, date), group in groupby(rows, key=lambda row: (row.series, row.date)):
        same = list(group)
        dates = found.seen.setdefault(series, set())
        if date is None:
            found.not_ready.extend(map(_describe, same))
        elif first <= date <= last:
            dates.add(date)
            _select(found, PartitionKey(series, date), same, refuse)
    return found


def _select(found: Selection, key: PartitionKey, rows: Sequence[StateRow], refuse: Callable[[Target], str]) -> None:
    ready = [row for row in rows if row.status is PartitionStatus.READY]
    if not ready:
        found.not_ready.append(_describe(rows[0]))
        return
    target = Target(key, ready[0].run_id)
    reason = WithheldReason.AMBIGUOUS_PATH.value if len(ready) > 1 else refuse(target)
    if reason:
        found.not_ready.append(NotReady(key.series, key.date, PartitionStatus.WITHHELD, reason, target.run_id))
    else:
        found.ready.append(target)


def _describe(row: StateRow) -> NotReady:
    reason = "" if row.withheld is None else ": ".join(filter(None, (row.withheld.value, row.detail)))
    return NotReady(row.series, row.date, row.status, reason or row.error_message or "", row.run_id)


def select_beside_view(rows: Selection, shown: Selection) -> Selection:
    """Return what a view shows, with what rows say of the dates that it does not show.

    A row that became ready since the view was taken, or that no path is left for, is not ready in this view. What the
    view itself says of a partition stays.
    """
    in_view = {target.key for target in shown.ready}
    in_view.update(PartitionKey(one.series, one.date) for one in shown.not_ready if one.date is not None)
    for entry in rows.not_ready:
        if entry.date is None or PartitionKey(entry.series, entry.date) not in in_view:
            shown.not_ready.append(entry)
    why = "it is not in the view: it came later, or two rows claim its path"
    for key, run_id in rows.ready:
        if key not in in_view:
            shown.not_ready.append(NotReady(key.series, key.date, PartitionStatus.READY, why, run_id))
    for series, dates in rows.seen.items():
        shown.seen.setdefault(series, set()).update(dates)
    return shown


class RawPlaces:
    """Where runs lie below a raw root."""

    def __init__(self, root: bytes, layout: RawLayout) -> None:
        self._root = root
        self._layout = layout
        # Most rows are of a series, and many of a run, that was looked at already.
        self._why_no_series = lru_cache(maxsize=1024)(self._look_at_series)
        self._why_no_run = lru_cache(maxsize=1024)(self._look_at_run)

    def path_of(self, target: Target) -> bytes:
        """Return the path of a run's directory; raise `UnusableNameError` if it has none."""
        partition = Partition(target.key, target.run_id, NOT_SET, NOT_SET, None)
        return b"/".join((self._root, *self._layout.directory_of(partition)))

    def refuse(self, target: Target) -> str:
        """Return why a run has no path, an empty text if it has one."""
        why = self._why_no_series(target.key.series) or self._why_no_run(target.run_id)
        return f"{WithheldReason.UNUSABLE_RAW_PATH}: {why}" if why else ""

    def _look_at_series(self, series: SeriesKey) -> str:
        try:
            self._layout.check_series(series)
        except UnusableNameError as error:
            return str(error)
        return ""

    def _look_at_run(self, run_id: bytes) -> str:
        try:
            self._layout.check_run_id(run_id)
        except UnusableNameError as error:
            return str(error)
        return ""
