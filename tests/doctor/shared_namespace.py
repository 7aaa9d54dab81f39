"""Program: what the doctor says of mounts of each propagation, made in a mount namespace of its own.

Argument: a directory. Prints one line a mount.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from readyfs.doctor.mounts import look_at_propagation
from readyfs.doctor.subject import Places
from tests.doctor.subjects import make_subject
from tests.fuse.ordinary_user import enter_namespace


def main(directory: Path) -> None:
    enter_namespace(directory)
    same = Places(first_namespace=Path("/proc/self/ns/mnt"))
    for kind in ("shared", "private", "slave"):
        place = directory / kind
        place.mkdir()
        run("mount", "-t", "tmpfs", "none", place)
        # A slave of a group that has no other member would be private.
        run("mount", "--make-private" if kind == "private" else "--make-shared", place)
        if kind == "slave":
            (directory / "master").mkdir()
            run("mount", "--bind", place, directory / "master")
            run("mount", "--make-slave", place)
        say(kind, place / "ready", same)
    (found,) = look_at_propagation(make_subject(mountpoint=directory / "private" / "ready", places=same))
    run("sh", "-c", found.remedy.replace("sudo ", ""))
    say("remedied", directory / "private" / "ready", same)
    (directory / "first").symlink_to("mnt:[1]")  # what /proc/1/ns/mnt of another namespace looks like
    other = Places(first_namespace=directory / "first")
    found, *_ = look_at_propagation(make_subject(mountpoint=directory / "shared" / "ready", places=other))
    print(f"own namespace: {found.verdict}")


def say(name: str, place: Path, places: Places) -> None:
    (found,) = look_at_propagation(make_subject(mountpoint=place, places=places))
    words = next((f" {kind}" for kind in ("a private mount", "a slave mount") if kind in found.summary), "")
    print(f"{name}: {found.verdict}{words}")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
