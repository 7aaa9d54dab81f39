"""The port of both engines: what the daemon needs of whatever carries the kernel's requests to the filesystem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import trio

from readyfs.errors import FuseError
from readyfs.metrics.durations import Durations
from readyfs.metrics.push_counts import PushCounts

EXPIRE_S: Final = 1.0
"""How often what was idle for long enough is let go: raw files, replaced catalogs, manifests."""


class KernelLacksError(FuseError):
    """The kernel does not offer what this engine needs; another one may do with less."""


class StuckCall(Protocol):
    """One request that waits for the raw store."""

    @property
    def operation(self) -> str:
        """The request's name."""
        ...

    @property
    def inode(self) -> int:
        """What it asks about; 0 if that is not known."""
        ...


class EngineCounters(Protocol):
    """What an engine says of itself.

    `reads` says how file contents reach a reader and `reads_reason` why so, `engine_loop` and `engine_loop_reason` who
    answers requests; all are known once mounted.
    """

    name: str
    reads: str
    reads_reason: str
    engine_loop: str
    engine_loop_reason: str

    @property
    def requests(self) -> Counter[str]:
        """How often the kernel asked, by operation."""
        ...

    @property
    def errors(self) -> Counter[str]:
        """How often the answer was an error, by errno name."""
        ...

    @property
    def errors_by_operation(self) -> Counter[tuple[str, str]]:
        """The same by operation and errno name."""
        ...

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long requests took from being read to being answered, by operation."""
        ...

    @property
    def fallbacks(self) -> Counter[str]:
        """How often the kernel refused to read a raw file itself, by errno name."""
        ...

    @property
    def loop_mismatches(self) -> Counter[str]:
        """How often another loop in the shadow of this one would have answered otherwise, by operation."""
        ...

    @property
    def pushed(self) -> PushCounts:
        """What was pushed into the page cache with opens."""
        ...

    def raw_waits_s(self) -> Sequence[float]:
        """For how many seconds each request that waits for the raw store has waited."""
        ...


class Engine(EngineCounters, Protocol):
    """One mount and the requests to it."""

    def mount(self, mountpoint: str, options: Sequence[str]) -> None:
        """Mount; raise `FuseError` if the kernel or the mount helper refuses, and leave nothing mounted then."""
        ...

    async def serve(self) -> None:
        """Answer requests until the mount is gone."""
        ...

    async def wait_served(self, ended: trio.Event) -> None:
        """Return once requests are answered; raise `FuseError` if the mount ends before."""
        ...

    def stuck_calls(self, seconds: float) -> Sequence[StuckCall]:
        """Return requests that have waited for the raw store for longer than that, the oldest first."""
        ...

    def stop_serving(self) -> None:
        """Make `serve` return although the mount is still in use; requests that wait for the raw store get EIO."""
        ...

    def close(self) -> None:
        """Free the connection; the mount must be gone or detached before, no notification may be under way."""
        ...
