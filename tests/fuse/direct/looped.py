"""The compiled loop over a socket pair in place of the device, a table of its own, and a raw root that can hang."""

from __future__ import annotations

import errno
import os
import queue
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from readyfs import native
from readyfs.fuse.direct.protocol import (
    ATTR_OUT,
    IN_HEADER,
    MIN_READ_BUFFER,
    OPEN_IN,
    OPEN_OUT,
    OUT_HEADER,
    READ_IN,
    RELEASE_IN,
    Buffer,
    Opcode,
)
from readyfs.metrics.durations import REQUEST_BOUNDS_NS
from readyfs.raw.local import file_number

needs_module: Final = pytest.mark.skipif(native.module is None, reason=f"no compiled module: {native.obstacle}")
INODE: Final = 77
SERVED: Final = 1 | 4
"""The state of a regular file that the loop may open: see `RawNodes`."""
ALL_SIZES: Final = 2**63 - 1
PATIENCE_S: Final = 10.0


class Looped:
    """A loop, the kernel's end of its connection, and what it returned to Python; files by inode in `rows`."""

    def __init__(self, root: Path, max_files: int = 100, passed_from: int = ALL_SIZES, pushed_below: int = 0) -> None:
        assert native.module is not None
        self.root = root
        self.rows: Any = native.module.Rows(5, 2)
        self.kernel, self._device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.loop: Any = native.module.Loop(
            self._device.fileno(),
            self.rows,
            os.fsencode(root),
            bytes(ATTR_OUT.size),
            max_files,
            REQUEST_BOUNDS_NS,
            passed_from,
            pushed_below,
        )
        self.loop.allow_opens(True)
        self.received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.thread_id = 0
        self._uniques = count(2, 2)
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def start(self) -> None:
        """Receive on a thread of its own, and give Python what is its own by `received`."""
        self._thread.start()

    def _receive(self) -> None:
        self.thread_id = threading.get_native_id()
        while True:
            try:
                received = self.loop.receive()
            except ConnectionResetError:  # the kernel's end was closed before it took every answer
                received = None
            self.received.put(received)
            if received is None:
                return

    def break_answers(self) -> None:
        """Have every answer refused from now on."""
        self._device.shutdown(socket.SHUT_WR)

    def end_connection(self) -> None:
        """Hang up, as the kernel does after an unmount."""
        self.kernel.close()

    def end(self) -> None:
        """Hang up, and see the thread of `start` end."""
        self.end_connection()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()
        self.loop.end_watch()
        self._device.close()

    def add_file(self, place: str, name: str, inode: int = INODE, state: int = SERVED, shown_ns: int = 1) -> None:
        """Add the row of a file that is there."""
        seen = (self.root / place / name).stat()
        integers = (seen.st_size, seen.st_mtime_ns, file_number(seen.st_dev, seen.st_ino), shown_ns, state)
        assert self.rows.add(inode, integers, (place.encode(), name.encode()))

    def send(self, *answer: Buffer) -> bool:
        """Send an answer as `Channel.send` does."""
        try:
            self._device.send(b"".join(answer))
        except (BrokenPipeError, ConnectionResetError):  # the kernel's end was closed
            return False
        return True

    # ---- the kernel's side --------------------------------------------------------------------------------------

    def request(self, opcode: int, body: bytes = b"", inode: int = INODE) -> tuple[int, bytes]:
        """Return a request, and its unique id first."""
        unique = next(self._uniques)
        return unique, IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, inode, 0, 0, 0, 0, 0) + body

    def put(self, opcode: int, body: bytes = b"", inode: int = INODE) -> int:
        """Send a request; return its unique id."""
        unique, data = self.request(opcode, body, inode)
        self.kernel.send(data)
        return unique

    def open(self, inode: int = INODE) -> int:
        """Send an OPEN."""
        return self.put(Opcode.OPEN, OPEN_IN.pack(os.O_RDONLY, 0), inode)

    def read(self, handle: int, size: int, offset: int = 0) -> int:
        """Send a READ."""
        return self.put(Opcode.READ, READ_IN.pack(handle, offset, size, 0, 0, 0, 0))

    def release(self, handle: int) -> int:
        """Send a RELEASE."""
        return self.put(Opcode.RELEASE, RELEASE_IN.pack(handle, 0, 0, 0))

    def answer(self) -> tuple[int, int, bytes]:
        """Return the next answer: its unique id, its errno and its body."""
        assert select.select([self.kernel], [], [], PATIENCE_S)[0], "there is no answer"
        data = self.kernel.recv(1 << 18)
        length, error, unique = OUT_HEADER.unpack_from(data)
        assert length == len(data)
        return unique, -error, data[OUT_HEADER.size :]

    def has_answer(self) -> bool:
        """Whether there is an answer by now."""
        return bool(select.select([self.kernel], [], [], 0)[0])

    def opened(self, inode: int = INODE) -> int:
        """Open a file; return its handle."""
        unique = self.open(inode)
        answered, error, body = self.answer()
        assert (answered, error) == (unique, 0)
        return int(OPEN_OUT.unpack(body)[0])

    def next_received(self) -> bytes | None:
        """Return what the loop gives Python next."""
        return self.received.get(timeout=PATIENCE_S)

    def assert_python_gets(self, unique: int) -> None:
        """Check that a request is Python's, whole, and that nobody answered it."""
        data = self.next_received()
        assert data is not None
        assert len(data) <= MIN_READ_BUFFER
        assert IN_HEADER.unpack_from(data)[2] == unique
        assert not self.has_answer()

    def assert_answers(self) -> None:
        """Check that the loop is at its seat and answers."""
        unique = self.put(Opcode.IOCTL)
        assert self.answer() == (unique, errno.ENOTTY, b"")


@contextmanager
def looped(root: Path, max_files: int = 100, passed_from: int = ALL_SIZES, pushed_below: int = 0) -> Iterator[Looped]:
    """Run a loop for the body."""
    one = Looped(root, max_files, passed_from, pushed_below)
    one.start()
    try:
        yield one
    finally:
        one.end()
