"""What changed in a mount, asked of its daemon: batch after batch, through restarts and outages.

A batch is fetched whole before any of it is printed. So the daemon holds it for seconds and not for as long as a slow
reader takes, and what was printed is never cut short by a daemon that ends.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, Final, NamedTuple

import click

from readyfs.cli.changes_print import ChangesPrinter
from readyfs.cli.place import Place
from readyfs.consumer.wait import Pauses
from readyfs.control.change_requests import ChangesRequest
from readyfs.control.question_requests import MAX_WATCH_S
from readyfs.errors import (
    HistoryError,
    LimitError,
    NoAnswerError,
    NotRunningError,
    RefreshFailedError,
    ResyncError,
    UsageError,
    UserError,
)
from readyfs.text import escape_text

SPOOL_BYTES: Final = 8 * 1024 * 1024
"""A batch of more than this waits in a temporary file."""
RETRY_PAUSE_S: Final = 5.0
"""The longest pause while the daemon does not answer, or cannot."""
ACK_PAUSE_S: Final = 1.0
"""The longest pause between two looks whether a batch was acknowledged."""
RENEWALS_A_LEASE: Final = 3
MIN_WATCH_S: Final = 0.2
BATCH_TRIES: Final = 5
PAGE_TRIES: Final = 60
"""How often a daemon is asked again that was asked for too much; for a batch also if it lost that with its restart."""


class _LostBatchError(NoAnswerError):
    """The daemon does not have both catalogs of a batch any more that it was asked for page by page."""


class _Batch(NamedTuple):
    since: str
    until: str
    lines: IO[str]
    name: str | None
    """What tells the batch of a consumer from all others; None without a consumer."""
    waits: bool


@dataclass(slots=True)
class MountChanges:
    """The changes of one mount for one reader; `consumer` is the name of its pin, if it has one."""

    place: Place
    printer: ChangesPrinter
    consumer: str | None
    lease_s: float | None
    _trouble: str | None = None
    _pauses: Pauses = field(default_factory=lambda: Pauses(RETRY_PAUSE_S))
    _renew_s: float = MAX_WATCH_S

    def acknowledge(self, cursor: str) -> None:
        """Acknowledge a batch."""
        assert self.consumer is not None
        self.printer.acknowledged(self.place.client().acknowledge(self.consumer, cursor, self.lease_s))

    def once(self, since: str | None) -> str:
        """Print what changed since a cursor; return the next one."""
        tries = 0
        while True:
            tries += 1
            try:
                return self._print(self._fetch(since, None))
            except (LimitError, _LostBatchError):
                if tries > BATCH_TRIES:
                    raise
                time.sleep(self._pauses.next_s())

    def follow(self, since: str | None) -> None:
        """Print what changed since a cursor, and go on as the mount changes, until interrupted."""
        cursor: str | None = None
        seen: str | None = None
        while True:
            try:
                batch = self._fetch(since, seen)
                self._note_answered()
                if batch.waits:
                    self._pause_unacknowledged()
                    continue
                if cursor is None or batch.since != batch.until:
                    cursor, seen = self._print(batch), batch.name
                else:
                    batch.lines.close()
                since = None if self.consumer is not None else cursor
                if self.consumer is None:
                    self._watch(cursor)
                elif batch.since == batch.until:
                    self._watch(batch.until)
            except (NotRunningError, NoAnswerError, RefreshFailedError, HistoryError, LimitError) as error:
                if cursor is None and isinstance(error, NotRunningError):
                    raise  # there never was a daemon
                self._pause(error)

    def _print(self, batch: _Batch) -> str:
        with batch.lines:
            self.printer.batch(batch.lines, batch.since, batch.until)
        return batch.until

    # ---- one batch --------------------------------------------------------------------------------------------

    def _fetch(self, since: str | None, seen: str | None) -> _Batch:
        client = self.place.client()
        answer = client.changes(ChangesRequest(since, None, None, self.consumer, self.lease_s, seen))
        begin, until = str(answer["since"]), str(answer["until"])
        name = str(answer["batch"]) if self.consumer is not None else None
        expires_s = answer.get("expires_in_seconds")
        if isinstance(expires_s, int | float):
            self._renew_s = max(expires_s / RENEWALS_A_LEASE, MIN_WATCH_S)
        lines = tempfile.SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8", newline="\n")  # noqa: SIM115
        try:
            lines.write(str(answer["changes"]))
            while answer["after"] is not None:
                answer = self._next_page(ChangesRequest(begin, until, str(answer["after"])))
                lines.write(str(answer["changes"]))
            lines.seek(0)
        except OSError as error:
            lines.close()
            why = f"a temporary file does not take the batch: {error.strerror}"
            raise UsageError(why, "name a directory with room as TMPDIR") from error
        except BaseException:
            lines.close()
            raise
        return _Batch(begin, until, lines, name, bool(answer.get("waits")))

    def _next_page(self, request: ChangesRequest) -> dict[str, object]:
        tries = 0
        while True:
            tries += 1
            try:
                return self.place.client().changes(request)
            except LimitError:
                if tries > PAGE_TRIES:
                    raise
                time.sleep(self._pauses.next_s())
            except ResyncError as error:
                raise _LostBatchError("the daemon has lost the batch", "ask again") from error

    # ---- between batches --------------------------------------------------------------------------------------

    def _watch(self, cursor: str | None) -> None:
        answer = self.place.client().watch(cursor or "", min(MAX_WATCH_S, self._renew_s))
        if not answer.get("waited") and not answer.get("changed"):
            time.sleep(ACK_PAUSE_S)  # too many of this user wait there already

    def _pause_unacknowledged(self) -> None:
        time.sleep(min(ACK_PAUSE_S, self._renew_s))

    def _note_answered(self) -> None:
        self._pauses.reset()
        if self._trouble is not None:
            click.echo("readyfs: the daemon answers again", err=True)
            self._trouble = None

    def _pause(self, error: UserError) -> None:
        """Go on later, and say why once."""
        if self._trouble != error.message:
            click.echo(f"readyfs: {escape_text(error.message)}; still following", err=True)
            self._trouble = error.message
        time.sleep(self._pauses.next_s())
