"""The direct engine: one connection, its workers and its way of reading, as the daemon sees them."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs.fuse.direct.backing import BackingFiles, OwnRegistrations
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.choose_loop import LoopChoice
from readyfs.fuse.direct.choose_reads import choose_reads
from readyfs.fuse.direct.dispatch import Dispatch
from readyfs.fuse.direct.handshake import negotiate
from readyfs.fuse.direct.in_flight import InFlight, Request
from readyfs.fuse.direct.listings import Ends, EndTable
from readyfs.fuse.direct.native_loop import NativeLoop
from readyfs.fuse.direct.operations import Operations
from readyfs.fuse.direct.page_cache import PageCache
from readyfs.fuse.direct.reads import CachedReads, OpenedReads, Reads
from readyfs.fuse.direct.shadow import Shadow, ShadowEnds
from readyfs.fuse.direct.workers import Workers
from readyfs.fuse.engine import EXPIRE_S
from readyfs.fuse.engine_words import EngineLoopWord, ReadsWord
from readyfs.fuse.unmount import detach
from readyfs.metrics.durations import Durations
from readyfs.metrics.push_counts import PushCounts
from readyfs.metrics.request_tally import RequestTally
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

TICK_S: Final = 0.1
"""How often deadlines are looked at, and how late an answer to a request that is given up can come."""


class DirectEngine:
    """One mount served over the kernel's own protocol. `channel` also carries the notifications."""

    name = "direct"

    def __init__(
        self,
        channel: Channel,
        filesystem: Filesystem,
        in_flight: InFlight,
        raw_threads: int,
        reads: ReadsWord,
        stack_depth: int,
        raw_root: bytes,
        loop: LoopChoice,
        *,
        pushes: bool,
        privileged: bool,
    ) -> None:
        self.reads = ""
        self.reads_reason = ""
        self.engine_loop, self.engine_loop_reason = loop.word.value, loop.reason
        self._compiled = loop.compiled
        self._channel = channel
        self._fs = filesystem
        self._raw_threads = raw_threads
        self._in_flight = in_flight
        self._word = reads
        self._stack_depth = stack_depth
        self._raw_root = raw_root
        self._privileged = privileged
        self._passthrough_from: int | None = None
        self._opens = False
        self._loop: NativeLoop | None = None
        self._shadow: Shadow | None = None
        self._backing = BackingFiles(OwnRegistrations(channel))
        self._pages = PageCache(channel) if pushes else None
        self._reads: Reads = OpenedReads(filesystem, self._backing, None)
        self._dispatch: Dispatch | None = None
        self._workers: Workers | None = None
        self._ended = trio.Event()
        self._let_go = trio.Event()

    @property
    def requests(self) -> Counter[str]:
        """How often the kernel asked, by operation."""
        return self._tally().requests()

    @property
    def errors(self) -> Counter[str]:
        """How often the answer was an error, by errno name."""
        return self._tally().errors_by_errno()

    @property
    def errors_by_operation(self) -> Counter[tuple[str, str]]:
        """The same by operation and errno name."""
        return self._tally().errors

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long requests took from being read to being answered, by operation."""
        return self._tally().durations

    def _tally(self) -> RequestTally:
        return self._workers.tally() if self._workers is not None else RequestTally()

    @property
    def fallbacks(self) -> Counter[str]:
        """How often the kernel refused to read a raw file itself, by errno name."""
        return self._backing.refused

    @property
    def loop_mismatches(self) -> Counter[str]:
        """How often the compiled loop would have answered otherwise, by operation; known in its shadow alone."""
        return self._shadow.mismatches.copy() if self._shadow is not None else Counter()

    @property
    def pushed(self) -> PushCounts:
        """What was pushed into the page cache with opens."""
        if self._pages is None:
            return PushCounts()
        counts = self._pages.counts
        files, data_bytes = self._loop.pushed() if self._loop is not None else (0, 0)
        return PushCounts(counts.files + files, counts.data_bytes + data_bytes, counts.refused)

    def mount(self, mountpoint: str, options: Sequence[str]) -> None:
        """Mount and shake hands, so that the way of reading is known; see `Engine.mount`."""
        try:
            offer = self._channel.mount(mountpoint, options, privileged=self._privileged)
            obstacle = negotiate(self._channel, offer, self._word, self._stack_depth, privileged=self._privileged)
            choice = choose_reads(self._word, obstacle)
        except BaseException:
            if self._channel.is_open:
                self._channel.close()
                detach(Path(mountpoint))
            raise
        if choice.word is ReadsWord.CACHED:
            self._reads = CachedReads(self._fs)
        else:
            self._reads = OpenedReads(self._fs, self._backing, choice.passthrough_from, self._pages)
            self._passthrough_from = choice.passthrough_from
            self._opens = True
        self.reads, self.reads_reason = choice.word.value, choice.reason

    async def serve(self) -> None:
        """Answer requests until the mount is gone."""
        token = trio.lowlevel.current_trio_token()

        def end() -> None:
            try:
                token.run_sync_soon(self._ended.set)
            except trio.RunFinishedError:
                log.debug("the mount ended after the daemon")

        loop, ends = self._make_loop()
        operations = Operations(self._fs, self._reads, self._drop_listing, ends, self._compiled)
        self._dispatch = Dispatch(self._channel, operations, self._in_flight, self._shadow)
        self._workers = Workers(self._channel, self._dispatch, self._raw_threads, end, loop)
        self._workers.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire_idle)
            while not self._ended.is_set():
                with trio.move_on_after(TICK_S):
                    await self._ended.wait()
                self._dispatch.answer_late(self._in_flight.take_late())
                self._workers.make_room()
                if self._fs.has_let_go:
                    self._let_go.set()
            nursery.cancel_scope.cancel()

    async def _expire_idle(self) -> None:
        """Let go of raw files from time to time, on another thread: a close can wait for a store that hangs."""
        while True:
            with trio.move_on_after(EXPIRE_S):
                await self._let_go.wait()
            self._let_go = trio.Event()
            await trio.to_thread.run_sync(self._close_idle, abandon_on_cancel=True)

    def _close_idle(self) -> None:
        self._reads.expire_idle()
        if self._loop is not None:
            self._loop.close_dropped()

    def _make_loop(self) -> tuple[NativeLoop | None, Ends]:
        """Return the loop that receives requests, None if the channel does, and who knows where listings end."""
        if self.engine_loop == EngineLoopWord.PYTHON:
            return None, EndTable()
        is_shadow = self.engine_loop == EngineLoopWord.SHADOW
        loop = NativeLoop(
            *(self._compiled, -1 if is_shadow else self._channel.lend(), self._fs, self._raw_root),
            self._passthrough_from,
            opens=self._opens,
            pushes=self._pages is not None,
        )
        if is_shadow:
            self._shadow = Shadow(loop)
            return None, ShadowEnds(loop)
        self._loop = loop
        self._backing.share(loop)
        loop.serve()
        return loop, loop

    def _drop_listing(self, inode: InodeNumber) -> None:
        try:
            self._channel.invalidate_inode(inode, attributes_only=False)
        except OSError as error:
            if error.errno != errno.ENOENT:
                log.warning("the kernel refused a notification", error=error.strerror, subject=[inode])

    async def wait_served(self, ended: trio.Event) -> None:
        """Return at once: INIT was answered when the mount was made."""

    def raw_waits_s(self) -> Sequence[float]:
        """For how many seconds each request that waits for the raw store has waited."""
        return self._in_flight.waits_s()

    def stuck_calls(self, seconds: float) -> Sequence[Request]:
        """Return requests that have waited for the raw store for longer than that, the oldest first."""
        return self._in_flight.waiting_longer_than(seconds)

    def stop_serving(self) -> None:
        """Make `serve` return although the mount is still in use; requests that wait for the raw store get EIO."""
        if self._workers is not None:
            self._workers.give_up()
        late = self._in_flight.give_up()
        if self._dispatch is not None:
            self._dispatch.answer_late(late)
        self._ended.set()

    def close(self) -> None:
        """Close the connection, unless a worker still reads it: the end of the process closes it then."""
        if self._workers is None or self._workers.has_ended:
            self._channel.close()
