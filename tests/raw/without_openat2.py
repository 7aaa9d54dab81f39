"""Program: refuse openat2(2) to itself with a seccomp filter, then open a file with `open_beneath`.

Arguments: the errno that the filter answers, the root directory, the path below it. Prints whether openat2 was found,
and what the file holds.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from readyfs.raw.beneath import has_openat2, open_beneath

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ERRNO = 0x00050000
_SECCOMP_RET_ALLOW = 0x7FFF0000
_OPENAT2 = 437


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_openat2(code: int) -> None:
    instructions = (
        (0x20, 0, 0, 0),  # load the system call's number
        (0x15, 0, 1, _OPENAT2),  # another one: skip the next
        (0x06, 0, 0, _SECCOMP_RET_ERRNO | code),
        (0x06, 0, 0, _SECCOMP_RET_ALLOW),
    )
    program = _Program(len(instructions), b"".join(struct.pack("HBBI", *words) for words in instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments, 0, 0) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))


def main() -> None:
    refuse_openat2(int(sys.argv[1]))
    root = os.open(sys.argv[2], os.O_PATH | os.O_DIRECTORY)
    fd = open_beneath(root, os.fsencode(sys.argv[3]).split(b"/"), os.O_RDONLY)
    print(has_openat2(), os.read(fd, 100).decode())


if __name__ == "__main__":
    main()
