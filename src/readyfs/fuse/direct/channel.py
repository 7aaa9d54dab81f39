"""The connection to the kernel: the device's descriptor, the INIT handshake, requests, answers and notifications."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from readyfs.fuse.direct.mounting import open_mounted
from readyfs.fuse.direct.protocol import (
    BACKING_ID,
    BACKING_MAP,
    IN_HEADER,
    INIT_IN,
    INIT_OUT,
    IOC_BACKING_CLOSE,
    IOC_BACKING_OPEN,
    KERNEL_VERSION,
    MIN_READ_BUFFER,
    MINOR_VERSION,
    MINOR_WITH_EPOCH,
    NOTIFY_INVAL_ENTRY_OUT,
    NOTIFY_INVAL_INODE_OUT,
    Buffer,
    InitFlag,
    InitIn,
    Notify,
    Opcode,
    notification,
    reply,
)
from readyfs.fuse.engine import KernelLacksError
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

NEEDED: Final = InitFlag.DO_READDIRPLUS | InitFlag.NO_OPENDIR_SUPPORT | InitFlag.NO_OPEN_SUPPORT | InitFlag.MAX_PAGES
"""What the kernel must offer (all of it since Linux 5.1)."""
WANTED: Final = (
    InitFlag.ASYNC_READ
    | InitFlag.AUTO_INVAL_DATA
    | InitFlag.DO_READDIRPLUS
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.MAX_PAGES
    | InitFlag.INIT_EXT
)
MAX_PAGES: Final = 256
"""Of 4 KiB: the largest read that the kernel sends by default (FUSE_MAX_MAX_PAGES of fs/fuse/fuse_i.h)."""
MAX_BACKGROUND: Final = 64
"""Reads ahead that may be under way at once; the kernel's default of 12 is little for several readers."""
STACK_DEPTH: Final = 2
"""How deep a raw file's filesystem and ours may be stacked: the kernel's maximum, so that overlayfs can lie below."""
POLL_S: Final = 60e-6
"""How long a worker polls for the next request before it sleeps: waking a processor costs more than a request."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the kernel's INIT offered."""

    minor: int
    flags: InitFlag
    max_readahead: int
    unique: int


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
        data = os.read(self._fd, MIN_READ_BUFFER)
        _, opcode, unique, *_ = IN_HEADER.unpack_from(data)
        body = data[IN_HEADER.size :].ljust(INIT_IN.size, b"\0")
        init = InitIn._make(INIT_IN.unpack_from(body))
        if opcode != Opcode.INIT or init.major != KERNEL_VERSION:
            raise KernelLacksError(
                f"the kernel speaks FUSE {init.major}.{init.minor}, not {KERNEL_VERSION}", "use --engine pyfuse3"
            )
        flags = InitFlag(init.flags)
        if InitFlag.INIT_EXT in flags:
            flags |= InitFlag(init.flags2 << 32)
        missing = NEEDED & ~flags
        if missing:
            raise KernelLacksError(f"the kernel's FUSE does not offer {missing.name}", "use --engine pyfuse3")
        return Offer(init.minor, flags, init.max_readahead, unique)

    def accept(self, offer: Offer, *, passthrough: bool) -> None:
        """Answer INIT: from now on the kernel sends requests."""
        flags = WANTED & offer.flags
        if passthrough:
            flags |= InitFlag.PASSTHROUGH
        answer = INIT_OUT.pack(
            *(KERNEL_VERSION, MINOR_VERSION, offer.max_readahead, flags & 0xFFFFFFFF),
            *(MAX_BACKGROUND, MAX_BACKGROUND * 3 // 4, 4096, 1, MAX_PAGES, 0),
            *(flags >> 32, STACK_DEPTH if passthrough else 0, 0),
        )
        os.write(self._fd, reply(offer.unique, answer))
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

    @property
    def is_open(self) -> bool:
        """Whether there is a mount, or was until `close`."""
        return self._fd >= 0

    def close(self) -> None:
        """Close the descriptor. No thread may be in `receive` any more, or its clients would wait for ever."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
