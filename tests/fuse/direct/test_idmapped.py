"""An idmapped mount of ours: what a container runtime makes so that owners are right inside (mount_setattr(2))."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuse.direct.idmapped import idmapped
from tests.mount.daemon import ENGINES, Place, mounted, partition

SHIFTED = 100_000
DIRECT = [name for name in ENGINES if name != "pyfuse3"]


@pytest.mark.parametrize("engine", DIRECT)
def test_owners_are_shifted_and_decide_who_may_read(place: Place, directory: Path, engine: str) -> None:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, "--uid", "0", "--gid", "0", "--file-mode", "0400", engine=engine) as daemon:
        plain = daemon.of(partition())
        inside = directory / plain.relative_to(daemon.path)
        with idmapped(daemon.path, directory, SHIFTED):
            assert inside.stat().st_uid == inside.stat().st_gid == SHIFTED
            assert plain.stat().st_uid == plain.stat().st_gid == 0
            assert read_as(SHIFTED, inside) == "x\n"
            assert "Permission denied" in read_as(SHIFTED + 1, inside)
        assert plain.read_bytes() == b"x\n"


def read_as(user: int, path: Path) -> str:
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", "cat", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, cwd="/")
    return done.stdout + done.stderr
