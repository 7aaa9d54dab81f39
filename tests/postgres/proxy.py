"""A TCP proxy on the loopback interface that cuts or holds up the connections that go through it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Final, Self

_BLOCK: Final = 65_536


class Proxy:
    """Forwards connections to a port; `port` is where it listens.

    A test may set two things at any time: `target_port` is where new connections go, and `cut_after` how many bytes of
    answers a connection may get before it is reset. `accepted` and `cuts` count. Threads: one that takes connections
    and two for each of them.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_after: int | None = None
        self.accepted = 0
        self.cuts = 0
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads = [threading.Thread(target=self._accept, name="proxy")]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def cut(self) -> None:
        """Reset all connections that are open now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._reset(pair)

    def close(self) -> None:
        """Stop listening, reset what is open, and end all threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _asked(self, client: socket.socket) -> None:
        """Take note that a client said something."""

    def _answered(self, client: socket.socket, data: bytes) -> bytes:
        """Return what a client is given of an answer."""
        return data

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, target, limited in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._forward, args=(pair, source, target, limited), name="proxy")
                self._threads.append(thread)
                thread.start()

    def _forward(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, target: socket.socket, limited: bool
    ) -> None:
        forwarded = 0
        try:
            while data := source.recv(_BLOCK):
                limit = self.cut_after if limited else None
                if limit is not None and forwarded + len(data) > limit:
                    target.sendall(data[: max(0, limit - forwarded)])
                    self.cuts += 1
                    break
                if limited:
                    data = self._answered(target, data)
                else:
                    self._asked(source)
                target.sendall(data)
                forwarded += len(data)
        except OSError:
            pass  # either end is gone, which is the end of both
        self._reset(pair)

    def _reset(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Close both ends with RST, and wake whoever waits for one of them."""
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes a thread that reads, says nothing to the other side
            end.close()
