"""A process that lists a directory, and stands still within the call: the kernel has the answer, its cache has not.

    python stalled_listing.py DIRECTORY

It lists into memory that is not there yet (userfaultfd(2)). So the kernel has the daemon's answer and the lock of the
directory, and waits for the memory before it keeps any name. It says `stalled` on standard output by then. Once its
standard input ends the memory is given, and it ends.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import struct
import sys
import threading
from fcntl import ioctl
from typing import Final

_GETDENTS64: Final = {"x86_64": 217, "aarch64": 61}
_USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}
# linux/userfaultfd.h
_API: Final = 0xC018AA3F
_REGISTER: Final = 0xC020AA00
_ZEROPAGE: Final = 0xC020AA04
_UFFD_API: Final = 0xAA
_MISSING: Final = 1
BYTES: Final = 64 * 1024


def main() -> None:
    """List the directory."""
    machine = os.uname().machine
    libc = ctypes.CDLL(None, use_errno=True)
    faults = libc.syscall(_USERFAULTFD[machine], os.O_CLOEXEC | os.O_NONBLOCK)
    if faults < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    ioctl(faults, _API, struct.pack("<QQQ", _UFFD_API, 0, 0))
    memory = mmap.mmap(-1, BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ioctl(faults, _REGISTER, struct.pack("<QQQQ", address, BYTES, _MISSING, 0))
    directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    arguments = (_GETDENTS64[machine], directory, ctypes.c_void_p(address), BYTES)
    listing = threading.Thread(target=libc.syscall, args=arguments)
    listing.start()
    select.select([faults], [], [])
    print("stalled", flush=True)
    sys.stdin.read()
    ioctl(faults, _ZEROPAGE, struct.pack("<QQQq", address, BYTES, 0, 0))
    listing.join()


if __name__ == "__main__":
    main()
