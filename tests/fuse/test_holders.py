"""Who holds a mount, whether its daemon answers or not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.fuse.holders import Holder, find_holders
from readyfs.fuse.mount_table import Mount, mounts_at
from readyfs.fuse.unmount import detach, unmount
from tests.descriptors import open_descriptors
from tests.fuse import holding
from tests.fuse.live_mount import COMMAND_S, daemon, foreign_mount, readyfs_mount


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    place = tmp_path / "m m"
    place.mkdir()
    with readyfs_mount(place) as process:
        yield place, process


@contextmanager
def held(place: Path, how: str, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    with daemon([*prefix, sys.executable, holding.__file__, str(place), how]) as process:
        yield process


def mount_of(place: Path) -> Mount:
    return mounts_at(place)[-1]


def ways(mount: Mount, pid: int) -> list[str]:
    """Return how a process holds the mount, and make sure that no other does."""
    holders = find_holders(mount)
    assert {holder.pid for holder in holders} <= {pid}
    return [holder.how for holder in holders]


WAYS = pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("cwd", ["cwd"]),
        ("root", ["root"]),
        ("file", ["open file"]),
        ("path", ["open file"]),
        ("directory", ["open file"]),
        ("mapping", ["mapped file"]),
        ("nothing", []),
    ],
)


@WAYS
def test_a_process_is_found_by_the_way_it_holds_before_and_after_a_lazy_unmount(
    mounted: tuple[Path, subprocess.Popen[str]], how: str, expected: list[str]
) -> None:
    place, _ = mounted
    mount = mount_of(place)
    with held(place, how) as process:
        assert ways(mount, process.pid) == expected
        detach(place)
        assert ways(mount, process.pid) == expected


@WAYS
def test_it_is_found_while_the_daemon_answers_nothing(
    mounted: tuple[Path, subprocess.Popen[str]], how: str, expected: list[str]
) -> None:
    """No request goes to the mount: a stopped daemon would hold up whoever sends one, and so may one that is dead."""
    place, its_daemon = mounted
    with held(place, how) as process:
        try:
            for order in (signal.SIGSTOP, signal.SIGKILL):
                its_daemon.send_signal(order)
                before = time.monotonic()
                assert ways(mount_of(place), process.pid) == expected
                assert time.monotonic() - before < 5
        finally:
            its_daemon.kill()  # a process that ends with a file of a stopped daemon open hangs in its close


def test_a_program_that_runs_from_the_mount_is_found(mounted: tuple[Path, subprocess.Popen[str]]) -> None:
    place, _ = mounted
    with subprocess.Popen([place / "program", "60"]) as process:
        try:
            found = ways(mount_of(place), process.pid)
            assert find_holders(mount_of(place))[0].command == "program"
        finally:
            process.kill()
    assert found == ["running program", "mapped file"]


def test_a_holder_in_another_mount_namespace_is_found(mounted: tuple[Path, subprocess.Popen[str]]) -> None:
    place, _ = mounted
    with held(place, "cwd", ["unshare", "--mount", "--propagation=private"]) as process:
        assert ways(mount_of(place), process.pid) == ["cwd"]


def test_a_holder_by_way_of_a_bind_mount_is_found(mounted: tuple[Path, subprocess.Popen[str]], tmp_path: Path) -> None:
    place, _ = mounted
    (tmp_path / "copy").mkdir()
    with foreign_mount(tmp_path / "copy", "--bind", str(place)), held(tmp_path / "copy", "file") as process:
        assert ways(mount_of(place), process.pid) == ["open file"]


def test_a_holder_of_the_mount_below_or_above_it_is_none(tmp_path: Path) -> None:
    with readyfs_mount(tmp_path), readyfs_mount(tmp_path), held(tmp_path, "cwd") as process:
        lower, upper = mounts_at(tmp_path)
        assert ways(lower, process.pid) == []
        assert ways(upper, process.pid) == ["cwd"]


def test_each_way_is_named_once_for_a_process(mounted: tuple[Path, subprocess.Popen[str]]) -> None:
    place, _ = mounted
    script = "cd directory && exec 5<../file 6<../file && echo ready && read line"
    with daemon(["sh", "-c", script], cwd=place) as process:
        assert find_holders(mount_of(place)) == [
            Holder(process.pid, "sh", "cwd"),
            Holder(process.pid, "sh", "open file"),
        ]


def test_this_process_is_left_out(mounted: tuple[Path, subprocess.Popen[str]]) -> None:
    place, _ = mounted
    with (place / "file").open("rb"):
        assert find_holders(mount_of(place)) == []


def test_a_command_is_shown_escaped(mounted: tuple[Path, subprocess.Popen[str]], tmp_path: Path) -> None:
    place, _ = mounted
    (tmp_path / "a\nb").symlink_to("/bin/sh")
    with daemon([tmp_path / "a\nb", "-c", "echo ready && read line"], cwd=place):
        assert [holder.command for holder in find_holders(mount_of(place))] == ["a\\nb"]


def test_looking_leaves_nothing_behind_that_keeps_the_mount_busy(
    mounted: tuple[Path, subprocess.Popen[str]],
) -> None:
    place, its_daemon = mounted
    mount = mount_of(place)
    descriptors = open_descriptors()
    with held(place, "cwd") as process:
        assert ways(mount, process.pid) == ["cwd"]
        process.kill()
        process.wait(COMMAND_S)
    assert open_descriptors() == descriptors
    unmount(place)
    assert its_daemon.wait(COMMAND_S) == 0
