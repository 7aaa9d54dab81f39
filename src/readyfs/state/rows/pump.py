"""Reading ahead on a thread, so that a transaction does not last as long as somebody takes to read an answer.

A pager may stop the program for hours. So only for a while is reading put off until what was read is used; then the
rest is read at once, and kept small. Meanwhile both work side by side, since a database works without the interpreter.
"""

from __future__ import annotations

import marshal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

Batch: TypeAlias = list[Any]
"""Values of built-in types alone, as far as `marshal` is to keep them small."""
Put: TypeAlias = Callable[[Batch], None]

PATIENCE_S: Final = 2.0
"""The usual driver of a producer waits 5 s for a lock."""
AHEAD: Final = 8
"""So many batches are read ahead as long as there is time."""
_SMALL: Final = 1
"""zlib's quickest level."""


class StoppedError(Exception):
    """Nobody wants the rest."""


def pumped(
    read: Callable[[Put], None], patience_s: float = PATIENCE_S, now_s: Callable[[], float] = time.monotonic
) -> Iterator[Batch]:
    """Yield the batches that `read` puts, which runs on a thread; raise what it raises, after what it put before."""
    pump = _Pump(read, patience_s, now_s)
    thread = threading.Thread(target=pump.run, name="readyfs-read", daemon=True)
    thread.start()
    try:
        while (batch := pump.take()) is not None:
            yield batch
    finally:
        pump.stop()
        thread.join()


class _Pump:
    def __init__(self, read: Callable[[Put], None], patience_s: float, now_s: Callable[[], float]) -> None:
        self._read = read
        self._now_s = now_s
        self._deadline_s = now_s() + patience_s
        self._condition = threading.Condition()
        self._batches: deque[Batch | bytes] = deque()
        self._is_over = self._is_stopped = False
        self._error: BaseException | None = None

    def run(self) -> None:
        error = None
        try:
            self._read(self._put)
        except StoppedError:
            pass
        except BaseException as raised:  # noqa: BLE001 - raised again where the batches are taken
            error = raised
        with self._condition:
            self._is_over, self._error = True, error
            self._condition.notify_all()

    def take(self) -> Batch | None:
        with self._condition:
            self._condition.wait_for(lambda: self._batches or self._is_over)
            if not self._batches:
                if self._error is not None:
                    raise self._error
                return None
            batch = self._batches.popleft()
            self._condition.notify_all()
        # Only what `_put` wrote in this process is read back.
        found: Batch = marshal.loads(zlib.decompress(batch)) if isinstance(batch, bytes) else batch
        return found

    def stop(self) -> None:
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def _put(self, batch: Batch) -> None:
        with self._condition:
            while len(self._batches) >= AHEAD and not self._is_stopped:
                left_s = self._deadline_s - self._now_s()
                if left_s <= 0:
                    break
                self._condition.wait(left_s)
            if self._is_stopped:
                raise StoppedError
            is_late = len(self._batches) >= AHEAD
        kept = _pack(batch) if is_late else batch
        with self._condition:
            self._batches.append(kept)
            self._condition.notify_all()


def _pack(batch: Batch) -> Batch | bytes:
    try:
        return zlib.compress(marshal.dumps(batch), _SMALL)
    except ValueError:
        return batch  # a cell of a driver's own type
