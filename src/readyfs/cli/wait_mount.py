"""Waiting through a mount: woken by its daemon when the catalog changes, and through any restart of it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from readyfs.cli.place import Place
from readyfs.consumer.wait import Pauses, Verdict, Wait
from readyfs.control.public_client import ANSWER_TIMEOUT_S
from readyfs.control.question_requests import MAX_WATCH_S
from readyfs.errors import LimitError, NoAnswerError, NotRunningError, UserError
from readyfs.text import escape_text

VISIBLE_PAUSE_S: Final = 0.05
LATE_S: Final = 2.0
"""How much later than asked for a wait may end that waits for the last answer."""
RESTART_PAUSE_S: Final = 5.0
"""The longest pause while there is no daemon."""


@dataclass(slots=True)
class MountWait:
    """One wait; `ends_s` is by `time.monotonic`."""

    place: Place
    source: str | None
    awaited: Wait
    ends_s: float
    waited: str
    _was_answered: bool = False
    _has_told: bool = False
    _trouble: str | None = None
    _looks: Pauses = field(default_factory=Pauses)
    _restarts: Pauses = field(default_factory=lambda: Pauses(RESTART_PAUSE_S))
    _next_look_s: float = 0.0

    def run_bounded(self) -> None:
        """Do what `run` does, and end in time although a mount hangs: what waits for that cannot be interrupted."""
        ended: list[BaseException | None] = []

        def run() -> None:
            try:
                self.run()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                ended.append(error)
            else:
                ended.append(None)

        thread = threading.Thread(target=run, name="readyfs-wait", daemon=True)
        thread.start()
        left_s = self.ends_s - time.monotonic()
        thread.join(left_s + LATE_S if left_s > 0 else ANSWER_TIMEOUT_S)
        error = ended[0] if ended else self.awaited.explain_unmet(self.waited, "the mount does not answer")
        if error is not None:
            raise error

    def run(self) -> None:
        """Return when enough is ready and visible; raise `NotInTimeError`, `FailedError`, `ImpossibleError`.

        Raises `NotRunningError` only if there never was a daemon.
        """
        while True:
            try:
                fingerprint = self._ask()
                if self.awaited.is_over:
                    return
                self._refuse_late()
                self._tell_once()
                self._watch(fingerprint)
            except (LimitError, NoAnswerError) as error:
                self._pause(error)
            except NotRunningError as error:
                if not self._was_answered:
                    raise
                self._pause(error)

    def _ask(self) -> str:
        """Ask about all that is not met, then again about what was; return the fingerprint that is seen."""
        is_due = time.monotonic() >= self._next_look_s
        if is_due:
            self._next_look_s = time.monotonic() + self._looks.next_s()
        fingerprint = ""
        for asked in self.awaited.unmet:
            fingerprint = self._ask_one(asked, is_due) or fingerprint
        if self.awaited.is_over and len(self.awaited.asked) > 1:
            for asked in self.awaited.met:  # what was ready first may be so no more
                fingerprint = self._ask_one(asked, is_due=True) or fingerprint
        return fingerprint

    def _ask_one(self, asked: str, is_due: bool) -> str:
        answer = self.place.client().why(asked, self.source, catalog_only=not is_due)
        if not is_due and self.awaited.wish.judge(answer) is Verdict.MET:
            # Only a whole answer says that its run can be served.
            answer = self.place.client().why(asked, self.source)
        elif not is_due and asked in self.awaited.last and self.awaited.wish.judge(answer) is Verdict.WAITING:
            answer = {**self.awaited.last[asked], "fingerprint": answer["fingerprint"]}  # it knows why
        self._note_answered()
        if self.awaited.note(asked, answer) is Verdict.MET and not self._is_visible(asked, answer.get("path")):
            self.awaited.put_off(asked)
            self._next_look_s = time.monotonic() + VISIBLE_PAUSE_S
        return str(answer.get("fingerprint", ""))

    def _is_visible(self, asked: str, path: object) -> bool:
        """Whether the kernel shows it, so that the next open by its name finds it."""
        assert self.place.mountpoint is not None
        if asked.startswith("/"):
            shown: Path | None = Path(asked)
        else:
            shown = self.place.mountpoint / os.fsdecode(str(path)) if isinstance(path, str) else None
        try:
            return shown is None or bool(shown.stat())
        except OSError:
            return False

    def _watch(self, fingerprint: str) -> None:
        until_s = min(self.ends_s, self._next_look_s)
        timeout_s = min(max(until_s - time.monotonic(), 0.0), MAX_WATCH_S)
        answer = self.place.client().watch(fingerprint, timeout_s)
        if not answer.get("waited"):
            time.sleep(timeout_s)  # too many of this user wait there already

    def _note_answered(self) -> None:
        self._was_answered = True
        if self._trouble is not None:
            click.echo("readyfs: the daemon answers again", err=True)
            self._trouble = None
            self._next_look_s = 0.0
            self._restarts.reset()

    def _tell_once(self) -> None:
        if not self._has_told:
            self._has_told = True
            click.echo(f"readyfs: waiting: {self.awaited.describe_unmet()}", err=True)

    def _pause(self, error: UserError) -> None:
        """Go on waiting without the daemon, and say once why."""
        if not isinstance(error, LimitError) and error.message != self._trouble:
            click.echo(f"readyfs: {escape_text(error.message)}; still waiting", err=True)
            self._trouble = error.message
        self._refuse_late()
        time.sleep(min(self._restarts.next_s(), max(self.ends_s - time.monotonic(), 0.0)))

    def _refuse_late(self) -> None:
        if time.monotonic() >= self.ends_s:
            raise self.awaited.explain_unmet(self.waited, self._trouble)
