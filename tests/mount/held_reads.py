"""Raw files whose reads wait until a test lets them go on, by fanotify(7): what happens while a file is being read."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# include/uapi/linux/fanotify.h
_FAN_CLASS_CONTENT = 0x04
_FAN_CLOEXEC = 0x01
_FAN_NONBLOCK = 0x02
_FAN_MARK_ADD = 0x01
_FAN_ACCESS_PERM = 0x00020000
_FAN_ALLOW = 0x01
_FAN_DENY = 0x02
_EVENT = struct.Struct("=IBBHQii")
_RESPONSE = struct.Struct("=iI")
_AT_FDCWD = -100
PATIENCE_S = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


class HeldReads:
    """Every read of some files waits, whoever reads, until it is allowed or denied."""

    def __init__(self, *files: Path) -> None:
        self._fd = _checked(
            _libc.fanotify_init(_FAN_CLASS_CONTENT | _FAN_CLOEXEC | _FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC)
        )
        for file in files:
            mask = ctypes.c_uint64(_FAN_ACCESS_PERM)
            _checked(_libc.fanotify_mark(self._fd, _FAN_MARK_ADD, mask, _AT_FDCWD, os.fsencode(file)))

    def wait(self) -> Callable[[bool], None]:
        """Wait until somebody reads; return what lets that read go on (True), or fail with EPERM (False)."""
        ready, _, _ = select.select([self._fd], [], [], PATIENCE_S)
        assert ready, "nobody reads"
        *_, event_fd, _ = _EVENT.unpack(os.read(self._fd, _EVENT.size))

        def answer(is_allowed: bool) -> None:
            os.write(self._fd, _RESPONSE.pack(event_fd, _FAN_ALLOW if is_allowed else _FAN_DENY))
            os.close(event_fd)

        return answer

    def deny_until(self, is_over: Callable[[], bool]) -> None:
        """Fail every read until a condition holds."""
        self._answer_until(is_over, is_allowed=False)

    def allow_until(self, is_over: Callable[[], bool]) -> None:
        """Let every read go on until a condition holds: of what hung for a moment Python reads the file once more."""
        self._answer_until(is_over, is_allowed=True)

    def _answer_until(self, is_over: Callable[[], bool], *, is_allowed: bool) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_over():
            assert time.monotonic() < deadline, "it goes on reading"
            if select.select([self._fd], [], [], 0.01)[0]:
                self.wait()(is_allowed)

    def close(self) -> None:
        """Let all reads go on; they are held no more."""
        os.close(self._fd)


@contextmanager
def held_reads(*files: Path) -> Iterator[HeldReads]:
    """Hold every read of some files for the body."""
    reads = HeldReads(*files)
    try:
        yield reads
    finally:
        reads.close()


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
