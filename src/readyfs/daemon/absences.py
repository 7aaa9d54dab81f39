"""What the pin store does not have for this mount: remembered for a moment, so that asking again costs it nothing.

Why a view is not shown is logged once for each.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from readyfs.errors import BrokenRunError

log = structlog.get_logger("readyfs.daemon")

T = TypeVar("T")

REMEMBER_S: Final = 2.0
"""For so long it is remembered that a name is not there, or what it stands for."""
REMEMBERED: Final = 1024
"""How many names are remembered."""
_EVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Absence:
    """That a view is not there: why one that is in the store is not shown, and whether it has just expired.

    One that is `final` never changes, and to find it out once more would cost as much again.
    """

    why: str | None = None
    expired: bool = False
    final: bool = False


class Absences:
    """Remembers views that are not there, and what names of pins stand for. Any thread may call."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._views: OrderedDict[str, tuple[float, Absence]] = OrderedDict()
        self._names: OrderedDict[str, tuple[float, str | None]] = OrderedDict()
        self._logged: OrderedDict[str, None] = OrderedDict()

    def note(self, fingerprint: str, absence: Absence, path: str) -> None:
        """Remember that a view is not there."""
        until_s = _EVER if absence.final else self._now_s() + REMEMBER_S
        with self._lock:
            _remember(self._views, fingerprint, (until_s, absence))
            if absence.why is None or fingerprint in self._logged:
                return
            _remember(self._logged, fingerprint, None)
        log.warning("a view of the pin store is not shown here", fingerprint=fingerprint, path=path, reason=absence.why)

    def forget(self, fingerprint: str) -> None:
        """Have a view not absent any more."""
        with self._lock:
            self._views.pop(fingerprint, None)

    def covers(self, fingerprint: str) -> bool:
        """Whether it is known that a view is not there; raise `BrokenRunError` if it has just expired."""
        until_s, absence = self._views.get(fingerprint, (0.0, _NONE))
        if self._now_s() >= until_s:
            return False
        if absence.expired:
            raise BrokenRunError("the view has expired")
        return True

    def why(self, fingerprint: str) -> str | None:
        """Return why a view that is in the store was not shown when somebody looked last, None if that is not so."""
        return self._views.get(fingerprint, (0.0, _NONE))[1].why

    def note_name(self, name: str, fingerprint: str | None) -> None:
        """Remember what a name stands for."""
        with self._lock:
            _remember(self._names, name, (self._now_s() + REMEMBER_S, fingerprint))

    def find_name(self, name: str) -> tuple[bool, str | None]:
        """Return whether it is known what a name stands for, and what that is."""
        until_s, fingerprint = self._names.get(name, (0.0, None))
        return self._now_s() < until_s, fingerprint


_NONE: Final = Absence()


def _remember(memory: OrderedDict[str, T], name: str, found: T) -> None:
    memory[name] = found
    memory.move_to_end(name)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
