"""fusermount3(1), the set-uid helper by which ordinary users mount and unmount."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from readyfs.errors import FuseError
from readyfs.text import escape_text

FUSERMOUNT: Final = "fusermount3"
FUSERMOUNT_TIMEOUT_S: Final = 10.0
APPARMOR: Final = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR_PROFILE: Final = Path("/etc/apparmor.d/fusermount3")
"""Distributions that have it let the helper mount below home directories, /mnt, /media, /tmp and the like alone."""

_DENIED: Final = ("Permission denied", "Operation not permitted")


def run_fusermount(
    *arguments: str, descriptors: Sequence[int] = (), environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the helper and return how it ended and what it said, in English.

    It inherits the descriptors. Raises `FuseError` if it is not installed, and `TimeoutError` if it takes too long.
    """
    try:
        return subprocess.run(
            [FUSERMOUNT, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=descriptors,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            timeout=FUSERMOUNT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise FuseError(f"{FUSERMOUNT} is not installed", "install Debian's package fuse3") from None
    except subprocess.TimeoutExpired:
        raise TimeoutError from None


def is_confined(enabled: Path = APPARMOR, profile: Path = APPARMOR_PROFILE) -> bool:
    """Return whether AppArmor is on and has a profile for the helper: then it may mount at some places only."""
    try:
        return enabled.read_text(encoding="ascii").strip() == "Y" and profile.exists()
    except OSError:
        return False


def allowing_command(mountpoint: str, profile: Path = APPARMOR_PROFILE) -> str:
    """Return the command that lets a confined helper mount at a place, by the profile's local addition."""
    place = mountpoint.rstrip("/") + "/"
    rules = shlex.join([f'mount fstype=fuse.readyfs -> "{place}",', f'umount "{place}",'])
    local = profile.parent / "local" / profile.name
    add = f"printf '  %s\\n' {rules} | sudo tee -a {local}"
    return escape_text(f"{add} && sudo apparmor_parser -r {profile}")


def mount_refused(mountpoint: str, reason: str) -> FuseError:
    """Return the error for a mount that kernel or helper refused; `reason` is what they said, fit to be shown."""
    message = f"mount point {escape_text(os.fsencode(mountpoint))}: the mount was refused: {reason}"
    if FUSERMOUNT in reason and any(word in reason for word in _DENIED) and is_confined():
        return FuseError(
            f"{message}; AppArmor confines {FUSERMOUNT} ({APPARMOR_PROFILE}), perhaps to other places",
            f"allow this one: {allowing_command(mountpoint)}",
        )
    return FuseError(message, "mend what it names, or mount as root")
