"""Processes that use one store at once, each of which dies or waits at any of its system calls.

They are played in this process: the calls of `readyfs.pin_store.files` go through what stands for `os` there. Whoever
is dead makes no call any more, so that nothing is tidied up, as after `kill -9`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from readyfs.pin_store import files

COUNTED: Final = frozenset(
    "open stat listdir mkdir rename link unlink rmdir utime fsync fchmod fchown write".split(),
)


class DeadError(BaseException):
    """The process that made this call is dead."""


class Process:
    """Stands for `os`; at one of its calls it dies, or lets others run first."""

    def __init__(self, at: int | None = None, meanwhile: Callable[[], object] | None = None) -> None:
        self.calls = 0
        self.is_dead = False
        self._at = at
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in COUNTED:
            return real

        def call(*arguments: Any, **how: Any) -> Any:
            self._count()
            # Nothing here outlives a machine, and a disk would be waited for.
            return None if name == "fsync" else real(*arguments, **how)

        return call

    def run(self, action: Callable[[], object]) -> bool:
        """Have this process do something; return False if it died before it was done."""
        with suppress(DeadError), self._playing():
            action()
            return True
        return False

    def _count(self) -> None:
        if self.is_dead:
            raise DeadError
        self.calls += 1
        if self.calls - 1 == self._at:
            if self._meanwhile is None:
                self.is_dead = True
                raise DeadError
            self._meanwhile()

    @contextmanager
    def _playing(self) -> Iterator[None]:
        before = vars(files)["os"]
        vars(files)["os"] = self
        try:
            yield
        finally:
            vars(files)["os"] = before
