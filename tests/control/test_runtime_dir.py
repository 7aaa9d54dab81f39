from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from readyfs.control.runtime_dir import (
    Registration,
    check_runtime_dir,
    list_registrations,
    prepare_runtime_dir,
    read_registration,
    remove_leftovers,
    write_registration,
)
from readyfs.errors import UsageError


def test_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "readyfs"
    before = os.umask(0)
    try:
        prepare_runtime_dir(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_directory_made_by_a_service_manager_is_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare_runtime_dir(tmp_path)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o720])
def test_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(UsageError, match="written by others"):
        check_runtime_dir(tmp_path)


def test_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UsageError, match="not a directory"):
        check_runtime_dir(link)


def test_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = tmp_path.stat().st_uid + 4000
    os.chown(tmp_path, stranger, -1)
    monkeypatch.setattr(os, "geteuid", lambda: stranger + 1)
    with pytest.raises(UsageError, match="another user"):
        check_runtime_dir(tmp_path)


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--runtime-dir"):
        prepare_runtime_dir(tmp_path / "file" / "run")


def test_registration_names_mount_point_and_process(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    one = Registration(Path(os.fsdecode(b"/mnt/\xff\n")), 42, tmp_path / "b.sock")
    write_registration(one)
    assert read_registration(one.socket) == one
    assert list_registrations(tmp_path) == [one]
    assert stat.S_IMODE((tmp_path / "b.json").stat().st_mode) == 0o600


def test_what_a_dead_daemon_left_goes_with_its_public_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    left, lives = tmp_path / "left.sock", tmp_path / "lives.sock"
    for own, public in (("a", left), ("b", lives)):
        write_registration(Registration(Path("/mnt"), 42, tmp_path / f"{own}.sock", public))
        assert read_registration(tmp_path / f"{own}.sock") == Registration(
            Path("/mnt"), 42, tmp_path / f"{own}.sock", public
        )
    left.touch()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(lives))
        successor.listen(1)
        for own in ("a", "b"):
            remove_leftovers(tmp_path / f"{own}.sock")
    assert [path.name for path in tmp_path.iterdir()] == ["lives.sock"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"mountpoint": "/m", "pid": "x"}', "\u00e9"])
def test_unreadable_registration_is_passed_over(tmp_path: Path, text: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "a.json").write_text(text)
    assert list_registrations(tmp_path) == []


def test_missing_directory_holds_no_daemon(tmp_path: Path) -> None:
    assert list_registrations(tmp_path / "none") == []
