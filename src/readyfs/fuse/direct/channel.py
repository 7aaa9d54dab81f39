"""The connection to the kernel: the device's descriptor, and what is read from it and written to it."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Sequence
from typing import Final

import structlog

from readyfs.fuse.direct.mounting import open_mounted
from readyfs.fuse.direct.negotiation import Offer, accept_offer, parse_offer
from readyfs.fuse.direct.protocol import (
    BACKING_ID,
    BACKING_MAP,
    IOC_BACKING_CLOSE,
    IOC_BACKING_OPEN,
    MIN_READ_BUFFER,
    MINOR_VERSION,
    MINOR_WITH_EPOCH,
    NOTIFY_INVAL_ENTRY_OUT,
    NOTIFY_INVAL_INODE_OUT,
    NOTIFY_STORE_OUT,
    Buffer,
    Notify,
    notification,
)
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

POLL_S: Final = 60e-6
"""How long a worker polls for the next request before it sleeps: waking a processor costs more than a request."""


class Channel:
    """One FUSE connection. `send` and the notifications may be called from any thread."""

    def __init__(self) -> None:
        self._fd = -1
        self._poll = select.poll()
        self._minor = 0

    def mount(self, mountpoint: str, options: Sequence[str], *, privileged: bool) -> Offer:
        """Mount and receive the kernel's INIT; `accept` answers it.

        Raises `FuseError` if the mount is refused, and `KernelLacksError` if the kernel offers too little.
        """
        self._fd = open_mounted(mountpoint, options, privileged=privileged)
        return parse_offer(os.read(self._fd, MIN_READ_BUFFER))

    def accept(self, offer: Offer, stack_depth: int) -> None:
        """Answer INIT: from now on the kernel sends requests. See `accept_offer` for the depth."""
        os.write(self._fd, accept_offer(offer, stack_depth))
        self._minor = min(offer.minor, MINOR_VERSION)
        self._poll.register(self._fd, select.POLLIN)
        os.set_blocking(self._fd, False)

    def receive(self) -> bytes | None:
        """Wait for a request and return it; None once the mount is gone. One thread at a time."""
        until_s = time.monotonic() + POLL_S
        while True:
            try:
                return os.read(self._fd, MIN_READ_BUFFER)
            except BlockingIOError:
                if time.monotonic() > until_s:
                    self._poll.poll()
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return None
                if error.errno != errno.ENOENT:  # the request was withdrawn before it was read
                    raise

    def send(self, *answer: Buffer) -> bool:
        """Send an answer; return whether the kernel took it: it does not if the client is gone."""
        try:
            os.writev(self._fd, answer)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ECONNABORTED):
                log.error("the kernel refused an answer", error=error.strerror)
            return False
        return True

    # ---- notifications (see `readyfs.fuse.notifications.Notifier`) ---------------------------------------------

    def invalidate_entry(self, parent: InodeNumber, name: bytes) -> None:
        """FUSE_NOTIFY_INVAL_ENTRY."""
        body = NOTIFY_INVAL_ENTRY_OUT.pack(parent, len(name), 0) + name + b"\0"
        os.write(self._fd, notification(Notify.INVAL_ENTRY, body))

    def invalidate_inode(self, inode: InodeNumber, *, attributes_only: bool) -> None:
        """FUSE_NOTIFY_INVAL_INODE."""
        body = NOTIFY_INVAL_INODE_OUT.pack(inode, -1 if attributes_only else 0, 0)
        os.write(self._fd, notification(Notify.INVAL_INODE, body))

    def push(self, inode: InodeNumber, data: bytes) -> None:
        """FUSE_NOTIFY_STORE of a whole file; waits while somebody reads a page of it."""
        body = NOTIFY_STORE_OUT.pack(inode, 0, len(data), 0)
        os.writev(self._fd, (notification(Notify.STORE, body, len(data)), data))

    def expire_names(self) -> bool:
        """FUSE_NOTIFY_INC_EPOCH, where the kernel has it; return whether it was sent."""
        if self._minor < MINOR_WITH_EPOCH:
            return False
        os.write(self._fd, notification(Notify.INC_EPOCH))
        return True

    # ---- passthrough --------------------------------------------------------------------------------------------

    def open_backing(self, fd: int) -> int:
        """Register an open raw file for passthrough; return its id. Raises `OSError` if the kernel refuses."""
        # Only with a buffer that may be changed does the call return the kernel's number.
        return int(fcntl.ioctl(self._fd, IOC_BACKING_OPEN, bytearray(BACKING_MAP.pack(fd, 0, 0))))

    def close_backing(self, backing_id: int) -> None:
        """Let go of a registered file; opens that use it go on."""
        fcntl.ioctl(self._fd, IOC_BACKING_CLOSE, BACKING_ID.pack(backing_id))

    def lend(self) -> int:
        """Return the device's descriptor, whose reads block from now on, to one who receives in place of `receive`."""
        os.set_blocking(self._fd, True)
        return self._fd

    @property
    def is_open(self) -> bool:
        """Whether there is a mount, or was until `close`."""
        return self._fd >= 0

    def close(self) -> None:
        """Close the descriptor. No thread may be in `receive` any more, or its clients would wait for ever."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
