"""Where sockets stand: the lock of their directory, and whether anybody listens at one.

Apart from `listening`, whose log the asking ends do without.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Hold the directory's lock (flock(2)), which covers the few system calls of replacing or removing a socket."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_listening(path: Path) -> bool:
    """Return whether anybody accepts connections at a socket's path, be it only to let them wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    # EAGAIN: the queue is full, so a process is behind it, if a stuck one.
    return code in (0, errno.EAGAIN, errno.EINPROGRESS)
