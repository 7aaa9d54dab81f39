"""The rows behind the cells of a page, in columns: those that are ready, and what is told of the others."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from readyfs.consumer.coverage import SeriesCoverage
from readyfs.consumer.telling import Form, Telling, tell
from readyfs.page.columns import NULL, Sections, transpose
from readyfs.page.texts import LONGEST, Texts, shorten
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, render_date
from readyfs.state.reader import SeriesState, StateRow
from readyfs.text import escape_text

EPOCH_DATE: Final = 719_163
_DAY_S: Final = 86_400
_SECOND_NS: Final = 10**9
_FORMS: Final = tuple(Form)
_RUN: Final = "ready.run"
_NEVER: Final = 1 << 31
"""Is later than every date."""
_LEAST_SHARE: Final = 0.01
DATE_PLACE: Final = "\x01"
"""Stands for the date in what is said of it, so that the same words of many dates are stored once."""


class Runs:
    """Run ids as they are shown, one for each row; an empty one is none."""

    def __init__(self) -> None:
        self._all: list[bytes] = []

    def extend(self, run_ids: Sequence[bytes]) -> None:
        """Add the run ids of some rows."""
        joined = b"".join(run_ids)
        if not joined.isascii() or not joined.decode("ascii").isprintable():
            run_ids = [escape_text(run_id).encode() for run_id in run_ids]
        if max(map(len, run_ids), default=0) > LONGEST:
            run_ids = [shorten(run_id.decode()).encode() for run_id in run_ids]
        self._all.extend(run_ids)

    def write(self, name: str, sections: Sections) -> None:
        """Add them to a block."""
        _write_runs(name, self._all, sections)

    def write_since(self, name: str, sections: Sections, dates: Sequence[int], first: int) -> None:
        """Add those to a block whose dates are not before one; the others are left out."""
        kept = [run_id if date >= first else b"" for run_id, date in zip(self._all, dates, strict=True)]
        _write_runs(name, kept, sections)


def _write_runs(name: str, run_ids: list[bytes], sections: Sections) -> None:
    lengths = array("q", map(len, run_ids))
    sections.add_integers(f"{name}.length", lengths)
    kinds = set(lengths)
    if len(kinds) == 1:
        length = kinds.pop()
        if length:
            sections.add(f"{name}.{length}", transpose(run_ids, length))
        return
    by_length: dict[int, list[bytes]] = {length: [] for length in kinds}
    for run_id in run_ids:
        by_length[len(run_id)].append(run_id)
    for length, texts in by_length.items():
        if length:
            sections.add(f"{name}.{length}", transpose(texts, length))


class ReadyRows:
    """What is told of rows that are ready, in the order of the series and of their dates."""

    def __init__(self) -> None:
        self._dates = array("i")
        self._runs = Runs()
        self._updated = array("q")
        self._records = array("q")

    def extend(self, state: SeriesState) -> None:
        """Add those of one series."""
        columns = state.ready.columns
        self._dates.extend(columns.dates)
        self._runs.extend(columns.run_ids)
        self._records.extend(columns.record_counts)
        self._updated.extend(_since_ends(columns.updated_at_ns, columns.dates))

    def write(self, sections: Sections) -> None:
        """Add them to a block, but for their runs."""
        sections.add_integers("ready.updated", self._updated)
        sections.add_integers("ready.records", self._records)

    def write_runs(self, sections: Sections, room: int) -> int | None:
        """Add their runs to a block, the oldest left out if that would take more room than there is.

        Return the ordinal of the first date whose runs are there if some are left out.
        """
        whole = Sections()
        self._runs.write(_RUN, whole)
        if whole.size <= room:
            sections.extend(whole)
            return None
        first = _NEVER
        share = room / whole.size
        while share > _LEAST_SHARE:
            kept = Sections()
            first = self._newest(share)
            self._runs.write_since(_RUN, kept, self._dates, first)
            if kept.size <= room:
                sections.extend(kept)
                return first
            share *= 0.9
        self._runs.write_since(_RUN, sections, self._dates, _NEVER)
        return _NEVER

    def _newest(self, share: float) -> int:
        """Return from which date on there are at most so many of all rows."""
        left = share * len(self._dates)
        first = _NEVER
        for date, count in sorted(Counter(self._dates).items(), reverse=True):
            left -= count
            if left < 0:
                break
            first = date
        return first


class OtherRows:
    """What is told of dates that have rows, none of which is ready, in the order of the series and of the dates."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._runs = Runs()
        self._columns = {name: array("q") for name in ("form", "word", "said", "updated", "records", "attempts")}

    def extend(self, state: SeriesState) -> None:
        """Add those of one series."""
        tellings = list(_tell_others(state))
        if not tellings:
            return
        rows = [_NOTHING if told.row is None else told.row for _, told in tellings]
        dates = [date for date, _ in tellings]
        self._runs.extend([row.run_id for row in rows])
        columns = self._columns
        columns["form"].extend([_FORMS.index(told.form) for _, told in tellings])
        columns["word"].extend([self._number(escape_text(row.word)) for row in rows])
        columns["said"].extend([self._number(_said(told, date)) for date, told in tellings])
        columns["updated"].extend(_since_ends([row.updated_at_ns for row in rows], dates))
        columns["records"].extend([row.record_count for row in rows])
        columns["attempts"].extend([row.attempt_count for row in rows])

    def _number(self, text: str | None) -> int:
        """Return the number of a text, `NOT_SET` without one."""
        return NOT_SET if text is None else self._texts.number(text)

    def write(self, sections: Sections) -> None:
        """Add them to a block."""
        for name, column in self._columns.items():
            sections.add_integers(f"other.{name}", column)
        self._runs.write("other.run", sections)


class KnownRows:
    """Why dates are known not to be ready, in the order of the series and of the dates."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._reasons = array("q")

    def extend(self, one: SeriesCoverage) -> None:
        """Add those of one series."""
        if not one.gaps.known:
            return
        for _, late in sorted(one.late.items()):
            if late.known is not None:
                reason = escape_text(late.known.reason.encode("utf-8", "surrogateescape"))
                self._reasons.append(self._texts.number(reason))

    def write(self, sections: Sections) -> None:
        """Add them to a block."""
        sections.add_integers("known.reason", self._reasons)


_NOTHING: Final = StateRow(
    SeriesKey(b"", b"", b""), None, PartitionStatus.WITHHELD, "", b"", NOT_SET, NOT_SET, None, None, NOT_SET
)
"""Stands for the row where nothing is told of one alone."""


def _tell_others(state: SeriesState) -> Iterator[tuple[int, Telling]]:
    if not state.others:
        return
    ready = set(state.ready.dates)
    for date, rows in groupby(state.others, attrgetter("date")):
        if date is not None and date not in ready:
            yield date, tell(list(rows))


def _said(told: Telling, date: int) -> str | None:
    """Return the text that has its place in the sentence on a date; the date in it may be that of others, too."""
    if told.said:
        return told.said.replace(render_date(date).decode(), DATE_PLACE)
    message = None if told.row is None else told.row.error_message
    return escape_text(message) if message else None


def _since_ends(times_ns: Sequence[int], dates: Sequence[int]) -> list[int]:
    """Return times in whole seconds after the ends of their dates in UTC, which are small numbers for most."""
    return [
        NULL if time_ns == NOT_SET else time_ns // _SECOND_NS - (date + 1 - EPOCH_DATE) * _DAY_S
        for time_ns, date in zip(times_ns, dates, strict=True)
    ]
