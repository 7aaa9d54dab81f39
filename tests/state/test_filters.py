"""Which series and dates are served."""

from __future__ import annotations

import pytest

from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from tests.state.state_files import KEY


@pytest.mark.parametrize(
    ("filters", "admitted"),
    [
        (Filters(), True),
        (Filters(sources=("ads",)), True),
        (Filters(sources=("other", "a*")), True),
        (Filters(customers=("0?1",)), True),
        (Filters(queries=("[cd]aily",)), True),
        (Filters(sources=("ADS",)), False),
        (Filters(sources=("ads",), customers=("1",)), False),
        (Filters(queries=("dail",)), False),
    ],
)
def test_series_passes_if_every_part_matches_a_pattern(filters: Filters, admitted: bool) -> None:
    assert filters.admits(KEY) is admitted


def test_exact_name_that_looks_like_a_glob_matches_itself() -> None:
    assert Filters(sources=("[ads]",)).admits(SeriesKey(b"[ads]", b"", b""))


def test_bytes_that_are_not_utf8_match_a_glob() -> None:
    assert Filters(sources=("a*",)).admits(SeriesKey(b"a\xff", b"", b""))


def test_open_ends_of_the_date_range_admit_every_date() -> None:
    first, last = Filters().date_range
    assert first <= 1
    assert last >= 3_652_059
    assert Filters(since=5, until=9).date_range == (5, 9)
