"""The quick way through a chunk gives exactly what the row parser gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readyfs.partition import SeriesKey
from readyfs.series_rows import SeriesRows
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import NULL, SEPARATOR, Chunk
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.vocabulary import Vocabulary

Cells: TypeAlias = tuple[bytes | None, ...]
"""A ready row without its status, in the order of a chunk's columns."""

PLAIN: Cells = (b"s", b"c", b"q", b"2024-06-01", b"r", b"2024-06-02T05:00:00.123456+00:00", b"7", b"1")
NUMBERS = (b"0", b"007", b"7", b"-1", b"+1", b"1_0", b" 1", b"", b"9" * 18, b"9" * 19, b"9" * 20, b"1.0")
TIMES = (
    *(b"2024-06-02T05:00:00.123456+00:00", b"2024-06-02T05:00:00+00:00", b"2024-06-02T05:00:60+00:00"),
    *(b"2024-06-02T05:00:60.000000+00:00", b"2024-06-02T24:00:00+00:00", b"2024-06-31T05:00:00+00:00"),
    *(b"1717304400.123456", b"0000000000.000001", b"9999999999.999999", b"1969-12-31T23:59:59+00:00"),
    *(b"9999-12-31T23:59:59+00:00", b"9999-12-31T23:59:59.999999+00:00", b"1970-01-01T00:00:00+00:00"),
    *(b"2024-06-02T05:00:00.123456+01:00", b"2024-06-02T05:00:00+05:30", b"2024-06-02T05:00:00-00:00"),
    *(b"2024-06-02T05:60:00+00:00", b"0000-06-02T05:00:00+00:00", b"2262-04-11T23:47:16.854775+00:00"),
    *(b"2024-06-02 05:00:00", b"infinity", b"", None),
)
COUNTS = (
    *(*NUMBERS, NULL + b"7", b"7" + NULL, NULL * 2, NULL[:1], NULL[:1] + b"7"),
    *(b"0" * 19 + b"7", b"0" * 18 + b"7", b"9223372036854775807", b"9223372036854775808", b"18446744073709551616"),
)
COLUMNS = (
    st.sampled_from((b"s", b"t", b"", b"\xff", b"source")),
    st.sampled_from((b"c", b"d", b"customer")),
    st.sampled_from((b"q", b"query")),
    st.sampled_from((b"2024-06-01", b"2024-06-02", b"20240601", b"2024-06-01T00:00:00Z", b"2024-02-30", b"")),
    st.sampled_from((b"r", b"1", b"2", b"run", b"", None)),
    st.sampled_from(TIMES),
    st.one_of(st.none(), st.sampled_from(COUNTS)),
    st.sampled_from((b"1", b"2", b"v1", b"", None)),
)


def chunk_of(rows: Sequence[Cells]) -> Chunk:
    columns = (SEPARATOR.join(NULL if cell is None else cell for cell in column) for column in zip(*rows, strict=True))
    return Chunk(len(rows), *columns)


def contents(series: Mapping[SeriesKey, SeriesRows]) -> dict[SeriesKey, list[tuple[object, ...]]]:
    return {
        key: sorted(
            zip(
                *(rows.dates, rows.run_ids, rows.updated_at_ns, rows.record_counts, rows.schema_versions),
                strict=True,
            ),
            key=repr,
        )
        for key, rows in series.items()
    }


def parse(rows: Sequence[Cells], filters: Filters, *, quickly: bool) -> tuple[object, ...]:
    parser = RowParser("success", Vocabulary(filters))
    if quickly:
        parser.feed_chunk(chunk_of(rows))
    else:
        parser.feed((*row[:4], b"success", *row[4:]) for row in rows)
    return parser.rows, contents(parser.series()), parser.withheld.counts


@pytest.mark.parametrize("place", [4, 7])
@pytest.mark.parametrize("values", [(b"1", b"2", b"1"), (b"1", b"2", b"2"), (b"12", b"2", b"12")])
def test_values_between_equal_ends_are_not_taken_for_them(place: int, values: tuple[bytes, ...]) -> None:
    """A single byte is one object wherever it comes from."""
    rows = [(*PLAIN[:place], value, *PLAIN[place + 1 :]) for value in values]
    rows = [(*row[:3], b"2024-06-%02d" % (day + 1), *row[4:]) for day, row in enumerate(rows)]
    assert parse(rows, Filters(), quickly=True) == parse(rows, Filters(), quickly=False)


@pytest.mark.parametrize(
    ("place", "value"), [*((5, time) for time in TIMES), *((6, count) for count in (None, *COUNTS))]
)
def test_value_alone_gives_what_the_parser_gives(place: int, value: bytes | None) -> None:
    """A chunk of nothing else, where no neighbour shows that the value is unusual."""
    rows = [(*PLAIN[:place], value, *PLAIN[place + 1 :])] * 2
    assert parse(rows, Filters(), quickly=True) == parse(rows, Filters(), quickly=False)


@given(
    st.lists(st.tuples(*COLUMNS), min_size=1, max_size=6),
    st.sampled_from([Filters(), Filters(sources=("s",), since=738_673), Filters(customers=("none",))]),
)
@example([PLAIN], Filters())
def test_chunk_gives_what_its_rows_give(rows: list[Cells], filters: Filters) -> None:
    """V4, V15: whatever stands in the cells."""
    assert parse(rows, filters, quickly=True) == parse(rows, filters, quickly=False)


@given(st.lists(st.tuples(*(st.just(cell) for cell in PLAIN[:3]), *COLUMNS[3:]), min_size=1, max_size=4))
def test_chunk_of_one_series_gives_what_its_rows_give(rows: list[Cells]) -> None:
    """With the key out of the way, more of the other values get to the end."""
    assert parse(rows, Filters(), quickly=True) == parse(rows, Filters(), quickly=False)
