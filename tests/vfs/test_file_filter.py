"""V2, V10: which files of a run are shown."""

from __future__ import annotations

import os

import pytest

from readyfs.errors import UsageError
from readyfs.vfs.file_filter import FileFilter


@pytest.mark.parametrize(
    ("patterns", "path", "shown"),
    [
        ((), "anything", True),
        (("*.jsonl",), "payload.jsonl", True),
        (("*.jsonl",), "metadata.json", False),
        (("*.jsonl",), "sub/x.jsonl", True),
        (("sub/*",), "sub/x", True),
        (("sub/*",), "x", False),
        (("a", "b"), "b", True),
        (("A",), "a", False),
        (("[ab]?",), "b1", True),
    ],
)
def test_file_filter(patterns: tuple[str, ...], path: str, shown: bool) -> None:
    assert FileFilter(patterns).shows(tuple(path.encode().split(b"/"))) is shown


def test_file_filter_matches_names_that_are_not_utf8() -> None:
    """V12: bytes pass through, in the pattern as in the name."""
    assert FileFilter((os.fsdecode(b"\xff*"),)).shows((b"\xffx",))
    assert FileFilter(("*",)).shows((b"\xff",))


@pytest.mark.parametrize(
    ("patterns", "shown"), [((), (b"a.x", b"b.y")), (("*.y",), (b"b.y",)), (("d/*", "a.?"), (b"a.x",))]
)
def test_required_files_that_are_shown(patterns: tuple[str, ...], shown: tuple[bytes, ...]) -> None:
    assert FileFilter(patterns).shown_of((b"a.x", b"b.y")) == shown


@pytest.mark.parametrize("patterns", [("*.csv",), ("d/*",)])
def test_hiding_every_required_file_is_refused(patterns: tuple[str, ...]) -> None:
    """V10: an empty directory would be taken for an answer."""
    with pytest.raises(UsageError, match="--required-files"):
        FileFilter(patterns).shown_of((b"a.x", b"b.y"))
