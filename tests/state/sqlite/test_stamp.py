"""What statx(2) tells of a file."""

from __future__ import annotations

import os
from pathlib import Path

from readyfs.state.sqlite.stamp import stamp


def test_stamp_is_what_stat_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    path.with_name("other name").hardlink_to(path)
    found, status = stamp(os.fspath(path)), path.stat()
    assert found.device == (os.major(status.st_dev), os.minor(status.st_dev))
    assert (found.inode, found.size, found.links) == (status.st_ino, 5, 2)
    assert (found.mtime_ns, found.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert (found.mode, found.owner, found.is_mount) == (status.st_mode, status.st_uid, False)


def test_file_is_told_from_a_later_one_of_its_number(tmp_path: Path) -> None:
    """However soon the filesystem uses a number again."""
    path = tmp_path / "file"
    path.touch()
    first = later = stamp(os.fspath(path))
    while later.birth_ns == first.birth_ns:  # for one tick of the clock that stamps
        path.unlink()
        path.touch()
        later = stamp(os.fspath(path))
    assert first.identity != later.identity
