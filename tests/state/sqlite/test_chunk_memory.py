"""Of a chunk that changed only the rows that differ are parsed, and that is enough."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from readyfs.state.rows.columns import NULL, Cells, Chunk, find_differing, join_cells, join_chunks
from readyfs.state.rows.parser import RowParser
from readyfs.state.rows.values import parse_updated_at
from readyfs.state.sqlite.chunk_memory import ChunkMemory, NotPatchableError
from tests.state.comparing import Follower
from tests.state.sqlite.test_changes import delete, make, row, update, writing

ROWS = 128
NOW = b"2024-06-02T05:00:00.123456+00:00"
KEY = SeriesKey(b"s", b"c", b"q")


def cells(number: int, *, run: bytes = b"r", date: bytes = b"") -> Cells:
    day = date or b"2024-%02d-%02d" % (number // 28 + 1, number % 28 + 1)
    return (*KEY, day, run, NOW, b"%d" % number, NULL)


PLAIN = [cells(number) for number in range(ROWS)]


def parsed_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the size of each chunk is added that is parsed from now on."""
    sizes: list[int] = []
    usual = RowParser.try_chunk

    def try_chunk(parser: RowParser, chunk: Chunk) -> bool:
        sizes.append(chunk.rows)
        return usual(parser, chunk)

    monkeypatch.setattr(RowParser, "try_chunk", try_chunk)
    return sizes


@pytest.mark.parametrize(
    ("changed", "parsed"),
    [
        ([*PLAIN[:9], cells(9, run=b"x"), *PLAIN[10:]], 2),
        ([*PLAIN[:9], *PLAIN[10:]], 1),
        (PLAIN[1:], 1),
        (PLAIN[:-1], 1),
        ([*PLAIN, cells(ROWS)], 1),
        ([*PLAIN[:9], cells(200), *PLAIN[9:]], 1),
    ],
    ids=["changed", "vanished", "first vanished", "last vanished", "came", "came between"],
)
def test_only_the_row_that_differs_is_parsed(
    monkeypatch: pytest.MonkeyPatch, changed: list[Cells], parsed: int
) -> None:
    """A refresh costs what changed: neither 128 rows for one, nor more for a deletion."""
    memory = ChunkMemory("success", Filters())
    assert take(memory, PLAIN) is None
    sizes = parsed_rows(monkeypatch)
    differing = take(memory, changed)
    assert differing is not None and len(differing[KEY]) == 1
    assert sum(sizes) == parsed
    assert memory.rows == len(changed) == len(memory.series[KEY])
    back = take(memory, PLAIN)
    assert back == differing
    assert take(memory, PLAIN) == {}


def take(memory: ChunkMemory, *chunks: list[Cells]) -> dict[SeriesKey, set[int]] | None:
    packed = [memory.pack(number, join_cells(rows)) for number, rows in enumerate(chunks)]
    changed = memory.update([chunk for chunk in packed if chunk is not None], range(len(chunks)))
    return None if changed is None else {key: set(dates) for key, dates in changed.items()}


def test_row_that_moves_between_chunks_has_not_changed() -> None:
    """V3: nothing that a reader sees."""
    memory = ChunkMemory("success", Filters())
    take(memory, PLAIN[:64], PLAIN[64:])
    assert take(memory, PLAIN[:60], PLAIN[60:]) == {}
    assert take(memory, PLAIN) == {}
    assert memory.rows == ROWS


@pytest.mark.parametrize("place", [0, 1])
def test_second_row_of_a_partition_is_not_patched(place: int) -> None:
    """V13: in the chunk of the first one, where that did not change, and in another one."""
    memory = ChunkMemory("success", Filters())
    chunks = [PLAIN[:64], PLAIN[64:]]
    take(memory, *chunks)
    chunks[place] = [*chunks[place], cells(5, date=b"20240106")]
    with pytest.raises(NotPatchableError):
        take(memory, *chunks)


ROW = st.tuples(*(st.sampled_from((b"", b"a", b"bb", NULL)) for _ in range(8)))


@given(st.lists(ROW, min_size=1, max_size=9), st.lists(ROW, min_size=1, max_size=9))
def test_what_differs_leads_from_one_chunk_to_the_other(before: list[Cells], after: list[Cells]) -> None:
    """V4: duplicates and all."""
    gone, came = find_differing(join_cells(before), join_cells(after))
    assert not Counter(gone) - Counter(before)
    assert Counter(before) - Counter(gone) + Counter(came) == Counter(after)
    assert find_differing(join_cells(after), join_cells(after)) == ([], [])
    assert join_chunks([join_cells(before), join_cells(after)]) == join_cells([*before, *after])


HISTORIES = {
    "changed, moved, gone and back": [
        update(5, "current_run_id = 'x'"),
        f"UPDATE partition_state SET rowid = 7000 WHERE rowid = 9; {update(10, 'record_count = NULL')}",
        delete(5) + ";" + delete(7) + ";" + delete(300),
        row("c9", "2024-01-02", rowid=6) + ";" + update(11, "schema_version = 'x'"),
        "UPDATE partition_state SET rowid = 9 WHERE rowid = 7000",
    ],
    "odd rows beside plain ones": [
        update(5, "updated_at = 'never'") + ";" + update(6, "current_run_id = 'x'"),
        update(7, "current_run_id = 'y'") + ";" + update(300, "current_run_id = NULL"),
        update(5, "record_count = 4"),
        update(5, "updated_at = '2024-06-02T05:00:00+02:00'") + ";" + delete(300),
        update(8, "logical_date = 'never'") + ";" + update(9, "current_run_id = 'a' || char(31)"),
        update(10, "current_run_id = 'z'") + ";" + update(9, "current_run_id = 'a'"),
        "DELETE FROM partition_state WHERE logical_date = 'never'",
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_history_within_a_chunk_is_followed(tmp_path: Path, history: str) -> None:
    """V3, V15: by its changes, and the same as read anew."""
    make(tmp_path / "state.db")
    with Follower(os.fspath(tmp_path / "state.db")) as follower, writing(tmp_path / "state.db") as connection:
        follower.check(patched=False)
        for step in HISTORIES[history]:
            connection.executescript(f"BEGIN; {step}; COMMIT")
            follower.check(patched=True)


def test_numbers_that_sqlite_writes_alike_are_told_apart(tmp_path: Path) -> None:
    """V3: as text both are 1717304400.12346, so their chunk is read cell by cell."""
    make(tmp_path / "state.db")
    with Follower(os.fspath(tmp_path / "state.db")) as follower, writing(tmp_path / "state.db") as connection:
        follower.check(patched=False)
        for number in (1717304400.1234567, 1717304400.1234571):
            connection.execute(f"UPDATE partition_state SET updated_at = {number!r} WHERE rowid = 5")
            load = follower.check(patched=True)
            assert load.changed
            assert parse_updated_at(number) in {
                time_ns for rows in follower.held.values() for _, _, time_ns, *_ in rows
            }
