"""The connection to the kernel: the device's descriptors, the INIT handshake, requests, answers and notifications.

Two descriptors of one connection: one that never blocks, which the worker that polls reads, and a clone
(FUSE_DEV_IOC_CLONE) on which the others sleep. An answer must go to the descriptor that its request came from.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from readyfs.fuse.direct.mounting import DEVICE, open_mounted
from readyfs.fuse.direct.protocol import (
    BACKING_ID,
    BACKING_MAP,
    IN_HEADER,
    INIT_IN,
    INIT_OUT,
    IOC_BACKING_CLOSE,
    IOC_BACKING_OPEN,
    IOC_CLONE,
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
from readyfs.vfs.nodes import InodeNumber

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
    """One FUSE connection. `receive`, `send` and the notifications may be called from any thread."""

    def __init__(self) -> None:
        self._polled = -1
        self._sleeping = -1
        self._polling = threading.Lock()
        self._minor = 0

    def mount(self, mountpoint: str, options: Sequence[str], *, privileged: bool) -> Offer:
        """Mount and receive the kernel's INIT; `accept` answers it.

        Raises `FuseError` if the mount is refused, and `KernelLacksError` if the kernel offers too little.
        """
        self._polled = open_mounted(mountpoint, options, privileged=privileged)
        data = os.read(self._polled, MIN_READ_BUFFER)
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
        os.write(self._polled, reply(offer.unique, answer))
        self._minor = min(offer.minor, MINOR_VERSION)
        self._sleeping = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self._sleeping, IOC_CLONE, self._polled.to_bytes(4, "little"))
        os.set_blocking(self._polled, False)

    def receive(self) -> tuple[int, bytes] | None:
        """Wait for a request; return the descriptor to answer on and its bytes, or None once the mount is gone."""
        while True:
            try:
                if self._polling.acquire(blocking=False):
                    try:
                        fd, until_s = self._polled, time.monotonic() + POLL_S
                        while True:
                            try:
                                return fd, os.read(fd, MIN_READ_BUFFER)
                            except BlockingIOError:
                                if time.monotonic() > until_s:
                                    break
                    finally:
                        self._polling.release()
                fd = self._sleeping
                return fd, os.read(fd, MIN_READ_BUFFER)
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return None
                if error.errno != errno.ENOENT:  # the request was withdrawn before it was read
                    raise

    def send(self, fd: int, *answer: Buffer) -> bool:
        """Send an answer; return whether the kernel took it: it does not if the client is gone."""
        try:
            os.writev(fd, answer)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ECONNABORTED):
                log.error("the kernel refused an answer", error=error.strerror)
            return False
        return True

    # ---- notifications (see `readyfs.fuse.kernel_cache.Notifier`) ---------------------------------------------

    def forget_entry(self, parent: InodeNumber, name: bytes) -> None:
        """FUSE_NOTIFY_INVAL_ENTRY."""
        body = NOTIFY_INVAL_ENTRY_OUT.pack(parent, len(name), 0) + name + b"\0"
        os.write(self._polled, notification(Notify.INVAL_ENTRY, body))

    def forget_inode(self, inode: InodeNumber, *, attributes_only: bool) -> None:
        """FUSE_NOTIFY_INVAL_INODE."""
        body = NOTIFY_INVAL_INODE_OUT.pack(inode, -1 if attributes_only else 0, 0)
        os.write(self._polled, notification(Notify.INVAL_INODE, body))

    def expire_names(self) -> bool:
        """FUSE_NOTIFY_INC_EPOCH, where the kernel has it; return whether it was sent."""
        if self._minor < MINOR_WITH_EPOCH:
            return False
        os.write(self._polled, notification(Notify.INC_EPOCH))
        return True

    # ---- passthrough --------------------------------------------------------------------------------------------

    def open_backing(self, fd: int) -> int:
        """Register an open raw file for passthrough; return its id. Raises `OSError` if the kernel refuses."""
        # Only with a buffer that may be changed does the call return the kernel's number.
        return int(fcntl.ioctl(self._polled, IOC_BACKING_OPEN, bytearray(BACKING_MAP.pack(fd, 0, 0))))

    def close_backing(self, backing_id: int) -> None:
        """Let go of a registered file; opens that use it go on."""
        fcntl.ioctl(self._polled, IOC_BACKING_CLOSE, BACKING_ID.pack(backing_id))

    @property
    def is_open(self) -> bool:
        """Whether there is a mount, or was until `close`."""
        return self._polled >= 0

    def close(self) -> None:
        """Close the descriptors. No thread may be in `receive` any more, or its clients would wait for ever."""
        for fd in (self._sleeping, self._polled):
            if fd >= 0:
                os.close(fd)
        self._polled = self._sleeping = -1
