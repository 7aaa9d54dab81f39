"""`--engine` on a kernel that offers enough, and on one that does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.fuse.direct import lacking_kernel
from tests.mount.daemon import Place, mount_command, mounted, partition, start, take_down

LACKING = (sys.executable, lacking_kernel.__file__)


@pytest.fixture
def ready(place: Place) -> Place:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    return place


def test_auto_takes_the_direct_engine(ready: Place) -> None:
    with mounted(ready, "--engine", "auto", "--reads", "cached", engine="cached") as daemon:
        status = daemon.status()
        assert status["engine"] == "direct"
        assert status["engine_reason"] == "the kernel offers what it needs"
        assert daemon.of(partition()).read_bytes() == b"x\n"


def test_auto_takes_pyfuse3_where_the_kernel_offers_too_little(ready: Place) -> None:
    """It says so in status and log, and of the attempt nothing is left mounted."""
    daemon = start(ready, "--engine", "auto", wrapper=LACKING)
    try:
        status = daemon.status()
        assert (status["engine"], status["reads"]) == ("pyfuse3", "opened")
        assert status["reads_reason"] == "this engine opens and reads every file itself"
        assert "direct cannot serve" in str(status["engine_reason"])
        assert "does not offer" in str(status["engine_reason"])
        (line,) = daemon.events("the kernel lacks what this engine needs, trying the next")
        assert line["engine"] == "direct"
        assert len(mounts_at(daemon.path)) == 1
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert daemon.stop() == ExitCode.OK
        assert not mounts_at(daemon.path)
    finally:
        take_down(daemon)


def test_direct_is_refused_where_the_kernel_offers_too_little(ready: Place) -> None:
    """One line with the remedy, the exit code for FUSE, and nothing left mounted."""
    command = [*LACKING, *mount_command(ready, engine="cached")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == ExitCode.FUSE
        said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert len(said) == 1
        assert "does not offer" in said[0]
        assert "--engine pyfuse3" in said[0]
        assert not mounts_at(ready.mountpoint)
    finally:
        while mounts_at(ready.mountpoint):
            subprocess.run(["umount", "--lazy", ready.mountpoint], check=True, timeout=10)
