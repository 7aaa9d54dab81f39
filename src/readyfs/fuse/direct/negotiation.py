"""What the kernel offers in its INIT and what we answer. Pure deciding and packing: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readyfs.fuse.direct.protocol import (
    IN_HEADER,
    INIT_IN,
    INIT_OUT,
    KERNEL_VERSION,
    MINOR_VERSION,
    InitFlag,
    InitIn,
    Opcode,
    reply,
)
from readyfs.fuse.engine import KernelLacksError

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


@dataclass(frozen=True, slots=True)
class Offer:
    """What the kernel's INIT offered."""

    minor: int
    flags: InitFlag
    max_readahead: int
    unique: int


def parse_offer(data: bytes) -> Offer:
    """Take the first request apart; raise `KernelLacksError` if the kernel offers too little."""
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


def accept_offer(offer: Offer, stack_depth: int) -> bytes:
    """Return the answer to INIT, after which the kernel sends requests.

    `stack_depth` says how deep raw files may be stacked that the kernel reads by itself; 0 means that it reads none.
    """
    flags = WANTED & offer.flags
    if stack_depth:
        flags |= InitFlag.PASSTHROUGH
    answer = INIT_OUT.pack(
        *(KERNEL_VERSION, MINOR_VERSION, offer.max_readahead, flags & 0xFFFFFFFF),
        *(MAX_BACKGROUND, MAX_BACKGROUND * 3 // 4, 4096, 1, MAX_PAGES, 0),
        *(flags >> 32, stack_depth, 0),
    )
    return reply(offer.unique, answer)


def passthrough_obstacle(offer: Offer, *, privileged: bool) -> str | None:
    """Return why passthrough is not to be had, as far as that is known without a try; None if it may be."""
    if InitFlag.PASSTHROUGH not in offer.flags:
        return "the kernel does not offer it (Linux 6.9 and later do)"
    return None if privileged else "it needs CAP_SYS_ADMIN"
