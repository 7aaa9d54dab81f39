"""Program: opens, lists and looks up while a timer interrupts it a thousand times a second, and counts what fails.

Arguments: `storm` and directories of files, each of which is opened, listed and read in turn until standard input
ends; or `once` and one path, which is opened after the timer was set to go off once. Prints a JSON object of the
outcomes by errno name (`OK` for none). The calls are made through libc, because Python makes interrupted ones again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import sys
from collections import Counter
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_BUFFER = ctypes.create_string_buffer(32768)


def attempt(outcomes: Counter[str], name: str, *arguments: object) -> int:
    """Make a call, and count how it ended."""
    result = int(getattr(_libc, name)(*arguments))
    outcomes[errno.errorcode[ctypes.get_errno()] if result < 0 else "OK"] += 1
    return result


def use(outcomes: Counter[str], directory: bytes) -> None:
    """List a directory and read its files; ask for a name that is not there."""
    held = attempt(outcomes, "open", directory, os.O_RDONLY | os.O_DIRECTORY)
    if held < 0:
        return
    while attempt(outcomes, "getdents64", held, _BUFFER, len(_BUFFER)) > 0:
        pass
    for name in (b"payload.jsonl", b"metadata.json"):
        file = attempt(outcomes, "openat", held, name, os.O_RDONLY)
        if file >= 0:
            attempt(outcomes, "read", file, _BUFFER, len(_BUFFER))
            attempt(outcomes, "close", file)
    attempt(outcomes, "access", directory + b"/absent", os.F_OK)
    attempt(outcomes, "close", held)


def main(mode: str, paths: Sequence[bytes]) -> None:
    """Do as the arguments say."""
    outcomes: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    if mode == "once":
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        attempt(outcomes, "open", paths[0], os.O_RDONLY)
    else:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while not select.select([sys.stdin], [], [], 0)[0]:
            for path in paths:
                use(outcomes, path)
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], [os.fsencode(path) for path in sys.argv[2:]])
