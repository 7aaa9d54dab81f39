"""Program: hold a mount namespace like the machine of a service, until the input ends.

Everybody may open /dev/fuse there, as udev has it. The user whose number is the first argument has a name, without
which fusermount3 does nothing for it. Everybody may read the directories that are the further arguments, as can be done
with an installed program: a closed directory on the way to one is covered by one that holds just what was asked.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
# include/uapi/linux/mount.h
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def main(user: int, directories: Sequence[Path]) -> None:
    check(_libc.unshare(_CLONE_NEWNS))
    mount(None, Path("/"), None, _MS_REC | _MS_PRIVATE)
    with tempfile.TemporaryDirectory() as temporary:
        open_device(Path(temporary))
        name_user(Path(temporary), user)
    by_closed: dict[Path, list[Path]] = {}
    for directory in directories:
        if (closed := closed_on_the_way(directory)) is not None:
            by_closed.setdefault(closed, []).append(directory)
    for closed, wanted in by_closed.items():
        cover(closed, wanted)
    print("ready", flush=True)
    sys.stdin.read()


def open_device(temporary: Path) -> None:
    device = temporary / "fuse"
    os.mknod(device, 0o20666, os.makedev(10, 229))
    device.chmod(0o666)
    mount(device, Path("/dev/fuse"), None, _MS_BIND)


def name_user(temporary: Path, user: int) -> None:
    names = temporary / "passwd"
    names.write_bytes(Path("/etc/passwd").read_bytes() + b"readyfs-test:x:%d:%d::/:/bin/false\n" % (user, user))
    names.chmod(0o644)
    mount(names, Path("/etc/passwd"), None, _MS_BIND)


def closed_on_the_way(directory: Path) -> Path | None:
    """Return the first directory on the way that shuts others out."""
    way = [*reversed(directory.parents), directory]
    return next((place for place in way if not place.stat().st_mode & 0o001), None)


def cover(closed: Path, wanted: Sequence[Path]) -> None:
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in wanted}
    mount(Path("none"), closed, "tmpfs", 0, "mode=755")
    for path, fd in held.items():
        path.mkdir(parents=True, exist_ok=True)
        mount(Path(f"/proc/self/fd/{fd}"), path, None, _MS_BIND | _MS_REC)
        os.close(fd)


def mount(source: Path | None, target: Path, fs_type: str | None, flags: int, data: str = "") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, fs_type, data)]
    check(_libc.mount(*map(ctypes.c_char_p, words[:3]), ctypes.c_ulong(flags), ctypes.c_char_p(words[3])))


def check(result: int) -> None:
    if result != 0:
        sys.exit(os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
