"""The metrics file (`--metrics-file`), for the textfile collector of the node exporter.

Written after each refresh and every 15 seconds besides, from the first moment of a mount to its orderly end, which
removes it. Whatever else ends the daemon leaves the file, whose age tells. A reader sees the old content or the new,
never a part. Nothing that goes wrong here touches the mount: it is logged once, and tried again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs.errors import UsageError
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.metrics")

PERIOD_S: Final = 15.0
"""How old the file may become while nothing happens: the default interval at which it is collected."""
GAP_S: Final = 1.0
"""So long at least passes between two writes, however short the interval of refreshes is."""
REMOVE_PATIENCE_S: Final = 2.0
FIRST_BYTES: Final = b"# HELP readyfs_"


class MetricsFile:
    """The task that writes one mount's file from its status; on the trio loop, writing on a thread."""

    def __init__(
        self,
        path: Path,
        document: Callable[[], Mapping[str, object]],
        *,
        period_s: float = PERIOD_S,
        gap_s: float = GAP_S,
    ) -> None:
        self._path = path
        self._document = document
        self._period_s = period_s
        self._gap_s = gap_s
        self._due = trio.Event()
        self._problem: str | None = None

    def wake(self) -> None:
        """Have the file written soon: something has changed."""
        self._due.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._due = trio.Event()
            await self._write()
            await trio.sleep(self._gap_s)
            with trio.move_on_after(self._period_s - self._gap_s):
                await self._due.wait()

    async def remove(self) -> None:
        """Take the file away: the mount has ended as it should. A directory that hangs is not waited for."""
        with trio.move_on_after(REMOVE_PATIENCE_S):
            try:
                await trio.to_thread.run_sync(self._path.unlink, True, abandon_on_cancel=True)
            except OSError as error:
                self._report(error.strerror or str(error))

    async def _write(self) -> None:
        try:
            document = self._document()
            await trio.to_thread.run_sync(write_metrics, self._path, document, abandon_on_cancel=True)
        except OSError as error:
            self._report(error.strerror or str(error))
        except Exception:
            log.exception("the metrics failed unexpectedly")
        else:
            if self._problem is not None:
                log.info("the metrics file can be written again", path=str(self._path))
            self._problem = None

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("the metrics file cannot be written", path=str(self._path), error=problem)
        self._problem = problem


def write_metrics(path: Path, document: Mapping[str, object]) -> None:
    """Put a mount's metrics into a file in one step, readable by everybody; raise `OSError` and leave it as it was."""
    # The client library is imported by those who use it.
    from readyfs.metrics.exposition import render_metrics

    text = render_metrics([document])
    temporary = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()  # of a daemon that was killed
    # Made anew and never followed: others may be able to write to the directory.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)  # whatever the umask
            file.write(text)
        temporary.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def check_metrics_file(path: Path) -> None:
    """Raise `UsageError` if we as we are could not replace the file, or if it is something else; changes nothing."""
    shown = escape_text(os.fsencode(path))
    try:
        _refuse_something_else(path, shown)
        directory = path.parent
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise NotADirectoryError(None, "Not a directory")
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise UsageError(
            f"cannot write the metrics file {shown}: {error.strerror}",
            "make its directory and let the user that runs readyfs write there, or name another with --metrics-file",
        ) from error


def _refuse_something_else(path: Path, shown: str) -> None:
    remedy = "name another file with --metrics-file"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"the metrics file {shown} is there and no regular file", remedy)
    with path.open("rb") as file:
        begin = file.read(len(FIRST_BYTES))
    if begin not in (b"", FIRST_BYTES):
        raise UsageError(f"the metrics file {shown} is there and holds something else", remedy)
