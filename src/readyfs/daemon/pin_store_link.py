"""How a mount reaches its pin store: each call on a thread of its own kind, with a deadline, and what is wrong with it.

Whatever the store does, nobody waits longer than the deadline, and a mount goes on without it. What is wrong is logged
once, when it begins and when it is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import structlog

from readyfs.daemon.store_thread import StoreBusyError, StoreHangsError, StoreThread
from readyfs.duration import render_duration
from readyfs.errors import PinStoreAwayError, PinStoreBusyError, PinStoreError
from readyfs.pin_store.store import PinStore
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.daemon")

T = TypeVar("T")

WRITE_S: Final = 60.0
"""How long a catalog may take to be written into the store."""
COLLECT_S: Final = 600.0


class PinStoreLink:
    """Asks one store; any thread may call. `timeout_s` is how long a question may take, `write_s` a whole catalog."""

    def __init__(self, store: PinStore, timeout_s: float, write_s: float = WRITE_S) -> None:
        self.store = store
        self.timeout_s = timeout_s
        self.write_s = write_s
        self._asking = StoreThread("pin-store-ask")
        self._writing = StoreThread("pin-store-write")
        self._collecting = StoreThread("pin-store-collect")
        self._lock = threading.Lock()
        self._ask_problem: str | None = None
        self._write_problem: str | None = None

    @property
    def path(self) -> Path:
        """The store's directory."""
        return self.store.directory

    @property
    def shown(self) -> str:
        """The store's directory, for people."""
        return escape_text(os.fsencode(self.path))

    @property
    def problem(self) -> str | None:
        """Why the store cannot be asked or written, None if it can."""
        return self._ask_problem or self._write_problem

    def ask(self, key: object, call: Callable[[], T]) -> T:
        """Return what a question finds, or raise what it raises; raise `PinStoreAwayError` if it takes too long.

        Whoever asks the same, by its `key`, may get the answer to the same call. That too many ask at once is an error
        for those who came last, and says nothing of the store.
        """
        try:
            found = self._run(self._asking, key, call, self.timeout_s)
        except PinStoreBusyError:
            raise
        except PinStoreError as error:
            self._report(asking=error.message)
            raise
        self._report(asking=None)
        return found

    def write(self, call: Callable[[], T], timeout_s: float, undo: Callable[[], None] | None = None) -> T:
        """Do as `ask` with what writes; what comes late is undone."""
        try:
            found = self._run(self._writing, object(), call, timeout_s, undo)
        except PinStoreBusyError:
            raise
        except PinStoreAwayError as error:
            self._report(writing=error.message)
            raise
        self._report(writing=None)
        return found

    def try_again(self) -> None:
        """See whether what was wrong is over; raise `PinStoreError`."""
        if self._write_problem is not None:
            self.write(self.store.check, self.timeout_s)
        if self._ask_problem is not None:
            self.ask("check", self.store.check)

    def collect(self) -> None:
        """Have what nobody needs removed; raise `PinStoreError`."""
        removed = self._run(self._collecting, "collect", self.store.collect, COLLECT_S)
        if removed.views or removed.packs:
            log.info(
                "the pin store was cleared of what nobody needs",
                path=self.shown,
                views=removed.views,
                packs=removed.packs,
                bytes=removed.freed_bytes,
            )

    def _run(
        self,
        thread: StoreThread,
        key: object,
        call: Callable[[], T],
        timeout_s: float,
        undo: Callable[[], None] | None = None,
    ) -> T:
        try:
            return thread.run(key, call, timeout_s, undo)
        except StoreBusyError:
            raise PinStoreBusyError(
                f"too many ask the pin store {self.shown} at once", "ask again in a moment"
            ) from None
        except StoreHangsError:
            raise PinStoreAwayError(
                f"the pin store {self.shown} did not answer within {render_duration(timeout_s)}",
                "see to its storage; it is asked again by itself",
            ) from None

    def _report(self, **found: str | None) -> None:
        with self._lock:
            before = self.problem
            if "asking" in found:
                self._ask_problem = found["asking"]
            if "writing" in found:
                self._write_problem = found["writing"]
            now = self.problem
            if now is not None and before is None:
                log.warning("the pin store cannot be used", path=self.shown, error=now)
            elif now is None and before is not None:
                log.info("the pin store can be used again", path=self.shown)
