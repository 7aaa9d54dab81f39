"""Making the direct engine's mount: by mount(2) where we may, else through the set-uid fusermount3."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Sequence
from typing import Final

from readyfs.fuse.fusermount import FUSERMOUNT, FUSERMOUNT_TIMEOUT_S, mount_refused, run_fusermount
from readyfs.text import escape_text

DEVICE: Final = "/dev/fuse"

# include/uapi/linux/mount.h
_FLAGS: Final = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
_FSNAME: Final = "fsname="
_SUBTYPE: Final = "subtype="

_libc: Final = ctypes.CDLL(None, use_errno=True)


def open_mounted(mountpoint: str, options: Sequence[str], *, privileged: bool) -> int:
    """Mount; return the descriptor of the device. The caller closes it.

    `options` are those of mount.fuse(8). Raises `FuseError` if the kernel or the helper refuses.
    """
    return _mount(mountpoint, options) if privileged else _fusermount(mountpoint, options)


def _mount(mountpoint: str, options: Sequence[str]) -> int:
    """mount(2); the data are the mount options of the kernel's Documentation/filesystems/fuse.rst."""
    fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    flags, source, fs_type = 0, "readyfs", "fuse"
    data = [f"fd={fd}", "rootmode=40000", f"user_id={os.geteuid()}", f"group_id={os.getegid()}"]
    for option in options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option.startswith(_FSNAME):
            source = option.removeprefix(_FSNAME)
        elif option.startswith(_SUBTYPE):
            fs_type = f"fuse.{option.removeprefix(_SUBTYPE)}"
        else:
            data.append(option)
    words = [os.fsencode(word) for word in (source, mountpoint, fs_type, ",".join(data))]
    if _libc.mount(*map(ctypes.c_char_p, words[:3]), ctypes.c_ulong(flags), ctypes.c_char_p(words[3])) == 0:
        return fd
    code = ctypes.get_errno()
    os.close(fd)
    raise mount_refused(mountpoint, os.strerror(code))


def _fusermount(mountpoint: str, options: Sequence[str]) -> int:
    """Have fusermount3(1) mount: it hands the descriptor back over the socket that _FUSE_COMMFD names."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        try:
            done = run_fusermount(
                *("-o", ",".join(options), "--", mountpoint),
                descriptors=[theirs.fileno()],
                environment={"_FUSE_COMMFD": str(theirs.fileno())},
            )
        except TimeoutError:
            raise mount_refused(mountpoint, f"{FUSERMOUNT} took longer than {FUSERMOUNT_TIMEOUT_S:g} s") from None
        if done.returncode != 0:
            raise mount_refused(mountpoint, escape_text(done.stderr.strip()))
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise mount_refused(mountpoint, f"{FUSERMOUNT} passed no descriptor")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]
