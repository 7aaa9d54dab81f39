"""The portable engine: one mount served by pyfuse3, as the daemon sees it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from readyfs.errors import FuseError
from readyfs.fuse.engine import EXPIRE_S
from readyfs.fuse.fusermount import mount_refused
from readyfs.fuse.kernel_background import raise_background
from readyfs.fuse.mount_table import mounts_at
from readyfs.fuse.pyfuse3.operations import Operations
from readyfs.fuse.pyfuse3.raw_calls import RawCall, RawCalls
from readyfs.metrics.durations import Durations
from readyfs.metrics.push_counts import PushCounts
from readyfs.text import escape_text
from readyfs.vfs.filesystem import Filesystem

READ_INTERRUPT_S: Final = 0.25
TICK_S: Final = 0.25
"""How often it is seen to that calls which hang do not keep others from a thread."""
MAX_TASKS: Final = 4096
"""Requests that may be under way at once. One that waits for a hung raw store keeps its task, and when all are taken
not even the catalog can be listed; pyfuse3's own limit is 99."""


class Pyfuse3Engine:
    """One mount served by pyfuse3."""

    name = "pyfuse3"
    reads = "opened"
    reads_reason = "this engine opens and reads every file itself"
    engine_loop = "python"
    engine_loop_reason = "this engine has no other"

    def __init__(self, filesystem: Filesystem, raw_calls: RawCalls) -> None:
        self._fs = filesystem
        self._raw_calls = raw_calls
        self._operations = Operations(filesystem, self._raw_calls)
        self._mountpoint = Path()

    @property
    def requests(self) -> Counter[str]:
        """How often the kernel asked, by operation."""
        return self._operations.tally.requests()

    @property
    def errors(self) -> Counter[str]:
        """How often the answer was an error, by errno name."""
        return self._operations.tally.errors_by_errno()

    @property
    def errors_by_operation(self) -> Counter[tuple[str, str]]:
        """The same by operation and errno name."""
        return self._operations.tally.errors.copy()

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long requests took from being handed over to being answered, by operation."""
        return dict(self._operations.tally.durations)

    @property
    def fallbacks(self) -> Counter[str]:
        """Nothing: the kernel is never asked to read a raw file itself."""
        return Counter()

    @property
    def loop_mismatches(self) -> Counter[str]:
        """None: there is no other loop."""
        return Counter()

    @property
    def pushed(self) -> PushCounts:
        """Nothing: the kernel asks for what is read."""
        return PushCounts()

    def mount(self, mountpoint: str, options: Sequence[str]) -> None:
        """Mount; raise `FuseError` if the kernel or the mount helper refuses."""
        self._mountpoint = Path(mountpoint)
        said: list[str] = []
        try:
            with _captured_stderr(said):
                pyfuse3.init(self._operations, mountpoint, set(options))
        except RuntimeError as error:
            raise mount_refused(mountpoint, escape_text("; ".join(said) or str(error))) from error

    async def serve(self) -> None:
        """Answer requests until the mount is gone."""
        with _interrupted_reads():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_room)
                nursery.start_soon(self._expire_idle)
                await pyfuse3.main(max_tasks=MAX_TASKS)
                nursery.cancel_scope.cancel()

    async def _make_room(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            self._raw_calls.make_room()

    async def _expire_idle(self) -> None:
        """Let go of catalogs and manifests that nobody uses any more; that takes time, so not where requests wait."""
        while True:
            await trio.sleep(EXPIRE_S)
            await trio.to_thread.run_sync(self._fs.expire_idle, abandon_on_cancel=True)

    async def wait_served(self, ended: trio.Event) -> None:
        """Return once the kernel's INIT was answered; raise `FuseError` if the mount ends before."""
        async with trio.open_nursery() as nursery:

            async def give_up_when_ended() -> None:
                await ended.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up_when_ended)
            await self._operations.served.wait()
            nursery.cancel_scope.cancel()
        if not self._operations.served.is_set():
            raise FuseError("the mount was taken away before it was served", "mount again")
        if mounts := mounts_at(self._mountpoint):
            raise_background(mounts[-1].device)

    def raw_waits_s(self) -> Sequence[float]:
        """For how many seconds each request that waits for the raw store has waited."""
        return self._raw_calls.waits_s()

    def stuck_calls(self, seconds: float) -> Sequence[RawCall]:
        """Return requests that have waited for the raw store for longer than that."""
        return self._raw_calls.waiting_longer_than(seconds)

    def stop_serving(self) -> None:
        """Make `serve` return although the mount is still in use; requests that wait for the raw store get EIO."""
        self._raw_calls.give_up()
        pyfuse3.terminate()

    def close(self) -> None:
        """Free the session; the mount must be gone or detached before, no notification may be under way."""
        pyfuse3.close(unmount=False)


@contextmanager
def _interrupted_reads() -> Iterator[None]:
    """Interrupt the main thread now and then.

    pyfuse3 waits until a request is there and then reads it with a call that blocks, holding the interpreter. If the
    request is gone by then, because its client was killed, everything would stand still until the next one comes. A
    signal ends such a read with EINTR, and pyfuse3 waits again.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, READ_INTERRUPT_S, READ_INTERRUPT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _captured_stderr(lines: list[str]) -> Iterator[None]:
    """Collect what libfuse and the mount helper print on descriptor 2: the only place where they say what is wrong."""
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "r+b") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            lines.extend(line.decode("utf-8", "backslashreplace").strip() for line in captured if line.strip())
