"""A store that can hang or vanish: bindfs(1) over a directory, in a process that can be stopped and ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, wait_until


class BoundStore:
    """A directory once more, at `path`, through FUSE and without caches."""

    def __init__(self, source: Path, path: Path, *, writable: bool = False) -> None:
        self.source = source
        self.path = path
        self._access = () if writable else ("-r",)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that serves it."""
        assert self._process is not None
        return self._process.pid

    def mount(self) -> None:
        """Mount it."""
        options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
        self._process = subprocess.Popen(
            ["bindfs", "-f", *self._access, "-o", options, self.source, self.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: bool(mounts_at(self.path)), "bindfs has mounted")

    def stop(self) -> None:
        """Let every request hang from now on: none is taken any more once this returns."""
        assert self._process is not None
        tasks = list(Path(f"/proc/{self._process.pid}/task").iterdir())
        self._process.send_signal(signal.SIGSTOP)
        wait_until(lambda: all(map(is_stopped, tasks)), "every thread of bindfs has stopped")

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


def is_stopped(task: Path) -> bool:
    """Tell whether a thread has stopped, or ended (proc_pid_stat(5))."""
    try:
        return (task / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def bound(place: Place) -> Iterator[BoundStore]:
    """Mount the raw root of a place through bindfs for the body."""
    path = place.base / "bound"
    path.mkdir()
    with _mounted(BoundStore(place.raw, path)) as store:
        yield store


@contextmanager
def bound_in_place(directory: Path, *, writable: bool = False) -> Iterator[BoundStore]:
    """Have a directory lie on a bindfs of its own for the body; what it holds is moved aside for that."""
    source = directory.with_name(f"{directory.name}.source")
    directory.rename(source)
    directory.mkdir()
    with _mounted(BoundStore(source, directory, writable=writable)) as store:
        yield store


@contextmanager
def _mounted(store: BoundStore) -> Iterator[BoundStore]:
    try:
        store.mount()
        yield store
    finally:
        store.unmount()
