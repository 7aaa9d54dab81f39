"""What is there of each series, date by date: one small number for each date, the greater the worse.

Whoever draws many dates as one mark takes the greatest of their numbers, and so shows the worst of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat, tee
from typing import Final, NamedTuple

from readyfs.consumer.agreement import Judge, Verdict
from readyfs.consumer.expected import Expectations
from readyfs.consumer.gaps import SeriesGaps, gaps_of
from readyfs.consumer.judged import JudgedSeries, LateDate, judge_all
from readyfs.consumer.known import KnownGaps
from readyfs.partition import PartitionStatus
from readyfs.state.reader import SeriesState
from readyfs.state.rows.series_state import days_of


class Level(StrEnum):
    """How bad it is that a date is not ready, the mildest first."""

    OUTSIDE = "outside"
    """It has a row that nobody judges: its date has not ended, or lies outside of what was agreed."""
    WAITING = "waiting"
    """It has ended, and is not late yet."""
    KNOWN = "known"
    """It is late, and known to be."""
    GUESSED = "guessed"
    """It is missing if a guess is right."""
    WARN = "warn"
    ERROR = "error"

    @property
    def is_late(self) -> bool:
        """Whether it is worth a warning or an alarm."""
        return self in (Level.WARN, Level.ERROR)


class Cell(NamedTuple):
    """What one number stands for.

    A `status` of None is a date of which nothing is expected and nothing is there. `level` is None of what is ready;
    `is_expected` tells of that whether it counts among the expected dates.
    """

    status: PartitionStatus | None
    level: Level | None = None
    is_expected: bool = False


STATUSES: Final = (
    PartitionStatus.REPROCESSING,
    PartitionStatus.PENDING,
    PartitionStatus.WITHHELD,
    PartitionStatus.MISSING,
    PartitionStatus.FAILED,
)
"""What is not ready, the mildest first."""

CELLS: Final = (
    Cell(None),
    Cell(PartitionStatus.READY),
    Cell(PartitionStatus.READY, None, True),
    *(Cell(status, level) for level in Level for status in STATUSES),
)
"""What each number stands for, in its order."""

NOTHING: Final = 0
_BESIDES: Final = 1
_READY: Final = 2
_TO_BESIDES: Final = bytes([_BESIDES]) * 256
_TO_READY: Final = bytes(_READY if code == _BESIDES else code for code in range(256))
_CODES: Final[Mapping[tuple[PartitionStatus, Level], int]] = {
    (cell.status, cell.level): code
    for code, cell in enumerate(CELLS)
    if cell.status is not None and cell.level is not None
}
_LEVELS: Final[Mapping[Verdict, Level]] = {Verdict.WARN: Level.WARN, Verdict.ERROR: Level.ERROR}


@dataclass(frozen=True, slots=True)
class SeriesCoverage:
    """What is there of one series.

    `cells` has a number of `CELLS` for each date from the ordinal `first` on. `state` holds the rows behind them, and
    is None where a list alone says that the series must exist. `late` tells more of the dates that are late.
    """

    gaps: SeriesGaps
    first: int
    cells: bytes
    state: SeriesState | None
    late: Mapping[int, LateDate]


def find_coverage(
    states: Iterable[SeriesState], judge: Judge, expectations: Expectations, known: KnownGaps
) -> Iterator[SeriesCoverage]:
    """Yield what is there of each series, as they come in; then of those that must exist and have no row."""
    rows, again = tee(states)
    judged = judge_all(map(days_of, again), judge, expectations, known)
    # All series with rows come first; the others follow.
    for state, one in zip(chain(rows, repeat(None)), judged, strict=False):
        yield _cover(state, one)


def _cover(state: SeriesState | None, judged: JudgedSeries) -> SeriesCoverage:
    days = judged.days
    ends = [
        (dates[0], dates[-1])
        for dates in (days.ready, judged.expected, sorted(judged.waiting), [row.date for row in days.others])
        if dates
    ]
    first = min((begin for begin, _ in ends if begin is not None), default=1)
    last = max((end for _, end in ends if end is not None), default=0)
    cells = bytearray(last - first + 1)
    for row in days.others:
        assert row.date is not None
        cells[row.date - first] = _CODES[row.status, Level.OUTSIDE]
    _translate(cells, first, days.ready, _TO_BESIDES)
    _translate(cells, first, judged.expected, _TO_READY)
    for date in judged.waiting:
        row_of = judged.rows.get(date)
        status = PartitionStatus.MISSING if row_of is None else row_of.status
        cells[date - first] = _CODES[status, Level.WAITING]
    for date, late in judged.late.items():
        cells[date - first] = _CODES[late.status, _level_of(late)]
    return SeriesCoverage(gaps_of(judged), first, bytes(cells), state, judged.late)


def _translate(cells: bytearray, first: int, dates: Sequence[int], table: bytes) -> None:
    """Translate the cells of sorted dates, at once where these come one after the other."""
    if dates and dates[-1] - dates[0] + 1 == len(dates):
        part = slice(dates[0] - first, dates[-1] - first + 1)
        cells[part] = cells[part].translate(table)
        return
    for date in dates:
        cells[date - first] = table[cells[date - first]]


def _level_of(late: LateDate) -> Level:
    if late.known is not None:
        return Level.KNOWN
    return Level.GUESSED if late.guessed else _LEVELS[late.verdict]
