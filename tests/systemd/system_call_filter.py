"""Program: run a command under a unit's SystemCallFilter and MemoryDenyWriteExecute, as systemd would.

Arguments: the unit's file, then the command. The groups of system calls are those that systemd itself names, and the
filter is made by libseccomp, which systemd uses too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.systemd.units import value_of, values_of

# include/seccomp.h.in of libseccomp
_ACT_ALLOW = 0x7FFF0000
_ACT_ERRNO = 0x00050000
_UNKNOWN = -1

# include/uapi/linux/prctl.h
_PR_SET_MDWE = 65
_PR_MDWE_REFUSE_EXEC_GAIN = 1


def main(unit: Path, command: list[str]) -> None:
    if value_of(unit, "MemoryDenyWriteExecute") == "yes":
        deny_write_execute()
    allow(allowed(unit))
    os.execvp(command[0], command)


def allowed(unit: Path) -> set[str]:
    """Return the names of the system calls that the unit lets through."""
    found: set[str] = set()
    for line in values_of(unit, "SystemCallFilter"):
        names = {name for word in line.removeprefix("~").split() for name in expand(word)}
        found = found - names if line.startswith("~") else found | names
    return found


def expand(word: str) -> Iterator[str]:
    """Yield the system calls of a group, those of its groups included, or the one that is named."""
    if not word.startswith("@"):
        yield word
        return
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, timeout=30, check=True
    )
    for line in listing.stdout.splitlines()[1:]:
        if (name := line.strip()) and not name.startswith("#"):
            yield from expand(name)


def allow(names: set[str]) -> None:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(_ACT_ERRNO | errno.EPERM)))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue  # of another architecture, or newer than this library
        if seccomp.seccomp_rule_add(context, ctypes.c_uint32(_ACT_ALLOW), number, 0) not in (0, -errno.EDOM):
            sys.exit(f"no rule for {name}")
    if seccomp.seccomp_load(context) != 0:
        sys.exit("the filter cannot be loaded")


def deny_write_execute() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(value) for value in (_PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
    # Linux 6.3; where it is missing there is nothing to show.
    if libc.prctl(_PR_SET_MDWE, *arguments) != 0 and ctypes.get_errno() != errno.EINVAL:
        sys.exit(os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
