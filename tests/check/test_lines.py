from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.check.lines import EndedEarlyError, count_records
from readyfs.raw.store import RawStat


class File:
    """An open file of given bytes; it may be shorter than it says."""

    def __init__(self, content: bytes, size: int | None = None) -> None:
        self.content = content
        self.stat = RawStat(len(content) if size is None else size, 0)

    def pread(self, size: int, offset: int) -> bytes:
        return self.content[offset : offset + size]

    def current_stat(self) -> RawStat:
        return self.stat

    def fileno(self) -> int:
        raise AssertionError

    def close(self) -> None:
        pass


def count(content: bytes, chunk_bytes: int = 1 << 20) -> int:
    return count_records(File(content), lambda: None, chunk_bytes)


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"", 0),
        (b"{}\n", 1),
        (b"{}", 1),
        (b"{}\n{}", 2),
        (b"{}\n{}\n", 2),
        (b"\n", 0),
        (b"\n\n\n", 0),
        (b"\n{}\n\n{}\n\n", 2),
        (b"{}\r\n\r\n{}\r\n", 2),
        (b"  {}\n \t \n  ", 1),
        (b"{}\n   ", 1),
        (b"\xff\xfe\n\0\n", 2),
    ],
)
def test_a_record_is_a_line_that_holds_more_than_blanks(content: bytes, records: int) -> None:
    assert count(content) == records


@given(st.lists(st.sampled_from([b"\n", b" ", b"\r", b"\t", b"x", b"xy "])).map(b"".join), st.integers(1, 7))
def test_chunks_make_no_difference(content: bytes, chunk_bytes: int) -> None:
    expected = sum(1 for line in content.split(b"\n") if line.strip(b" \t\r"))
    assert count(content, chunk_bytes) == expected


def test_a_file_that_becomes_shorter_is_an_error() -> None:
    with pytest.raises(EndedEarlyError, match="ended early"):
        count_records(File(b"{}\n", size=10), lambda: None)


def test_progress_is_told_after_each_read() -> None:
    told: list[None] = []
    count_records(File(b"{}\n" * 10), lambda: told.append(None), 3)
    assert len(told) == 10
