"""The compiled loop in the shadow of Python: asked the same, after each answer, and never heard by a client.

Whatever it answers must be what Python answers, byte for byte; only handles have numbers of their own, so each OPEN is
made twice. What it leaves to Python is not compared. Used by workers, on any thread that may wait for the raw store.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

import structlog

from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.listings import EndTable
from readyfs.fuse.direct.native_loop import NativeLoop
from readyfs.fuse.direct.operations import Answer
from readyfs.fuse.direct.protocol import HANDLE, IN_HEADER, OUT_HEADER, RELEASE_IN, Opcode, reply, reply_error
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

_WITH_HANDLE: Final = (Opcode.READ, Opcode.RELEASE)


class Shadow:
    """Compares a loop's answers; `mismatches` counts by operation those that differ."""

    def __init__(self, loop: NativeLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._handles: dict[bytes, bytes] = {}
        self.mismatches: Counter[str] = Counter()

    def compare(self, request: Request, answer: Answer | int) -> None:
        """Ask the loop what a request was answered with that the client is about to get."""
        if request.opcode in _WITH_HANDLE:
            handle = self._handle_of(request)
            if handle is None:
                return
            asked = _ask(request, handle + request.body[HANDLE.size :])
        else:
            asked = _ask(request, request.body)
        found = self._loop.answer(asked)
        if found is None:
            return
        if isinstance(answer, int):
            wanted = reply_error(request.unique, answer)
        else:
            wanted = reply(request.unique, bytes(answer.body))
        if request.opcode == Opcode.OPEN and len(found) == len(wanted) > OUT_HEADER.size:
            found = self._note_opened(found, wanted)
        if found != wanted:
            self._note_mismatch(request)

    def undo(self, request: Request, answer: Answer) -> None:
        """Follow what nobody received: an OPEN is taken back, and a RELEASE is done all the same."""
        if request.opcode == Opcode.OPEN:
            self._release(request, bytes(answer.body)[: HANDLE.size])
        elif request.opcode == Opcode.RELEASE:
            self._release(request, request.body[: HANDLE.size])

    def _handle_of(self, request: Request) -> bytes | None:
        number = request.body[: HANDLE.size]
        with self._lock:
            return self._handles.pop(number, None) if request.opcode == Opcode.RELEASE else self._handles.get(number)

    def _note_opened(self, found: bytes, wanted: bytes) -> bytes:
        """Remember the handle that the loop gave for Python's, and return its answer with that one."""
        end = OUT_HEADER.size + HANDLE.size
        number = wanted[OUT_HEADER.size : end]
        with self._lock:
            self._handles[number] = found[OUT_HEADER.size : end]
        return found[: OUT_HEADER.size] + number + found[end:]

    def _release(self, request: Request, number: bytes) -> None:
        with self._lock:
            handle = self._handles.pop(number, None)
        if handle is not None:
            release = Request(request.unique, Opcode.RELEASE, "release", request.inode, b"")
            self._loop.answer(_ask(release, handle + bytes(RELEASE_IN.size - HANDLE.size)))

    def _note_mismatch(self, request: Request) -> None:
        with self._lock:
            self.mismatches[request.operation] += 1
            is_first = self.mismatches[request.operation] == 1
        if is_first:
            log.error(
                "the native loop answers otherwise than Python", operation=request.operation, subject=[request.inode]
            )


class ShadowEnds(EndTable):
    """Ends of listings, of which the loop learns, too."""

    def __init__(self, loop: NativeLoop) -> None:
        super().__init__()
        self._loop = loop

    def note_end(self, inode: InodeNumber, position: int) -> None:
        """See `Ends`."""
        super().note_end(inode, position)
        self._loop.note_end(inode, position)


def _ask(request: Request, body: bytes) -> bytes:
    length = IN_HEADER.size + len(body)
    return IN_HEADER.pack(length, request.opcode, request.unique, request.inode, 0, 0, 0, 0, 0) + body
