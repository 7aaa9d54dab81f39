"""A mount namespace of our own (mount_namespaces(7)), for root: what we mount nobody else sees, and it ends with us.

Where the FUSE device is closed to users, theirs included whom we measure, the namespace has one that is open.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FUSE_DEVICE: Final = Path("/dev/fuse")
_ENTERED: Final = "BENCHMARK_HAS_PRIVATE_MOUNTS"
_READ_AND_WRITE: Final = 0o006


def is_for_all(device: Path) -> bool:
    """Return whether every user may read and write a device."""
    return device.exists() and device.stat().st_mode & _READ_AND_WRITE == _READ_AND_WRITE


def enter_private_mounts(module: str, arguments: Sequence[str]) -> None:
    """Become a process that runs the module in a mount namespace of its own, or go on as we are if we may not."""
    if os.environ.pop(_ENTERED, None):
        if FUSE_DEVICE.exists() and not is_for_all(FUSE_DEVICE):
            _open_device_to_all()
        return
    unshare = ["unshare", "--mount", "--propagation", "private"]
    may = os.geteuid() == 0 and shutil.which(unshare[0])
    if may and not subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        command = [*unshare, sys.executable, "-m", module, *arguments]
        os.execvpe(command[0], command, {**os.environ, _ENTERED: "1"})


def _open_device_to_all() -> None:
    """Put a device of the same number over the FUSE device, on a file system that has no name any more."""
    directory = tempfile.mkdtemp(prefix="readyfs-bench-")
    device = Path(directory, "fuse")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
        try:
            os.mknod(device, stat.S_IFCHR, FUSE_DEVICE.stat().st_rdev)
            device.chmod(0o666)
            subprocess.run(["mount", "--bind", str(device), str(FUSE_DEVICE)], check=True)
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)
    finally:
        Path(directory).rmdir()
