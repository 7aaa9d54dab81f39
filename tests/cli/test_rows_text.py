"""Rows rendered one by one and by the column look alike, whatever they hold."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from readyfs.cli.rows_text import COLUMNS, render_rows, render_states
from readyfs.cli.table import write_table
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey
from readyfs.state.reader import StateRow
from readyfs.state.rows.series_state import rows_of, state_of

SERIES = SeriesKey(b"ads\x1b", b"\xff1", b"daily")
NOW_NS = 1_717_304_400_123_456_000
ROWS = st.builds(
    StateRow,
    series=st.just(SERIES),
    date=st.integers(1, 40),
    status=st.sampled_from(
        [PartitionStatus.READY, PartitionStatus.READY, PartitionStatus.FAILED, PartitionStatus.PENDING]
    ),
    word=st.just("success"),
    run_id=st.binary(min_size=1, max_size=4) | st.sampled_from([b"a\0b", b"\xe9", "é".encode()]),
    updated_at_ns=st.just(NOT_SET) | st.integers(0, 2 * NOW_NS),
    record_count=st.just(NOT_SET) | st.integers(0, 10**6),
    schema_version=st.none() | st.just(b"v1"),
    error_message=st.none() | st.just("quota\n"),
    attempt_count=st.just(NOT_SET),
)


@given(st.lists(ROWS, max_size=30), st.lists(ROWS.map(lambda row: row._replace(date=None)), max_size=2))
def test_columns_say_what_rows_say(rows: list[StateRow], undated: list[StateRow]) -> None:
    # Only what has a date can be ready.
    undated = [row._replace(status=PartitionStatus.WITHHELD, detail="no date") for row in undated]
    state = state_of([*rows, *undated])
    states = [] if state is None else [state]
    one_by_one = [cells for one in states for cells in render_rows(rows_of(one, "success"), NOW_NS)]
    assert list(render_states(states, NOW_NS)) == one_by_one


def test_ages_are_in_their_largest_unit_and_never_below_nothing() -> None:
    ages = {59: "59s", 60: "1m", 3599: "59m", 3600: "1h", 86399: "23h", 86400: "1d", 800 * 86400: "800d", -5: "0s"}
    rows = [
        StateRow(SERIES, 1, PartitionStatus.READY, "", b"r", NOW_NS - age * 10**9, NOT_SET, None, None, NOT_SET)
        for age in ages
    ]
    assert [cells[7] for cells in render_rows(rows, NOW_NS)] == list(ages.values())


def test_no_cell_reaches_a_terminal_as_it_is() -> None:
    out = io.StringIO()
    row = StateRow(SERIES, 1, PartitionStatus.FAILED, "", b"\x9b", NOT_SET, NOT_SET, None, "a\x07\nb", NOT_SET)
    state = state_of([row])
    assert state is not None
    write_table(COLUMNS, render_states([state], NOW_NS), out=out)
    assert all(line.isprintable() for line in out.getvalue().split("\n"))
