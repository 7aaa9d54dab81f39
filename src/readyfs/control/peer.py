"""Who is at the other end of a connection, and whether the kernel would let that user into the mount.

A user is whom the kernel names at the moment of connecting (SO_PEERCRED and SO_PEERGROUPS, socket(7)). Nothing that a
client says of itself counts.
"""

from __future__ import annotations

import socket
import stat
import struct
from dataclasses import dataclass
from typing import Final, Protocol

ROOT: Final = 0

_SO_PEERGROUPS: Final = 59
_CREDENTIALS: Final = struct.Struct("iII")
_MOST_BYTES: Final = 1024
"""What Python asks the kernel for at most: 256 groups."""


class Socket(Protocol):
    """A socket that can be asked who is at its other end."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes:
        """Return the value of an option."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A user and the groups that it is in."""

    uid: int
    groups: frozenset[int]


def read_peer(connection: Socket) -> Peer:
    """Return who connected; a user in more than 256 groups counts as in its first alone."""
    _, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:  # ERANGE
        packed = b""
    return Peer(uid, frozenset((gid, *(number for (number,) in struct.iter_unpack("I", packed)))))


@dataclass(frozen=True, slots=True)
class Entrance:
    """The root of the mount as the kernel checks it: its owner, group and mode, and who mounted.

    Without `allow_other` the kernel lets in the user who mounted and nobody else, not even root (mount.fuse(8)).
    """

    uid: int
    gid: int
    mode: int
    allow_other: bool
    mounted_by: int

    def admits(self, peer: Peer) -> bool:
        """Return whether a user may walk into the mount."""
        if not self.allow_other:
            return peer.uid == self.mounted_by
        if peer.uid == ROOT:
            return True
        if peer.uid == self.uid:
            return bool(self.mode & stat.S_IXUSR)
        if self.gid in peer.groups:
            return bool(self.mode & stat.S_IXGRP)
        return bool(self.mode & stat.S_IXOTH)

    def is_operator(self, peer: Peer) -> bool:
        """Return whether a user may do to the pins of others what it may do to its own."""
        return peer.uid in (ROOT, self.mounted_by)
