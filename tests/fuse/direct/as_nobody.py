"""Program: what an ordinary user has of the direct engine, mounted by fusermount3(1); prints one line an outcome.

Argument: a directory that other users can enter. Started by root it makes a mount namespace of its own, with a
/dev/fuse that everybody may open, and runs itself again as "nobody" there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from readyfs.errors import ExitCode
from tests.fuse.live_mount import AS_NOBODY, NOBODY
from tests.fuse.ordinary_user import enter_namespace, make_directory
from tests.mount.daemon import Place, mounted, partition, try_to_mount

LARGE = bytes(range(256)) * 4096


def main(directory: Path) -> None:
    """Do as the module says."""
    if os.geteuid() == 0:
        enter_namespace(directory)
        make_directory(directory / "place", NOBODY)
        subprocess.run([*AS_NOBODY, sys.executable, __file__, str(directory)], check=True, timeout=60)
        return
    place = Place(directory / "place")
    with closing(place.producer):
        look(place)


def look(place: Place) -> None:
    """Mount, read and refresh."""
    part, later = partition(), partition(date="2024-06-02")
    place.producer.write_and_publish(part, "r1", LARGE)
    with mounted(place, "--engine", "auto", "--reads", "auto", "--no-allow-other", engine="cached") as daemon:
        status = daemon.status()
        print("engine:", status["engine"], status["reads"], status["reads_reason"])
        print("read:", daemon.of(part).read_bytes() == LARGE)
        asked = daemon.requests("read")
        print("read again:", daemon.of(part).read_bytes() == LARGE, daemon.requests("read") - asked)
        print("listed:", os.listdir(daemon.path / "c1/q1"))
        asked = daemon.requests("readdir")
        print("listed again:", os.listdir(daemon.path / "c1/q1"), daemon.requests("readdir") - asked)
        place.producer.write_and_publish(part, "r2", LARGE[::-1])
        place.producer.write_and_publish(later, "r1", b"later\n")
        print("refreshed:", daemon.refresh()["changed"])
        print("switched:", daemon.of(part).read_bytes() == LARGE[::-1])
        print("listed anew:", os.listdir(daemon.path / "c1/q1"))
        print("appeared:", daemon.of(later).read_bytes())
    refused = try_to_mount(place, "--no-allow-other", engine="passthrough")
    print("passthrough:", ExitCode(refused.returncode).name, refused.stderr.strip().splitlines()[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
