"""The names of pins: none can be taken for a time, for `~N` or for a fingerprint, and each is one path component."""

from __future__ import annotations

import pytest

from readyfs.errors import UsageError
from readyfs.pins.names import MAX_NAME_LENGTH, MAX_NOTE_LENGTH, check_name, check_note, make_name


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "nightly",
        "job_7",
        "2024_run",
        "2024.1",
        "run-2024-06-01",
        "7",
        "123",
        "_x",
        "a.b+c=d@e-f",
        "x" * MAX_NAME_LENGTH,
    ],
)
def test_an_ordinary_word_is_a_name(name: str) -> None:
    check_name(name)


def test_a_name_that_is_made_up_is_one_and_each_is_another() -> None:
    names = {make_name() for _ in range(100)}
    assert len(names) == 100
    for name in names:
        check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "/a", ".hidden", "-x", "a b", "a\0", "a\nb", "ä", "\udcff", "~0", "~1", "a~1", "x:y"),
        *("*", "x" * (MAX_NAME_LENGTH + 1), "$(x)", "a,b"),
    ],
)
def test_what_is_no_single_plain_component_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="a pin cannot be named") as caught:
        check_name(name)
    assert caught.value.remedy
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        *("2024-06-01", "20240601", "20240601T101500Z", "2024-06-01T10", "20240601T1015+0200", "2026"),
        *("2026-W48-6", "2026-331", "2026-11", "20261128T24", "2026331", "2026W486", "2024-06-01_run"),
    ],
)
def test_what_begins_as_a_time_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="begins as a time"):
        check_name(name)


@pytest.mark.parametrize("name", ["ab" * 16, "AB" * 16])
def test_a_fingerprint_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="is a fingerprint"):
        check_name(name)


@pytest.mark.parametrize("note", ["a\nb", "x" * (MAX_NOTE_LENGTH + 1), "\x1b[2J", "\ud800"])
def test_a_note_is_one_short_line(note: str) -> None:
    with pytest.raises(UsageError, match="note"):
        check_note(note)
    check_note("für die Nacht, \N{SNOWMAN}")


def test_what_is_refused_is_shown_once_escaped() -> None:
    with pytest.raises(UsageError) as caught:
        check_name("a\x1bb")
    assert caught.value.message == r"a pin cannot be named 'a\x1bb'"
    with pytest.raises(UsageError, match=r"the note 'a\\nb' is"):
        check_note("a\nb")
