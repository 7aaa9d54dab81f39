"""Machines for tests: mount namespaces, in each of which a daemon of its own mounts at one and the same path.

What is on the disk they share, as machines share a state table. They have the same raw store too, each at a path of its
own. Mounts they do not share. The test's own process is one machine more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuse.live_mount import daemon
from tests.mount.daemon import Place


@dataclass(slots=True)
class PlaceElsewhere(Place):
    """What a machine's daemon has for itself is in `base`; state file and mount point are those of `shared`."""

    shared: Place

    def __post_init__(self) -> None:
        self.raw.mkdir(parents=True)
        self.producer = self.shared.producer

    @property
    def state(self) -> Path:
        """The state file."""
        return self.shared.state

    @property
    def mountpoint(self) -> Path:
        """Where all of them mount."""
        return self.shared.mountpoint


@dataclass(frozen=True, slots=True)
class Machine:
    """A mount namespace, which is there as long as this process is."""

    place: PlaceElsewhere
    pid: int

    @property
    def name(self) -> str:
        """What it is called, by its directory."""
        return self.place.base.name

    @property
    def namespace(self) -> str:
        """What tells it from others, mount_namespaces(7)."""
        return f"/proc/{self.pid}/ns/mnt"

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The words before a command that is to run there, nsenter(1)."""
        return ("nsenter", f"--mount={self.namespace}", "--")


@contextmanager
def machine(name: str, shared: Place) -> Iterator[Machine]:
    """Make a machine; what is mounted later in the test's own namespace is not seen there, nor the other way round."""
    place = PlaceElsewhere(shared.base / name, shared)
    # What is mounted already in the test's own namespace is the test's.
    script = 'while umount -l "$3" 2>/dev/null; do :; done; mount --bind "$1" "$2" && echo ready && exec cat'
    words = ("sh", "-c", script, "sh", str(shared.raw), str(place.raw), str(shared.mountpoint))
    with daemon(("unshare", "--mount", "--propagation", "private", "--", *words)) as process:
        yield Machine(place, process.pid)
