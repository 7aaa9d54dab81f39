"""Who is measured: the raw tree itself, bindfs over it, and readyfs. Each is mounted anew for every round."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.fuse.mount_table import mounts_at

PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where the world lies and where contenders may mount."""

    base: Path
    state_file: Path
    raw_root: Path

    def directory(self, name: str) -> Path:
        """Return a directory of the site, made if it is missing."""
        path = self.base / name
        path.mkdir(exist_ok=True)
        return path


@dataclass(slots=True)
class RawTree:
    """The raw tree itself, which holds one run per partition."""

    site: Site
    name: str = "raw tree"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Yield the raw root."""
        yield self.site.raw_root

    def requests(self) -> Counter[str]:
        """Return nothing: the kernel answers."""
        return Counter()


@dataclass(slots=True)
class Bindfs:
    """The raw tree through `bindfs -r` (C, libfuse): what a read-only FUSE view costs at least, without any state."""

    site: Site
    name: str = "bindfs -r"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount and yield the mount point."""
        path = self.site.directory("bindfs")
        process = subprocess.Popen(["bindfs", "-f", "-r", str(self.site.raw_root), str(path)])
        try:
            _wait_mounted(path, process)
            yield path
        finally:
            _unmount(path)
            process.wait(PATIENCE_S)

    def requests(self) -> Counter[str]:
        """Return nothing: bindfs does not count."""
        return Counter()


@dataclass(slots=True)
class Readyfs:
    """readyfs with its default settings."""

    site: Site
    name: str = "readyfs"
    _client: ControlClient | None = field(default=None, init=False)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount and yield the mount point."""
        path = self.site.directory("readyfs")
        # Not below the site: the path of a socket is limited to some hundred bytes (unix(7)).
        with tempfile.TemporaryDirectory(prefix="readyfs-") as runtime_dir:
            command = [
                *(sys.executable, "-m", "readyfs", "mount", str(path)),
                *("--state", str(self.site.state_file), "--raw", str(self.site.raw_root)),
                *("--runtime-dir", runtime_dir, "--state-dir", str(self.site.base / "var")),
                *("--log-file", str(self.site.base / "readyfs.log")),
            ]
            self._client = ControlClient(socket_path(Path(runtime_dir), path), timeout_s=10.0)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                _wait_mounted(path, process)
                yield path
            finally:
                process.terminate()
                process.wait(PATIENCE_S)
                _unmount(path)

    def requests(self) -> Counter[str]:
        """Return the daemon's own count."""
        assert self._client is not None
        counts = self._client.status()["requests"]
        assert isinstance(counts, dict)
        return Counter(counts)


def _wait_mounted(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not mounts_at(path):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} instead of mounting")
        if time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"{process.args!r} did not mount within {PATIENCE_S} s")
        time.sleep(0.01)
    # Mounted is not yet served; this waits until it is.
    os.listdir(path)


def _unmount(path: Path) -> None:
    for _ in mounts_at(path):
        if subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
