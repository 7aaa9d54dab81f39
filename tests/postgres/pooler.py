"""A pooler in transaction mode, as far as a client can tell: between its transactions nothing reaches it."""

from __future__ import annotations

import socket
import struct

from tests.postgres.proxy import Proxy


class TransactionPooler(Proxy):
    """Keeps what the server says while a client is outside a transaction: its notifications, for example.

    A real one (PgBouncer's `pool_mode = transaction`) has given the session to somebody else by then. With `is_passing`
    it is one in session mode.
    """

    is_passing = False

    def __init__(self, target_port: int) -> None:
        self._received: dict[socket.socket, bytes] = {}
        self._idle: set[socket.socket] = set()
        super().__init__(target_port)

    def _asked(self, client: socket.socket) -> None:
        self._idle.discard(client)

    def _answered(self, client: socket.socket, data: bytes) -> bytes:
        if client not in self._received and data == b"N":
            return data  # the server's answer to whether it speaks TLS
        data, passed = self._received.get(client, b"") + data, b""
        while len(data) >= 5 and len(data) > (size := struct.unpack_from("!I", data, 1)[0]):
            message, data = data[: size + 1], data[size + 1 :]
            if not (message[:1] == b"A" and client in self._idle and not self.is_passing):
                passed += message
            if message[:1] == b"Z" and message[5:] == b"I":
                self._idle.add(client)
        self._received[client] = data
        return passed
