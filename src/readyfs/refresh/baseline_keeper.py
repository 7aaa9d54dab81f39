"""Keeping the baseline on disk in step with what is shown, at no cost while nothing changes.

A disk that cannot be written, or hangs, touches neither the refresh nor a reader: it is logged once, shown in the
status, and tried again with every refresh.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from readyfs.refresh.baseline import Baseline, BaselineFile
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.refresh")

PATIENCE_S: Final = 5.0
"""How long a refresh waits for the disk."""


class BaselineKeeper:
    """Reads the baseline once and writes it where it says something new; on the trio loop, with the disk on a thread.

    `problem` says why the file is not what it should be, None if it is. The status reads it.
    """

    def __init__(self, file: BaselineFile) -> None:
        self.path = escape_text(str(file.path))
        self.problem: str | None = None
        self._file = file
        self._written: Baseline | None = None
        self._is_writing = False

    async def read(self) -> Baseline | None:
        """Return the baseline, None if none was ever written; raise `UnreadableBaselineError`."""
        self._written = await trio.to_thread.run_sync(self._file.read)
        return self._written

    async def save(self, baseline: Baseline) -> None:
        """Write a baseline unless the file says the same already; never raises an `OSError`."""
        if self._is_writing:  # a disk that hangs: what is missing is written once it is back
            return
        if baseline.says_the_same(self._written):
            self._report(None)
            return
        with trio.move_on_after(PATIENCE_S) as scope:
            try:
                await trio.to_thread.run_sync(self._write, baseline, abandon_on_cancel=True)
            except OSError as error:
                self._report(error.strerror or str(error))
            else:
                self._report(None)
        if scope.cancelled_caught:
            self._report(f"the disk has not answered for {PATIENCE_S:.0f} s")

    def _write(self, baseline: Baseline) -> None:
        self._is_writing = True
        try:
            self._file.write(baseline)
            self._written = baseline
        finally:
            self._is_writing = False

    def _report(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            log.warning("the baseline of retractions cannot be written", path=self.path, error=problem)
        elif problem is None and self.problem is not None:
            log.info("the baseline of retractions can be written again", path=self.path)
        self.problem = problem
