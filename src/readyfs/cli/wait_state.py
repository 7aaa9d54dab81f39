"""Waiting without a mount: keyed questions to the state store, further and further apart, or when it notifies."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Final

import click

from readyfs.cli.place import Place
from readyfs.cli.state_reasons import StateReasons
from readyfs.config import find_state
from readyfs.config import table as settings
from readyfs.consumer.wait import Pauses, Wait
from readyfs.errors import StateError, UsageError
from readyfs.text import escape_text

LONGEST_PAUSE_S: Final = 10.0


@dataclass(slots=True)
class StateWait:
    """One wait; `ends_s` is by `time.monotonic`."""

    place: Place
    source: str | None
    awaited: Wait
    ends_s: float
    waited: str
    _was_read: bool = False
    _has_told: bool = False
    _trouble: str | None = None
    _pauses: Pauses = field(default_factory=lambda: Pauses(LONGEST_PAUSE_S))

    def run(self) -> None:
        """Return when enough is ready; raise `NotInTimeError`, `FailedError`, `ImpossibleError`.

        Raises `UsageError` without a raw root: then nobody could tell that a run can be served. Raises `StateError`
        only if the state could never be read.
        """
        self.place.require_state()
        if self.place.resolution.get(settings.RAW) is None:
            raise UsageError("no raw root is named, in which runs could be looked at", "name it with --raw")
        with closing(StateReasons(self.place)) as reasons, self._listening() as notified:
            while True:
                self._ask(reasons)
                if self.awaited.is_over:
                    return
                left_s = self.ends_s - time.monotonic()
                if left_s <= 0:
                    raise self.awaited.explain_unmet(self.waited, self._trouble)
                self._tell_once()
                if notified.wait(min(self._pauses.next_s(), left_s)):
                    notified.clear()

    def _ask(self, reasons: StateReasons) -> None:
        try:
            for asked in self.awaited.unmet:
                self.awaited.note(asked, reasons.explain(asked, self.source).describe())
            if self.awaited.is_over and len(self.awaited.asked) > 1:
                for asked in self.awaited.met:  # what was ready first may be so no more
                    self.awaited.note(asked, reasons.explain(asked, self.source).describe())
        except StateError as error:
            if not self._was_read:
                raise
            if self._trouble is None:
                click.echo(f"readyfs: {escape_text(error.message)}; still waiting", err=True)
            self._trouble = error.message
        else:
            if self._trouble is not None:
                click.echo("readyfs: the state can be read again", err=True)
            self._was_read, self._trouble = True, None

    def _tell_once(self) -> None:
        if not self._has_told:
            self._has_told = True
            click.echo(f"readyfs: waiting: {self.awaited.describe_unmet()}", err=True)

    def _listening(self) -> AbstractContextManager[threading.Event]:
        """Return what is set whenever the state notifies, if it is to be listened to; else it never is."""
        channel = self.place.resolution.get(settings.STATE_LISTEN)
        if channel is None:
            return nullcontext(threading.Event())
        from readyfs.state.postgres.listen import Listener, listening

        url, _ = find_state(self.place.resolution)
        return listening(Listener(url, channel, self.place.resolution.get(settings.STATE_TIMEOUT)))
