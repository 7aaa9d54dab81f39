"""What is mounted where: the text of the table, the stacks at a place, and whether a mount is dead."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from readyfs.fuse.mount_table import (
    Answer,
    Mount,
    ask_mount,
    mount_containing,
    mounts_at,
    parse_mount_table,
    read_mount_table,
    resolve_mount_point,
    stack_at,
)
from tests.fuse.live_mount import clear, foreign_mount, readyfs_mount

LINE = b"36 35 98:7 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue\n"


def mount(mount_id: int, parent_id: int, place: str, *, fs_type: str = "ext4", root: str = "/") -> Mount:
    return Mount(mount_id, parent_id, (8, mount_id), Path(root), Path(place), fs_type, "none", (), ())


def ids(mounts: list[Mount]) -> list[int]:
    return [found.mount_id for found in mounts]


def test_a_line_is_taken_apart() -> None:
    assert parse_mount_table(LINE) == (
        Mount(
            mount_id=36,
            parent_id=35,
            device=(98, 7),
            root=Path("/mnt1"),
            mount_point=Path("/mnt2"),
            fs_type="ext3",
            source="/dev/root",
            options=("rw", "noatime"),
            super_options=("rw", "errors=continue"),
            propagation=("master:1", "propagate_from:2"),
        ),
    )


def test_a_line_without_optional_fields_and_source_is_taken_apart() -> None:
    (found,) = parse_mount_table(b"1 1 0:2 / / rw - fuse.readyfs  ro,user_id=0\n")
    assert (found.fs_type, found.source, found.super_options) == ("fuse.readyfs", "", ("ro", "user_id=0"))
    assert found.is_readyfs


@pytest.mark.parametrize("fs_type", ["fuse", "fuse.readyfs2", "readyfs", "ext4"])
def test_other_types_are_not_ours(fs_type: str) -> None:
    assert not mount(1, 0, "/", fs_type=fs_type).is_readyfs


def test_octal_escapes_stand_for_single_bytes() -> None:
    (found,) = parse_mount_table(rb"1 0 0:2 /a\040b /tab\011nl\012bs\134040\303\251\377 rw - t s\043 rw" + b"\n")
    assert found.root == Path("/a b")
    assert os.fsencode(found.mount_point) == b"/tab\tnl\nbs\\040\xc3\xa9\xff"
    assert found.source == "s#"


def test_a_field_that_looks_like_the_separator_is_not_one() -> None:
    (found,) = parse_mount_table(b"1 0 0:2 / /- rw shared:1 - - - rw,x=-\n")
    assert (found.mount_point, found.fs_type, found.source) == (Path("/-"), "-", "-")


def test_nothing_mounted_gives_an_empty_stack() -> None:
    assert stack_at([mount(1, 0, "/"), mount(2, 1, "/a/b"), mount(3, 1, "/ab")], Path("/a")) == []


def test_the_visible_mount_of_a_stack_is_last_in_any_order_of_the_table() -> None:
    table = [mount(1, 0, "/"), mount(9, 1, "/a"), mount(4, 9, "/a"), mount(7, 4, "/a")]
    assert ids(stack_at(table, Path("/a"))) == [9, 4, 7]
    assert ids(stack_at(table[::-1], Path("/a"))) == [9, 4, 7]


def test_a_mount_that_a_later_one_above_hides_is_left_out() -> None:
    table = [mount(1, 0, "/"), mount(2, 1, "/a/b"), mount(3, 1, "/a")]
    assert stack_at(table, Path("/a/b")) == []
    assert ids(stack_at([*table, mount(4, 3, "/a/b")], Path("/a/b"))) == [4]


def test_a_mount_on_a_covered_mount_is_left_out() -> None:
    table = [mount(1, 0, "/"), mount(2, 1, "/a"), mount(3, 2, "/a/b"), mount(4, 2, "/a")]
    assert stack_at(table, Path("/a/b")) == []
    assert ids(stack_at(table, Path("/a"))) == [2, 4]


def test_a_table_whose_parents_run_in_a_circle_is_survived() -> None:
    assert ids(stack_at([mount(1, 2, "/a"), mount(2, 1, "/b")], Path("/a"))) == [1]


def test_a_path_lies_on_the_nearest_visible_mount() -> None:
    table = [mount(1, 0, "/"), mount(2, 1, "/a"), mount(3, 2, "/a"), mount(4, 2, "/a/b"), mount(5, 1, "/ab")]
    for path, expected in (("/", 1), ("/x", 1), ("/a", 3), ("/a/b/c", 3), ("/ab/c", 5), ("/abc", 1)):
        found = mount_containing(table, Path(path))
        assert found is not None
        assert found.mount_id == expected, path
    assert mount_containing([], Path("/a")) is None


@pytest.mark.parametrize("name", [b"plain", b"a b\tc\nd\\e", b"\\040", b"caf\xe9", "é".encode(), b"#", b" - "])
def test_a_real_mount_is_found_whatever_its_name(tmp_path: Path, name: bytes) -> None:
    place = tmp_path / os.fsdecode(name)
    place.mkdir()
    assert mounts_at(place) == []
    with foreign_mount(place):
        (found,) = mounts_at(place)
        assert found.fs_type == "tmpfs"
        assert os.makedev(*found.device) == place.stat().st_dev
        with foreign_mount(place, "--bind", "/usr"):
            assert len(mounts_at(place)) == 2
            assert mounts_at(place)[0] == found
            assert mounts_at(place)[1].root == Path("/usr")
    assert mounts_at(place) == []


def test_the_table_of_another_process_can_be_read() -> None:
    assert read_mount_table(Path("/proc/1/mountinfo"))


def test_a_mount_point_is_its_resolved_parent_and_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/m").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "m").symlink_to("real/m")
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "real/m"
    for spelling in ("real/m", "link/m", "./real//m/", f"/{tmp_path}/link/m", "real/m/.", "link/../real/m", expected):
        assert resolve_mount_point(spelling) == expected, spelling
    assert resolve_mount_point("real/gone") == tmp_path / "real/gone"
    assert resolve_mount_point("gone/m") == tmp_path / "gone/m"
    assert resolve_mount_point("m") == tmp_path / "m"
    assert resolve_mount_point("link/..") == tmp_path
    assert resolve_mount_point(".") == tmp_path
    assert resolve_mount_point("/") == Path("/")
    assert resolve_mount_point("//") == Path("/")
    assert resolve_mount_point("/..") == Path("/")


def test_the_daemons_mount_is_one_of_ours_and_alive(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path, "allow_other"):
        (found,) = mounts_at(tmp_path)
        assert found.is_readyfs
        assert found.source == "tiny"
        assert ask_mount(found) is Answer.SERVED


@pytest.mark.parametrize("word", ["", "allow_other"])
def test_the_mount_of_a_killed_daemon_is_dead(tmp_path: Path, word: str) -> None:
    """V14: and it stays in the table, where a stat may still succeed."""
    with readyfs_mount(tmp_path, word) as daemon:
        daemon.kill()
        daemon.wait(10)
        (found,) = mounts_at(tmp_path)
        assert ask_mount(found) is Answer.DEAD
        assert resolve_mount_point(tmp_path) == tmp_path


def test_a_mount_whose_daemon_answers_with_an_error_is_alive(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path, "statfs=fail"):
        with pytest.raises(OSError, match="Input/output error"):
            os.statvfs(tmp_path)
        assert ask_mount(mounts_at(tmp_path)[-1]) is Answer.SERVED


def test_a_dead_mount_whose_attributes_the_kernel_keeps_is_dead(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path, "cached") as daemon:
        tmp_path.stat()
        daemon.kill()
        daemon.wait(10)
        assert tmp_path.is_dir()
        assert ask_mount(mounts_at(tmp_path)[-1]) is Answer.DEAD


def test_a_mount_that_is_gone_does_not_count_as_dead(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path):
        (found,) = mounts_at(tmp_path)
        clear(tmp_path)
        assert ask_mount(found) is Answer.SERVED


def test_a_mount_that_never_answers_is_hung_and_not_dead(tmp_path: Path) -> None:
    """The request was read by the daemon: whoever waits for it cannot be killed."""
    with readyfs_mount(tmp_path, "statfs=hang"):
        (found,) = mounts_at(tmp_path)
        before = time.monotonic()
        assert ask_mount(found, timeout_s=0.5) is Answer.NONE
        assert time.monotonic() - before < 5


def test_a_stopped_daemon_is_hung_and_not_dead(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path) as daemon:
        (found,) = mounts_at(tmp_path)
        daemon.send_signal(signal.SIGSTOP)
        before = time.monotonic()
        assert ask_mount(found, timeout_s=0.5) is Answer.NONE
        assert time.monotonic() - before < 5
