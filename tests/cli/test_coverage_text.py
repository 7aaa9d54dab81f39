"""The picture in a terminal: the worst of what lies below a character (V26), in its place whatever the names are."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.cli.coverage_text import Drawing, Row, by_badness, row_of, write_picture
from readyfs.cli.date_axis import LONG, Unit, join_stretches, make_axis
from readyfs.cli.text_width import width_of
from readyfs.consumer.agreement import Verdict
from readyfs.consumer.cell_letters import LETTERS, letter_of, words_of
from readyfs.consumer.coverage import CELLS, NOTHING, Level, SeriesCoverage
from readyfs.consumer.gaps import SeriesGaps
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey
from tests.consumer.days import day

READY = CELLS.index((PartitionStatus.READY, None, True))
FAILED, PENDING, KNOWN, WARNED = (
    CELLS.index((status, level, False))
    for status, level in (
        (PartitionStatus.FAILED, Level.ERROR),
        (PartitionStatus.PENDING, Level.WAITING),
        (PartitionStatus.MISSING, Level.KNOWN),
        (PartitionStatus.MISSING, Level.WARN),
    )
)

Draw = Callable[..., list[str]]


def row(*cells: int, first: str = "2024-06-01", key: tuple[str, ...] = ("ads", "c1", "q1"), late: int = 0) -> Row:
    """Return a row of cells, as it is made of what is known of a series."""
    series = SeriesKey(*(name.encode("utf-8", "surrogateescape") for name in key))
    verdict = Verdict.ERROR if late else Verdict.PASS
    gaps = SeriesGaps(series, verdict, 0, 0, 0, None, NOT_SET, None, (), None, False)
    return row_of(SeriesCoverage(gaps, day(first), bytes(cells), None, {}))._replace(badness=(late, 0, 0, 0))


@pytest.fixture
def draw(capsys: pytest.CaptureFixture[str]) -> Draw:
    """Draw rows, and return the lines."""

    def call(*rows: Row, unit: Unit | None = None, width: int = 80, **how: object) -> list[str]:
        capsys.readouterr()
        write_picture(rows, unit=unit, width=width, **{"colours": False, **how})  # type: ignore[arg-type]
        return capsys.readouterr().out.splitlines()

    return call


sometimes = st.lists(st.integers(0, len(CELLS) - 1), max_size=60).map(lambda cells: [READY, *cells, PENDING])
far = st.builds(lambda one, days, two: [*one, *[NOTHING] * days, *two], sometimes, st.integers(300, 5000), sometimes)


@given(st.lists(st.one_of(sometimes, far), min_size=1, max_size=3), st.integers(2, 90), st.sampled_from([None, *Unit]))
def test_a_character_shows_the_worst_of_the_dates_below_it(
    cells: list[list[int]], room: int, unit: Unit | None
) -> None:
    first = day("2023-11-15")
    rows = [row(*one, first="2023-11-15") for one in cells]
    axis = make_axis(
        join_stretches((piece.first, piece.first + len(piece.cells) - 1) for one in rows for piece in one.pieces),
        room,
        unit,
    )
    drawing = Drawing(axis)
    for one, there in zip(cells, rows, strict=True):
        worst = [
            max([code for date, code in enumerate(one, first) if column.begin <= date < column.end], default=NOTHING)
            for column in axis.columns
        ]
        assert list(drawing.draw(there.pieces)) == worst
        assert max(worst) == max(one)  # wherever the worst is, it is seen


def test_a_day_is_a_character_below_its_date(draw: Draw) -> None:
    lines = draw(
        row(READY, FAILED, READY, NOTHING, PENDING),
        row(KNOWN, WARNED, first="2024-06-02", key=("ads", "c2", "q1"), late=1),
        width=100,
    )
    assert lines == [
        "                        2024-06",
        "LEVEL  CUSTOMER  QUERY    03",  # a Monday
        "       c1        q1     .F. p",
        "crit   c2        q1      mM",
        "Each character is a day.",
        "F failed, late (crit); M missing, late (warn); m missing, known; p pending, not late yet; . ready",
    ]


def test_what_is_drawn_larger_says_so(draw: Draw) -> None:
    lines = draw(row(*[READY] * 20, FAILED, *[READY] * 9, PENDING), unit=Unit.MONTH)
    assert [line.split()[-1] for line in lines[1:3]] == ["07", "Fp"]
    assert lines[3] == "Each character is a month, and shows the worst of its dates."
    assert "ready" not in lines[4]  # only what occurs


def test_dates_that_do_not_fit_are_never_hidden(draw: Draw) -> None:
    lines = draw(row(*[READY] * 50, FAILED, *[READY] * 100), unit=Unit.DAY, width=40)
    picture = lines[2].split()[-1]
    assert (picture[0], set(picture[1:])) == ("F", {"."})
    assert len(lines[2]) == 40
    begin = day("2024-06-01") + 150 - (len(picture) - 2)
    from readyfs.partition import render_date

    said = f"Each character is a day; < is the worst of all dates before {render_date(begin).decode()}."
    assert "".join(lines[3:5]).replace(" ", "") == said.replace(" ", "")
    assert lines[1].split()[-3].startswith("<") or "<" in lines[1]


def test_what_is_older_is_the_worst_of_all_that_is_there_before(draw: Draw) -> None:
    one = row(FAILED, *[NOTHING] * LONG, *[READY] * 100)
    assert draw(one, unit=Unit.DAY, width=40)[2].split()[-1].strip(".") == "F"


def test_a_date_of_year_9999_does_not_make_the_others_small(draw: Draw) -> None:
    lines = draw(row(READY, READY, FAILED), row(PENDING, first="9999-12-31", key=("ads", "c2", "q1")))
    assert [line[24:] for line in lines[:4]] == ["2024-06", "01 /31", "..F", "    p"]
    assert lines[4] == "Each character is a day; / is a long time without any date."


@pytest.mark.parametrize("width", [20, 21, 40, 60, 80, 200])
@pytest.mark.parametrize("dates", [1, 30, 3000])
def test_lines_are_as_wide_as_the_terminal_at_most(draw: Draw, width: int, dates: int) -> None:
    names = ("a-source-with-a-long-name", "c" * 300, "q" * 300)
    rows = [row(*[READY] * dates, key=names), row(*[FAILED] * dates, key=("ads", "c", "q"))]
    lines = draw(*rows, width=width)
    assert max(map(len, lines[:4])) <= width
    assert "~" in lines[2]
    picture = re.search(r"\.+$", lines[2])
    assert picture is not None
    # Three names of one width may leave two columns.
    assert picture.start() <= width * 2 // 3 or max(map(len, lines[:4])) >= width - 2


def test_names_take_what_the_dates_leave(draw: Draw) -> None:
    name = "a-customer-with-a-long-name"
    lines = draw(*(row(READY, FAILED, key=("ads", f"{name}-{number}", "a-long-query")) for number in (1, 2)))
    assert [line.split() for line in lines[:4]] == [
        ["2024-06"],
        ["LEVEL", "CUSTOMER", "QUERY", "01"],
        [f"{name}-1", "a-long-query", ".F"],
        [f"{name}-2", "a-long-query", ".F"],
    ]
    assert "~" in draw(row(*[READY] * 40, key=("ads", name, "a-long-query")))[2]


def test_names_of_any_script_leave_the_picture_in_its_place(draw: Draw) -> None:
    names = ("c1", "東京都東京都", "한\u1112\u1161", "Zoe\u0308", "a\x1b[31m\n", "\udcff", "e\u0301" * 40, "東" * 40)
    rows = [row(READY, FAILED, key=("ads", name, "q")) for name in names]
    lines = draw(*rows)
    places = {width_of(line[: line.index(".F")]) for line in lines[2 : 2 + len(names)]}
    assert len(places) == 1
    assert "".join(lines).isprintable()
    assert "\\x1b[31m\\n" in lines[6]


def test_sources_are_named_where_there_are_several(draw: Draw) -> None:
    assert "SOURCE" not in draw(row(READY), row(READY, key=("ads", "c2", "q1")))[1]
    lines = draw(row(READY), row(READY, key=("other", "c1", "q1")))
    assert [line.split() for line in lines[1:4]] == [
        ["LEVEL", "SOURCE", "CUSTOMER", "QUERY", "01"],
        ["ads", "c1", "q1", "."],
        ["other", "c1", "q1", "."],
    ]


def test_ruler_comes_again_on_every_screen(draw: Draw) -> None:
    rows = [row(READY, key=("ads", f"c{number}", "q1")) for number in range(7)]
    assert [line[:5] for line in draw(*rows)].count("LEVEL") == 1
    lines = draw(*rows, screen=3)
    assert [number for number, line in enumerate(lines) if line.startswith("LEVEL")] == [1, 6, 11]


def test_colours_lie_around_characters_and_change_none(draw: Draw) -> None:
    rows = [row(*range(len(CELLS))), row(READY, WARNED, late=1)]
    plain, coloured = draw(*rows), draw(*rows, colours=True)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain
    assert coloured[3].startswith("\x1b[97;41mcrit\x1b[0m   ")
    assert coloured[3].endswith("\x1b[30;42m.\x1b[0m\x1b[30;43mM\x1b[0m")


def test_without_colours_letters_tell_status_and_whether_it_is_late() -> None:
    told = {(letter_of(cell).lower(), letter_of(cell).isupper()): cell for cell in CELLS}
    for cell in CELLS:
        same = told[letter_of(cell).lower(), letter_of(cell).isupper()]
        late, other = (one.level is not None and one.level.is_late for one in (cell, same))
        assert (cell.status, late) == (same.status, other)
    assert len(set(map(words_of, CELLS))) == len(CELLS)
    assert list(LETTERS) == [letter_of(cell) for cell in CELLS]


def test_a_series_without_a_date_is_a_row_without_a_picture(draw: Draw) -> None:
    assert draw(row()) == ["", "LEVEL  CUSTOMER  QUERY", "       c1        q1"]
    assert draw(row(), row(READY))[2:4] == ["       c1        q1", "       c1        q1     ."]


def test_the_worst_come_first() -> None:
    rows = [row(key=("ads", name, "q"), late=late) for name, late in (("a", 0), ("b", 2), ("d", 9), ("c", 2))]
    assert [one.series.customer_id for one in sorted(rows, key=by_badness)] == [b"d", b"b", b"c", b"a"]


def test_a_row_holds_no_dates_of_long_times_without_any() -> None:
    one = row(READY, *[NOTHING] * LONG, FAILED, *[NOTHING] * 3_000_000, READY, first="0001-01-01")
    assert [len(piece.cells) for piece in one.pieces] == [1, 1, 1]
    near = row(READY, *[NOTHING] * (LONG - 1), FAILED)
    assert [len(piece.cells) for piece in near.pieces] == [LONG + 1]
