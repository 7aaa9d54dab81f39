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
from readyfs.consumer.wait import Pauses, Wait
from readyfs.control.public_client import ANSWER_TIMEOUT_S, WAIT_S
from readyfs.control.question_requests import MAX_WATCH_S
from readyfs.errors import LimitError, NoAnswerError, NotRunningError, UserError
from readyfs.text import escape_text

VISIBLE_PAUSE_S: Final = 0.05
MAX_VISIBLE_PAUSE_S: Final = 2.0
"""The first and the longest pause until what the catalog shows is looked for in the mount again."""
LATE_S: Final = 2.0
"""How much later than asked for a wait may end that waits for the last answer."""
RESTART_PAUSE_S: Final = 5.0
"""The longest pause while there is no daemon."""


@dataclass(slots=True)
class MountWait:
    """One wait; `ends_s` is by `time.monotonic`.

    Each address is asked about by itself, at the rate that a user has. So many may have to wait for their turn: `_due`
    keeps which were not asked yet, and goes on there. What the catalog shows of all of them costs one question.
    """

    place: Place
    source: str | None
    awaited: Wait
    ends_s: float
    waited: str
    _was_answered: bool = False
    _has_told: bool = False
    _trouble: str | None = None
    _limit: str | None = None
    _looks: Pauses = field(default_factory=Pauses)
    _restarts: Pauses = field(default_factory=lambda: Pauses(RESTART_PAUSE_S))
    _next_look_s: float = 0.0
    _next_seen_s: float = VISIBLE_PAUSE_S
    _due: list[str] = field(default_factory=list)
    _fingerprint: str = ""
    _began_s: float = 0.0
    _over_s: float | None = None
    _shown: dict[str, object] = field(default_factory=dict)
    _looked_s: dict[str, float] = field(default_factory=dict)

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
        error = ended[0] if ended else self._explain("the mount does not answer")
        if error is not None:
            raise error

    def run(self) -> None:
        """Return when enough is ready and visible; raise `NotInTimeError`, `FailedError`, `ImpossibleError`.

        Raises `NotRunningError` only if there never was a daemon.
        """
        while True:
            try:
                self._ask()
                if not self.awaited.is_over:
                    self._over_s = None
                    self.awaited.unseen = set()
                    self._refuse_late()
                    self._tell_once()
                    self._watch()
                elif self._is_confirmed():
                    return
                else:
                    self._refuse_late()
                    self._pause_unseen()
            except LimitError as error:
                self._limit = f"{error.message} of one user"
                self._refuse_late()
                time.sleep(min(WAIT_S, max(self.ends_s - time.monotonic(), 0.0)))
            except NoAnswerError as error:
                self._pause(error)
            except NotRunningError as error:
                if not self._was_answered:
                    raise
                self._pause(error)

    def _ask(self) -> None:
        """Ask about what is not met, as far as something may have changed, or if it is time to look at all of it."""
        if not self._due:
            self._began_s = time.monotonic()
            unmet = self.awaited.unmet
            if not unmet or (self._over_s is not None and self.awaited.is_over):
                return
            self._fingerprint, shown = self.place.client().shown(unmet, self.source)
            now = dict(zip(unmet, shown, strict=True)) if shown is not None else {}
            changed = [one for one in now if now[one] is not None and now[one] != self._shown.get(one)]
            self._shown |= now
            self._due = changed
            if self._began_s >= self._next_look_s:
                self._next_look_s = self._began_s + self._looks.next_s()
                self._due = unmet
        while self._due:
            self._ask_one(self._due[0])
            del self._due[0]
        self._limit = None

    def _ask_one(self, asked: str) -> None:
        begun_s = time.monotonic()
        answer = self.place.client().why(asked, self.source)
        self._note_answered()
        self.awaited.note(asked, answer)
        self._looked_s[asked] = begun_s

    def _is_confirmed(self) -> bool:
        """Whether what is met is so at one moment, and the kernel shows it.

        What was looked at before the last of it was met is looked at again. Then one catalog has to show all of it, and
        with the runs that were looked at.
        """
        if self._over_s is None:
            self._over_s = self._began_s
        for asked in self.awaited.met:
            if self._looked_s[asked] < self._over_s:
                self._ask_one(asked)
        if not self.awaited.is_over:
            return False
        self._limit = None
        met = self.awaited.met
        self._fingerprint, shown = self.place.client().shown(met, self.source)
        self.awaited.unseen = set(met)
        for asked, found in zip(met, shown or (), strict=shown is not None):
            answer = self.awaited.last[asked]
            if found != [answer["run_id"], answer["updated_at"]]:
                self._looked_s[asked] = -1.0  # it is something else by now
            elif self._is_visible(asked, answer.get("path")):
                self.awaited.unseen.discard(asked)
        return len(met) - len(self.awaited.unseen) >= self.awaited.needed

    def _is_visible(self, asked: str, path: object) -> bool:
        """Whether the kernel shows it, so that the next open by its name finds it."""
        assert self.place.mountpoint is not None
        if asked.startswith("/"):
            shown = Path(asked)
        elif isinstance(path, str):
            shown = self.place.mountpoint / os.fsdecode(path)
        else:
            return False
        try:
            return bool(shown.stat())
        except OSError:
            return False

    def _watch(self) -> None:
        until_s = min(self.ends_s, self._next_look_s)
        timeout_s = min(max(until_s - time.monotonic(), 0.0), MAX_WATCH_S)
        answer = self.place.client().watch(self._fingerprint, timeout_s)
        if not answer.get("waited"):
            time.sleep(timeout_s)  # too many of this user wait there already

    def _pause_unseen(self) -> None:
        time.sleep(self._next_seen_s)
        self._next_seen_s = min(2 * self._next_seen_s, MAX_VISIBLE_PAUSE_S)

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
        if error.message != self._trouble:
            click.echo(f"readyfs: {escape_text(error.message)}; still waiting", err=True)
            self._trouble = error.message
        self._over_s = None
        self._refuse_late()
        time.sleep(min(self._restarts.next_s(), max(self.ends_s - time.monotonic(), 0.0)))

    def _refuse_late(self) -> None:
        if time.monotonic() >= self.ends_s:
            raise self._explain(None)

    def _explain(self, trouble: str | None) -> UserError:
        return self.awaited.explain_unmet(self.waited, trouble or self._trouble or self._limit)
