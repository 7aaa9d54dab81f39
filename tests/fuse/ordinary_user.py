"""Program: what a user without privileges can do with mounts; prints one line an outcome.

Argument: a directory that other users can enter. Started by root it makes a mount namespace of its own, with a
/dev/fuse that everybody may open and with mounts of root's, and runs itself again as "nobody" there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from readyfs.errors import UserError
from readyfs.fuse.mount_point import prepare_mount_point
from readyfs.fuse.mount_table import Answer, ask_mount, mounts_at
from readyfs.fuse.unmount import detach, unmount
from tests.fuse.live_mount import AS_NOBODY, COMMAND_S, NOBODY, daemon, foreign_mount, readyfs_mount

_CLONE_NEWNS = 0x00020000


def main(directory: Path) -> None:
    if os.geteuid() == 0:
        main_as_root(directory)
    else:
        main_as_nobody(directory)


def main_as_root(directory: Path) -> None:
    enter_namespace(directory)
    mine = make_directory(directory / "mine", NOBODY)
    roots = make_directory(directory / "roots", NOBODY)
    foreign = make_directory(directory / "foreign", NOBODY)
    make_directory(directory / "closed", 0)
    with readyfs_mount(mine, prefix=AS_NOBODY) as its_daemon:
        outcome("root sees it alive", lambda: ask_mount(mounts_at(mine)[-1]) is not Answer.DEAD)
        kill(its_daemon)
        outcome("root sees it alive", lambda: ask_mount(mounts_at(mine)[-1]) is not Answer.DEAD)
        outcome("root prepares", lambda: prepare_mount_point(mine, ()))
    with readyfs_mount(roots, "allow_other"), foreign_mount(foreign):
        subprocess.run([*AS_NOBODY, sys.executable, __file__, str(directory)], check=True, timeout=60)


def main_as_nobody(directory: Path) -> None:
    mine = directory / "mine"
    outcome("closed", lambda: prepare_mount_point(directory / "closed", ()))
    outcome("mine", lambda: prepare_mount_point(mine, ()))
    with readyfs_mount(mine) as its_daemon:
        outcome("alive", lambda: prepare_mount_point(mine, ()))
        kill(its_daemon)
        outcome("dead", lambda: prepare_mount_point(mine, ()))
    with readyfs_mount(mine), daemon(["sh", "-c", "cd mine && echo ready && read line"], cwd=directory):
        outcome("busy", lambda: unmount(mine))
        outcome("detached", lambda: detach(mine))
    with readyfs_mount(mine):
        outcome("unmounted", lambda: unmount(mine))
        outcome("nothing", lambda: unmount(mine))
    outcome("root's", lambda: unmount(directory / "roots"))
    outcome("foreign", lambda: unmount(directory / "foreign"))


def enter_namespace(directory: Path) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=COMMAND_S)
    device = directory / "device"
    os.mknod(device, 0o20666, os.makedev(10, 229))
    device.chmod(0o666)
    subprocess.run(["mount", "--bind", device, "/dev/fuse"], check=True, timeout=COMMAND_S)


def make_directory(path: Path, owner: int) -> Path:
    path.mkdir()
    os.chown(path, owner, owner)
    return path


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(COMMAND_S)


def outcome(what: str, act: Callable[[], object]) -> None:
    try:
        said = str(act())
    except UserError as error:
        said = f"{type(error).__name__} {error.message}"
    print(f"{what}: {said}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
