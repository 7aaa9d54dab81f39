"""Rows rendered one by one and by the column look alike, whatever they hold."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orjson import dumps

from readyfs.cli.rows_json import render_lines
from readyfs.cli.rows_text import COLUMNS, describe_rows, render_rows, render_states
from readyfs.cli.table import write_blocks, write_table
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, render_time
from readyfs.series_rows.time_column import render_times
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
    run_id=st.binary(min_size=1, max_size=4) | st.sampled_from([b"a\0b", b"\xe9", "é".encode(), b'"', b"\\", b"\x7f"]),
    updated_at_ns=st.just(NOT_SET) | st.integers(0, 2 * NOW_NS),
    record_count=st.just(NOT_SET) | st.integers(0, 10**6),
    schema_version=st.none() | st.sampled_from([b"v1", b'"\xff']),
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
    assert [cells for block in render_states(states, NOW_NS) for cells in block.rows()] == one_by_one
    by_row, by_column = io.StringIO(), io.StringIO()
    write_table(COLUMNS, one_by_one, out=by_row)
    write_blocks(COLUMNS, render_states(states, NOW_NS), out=by_column)
    assert by_column.getvalue() == by_row.getvalue()


@given(
    st.lists(ROWS, max_size=4) | st.lists(ROWS, min_size=24, max_size=30),
    st.lists(ROWS.map(lambda row: row._replace(date=None)), max_size=2),
)
def test_json_by_the_column_is_json_of_rows(rows: list[StateRow], undated: list[StateRow]) -> None:
    undated = [row._replace(status=PartitionStatus.WITHHELD, detail="no date") for row in undated]
    state = state_of([*rows, *undated])
    states = [] if state is None else [state]
    one_by_one = [
        dumps(row).decode() + "\n" for one in states for row in describe_rows(rows_of(one, "success"), NOW_NS)
    ]
    assert "".join(render_lines(states, "success", NOW_NS)) == "".join(one_by_one)


@pytest.mark.parametrize(
    "odd",
    [
        {"run_id": b'a"b'},
        {"run_id": b"a\\b"},
        {"run_id": b"a\nb"},
        {"record_count": NOT_SET},
        {"schema_version": b'v"1'},
        {"updated_at_ns": NOT_SET},
    ],
)
def test_json_of_one_odd_row_among_many_is_json_of_rows(odd: dict[str, Any]) -> None:
    rows = [ready_row(date, NOW_NS - date * 10**9) for date in range(1, 20)]
    rows[7] = rows[7]._replace(**odd)
    state = state_of(rows)
    assert state is not None
    one_by_one = [dumps(row).decode() for row in describe_rows(rows_of(state, "success"), NOW_NS)]
    assert "".join(render_lines([state], "success", NOW_NS)).split("\n")[:-1] == one_by_one


def test_json_of_a_series_whose_name_is_the_mark_is_json_of_rows() -> None:
    series = SERIES._replace(query_name="\uffff".encode())
    state = state_of(ready_row(date, NOW_NS)._replace(series=series) for date in range(1, 20))
    assert state is not None
    rows = [dumps(row).decode() for row in describe_rows(rows_of(state, "success"), NOW_NS)]
    assert "".join(render_lines([state], "success", NOW_NS)).split("\n")[:-1] == rows


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_times_by_the_column_are_times(times: list[int]) -> None:
    assert render_times(times) == b",".join(b'"%b"' % render_time(time) for time in times)


def ready_row(date: int, updated_at_ns: int) -> StateRow:
    return StateRow(SERIES, date, PartitionStatus.READY, "success", b"r", updated_at_ns, date, None, None, NOT_SET)


def test_ages_by_the_column_are_ages_to_the_second() -> None:
    ages = [age * 10**9 + less for age in (60, 120, 3600, 86400) for less in (-1, 0, 1)]
    for now_ns in (NOW_NS, NOW_NS // 10**9 * 10**9):
        for chosen in (ages, ages[2:]):  # with one below a minute, and without
            rows = [ready_row(date, now_ns - age) for date, age in enumerate(chosen, 1)]
            state = state_of(rows)
            assert state is not None
            assert [cells[7] for block in render_states([state], now_ns) for cells in block.rows()] == [
                cells[7] for cells in render_rows(rows, now_ns)
            ]


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
    write_blocks(COLUMNS, render_states([state], NOW_NS), out=out)
    assert all(line.isprintable() for line in out.getvalue().split("\n"))
