"""An idmapped bind mount by the system calls themselves: util-linux offers it only from 2.39 on."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# include/uapi/linux/mount.h, fcntl.h and asm-generic/unistd.h
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_MOUNT_SETATTR: Final = 442
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_AT_EMPTY_PATH: Final = 0x1000
_AT_FDCWD: Final = -100
_MOUNT_ATTR_IDMAP: Final = 0x00100000
_IDS: Final = 65536

_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def idmapped(source: Path, target: Path, shift: int) -> Iterator[None]:
    """Bind `source` at `target` with every owner shifted; raise `OSError` if the file system does not allow it."""
    tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE)
    try:
        with _user_namespace(shift) as namespace:
            attributes = struct.pack("=QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, namespace)
            _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes))
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True, timeout=10)


@contextmanager
def _user_namespace(shift: int) -> Iterator[int]:
    """Open a user namespace in which the ids from 0 on are those from `shift` on outside."""
    holder = subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; exec cat"], stdin=-1, stdout=-1, cwd="/")
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text(f"0 {shift} {_IDS}", encoding="ascii")
        descriptor = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
            holder.send_signal(signal.SIGKILL)
            holder.wait(10)


def _call(number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
