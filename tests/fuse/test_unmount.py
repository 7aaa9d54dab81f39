"""The end of a mount: unmounted, refused as busy, or detached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.mount_point import prepare_mount_point
from readyfs.fuse.unmount import MountBusyError, detach, unmount
from tests.fuse.live_mount import COMMAND_S, daemon, foreign_mount, readyfs_mount, table_lines
from tests.fuse.refusal import refusal


def test_unmount_takes_the_mount_away(place: Path) -> None:
    with readyfs_mount(place) as process:
        unmount(place)
        assert table_lines(place) == []
        assert process.wait(COMMAND_S) == 0


def test_unmount_of_a_dead_mount_takes_it_away(place: Path) -> None:
    with readyfs_mount(place) as process:
        process.kill()
        process.wait(COMMAND_S)
        unmount(place)
        assert table_lines(place) == []


def test_unmount_takes_the_uppermost_mount_only(place: Path) -> None:
    with readyfs_mount(place), readyfs_mount(place):
        unmount(place)
        assert table_lines(place) == ["fuse.readyfs"]


def test_unmount_of_a_busy_mount_is_refused_and_detach_is_not(place: Path) -> None:
    """V5: what is open goes on after a lazy unmount."""
    with readyfs_mount(place) as process:
        with (place / "file").open("rb") as file:
            assert refusal(lambda: unmount(place), MountBusyError).startswith(f"{place} is in use;")
            assert table_lines(place) == ["fuse.readyfs"]
            detach(place)
            assert table_lines(place) == []
            assert file.read() == b"x" * 8192
        assert process.wait(COMMAND_S) == 0


@pytest.mark.parametrize("end", [unmount, detach])
def test_only_readyfs_is_unmounted(place: Path, end: Callable[[Path], None]) -> None:
    assert refusal(lambda: end(place)).startswith(f"nothing is mounted at {place};")
    with foreign_mount(place):
        assert refusal(lambda: end(place)).startswith(f"what is mounted at {place} is tmpfs, not readyfs;")
        assert table_lines(place) == ["tmpfs"]


def test_a_mount_point_with_an_odd_name_is_unmounted(place: Path) -> None:
    odd = place / "a b\tc\nd\\040é"
    odd.mkdir()
    with readyfs_mount(odd):
        assert len(table_lines(odd)) == 1
        unmount(odd)
        prepare_mount_point(odd, [])


def test_a_process_in_the_mount_makes_it_busy(place: Path) -> None:
    with readyfs_mount(place), daemon(["sh", "-c", "echo ready && read line"], cwd=place):
        refusal(lambda: unmount(place), MountBusyError)


def test_a_busy_mount_has_the_mount_points_exit_code() -> None:
    assert MountBusyError("it is in use", "wait").exit_code is ExitCode.MOUNT_POINT
