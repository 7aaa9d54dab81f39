"""Whether this machine can give a FUSE mount, and what is said where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from readyfs.errors import FuseError
from readyfs.fuse.availability import check_fuse
from tests.fuse.live_mount import NOBODY
from tests.fuse.refusal import refusal


def unprivileged_check(*, fusermount: str = "fusermount3", fuse_conf: str | Path = "/nonexistent") -> None:
    check_fuse(False, True, fusermount=fusermount, fuse_conf=Path(fuse_conf))


def test_this_machine_has_fuse() -> None:
    check_fuse(True, True)
    check_fuse(False, False)


def test_a_missing_device_is_refused(directory: Path) -> None:
    message = refusal(lambda: check_fuse(True, True, device=directory / "fuse"), FuseError)
    assert message.startswith(f"{directory}/fuse does not exist; load the kernel module (modprobe fuse)")


def test_a_file_in_place_of_the_device_is_refused(directory: Path) -> None:
    (directory / "fuse").touch()
    message = refusal(lambda: check_fuse(True, True, device=directory / "fuse"), FuseError)
    assert message.startswith(f"{directory}/fuse is not a device;")


def test_a_device_without_driver_is_refused(directory: Path) -> None:
    os.mknod(directory / "fuse", 0o20666, os.makedev(4095, 7))
    message = refusal(lambda: check_fuse(True, True, device=directory / "fuse"), FuseError)
    assert (
        message
        == f"{directory}/fuse cannot be opened (No such device or address); load the kernel module (modprobe fuse)"
    )


def test_a_device_that_may_not_be_opened_is_refused(directory: Path) -> None:
    os.mknod(directory / "fuse", 0o20600, os.makedev(10, 229))
    os.seteuid(NOBODY)
    try:
        message = refusal(lambda: check_fuse(False, False, device=directory / "fuse"), FuseError)
    finally:
        os.seteuid(0)
    assert message.startswith(f"{directory}/fuse cannot be opened (Permission denied); let this user")
    assert "modprobe" not in message, "the module is there"


def test_a_missing_mount_helper_is_refused_to_ordinary_users_only() -> None:
    message = refusal(lambda: unprivileged_check(fusermount="fusermount-gone"), FuseError)
    assert message.startswith("fusermount-gone is not installed")
    assert "Debian's package fuse3" in message
    check_fuse(True, True, fusermount="fusermount-gone")


PERMITTED = ["user_allow_other\n", "mount_max = 1\n  user_allow_other  # yes", "\tuser_allow_other"]
NOT_PERMITTED = ["", "#user_allow_other\n", "user_allow_other = 1\n", "user_allow_others\n", "x user_allow_other\n"]


@pytest.mark.parametrize("text", PERMITTED)
def test_allow_other_is_accepted_where_fuse_conf_permits_it(directory: Path, text: str) -> None:
    (directory / "fuse.conf").write_text(text)
    unprivileged_check(fuse_conf=directory / "fuse.conf")


@pytest.mark.parametrize("text", NOT_PERMITTED)
def test_allow_other_is_refused_with_the_file_and_the_line(directory: Path, text: str) -> None:
    conf = directory / "fuse.conf"
    conf.write_text(text)
    message = refusal(lambda: unprivileged_check(fuse_conf=conf), FuseError)
    assert message == (
        f"allow-other is not permitted to ordinary users by {conf}; "
        f"add the line 'user_allow_other' to {conf}, or use --no-allow-other"
    )
    check_fuse(False, False, fuse_conf=conf)
    check_fuse(True, True, fuse_conf=conf)


def test_a_missing_fuse_conf_permits_nothing(directory: Path) -> None:
    assert "is not permitted" in refusal(lambda: unprivileged_check(fuse_conf=directory / "gone"), FuseError)
