"""Resume files: what is done stays done across deaths, and no file of anything else is touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.consumer.replay.resume import ResumeFile
from readyfs.errors import FailedError, UsageError
from tests.consumer.replay_targets import key, target

REPLAY = {"command": ["load", "{path}"], "selection": {"since": "2024-06-01"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "resume"


def test_next_one_knows_what_was_done(path: Path) -> None:
    odd = target(run_id=b"r\xff\n2", customer=b"c\x80", query=b'"q"', source=b"s/1")
    with ResumeFile(path, REPLAY) as file:
        assert file.done == {}
        for one in (target(), odd, target(run_id=b"r3")):
            file.note_done(one)
    assert path.stat().st_mode & 0o777 == 0o600
    with ResumeFile(path, REPLAY) as file:
        assert file.done == {key(): b"r3", odd.key: b"r\xff\n2"}


def test_any_cut_of_the_file_keeps_the_whole_lines(path: Path) -> None:
    with ResumeFile(path, REPLAY) as file:
        file.note_done(target("2024-06-01"))
        file.note_done(target("2024-06-02"))
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        with ResumeFile(path, REPLAY) as file:
            assert len(file.done) == max(0, whole[:end].count(b"\n") - 1)
            file.note_done(target("2024-06-03"))
        with ResumeFile(path, REPLAY) as file:
            assert key("2024-06-03") in file.done


@pytest.mark.parametrize("other", ["command", "selection"])
def test_file_of_another_replay_is_refused_and_kept(path: Path, other: str) -> None:
    with ResumeFile(path, REPLAY) as file:
        file.note_done(target())
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"is of a replay with another {other}"):
        ResumeFile(path, {**REPLAY, other: "x"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"a,b\n1,2", b"{}\n", b"[1]\n", b"text without an end", b"\n\n", b"\xff\xfe\n"])
def test_file_that_is_not_ours_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no resume file"):
        ResumeFile(path, REPLAY)
    assert path.read_bytes() == content


def test_line_in_the_middle_that_cannot_be_read_is_refused(path: Path) -> None:
    with ResumeFile(path, REPLAY) as file:
        file.note_done(target())
    for line, message in ((b"x\n", "line 3 .* cannot be read"), (b'{"source": "s"}\n', "line 3 .* names no partition")):
        before = path.read_bytes()
        path.write_bytes(before + line)
        with pytest.raises(UsageError, match=message):
            ResumeFile(path, REPLAY)
        path.write_bytes(before)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    with pytest.raises(UsageError, match=r"resume file .*: Is a directory|is no regular file"):
        ResumeFile(path, REPLAY)


def test_second_user_is_refused_while_a_command_has_the_lock(path: Path) -> None:
    """A replay that was killed leaves its commands running: theirs is the lock then."""
    with ResumeFile(path, REPLAY) as file:
        command = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[file.lock])
        with pytest.raises(UsageError, match="is in use, by another replay or by commands"):
            ResumeFile(path, REPLAY)
    with command:
        with pytest.raises(UsageError, match="is in use"):
            ResumeFile(path, REPLAY)
        command.communicate(b"\n", timeout=10)
    ResumeFile(path, REPLAY).__exit__()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight pages."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_full_disk_is_told_and_leaves_whole_lines(full: Path) -> None:
    path = full / "resume"
    filler = full / "filler"
    with ResumeFile(path, REPLAY) as file:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), filler.open("wb", buffering=0) as some:
            while True:
                some.write(bytes(4096))
        written = 0
        with pytest.raises(FailedError, match=r"cannot write the resume file .*: No space left on device; make room"):
            for day in range(1, 29):
                file.note_done(target(f"2024-06-{day:02}", run_id=b"r" * 500))
                written += 1
        assert len(file.done) == written
        filler.unlink()
        file.note_done(target("2024-07-01"))
    with ResumeFile(path, REPLAY) as file:
        assert len(file.done) == written + 1


def test_full_disk_at_the_start_is_told(full: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), (full / "filler").open("wb", buffering=0) as some:
        while True:
            some.write(bytes(4096))
    with pytest.raises((FailedError, UsageError), match="No space left on device"):
        ResumeFile(full / "resume", REPLAY)
