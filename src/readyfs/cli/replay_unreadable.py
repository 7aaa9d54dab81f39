"""What of a pinned view a replay cannot read: paths that two ready rows claim, and directories that fail."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from readyfs.check.view import AmbiguousDirectoryError
from readyfs.consumer.replay.backlog import NotReady
from readyfs.consumer.replay.selection import Selection
from readyfs.control.public_client import PublicClient
from readyfs.errors import NotRunningError
from readyfs.layout import MountLayout
from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.text import escape_text

_WHY = "two ready rows claim it"


class Unreadable:
    """Notes in a selection what cannot be read, as far as the filters do not exclude it."""

    def __init__(self, client: PublicClient, view: Path, filters: Filters, shown: Selection) -> None:
        self._client = client
        self._view = view
        self._filters = filters
        self._shown = shown

    def note(self, path: str, error: OSError) -> None:
        """Note a directory; raise `NotRunningError` if the view is gone, and what the daemon says if it is asked."""
        if error.errno != errno.EIO:
            raise gone(path, error)
        if isinstance(error, AmbiguousDirectoryError):
            self._note_ambiguous(path)
        else:
            self._shown.unreadable.append(f"{escape_text(os.fsencode(path))}: {error.strerror}")

    def _note_ambiguous(self, path: str) -> None:
        below = os.path.relpath(path, self._view)
        found = self._layout.read(os.fsencode(below).split(b"/"))
        assert found is not None, path
        series, date = found
        first, last = self._filters.date_range
        # Of a hidden source nothing is known yet.
        may_be = self._filters if series.source else replace(self._filters, sources=())
        if not (first <= date <= last and may_be.admits(series)):
            return
        claims = {claim: run_id for claim, run_id in self._claims(path, series).items() if self._filters.admits(claim)}
        for claim, run_id in claims.items():
            self._shown.seen.setdefault(claim, set()).add(date)
            reason = f"{WithheldReason.AMBIGUOUS_PATH}: {_WHY}"
            self._shown.not_ready.append(NotReady(claim, date, PartitionStatus.WITHHELD, reason, run_id))
        if claims:
            key = str(PartitionKey(series, date)).lstrip("/")
            live = escape_text(os.fsencode(f"{self._client.mountpoint}/{below}"))
            self._shown.unreadable.append(f"{key} cannot be shown: {_WHY}; `readyfs why {live}` tells more")

    @cached_property
    def _layout(self) -> MountLayout:
        return MountLayout.parse(os.fsdecode(os.getxattr(self._view, "user.readyfs.layout")))

    def _claims(self, path: str, series: SeriesKey) -> dict[SeriesKey, bytes]:
        """Return who claims a path, with their runs; the rows of one source as one."""
        answer = self._client.why(path, in_turn=True)
        rows = answer.get("claims")
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        claims = {series._replace(source=str(row["source"]).encode()): str(row["run_id"]).encode() for row in found}
        if not claims:
            raise NotRunningError(f"{escape_text(os.fsencode(path))} cannot be read", "start the replay again")
        return claims


def gone(path: str, error: OSError) -> NotRunningError:
    """Return what it means that a view cannot be read any more: what was read of it is only a part."""
    return NotRunningError(f"cannot read {escape_text(os.fsencode(path))}: {error.strerror}", "start the replay again")
