"""Tables: widths from the first rows, colours around cells, and nothing foreign reaches a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from readyfs.cli.table import FIRST_ROWS, Cells, Column, write_table

COLUMNS = (Column("NAME", colour=lambda word: "red" if word == "bad" else ""), Column("N", is_number=True), Column("X"))


def table(*rows: Cells, colours: bool = False) -> list[str]:
    out = io.StringIO()
    assert write_table(COLUMNS, rows, colours=colours, out=out) == len(rows)
    return out.getvalue().split("\n")[:-1]


def test_cells_stand_below_their_headings() -> None:
    assert table(("a", "1", "x"), ("longer", "1000", "")) == [
        "NAME       N  X",
        "a          1  x",
        "longer  1000",
    ]


def test_nothing_is_printed_without_rows() -> None:
    assert table() == []


def test_widths_are_those_of_the_first_rows_and_a_wider_cell_moves_its_line_alone() -> None:
    few = [("a", "1", "x")] * FIRST_ROWS
    lines = table(*few, ("much longer", "1", "x"), ("a", "1", "x"))
    assert lines[-2:] == ["much longer  1  x", "a     1  x"]


def test_a_long_table_begins_at_once() -> None:
    out = io.StringIO()

    def rows() -> Iterator[Cells]:
        for number in range(FIRST_ROWS + 1):
            if number == FIRST_ROWS:
                assert out.getvalue().count("\n") == FIRST_ROWS + 1
            yield ("a", str(number), "x")

    write_table(COLUMNS, rows(), out=out)


def test_foreign_text_is_escaped_wherever_it_stands() -> None:
    few = [("a", "1", "x")] * FIRST_ROWS
    for rows in ([("\x1b[2J\n", "1", "\x9b")], [*few, ("\x1b[2J\n", "1", "\x9b")]):
        for colours in (False, True):
            assert table(*rows, colours=colours)[-1].split() == ["\\x1b[2J\\n", "1", "\\x9b"]


def test_colours_take_no_room_and_are_around_the_cell_alone() -> None:
    rows = (("bad", "1", "bad"), ("good", "22", "x"))
    painted = table(*rows, colours=True)
    assert painted[1] == "\x1b[31mbad\x1b[0m    1  bad"
    assert [re.sub("\x1b\\[\\d+m", "", line) for line in painted] == table(*rows)
    assert "\x1b" not in painted[0]


def test_one_long_name_does_not_make_every_line_long() -> None:
    out = io.StringIO()
    write_table((Column("A"), Column("B")), [("x" * 300, "1"), ("y", "2")], out=out)
    head, long, short = out.getvalue().splitlines()
    assert (len(head), len(short)) == (67, 67)
    assert long == "x" * 300 + "  1"


def test_a_cell_that_ends_in_a_blank_can_be_painted() -> None:
    assert table(("bad", "1", "x "), colours=True)[1] == "\x1b[31mbad\x1b[0m   1  x"
