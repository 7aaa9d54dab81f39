"""What a picture shows of each date: as many of each kind as `gaps` counts (V26)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.agreement import Judge
from readyfs.consumer.coverage import CELLS, Level, SeriesCoverage, find_coverage
from readyfs.consumer.expected import Expectations, ExpectedSeries
from readyfs.consumer.known import KnownGap, KnownGaps
from readyfs.partition import PartitionStatus
from readyfs.state.filters import Filters
from readyfs.state.reader import StateRow
from readyfs.state.rows.series_state import state_of
from tests.consumer.days import SERIES, day, judge, row

READY, FAILED, PENDING = PartitionStatus.READY, PartitionStatus.FAILED, PartitionStatus.PENDING
MISSING, WITHHELD, REPROCESSING = PartitionStatus.MISSING, PartitionStatus.WITHHELD, PartitionStatus.REPROCESSING

CADENCES = ("daily", "weekdays", "weekly:MON", None)


def cover(
    rows: list[StateRow],
    by: Judge | None = None,
    expectations: Expectations | None = None,
    known: KnownGaps | None = None,
) -> list[SeriesCoverage]:
    states = [state] if (state := state_of(rows)) is not None else []
    return list(find_coverage(states, by or judge(), expectations or Expectations(), known or KnownGaps()))


def shown(one: SeriesCoverage) -> list[str]:
    """Return each date's kind as text, from the first on."""
    texts = []
    for code in one.cells:
        cell = CELLS[code]
        texts.append("-" if cell.status is None else f"{cell.status}{'' if cell.level is None else f' {cell.level}'}")
    return texts


def test_each_kind_of_date_has_a_number_of_its_own() -> None:
    ready = [row(date, READY) for date in ("06-01", "06-04", "06-12")]
    others = [row("06-02", FAILED), row("06-08", WITHHELD), row("06-10", PENDING), row("06-11", FAILED)]
    later = [row("06-13", REPROCESSING), row(None, FAILED)]
    known = KnownGaps([KnownGap(Filters(("*",), ("*",), ("*",)), day("06-05"), day("06-06"))])
    # On the 12th at noon the 10th is late since noon, and the 11th has ended and is not late yet.
    [one] = cover(ready + others + later, judge("06-12T12:00"), known=known)
    assert one.first == day("06-01")
    assert shown(one) == [
        "ready",
        "failed error",
        "missing error",
        "ready",
        "missing known",
        "missing known",
        "missing error",
        "withheld error",
        "missing error",
        "pending error",
        "failed waiting",
        "ready",
        "reprocessing outside",
    ]
    assert [CELLS[code].is_expected for code in one.cells if CELLS[code].status is READY] == [True, True, False]


def test_the_worst_has_the_greatest_number() -> None:
    levels = list(Level)
    for code, cell in enumerate(CELLS[3:], 3):
        assert cell.level is not None
        for worse in CELLS[code + 1 :]:
            assert worse.level is not None
            assert levels.index(cell.level) <= levels.index(worse.level)
    assert CELLS[-1] == (FAILED, Level.ERROR, False)
    assert [cell.status for cell in CELLS[:3]] == [None, READY, READY]


def test_a_series_that_must_exist_and_has_no_row_is_shown() -> None:
    expectations = Expectations({SERIES: ExpectedSeries(day("06-09"), day("06-10"), None)})
    [one] = cover([], expectations=expectations)
    assert (one.state, one.first, shown(one)) == (None, day("06-09"), ["missing error", "missing error"])


def test_what_is_missing_by_a_guess_is_told_apart() -> None:
    rows = [row(f"06-0{number}", READY) for number in (1, 2, 3, 4, 6, 7, 8)]
    [one] = cover(rows, judge("06-09T01:00", cadence=None))
    assert shown(one)[4] == "missing guessed"
    assert one.gaps.guessed_dates == 1


@given(
    st.dictionaries(
        st.integers(0, 40), st.sampled_from([READY, FAILED, PENDING, WITHHELD, REPROCESSING]), min_size=1, max_size=30
    ),
    st.sampled_from(CADENCES),
    st.integers(0, 45),
)
def test_there_are_as_many_of_each_kind_as_gaps_counts(
    statuses: dict[int, PartitionStatus], cadence: str | None, since: int
) -> None:
    first = day("05-01")
    rows = [row(None, status)._replace(date=first + date) for date, status in statuses.items()]
    known = KnownGaps([KnownGap(Filters(("*",), ("*",), ("*",)), first + 5, first + 9)])
    by = judge("06-05T12:00", cadence=cadence, since="05-03" if since > 30 else None)
    [one] = cover(rows, by, known=known)
    cells = [CELLS[code] for code in one.cells]
    count = {level: sum(cell.level is level for cell in cells) for level in Level}
    ready = sum(cell.is_expected for cell in cells)
    missing = [cell for cell in cells if cell.status is MISSING]
    gaps = one.gaps
    assert count[Level.WAITING] == gaps.waiting
    assert count[Level.KNOWN] == gaps.known
    assert count[Level.GUESSED] == gaps.guessed_dates
    assert [count[Level.WARN], count[Level.ERROR]] == [
        sum(gap.dates for gap in gaps.gaps if gap.verdict == verdict) for verdict in ("warn", "error")
    ]
    assert ready == gaps.ready
    assert all(cell.level is not Level.OUTSIDE for cell in missing)
    for date, status in statuses.items():
        assert cells[first + date - one.first].status is status
