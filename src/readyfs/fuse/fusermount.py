"""fusermount3(1), the set-uid helper by which ordinary users mount and unmount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from readyfs.errors import FuseError

FUSERMOUNT: Final = "fusermount3"
FUSERMOUNT_TIMEOUT_S: Final = 10.0


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
