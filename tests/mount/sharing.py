"""Several mounts of one raw store and one pin store, each with a mount point and directories of its own."""

from __future__ import annotations

from pathlib import Path

from readyfs.control.pin_requests import PinRequest
from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Daemon, Place


class Neighbour(Place):
    """A place beside another one, with the same state and raw store."""

    def __init__(self, first: Place, name: str) -> None:
        self.first = first
        base = first.base / name
        base.mkdir()
        super().__init__(base)

    @property
    def state(self) -> Path:
        """The state file of the first place."""
        return self.first.state

    @property
    def raw(self) -> Path:
        """The raw root of the first place."""
        return self.first.raw


def pin(daemon: Daemon, name: str | None = "job", lease_s: float | None = None) -> str:
    """Pin what is in force, and return its fingerprint."""
    return str(daemon.public.pin(PinRequest(name, lease_s))["fingerprint"])


def view(daemon: Daemon, fingerprint: str) -> Path:
    """Return the path of a view in a mount."""
    return daemon.path / ".readyfs/views" / fingerprint


def payload(daemon: Daemon, root: Path, partition: LogicalPartition) -> Path:
    """Return the path of a partition's payload below the root of a tree."""
    return root / daemon.of(partition).relative_to(daemon.path)
