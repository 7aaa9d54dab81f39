"""The standard streams of our process: made once, before a command runs.

Output is UTF-8 whatever the locale says, so that JSON always is. What cannot be written is a mistake of the place that
it goes to, and no bug of a command.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from readyfs.errors import OutputError

_OUT, _STANDARD = 1, (0, 1, 2)


class _Output(io.FileIO):
    """Standard output. After the first failure the rest is dropped, which the end of the process would write again."""

    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write what fits; raise `OutputError`, or `BrokenPipeError` if the reader has enough."""
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(
                f"standard output cannot be written: {error.strerror}",
                "what was printed is only a part; print it elsewhere",
            ) from error


def prepare_streams() -> None:
    """Make standard output and standard error ours.

    A stream that is closed stands open on nothing afterwards: the next file would take its place, and would be written
    to. `sys.stdout` then is None, and a command is refused.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(_OUT, "w", closefd=False)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=os.isatty(_OUT),
        )
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
