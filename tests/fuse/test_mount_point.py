"""Each refusal of a mount point, and the clearing of dead mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import ExitCode, MountPointError
from readyfs.fuse.mount_point import Reserved, prepare_mount_point
from tests.fuse import ordinary_user
from tests.fuse.live_mount import COMMAND_S, NOBODY, daemon, foreign_mount, readyfs_mount, table_lines
from tests.fuse.refusal import refusal


def refused(place: Path, reserved: Sequence[Reserved] = ()) -> str:
    return refusal(lambda: prepare_mount_point(place, reserved))


def test_an_empty_directory_is_accepted_and_left_as_it_is(place: Path) -> None:
    before = place.stat()
    prepare_mount_point(place, [])
    after = place.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert table_lines(place) == []


def test_a_missing_mount_point_is_refused(place: Path) -> None:
    place.rmdir()
    assert refused(place) == f"mount point {place} does not exist; create it with: mkdir -p {place}"
    assert not place.exists()


def test_a_remedy_quotes_a_name_with_blanks(place: Path) -> None:
    assert refused(place / "a b").endswith(f"create it with: mkdir -p '{place}/a b'")


def test_a_missing_parent_is_refused(place: Path) -> None:
    assert refused(place / "a/b").startswith(f"mount point {place}/a/b does not exist;")


def test_a_file_is_refused(place: Path) -> None:
    (place / "file").touch()
    assert refused(place / "file").startswith(f"mount point {place}/file is not a directory;")
    assert refused(place / "file/x").startswith(f"mount point {place}/file/x cannot be looked at (Not a directory);")


@pytest.mark.parametrize("target", ["m", "gone", "/proc"])
def test_a_symbolic_link_is_refused_with_its_target(place: Path, target: str) -> None:
    link = place.with_name("link")
    link.symlink_to(target)
    message = refused(link)
    assert message == f"mount point {link} is a symbolic link to {target}; give the directory that it points to"


def test_a_directory_reached_through_a_link_is_accepted(place: Path) -> None:
    (place.parent / "link").symlink_to(".")
    prepare_mount_point(place.parent / "link/m", [])


@pytest.mark.parametrize(("name", "shown"), [(".hidden", ".hidden"), ("a\nb", "a\\nb")])
def test_a_directory_that_is_not_empty_is_refused(place: Path, name: str, shown: str) -> None:
    (place / name).touch()
    assert refused(place) == f"mount point {place} is not empty (it holds {shown}); give an empty directory"


def test_a_mount_point_that_may_not_be_looked_at_is_refused(place: Path) -> None:
    place.parent.chmod(0o700)
    os.seteuid(NOBODY)
    try:
        message = refused(place)
    finally:
        os.seteuid(0)
    assert message.startswith(f"mount point {place} cannot be looked at (Permission denied);")


def test_a_message_shows_an_odd_name_escaped(place: Path) -> None:
    odd = place / os.fsdecode(b"a\n\xff")
    assert refused(odd).startswith(f"mount point {place}/a\\n\\xff does not exist;")


def test_a_live_readyfs_is_refused_and_left_alone(place: Path) -> None:
    with readyfs_mount(place):
        message = refused(place)
        assert message == f"readyfs is already mounted at {place}; end it with: readyfs umount {place}"
        assert (place / "file").read_bytes() == b"x" * 8192


def test_a_hung_readyfs_is_refused_and_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readyfs.fuse.mount_table.ask_mount.__defaults__", (0.3,))
    with readyfs_mount(place, "statfs=hang"):
        assert f"readyfs is already mounted at {place}, and its daemon does not answer;" in refused(place)
        assert table_lines(place) == ["fuse.readyfs"]


def test_a_foreign_mount_is_refused_and_left_alone(place: Path) -> None:
    with foreign_mount(place):
        assert refused(place).startswith(f"tmpfs (none) is already mounted at {place};")
        assert table_lines(place) == ["tmpfs"]


def test_the_root_directory_is_refused() -> None:
    assert refused(Path("/")).endswith("is already mounted at /; choose another mount point")


@pytest.mark.parametrize("word", ["", "allow_other"])
def test_a_dead_mount_of_ours_is_cleared_with_a_log_line(place: Path, word: str) -> None:
    """V14: the next start at the same mount point clears what a dead one left behind."""
    with readyfs_mount(place, word) as process:
        process.kill()
        process.wait(COMMAND_S)
        with pytest.raises(OSError, match="Transport endpoint"):
            os.listdir(place)
        with capture_logs() as logs:
            prepare_mount_point(place, [])
        assert table_lines(place) == []
        assert logs == [
            {"event": "cleared a dead mount", "log_level": "warning", "mountpoint": str(place), "source": "tiny"}
        ]


def test_dead_mounts_on_top_of_each_other_are_all_cleared(place: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(readyfs_mount(place)) for _ in range(3)]
        for process in processes:
            process.kill()
            process.wait(COMMAND_S)
        assert len(table_lines(place)) == 3
        prepare_mount_point(place, [])
        assert table_lines(place) == []


def test_a_dead_mount_that_is_in_use_is_cleared(place: Path) -> None:
    with readyfs_mount(place) as process, daemon(["sh", "-c", "echo ready && read line"], cwd=place):
        process.kill()
        process.wait(COMMAND_S)
        prepare_mount_point(place, [])
        assert table_lines(place) == []


def test_below_a_dead_mount_a_live_one_is_found_and_refused(place: Path) -> None:
    with readyfs_mount(place), readyfs_mount(place) as upper:
        upper.kill()
        upper.wait(COMMAND_S)
        assert refused(place).startswith("readyfs is already mounted at")
        assert (place / "file").stat().st_size == 8192


def test_a_dead_mount_below_a_foreign_one_is_not_touched(place: Path) -> None:
    with readyfs_mount(place) as process, foreign_mount(place):
        process.kill()
        process.wait(COMMAND_S)
        assert refused(place).startswith("tmpfs (none) is already mounted")
        assert table_lines(place) == ["fuse.readyfs", "tmpfs"]


def test_below_a_dead_mount_further_files_are_refused(place: Path) -> None:
    (place / "file").touch()
    with readyfs_mount(place) as process:
        process.kill()
        process.wait(COMMAND_S)
        assert "is not empty (it holds file)" in refused(place)


@pytest.mark.parametrize(
    ("mount_point", "reserved", "relation"),
    [
        ("m", "m", "is"),
        ("m", "m/raw", "would hide"),
        ("m", "m/gone/state.db", "would hide"),
        ("raw/m", "raw", "lies inside"),
        ("raw/m", "by-link", "lies inside"),
        ("by-link/m", "raw", "lies inside"),
        ("m", "link-into-m", "is"),
        ("m", "link-into-m/raw", "would hide"),
        ("raw/m", ".", "lies inside"),
        ("raw/m", "/", "lies inside"),
    ],
)
def test_an_overlap_is_refused_in_both_directions(
    directory: Path, place: Path, mount_point: str, reserved: str, relation: str
) -> None:
    (directory / "raw/m").mkdir(parents=True)
    (directory / "by-link").symlink_to("raw")
    (directory / "link-into-m").symlink_to("m")
    message = refused(directory / mount_point, [Reserved(directory / reserved, "raw root")])
    real = (directory / mount_point).resolve()
    assert message == (
        f"mount point {real} {relation} the raw root {directory / reserved}; "
        "choose a mount point apart from the raw root"
    )


@pytest.mark.parametrize(("mount_point", "reserved"), [("copy/m", "raw"), ("raw/m", "copy"), ("raw/m", "copy/m/x")])
def test_an_overlap_by_a_bind_mount_is_refused(directory: Path, mount_point: str, reserved: str) -> None:
    (directory / "raw/m").mkdir(parents=True)
    (directory / "copy").mkdir()
    with foreign_mount(directory / "copy", "--bind", str(directory / "raw")):
        assert "the state file" in refused(directory / mount_point, [Reserved(directory / reserved, "state file")])


@pytest.mark.parametrize("reserved", ["raw", "mm", "m.db", "other/m", "gone/x", "other-bound/y"])
def test_neighbours_do_not_overlap(directory: Path, place: Path, reserved: str) -> None:
    (directory / "raw").mkdir()
    (directory / "other-bound").mkdir()
    with foreign_mount(directory / "other-bound"):
        (directory / "other-bound/y").mkdir()
        prepare_mount_point(place, [Reserved(directory / reserved, "raw root")])


def test_an_overlap_is_named_before_the_files_that_it_brings(place: Path) -> None:
    (place / "raw").mkdir()
    assert "would hide the raw root" in refused(place, [Reserved(place / "raw", "raw root")])


def test_refusals_have_the_mount_points_exit_code(place: Path) -> None:
    with pytest.raises(MountPointError) as caught:
        prepare_mount_point(place / "gone", [])
    assert caught.value.exit_code is ExitCode.MOUNT_POINT


def test_an_ordinary_user_mounts_and_unmounts_by_the_helper(directory: Path) -> None:
    """V14, and each refusal, without privileges."""
    done = subprocess.run(
        [sys.executable, ordinary_user.__file__, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    lines = [line.replace(str(directory), "D") for line in done.stdout.splitlines() if "cleared" not in line]
    assert lines == [
        "root sees it alive: True",
        "root sees it alive: False",
        "root prepares: None",
        "closed: MountPointError mount point D/closed is not writable for you",
        "mine: None",
        "alive: MountPointError readyfs is already mounted at D/mine",
        "dead: None",
        "busy: MountBusyError D/mine is in use",
        "detached: None",
        "unmounted: None",
        "nothing: MountPointError nothing is mounted at D/mine",
        "root's: MountPointError D/roots was mounted by user 0",
        "foreign: MountPointError what is mounted at D/foreign is tmpfs, not readyfs",
    ]
