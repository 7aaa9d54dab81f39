"""V11 on a filesystem where no lock of a SQLite state can be had: one line that says so, at start and while mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import ExitCode, RefreshFailedError
from tests.mount.daemon import Place, mounted, partition, try_to_mount, wait_until
from tests.state.sqlite import lockless

PENDING = 0x40000000
"""The byte at which SQLite begins to lock for a reader; we do not."""
NO_LOCKS = "this filesystem has no working locks"


class FarPlace(Place):
    """A place whose daemon reads its state through a filesystem with locks of its own."""

    @property
    def state(self) -> Path:
        """The state file as its producer sees it."""
        return self.base / "disk" / "state.db"

    @property
    def far_state(self) -> Path:
        """The state file as the daemon sees it."""
        return self.base / "far" / "state.db"

    def break_locks(self, name: str) -> None:
        """Have each lock fail from now on."""
        self.state.with_name("locks").write_text(name)


@pytest.fixture
def far_place(tmp_path: Path) -> Iterator[FarPlace]:
    if os.geteuid() != 0:
        pytest.skip("mounting a filesystem of its own takes root")
    for name in ("disk", "far"):
        (tmp_path / name).mkdir()
    far = tmp_path / "far"
    command = [sys.executable, lockless.__file__, str(far), str(tmp_path / "disk")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            place = FarPlace(tmp_path)
            with closing(place.producer):
                place.producer.write_and_publish(partition(), "r1", b"x\n")
                yield place
        finally:
            subprocess.run(["umount", "--lazy", str(far)], check=True, timeout=10)
            server.wait(10)


@pytest.mark.parametrize(
    ("journal", "name"),
    [
        *[("delete", name) for name in ("ENOLCK", "EINVAL", "EOPNOTSUPP", "EIO", f"EIO {PENDING}")],
        *[("wal", name) for name in ("ENOLCK", "EIO")],
    ],
)
def test_mount_without_working_locks_is_refused_in_one_line(far_place: FarPlace, journal: str, name: str) -> None:
    """V11: exit code 3."""
    far_place.change(f"PRAGMA journal_mode={journal}")
    far_place.break_locks(name)
    refused = try_to_mount(far_place, "--state", str(far_place.far_state), "--state-timeout", "2s")
    assert refused.returncode == ExitCode.STATE
    (line,) = refused.stderr.strip().splitlines()
    assert NO_LOCKS in line and "local filesystem" in line


def test_locks_that_stop_working_while_mounted_are_an_outage_until_they_work(far_place: FarPlace) -> None:
    """V11."""
    later = partition(date="2024-06-02")
    with mounted(far_place, "--state", str(far_place.far_state), "--interval", "50ms", engine="cached") as daemon:
        far_place.break_locks("ENOLCK")
        far_place.producer.write_and_publish(later, "r1", b"later\n")
        with pytest.raises(RefreshFailedError, match=NO_LOCKS):
            daemon.refresh()
        assert NO_LOCKS in str(daemon.status()["state_error"])
        assert daemon.of(partition()).read_bytes() == b"x\n"
        far_place.state.with_name("locks").unlink()
        wait_until(daemon.of(later).exists, "the state can be read again")
