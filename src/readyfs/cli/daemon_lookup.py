"""Finding the daemon of a mount point, without touching the mount point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.cli.mount_paths import resolve_named
from readyfs.config import Resolution
from readyfs.config.table import RUNTIME_DIR
from readyfs.control.caller import NobodyListensError
from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.text import escape_text

_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


@dataclass(frozen=True, slots=True)
class KernelView:
    """What the kernel knows of a mount of ours, asked of /proc and /sys and never of the mount itself.

    `waiting` is the number of requests without an answer, None unless fusectl is mounted and may be read.
    """

    source: str
    connection: int
    waiting: int | None

    def describe(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {"source": self.source, "connection": self.connection, "waiting": self.waiting}


def find_client(resolution: Resolution, mountpoint: str, timeout_s: float) -> tuple[Path, ControlClient]:
    """Return the resolved mount point that a user named and a client of its daemon, whether there is one or not."""
    resolved = resolve_named(mountpoint)
    return resolved, ControlClient(socket_path(resolution.get(RUNTIME_DIR), resolved), timeout_s, resolved)


@contextmanager
def explaining_no_daemon(path: Path, client: ControlClient) -> Iterator[None]:
    """Turn "nobody listens" into the reason why, which is raised as a `NotRunningError`."""
    try:
        yield
    except NobodyListensError as error:
        from readyfs.cli.no_daemon import explain_no_daemon

        raise explain_no_daemon(path, client.path) from error


def look_at_kernel(mountpoint: Path) -> KernelView | None:
    """Return what the kernel shows of the readyfs mount on top at a resolved mount point, None if there is none."""
    from readyfs.fuse.mount_table import mounts_at

    mounts = mounts_at(mountpoint)
    if not mounts or not mounts[-1].is_readyfs:
        return None
    mount = mounts[-1]
    # The directory's name is the kernel's dev_t as one number: major << 20 | minor.
    connection = mount.device[0] << 20 | mount.device[1]
    try:
        waiting = int((_CONNECTIONS / str(connection) / "waiting").read_text())
    except (OSError, ValueError):
        waiting = None
    return KernelView(escape_text(mount.source), connection, waiting)
