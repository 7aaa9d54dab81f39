"""A daemon that is stopped (SIGSTOP): every command says so in time, and what it asked is not done later."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Daemon, Place, mount_command, mounted, partition, running, wait_until

ENGINE = "cached"
"""The commands never look at the mount, whoever serves it."""
IN_TIME_S = 5.0 + 10.0
"""Their own limit, and what starting five programs at once may take on a busy machine."""


def command(daemon: Daemon, *words: str) -> list[str]:
    runtime_dir = str(daemon.place.runtime_dir)
    return [sys.executable, "-m", "readyfs", *words, str(daemon.path), "--runtime-dir", runtime_dir]


def start(words: list[str], cwd: Path = Path("/")) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


def test_commands_give_up_in_time_and_what_they_asked_is_not_done_later(place: Place) -> None:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, engine=ENGINE) as daemon:
        before = daemon.status()["refreshes"]
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            asked = {
                "status": start(command(daemon, "status")),
                "refresh": start(command(daemon, "refresh")),
                "refresh --wait": start([*command(daemon, "refresh"), "--wait"]),
                "umount": start(command(daemon, "umount")),
                "mount": start(mount_command(place, engine=ENGINE)),
            }
            said = {name: process.communicate(timeout=60)[1] for name, process in asked.items()}
            took_s = time.monotonic() - began
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert took_s < IN_TIME_S
        codes = {name: process.returncode for name, process in asked.items()}
        assert codes == dict.fromkeys(asked, ExitCode.NO_ANSWER) | {"mount": ExitCode.MOUNT_POINT}, said
        for name, line in said.items():
            assert line.count("\n") == 1, (name, line)
            assert ("and its daemon does not answer" if name == "mount" else "did not answer within") in line
        wait_until(
            lambda: len(daemon.events("a client gave up before it was answered, nothing is done")) == 4,
            "what was asked came to the daemon",
        )
        assert daemon.status()["refreshes"] == before
        assert not daemon.events("stopping")
        assert daemon.of(partition()).read_bytes() == b"x\n"


@pytest.mark.parametrize("where", [".", "c1"])
def test_umount_from_below_the_mount_point_does_not_keep_it_busy(place: Place, where: str) -> None:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with running(place, engine=ENGINE) as daemon:
        done = start(command(daemon, "umount"), daemon.path / where)
        out, err = done.communicate(timeout=60)
        assert (done.returncode, err) == (ExitCode.OK, "")
        assert out == f"unmounted {daemon.path}\n"
        assert daemon.wait_ended() == ExitCode.OK
        assert not daemon.events("mount is in use")
        assert not mounts_at(daemon.path)
