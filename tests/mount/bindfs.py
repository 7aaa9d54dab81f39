"""A raw store that can hang or vanish: bindfs(1) over the raw root, in a process that can be stopped and ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, wait_until


class BoundStore:
    """The raw root of a place once more, at `path`, through FUSE and without caches."""

    def __init__(self, place: Place) -> None:
        self._source = place.raw
        self.path = place.base / "bound"
        self.path.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        """Mount it."""
        options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
        self._process = subprocess.Popen(
            ["bindfs", "-f", "-r", "-o", options, self._source, self.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: bool(mounts_at(self.path)), "bindfs has mounted")

    def stop(self) -> None:
        """Let every request hang from now on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, the requests that wait included."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def unmount(self) -> None:
        """End it, whatever state it is in; nothing is at `path` then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        while mounts_at(self.path):
            subprocess.run(["umount", "--lazy", self.path], check=True, timeout=10)


@contextmanager
def bound(place: Place) -> Iterator[BoundStore]:
    """Mount the raw root of a place through bindfs for the body."""
    store = BoundStore(place)
    try:
        store.mount()
        yield store
    finally:
        store.unmount()
