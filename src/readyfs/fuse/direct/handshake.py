"""Shaking hands with the kernel: its INIT answered, and passthrough tried before anybody relies on it.

Used by the engine for its mount and by `readyfs doctor` for a throwaway one, so that both come to the same answer.
"""

from __future__ import annotations

import os
from typing import Protocol

from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.negotiation import Offer, passthrough_obstacle
from readyfs.fuse.engine_words import ReadsWord


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


def negotiate(channel: Channel, offer: Offer, word: ReadsWord, stack_depth: int, *, privileged: bool) -> str | None:
    """Answer the kernel's INIT; return why it passes no file through, None if it does or was not to be asked."""
    obstacle = passthrough_obstacle(offer, privileged=privileged)
    wanted = obstacle is None and word in (ReadsWord.AUTO, ReadsWord.PASSTHROUGH)
    channel.accept(offer, stack_depth if wanted else 0)
    if not wanted:
        return obstacle
    # The capability that counts is that of the whole machine, and only a try tells.
    with os.fdopen(os.memfd_create("readyfs")) as file:
        return try_passthrough(channel, file)


def try_passthrough(channel: Channel, file: HasFileno) -> str | None:
    """Return why the kernel does not pass a raw file through, None if it does."""
    try:
        channel.close_backing(channel.open_backing(file.fileno()))
    except OSError as error:
        return error.strerror or str(error)
    return None
