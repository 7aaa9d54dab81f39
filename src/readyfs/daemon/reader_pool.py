"""Readers of the state for questions: each is used by one thread at a time, and remembers what it saw of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from readyfs.state.reader import StateReader


class ReaderPool:
    """Lends readers to threads; as many are made as are in use at once."""

    def __init__(self, open_reader: Callable[[], StateReader]) -> None:
        self._open_reader = open_reader
        self._idle: list[StateReader] = []

    @contextmanager
    def borrowed(self) -> Iterator[StateReader]:
        """Lend a reader; raise `StateError` if there is none and none can be opened."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._open_reader()
        try:
            yield reader
        finally:
            self._idle.append(reader)
