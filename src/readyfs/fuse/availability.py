"""Whether this machine can give us a FUSE mount: the device, the mount helper, and what fuse.conf(5) permits."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from readyfs.errors import FuseError
from readyfs.fuse.fusermount import FUSERMOUNT
from readyfs.text import escape_text

PYFUSE3_REMEDY: Final = "install libfuse 3 (Debian's package libfuse3-dev) and then the program anew (make install)"


def check_fuse(
    privileged: bool,
    allow_other: bool,
    *,
    device: Path = Path("/dev/fuse"),
    fusermount: str = FUSERMOUNT,
    fuse_conf: Path = Path("/etc/fuse.conf"),
) -> None:
    """Raise `FuseError` if this machine cannot give us a FUSE mount.

    `privileged` says that we mount ourselves (CAP_SYS_ADMIN); otherwise the set-uid helper does, and it must be
    installed and, for `allow_other`, permitted by fuse.conf(5).
    """
    _check_device(device)
    if privileged:
        return
    if shutil.which(fusermount) is None:
        raise FuseError(
            f"{fusermount} is not installed, and without it only root can mount",
            "install Debian's package fuse3 (apt-get install fuse3)",
        )
    if allow_other and not permits_allow_other(fuse_conf):
        raise FuseError(
            f"allow-other is not permitted to ordinary users by {fuse_conf}",
            f"add the line 'user_allow_other' to {fuse_conf}, or use --no-allow-other",
        )


def check_pyfuse3(why: str) -> None:
    """Raise `FuseError` if the library of the portable engine cannot be imported; `why` says why it is needed."""
    obstacle = pyfuse3_obstacle()
    if obstacle is not None:
        raise FuseError(
            f"the engine pyfuse3 cannot be used ({why}), since its library cannot be imported: {obstacle}",
            PYFUSE3_REMEDY,
        )


def pyfuse3_obstacle() -> str | None:
    """Return why the library of the portable engine cannot be imported, None if it can be."""
    try:
        importlib.import_module("pyfuse3")
    except Exception as error:  # noqa: BLE001 - a library built for another Python or libfuse raises anything
        return escape_text(f"{type(error).__name__}: {error}")
    return None


def permits_allow_other(fuse_conf: Path) -> bool:
    """Tell whether fuse.conf(5) lets an ordinary user's mount be read by others."""
    try:
        text = fuse_conf.read_bytes()
    except OSError:
        return False  # fusermount3 reads a missing or unreadable file as one that permits nothing
    return any(line.partition(b"#")[0].strip() == b"user_allow_other" for line in text.splitlines())


def _check_device(device: Path) -> None:
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            raise FuseError(f"{device} is not a device", "remove it and run: mknod -m 666 /dev/fuse c 10 229")
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise FuseError(
            f"{device} does not exist",
            "load the kernel module (modprobe fuse), or give the container --device /dev/fuse",
        ) from None
    except PermissionError as error:
        raise FuseError(
            f"{device} cannot be opened ({error.strerror})",
            "let this user (or container) read and write the device, or mount as root",
        ) from None
    except OSError as error:
        raise FuseError(
            f"{device} cannot be opened ({error.strerror})", "load the kernel module (modprobe fuse)"
        ) from None
