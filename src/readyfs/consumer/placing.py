"""Which ready rows a mount cannot show: for their names, their raw paths, or because two of them claim one path.

It says of the rows of a state what a catalog of the same layouts would withhold, without building one. Where the layout
shows the source, or there is only one, each series is judged by itself. Else the dates of all series are read before,
because the other row of a path may come much later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from readyfs.layout import MountLayout, RawLayout, UnusableNameError
from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.series_rows import Row, SeriesRows
from readyfs.state.reader import SeriesDays, SeriesState, StateReader, StateRow, is_of
from readyfs.state.rows.series_state import by_date, days_of, rows_of

_USABLE_RUNS: Final = 100_000
"""So many run ids are remembered as usable before that begins anew."""
_READY: Final = frozenset({PartitionStatus.READY})
_TOUCHED: Final = frozenset({PartitionStatus.READY, PartitionStatus.WITHHELD})


class PlacedReader:
    """A `StateReader` that withholds what a mount of these layouts cannot show; `word` is what ready rows say."""

    def __init__(self, reader: StateReader, layout: MountLayout, raw_layout: RawLayout, word: str) -> None:
        self.label = reader.label
        self._reader = reader
        self._layout = layout
        self._raw_layout = raw_layout
        self._word = word
        self._usable_runs: set[bytes] = set()

    def rows(self, statuses: frozenset[PartitionStatus] | None = None) -> Iterator[StateRow]:
        """See `StateReader`."""
        if statuses is not None and not statuses & _TOUCHED:
            yield from self._reader.rows(statuses)
            return
        for state in self.by_series():
            yield from rows_of(state, self._word, statuses)

    def by_series(self) -> Iterator[SeriesState]:
        """See `StateReader`."""
        if self._layout.shows_source or self._reader.has_one_source():
            for state in self._reader.by_series():
                yield self._without_twins(self._usable(state), {})
            return
        claims = self._find_claims()
        for state in self._reader.by_series():
            yield self._without_twins(self._usable(state), claims.get(self._layout.shown(state.series), {}))

    def series(self) -> Iterator[SeriesDays]:
        """See `StateReader`."""
        return map(days_of, self.by_series())

    def find(self, key: PartitionKey) -> list[StateRow]:
        """See `StateReader`; one keyed query, which also finds who else claims the path."""
        wide = key if self._layout.shows_source else key._replace(series=key.series._replace(source=b""))
        rows = [self._usable_row(row) for row in self._reader.find(wide)]
        claims: dict[SeriesKey, list[SeriesKey]] = {}
        for row in rows:
            if row.status is PartitionStatus.READY:
                claims.setdefault(self._layout.shown(row.series), []).append(row.series)
        found = []
        for row in rows:
            claimed = claims.get(self._layout.shown(row.series), ())
            if row.status is PartitionStatus.READY and len(claimed) > 1:
                detail = self._describe(key.date, sorted(set(claimed)))
                row = _withheld(row, WithheldReason.AMBIGUOUS_PATH, detail)
            if is_of(row, key):
                found.append(row)
        return found

    def _usable_row(self, row: StateRow) -> StateRow:
        if row.status is not PartitionStatus.READY:
            return row
        why = self._why_unusable(row.series)
        if why is None and (fault := self._fault(row.run_id)) is not None:
            why = (WithheldReason.UNUSABLE_RAW_PATH, fault)
        return row if why is None else _withheld(row, *why)

    def has_one_source(self) -> bool:
        """See `StateReader`."""
        return self._reader.has_one_source()

    def close(self) -> None:
        """See `StateReader`."""
        self._reader.close()

    def _find_claims(self) -> dict[SeriesKey, dict[int, list[SeriesKey]]]:
        """Return, by what a path tells of a series, the dates that are claimed by more than one, and by whom."""
        seen: set[int] = set()
        shared: set[int] = set()
        for days in self._reader.series():
            # A hash takes less memory than a key. Two that are alike by chance cost a look and nothing else.
            number = hash(self._layout.shown(days.series))
            (shared if number in seen else seen).add(number)
        found: dict[SeriesKey, dict[int, list[SeriesKey]]] = {}
        if not shared:
            return found
        for state in self._reader.by_series():
            shown = self._layout.shown(state.series)
            if hash(shown) in shared:
                dates = found.setdefault(shown, {})
                for date in _claimed_by(self._usable(state)):
                    dates.setdefault(date, []).append(state.series)
        for shown in list(found):
            found[shown] = {date: claims for date, claims in found[shown].items() if len(claims) > 1}
        return found

    def _usable(self, state: SeriesState) -> SeriesState:
        """Return a series in which rows without a name or a raw path are withheld, and claim nothing."""
        ready = state.ready
        twice = [row for row in state.others if row.withheld is WithheldReason.AMBIGUOUS_PATH]
        if not len(ready) and not twice:
            return state
        faults: dict[bytes, tuple[WithheldReason, str]] = {}
        why = self._why_unusable(state.series)
        run_ids = {*ready.run_ids, *(row.run_id for row in twice)}
        if why is not None:
            faults = dict.fromkeys(run_ids, why)
        else:
            # Most are known from other series.
            for run_id in run_ids - self._usable_runs:
                if (fault := self._fault(run_id)) is not None:
                    faults[run_id] = (WithheldReason.UNUSABLE_RAW_PATH, fault)
        if not faults:
            return state
        found = (row for row in rows_of(state, self._word, None))
        return _judged(
            state,
            (_withheld(row, *faults[row.run_id]) if _is_claim(row) and row.run_id in faults else row for row in found),
        )

    def _without_twins(self, state: SeriesState, claims: Mapping[int, list[SeriesKey]]) -> SeriesState:
        """Return a series in which rows are withheld whose path another row claims."""
        own: dict[int, int] = {}
        for row in state.others:
            if row.withheld is WithheldReason.AMBIGUOUS_PATH and row.date is not None:
                own[row.date] = own.get(row.date, 0) + 1
        if not own and not claims:
            return state
        found: list[StateRow] = []
        for row in rows_of(state, self._word):
            if row.date is None or not _is_claim(row):
                found.append(row)
            elif row.date in claims or own.get(row.date, 0) > 1:
                keys = claims.get(row.date, [state.series])
                found.append(_withheld(row, WithheldReason.AMBIGUOUS_PATH, self._describe(row.date, keys)))
            else:
                # The other row of its date claims nothing.
                found.append(row._replace(status=PartitionStatus.READY, withheld=None, detail=""))
        return _judged(state, found)

    def _describe(self, date: int, keys: Iterable[SeriesKey]) -> str:
        rows = ", ".join(str(PartitionKey(key, date)) for key in keys)
        return f"claimed by the ready rows of {rows}"

    def _why_unusable(self, series: SeriesKey) -> tuple[WithheldReason, str] | None:
        try:
            self._layout.names_of(series)
        except UnusableNameError as error:
            return WithheldReason.UNUSABLE_NAME, str(error)
        try:
            self._raw_layout.check_series(series)
        except UnusableNameError as error:
            return WithheldReason.UNUSABLE_RAW_PATH, str(error)
        return None

    def _fault(self, run_id: bytes) -> str | None:
        """Return why a run id can be no raw path, None if it can, which is remembered."""
        if run_id in self._usable_runs:
            return None
        try:
            self._raw_layout.check_run_id(run_id)
        except UnusableNameError as error:
            return str(error)
        if len(self._usable_runs) > _USABLE_RUNS:
            self._usable_runs.clear()
        self._usable_runs.add(run_id)
        return None


def _is_claim(row: StateRow) -> bool:
    """Tell whether a row is ready, as far as rows tell: another one may claim its path."""
    return row.status is PartitionStatus.READY or row.withheld is WithheldReason.AMBIGUOUS_PATH


def _claimed_by(state: SeriesState) -> set[int]:
    twice = (row.date for row in state.others if row.withheld is WithheldReason.AMBIGUOUS_PATH)
    return {*state.ready.dates, *(date for date in twice if date is not None)}


def _withheld(row: StateRow, reason: WithheldReason, detail: str) -> StateRow:
    return row._replace(status=PartitionStatus.WITHHELD, withheld=reason, detail=detail)


def _judged(state: SeriesState, rows: Iterable[StateRow]) -> SeriesState:
    """Return a series of which some rows are told otherwise."""
    ready: list[Row] = []
    others: list[StateRow] = []
    for row in rows:
        if row.date is not None and row.status in _READY:
            ready.append((row.date, row.run_id, row.updated_at_ns, row.record_count, row.schema_version))
        else:
            others.append(row)
    ready.sort(key=lambda one: one[0])
    return SeriesState(state.series, SeriesRows.of(ready), sorted(others, key=by_date))
