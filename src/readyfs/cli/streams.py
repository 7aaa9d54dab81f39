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

_IN, _OUT, _ERRORS = range(3)


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
    for descriptor in (_IN, _OUT, _ERRORS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout = _as_text(_Output(_OUT, "w", closefd=False), line_buffering=os.isatty(_OUT))
    if sys.stderr is not None:
        sys.stderr.flush()
        sys.stderr = _as_text(io.FileIO(_ERRORS, "w", closefd=False), line_buffering=True)


def _as_text(file: io.FileIO, *, line_buffering: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=line_buffering
    )
