"""Program: exchange two names as fast as it can, until it is killed; says "ready" first.

The exchange is atomic (renameat2(2), RENAME_EXCHANGE): both names exist at every moment.
"""

from __future__ import annotations

import ctypes
import os
import sys

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
    print("ready", flush=True)
    while libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) == 0:
        pass
    sys.exit(os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
