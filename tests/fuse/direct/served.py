"""Workers over a channel that holds what a kernel might send, well-formed or not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import cast

from readyfs.errors import WouldBlockError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.dispatch import Dispatch
from readyfs.fuse.direct.in_flight import InFlight, Request
from readyfs.fuse.direct.operations import Answer, Handler, Operations
from readyfs.fuse.direct.protocol import IN_HEADER, OUT_HEADER, Buffer, Opcode
from readyfs.fuse.direct.workers import Workers
from tests.mount.daemon import wait_until


class FakeChannel:
    """Gives what was put into it, and keeps the answers as errno and body by unique id."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.answers: dict[int, tuple[int, bytes]] = {}
        self.clients_are_gone = False

    def receive(self) -> bytes | None:
        return self.messages.get()

    def send(self, *answer: Buffer) -> bool:
        data = b"".join(answer)
        length, error, unique = OUT_HEADER.unpack_from(data)
        assert length == len(data)
        assert unique not in self.answers, "answered twice"
        self.answers[unique] = (-error, data[OUT_HEADER.size :])
        return not self.clients_are_gone

    def put(self, opcode: int, unique: int, body: bytes = b"name\0", length: int | None = None) -> None:
        size = IN_HEADER.size + len(body) if length is None else length
        self.messages.put(IN_HEADER.pack(size, opcode, unique, 1, 0, 0, 0, 0, 0) + body)

    def answer(self, unique: int) -> tuple[int, bytes]:
        wait_until(lambda: unique in self.answers, f"request {unique} is answered")
        return self.answers[unique]


class FakeOperations:
    """Handlers that a test gives, the inodes below which all is known to wait, and what was forgotten."""

    def __init__(self) -> None:
        self.handlers: dict[int, tuple[str, Handler]] = {Opcode.STATFS: ("statfs", lambda *_: Answer(b"well"))}
        self.forgotten: list[bytes] = []
        self.waiting: set[int] = set()

    def must_wait(self, request: Request) -> bool:
        return request.inode in self.waiting

    def forget(self, inode: int, body: bytes) -> None:
        self.forgotten.append(body)

    def batch_forget(self, body: bytes) -> None:
        self.forgotten.append(body)


class Served:
    """Workers over the fakes; `now_s` is what their deadlines go by."""

    def __init__(self, raw_threads: int = 2) -> None:
        self.channel, self.operations = FakeChannel(), FakeOperations()
        self.now_s = 0.0
        self.in_flight = InFlight(60.0, lambda: self.now_s)
        self.ended = threading.Event()
        channel = cast(Channel, self.channel)
        self.dispatch = Dispatch(channel, cast(Operations, self.operations), self.in_flight)
        self.workers = Workers(channel, self.dispatch, raw_threads, self.ended.set)
        self.workers.start()

    def handle(self, handler: Callable[[Request], Answer], *, waits: bool = False) -> None:
        """Have LOOKUP handled so; by a worker that may wait for the raw store if asked."""

        def handle(request: Request, may_block: bool) -> Answer:
            if waits and not may_block:
                raise WouldBlockError
            return handler(request)

        self.operations.handlers[Opcode.LOOKUP] = ("lookup", handle)

    def assert_serves(self) -> None:
        """Check that a further request is answered."""
        self.channel.put(Opcode.STATFS, 10_002)
        assert self.channel.answer(10_002) == (0, b"well")

    def end(self) -> None:
        self.channel.messages.put(None)
        assert self.ended.wait(10)
        wait_until(lambda: self.workers.has_ended, "every thread has ended")
