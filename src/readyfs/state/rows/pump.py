"""Reading ahead on a thread, so that a transaction does not last as long as somebody takes to read an answer.

A pager may stop the program for hours. So reading is put off only while what was read is used, and for a while; then
the rest is read at once, and kept small. Both work side by side, since a database works without the interpreter.
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

PATIENCE_S: Final = 4.0
"""The usual driver of a producer waits 5 s for a lock."""
STALL_S: Final = 1.0
"""Who takes nothing for so long has stopped reading."""
ROOM: Final = 32 << 20
"""So many bytes that were read ahead are kept as they are."""
AHEAD: Final = 8
"""So many batches are read ahead as long as there is time."""
_AS_IT_IS: Final = b"="
_COMPRESSED: Final = b"z"
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
        self._taken_s = now_s()
        self._room = ROOM
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
            self._taken_s = self._now_s()
            self._condition.notify_all()
        return _unpack(batch)

    def stop(self) -> None:
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def _put(self, batch: Batch) -> None:
        with self._condition:
            while len(self._batches) >= AHEAD and not self._is_stopped:
                left_s = min(self._deadline_s, self._taken_s + STALL_S) - self._now_s()
                if left_s <= 0:
                    break
                self._condition.wait(left_s)
            if self._is_stopped:
                raise StoppedError
            is_late = len(self._batches) >= AHEAD
        kept = self._pack(batch) if is_late else batch
        with self._condition:
            self._batches.append(kept)
            self._condition.notify_all()

    def _pack(self, batch: Batch) -> Batch | bytes:
        """Return a batch in less room: first without its objects, and once much is kept, compressed."""
        try:
            packed = marshal.dumps(batch)
        except ValueError:
            return batch  # a cell of a driver's own type
        if self._room > 0:
            self._room -= len(packed)
            return _AS_IT_IS + packed
        return _COMPRESSED + zlib.compress(packed, _SMALL)


def _unpack(batch: Batch | bytes) -> Batch:
    if not isinstance(batch, bytes):
        return batch
    packed = batch[1:] if batch.startswith(_AS_IT_IS) else zlib.decompress(batch[1:])
    found: Batch = marshal.loads(packed)  # only what this process wrote is read back
    return found
