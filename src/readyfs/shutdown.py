"""Taking the mount down: unmount if nobody uses it, else detach, say who does, and drain (V5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from readyfs.errors import ExitCode, MountPointError
from readyfs.fuse.holders import Holder, find_holders
from readyfs.fuse.mount_point import MountBusyError, detach, unmount
from readyfs.fuse.mount_table import mounts_at

log = structlog.get_logger("readyfs.shutdown")

STUCK_S: Final = 5.0
"""How long after a stop was asked the raw store may keep us waiting."""
HOLDERS_S: Final = 2.0
"""How long it may take to find out who uses the mount."""
_TICK_S: Final = 0.1


class StuckCall(Protocol):
    """One request that waits for the raw store."""

    operation: str
    inode: int


class ServingEngine(Protocol):
    """What the shutdown needs of an engine."""

    def stuck_calls(self, seconds: float) -> Sequence[StuckCall]:
        """Return raw calls under way for longer than that."""
        ...

    def stop_serving(self) -> None:
        """Make the engine end although the mount is in use."""
        ...


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ends one mount; `ended` is set when the engine has nothing left to serve."""

    mountpoint: Path
    drain_s: float
    engine: ServingEngine
    ended: trio.Event

    async def run(self) -> ExitCode:
        """Take the mount down; return `OK`, or `STUCK` if the raw store hangs and requests had to be given up."""
        if self.ended.is_set():
            return ExitCode.OK  # somebody else took the mount away
        asked = trio.current_time()
        try:
            await trio.to_thread.run_sync(unmount, self.mountpoint, abandon_on_cancel=True)
        except MountBusyError:
            await self._report_holders()
            await self._detach()
        except MountPointError as error:
            log.warning("unmount failed, detaching", error=error.message)
            await self._detach()
        return await self._drain(asked)

    async def _detach(self) -> None:
        try:
            await trio.to_thread.run_sync(detach, self.mountpoint, abandon_on_cancel=True)
        except MountPointError as error:
            log.error("detach failed", error=error.message)

    async def _report_holders(self) -> None:
        def find() -> list[Holder]:
            mounts = mounts_at(self.mountpoint)
            return find_holders(mounts[-1]) if mounts else []

        holders: list[Holder] = []
        with trio.move_on_after(HOLDERS_S):  # /proc can make us wait for a process that is busy with its memory
            holders = await trio.to_thread.run_sync(find, abandon_on_cancel=True)
        for holder in holders:
            log.warning("mount is in use", pid=holder.pid, command=holder.command, how=holder.how)
        log.warning("mount is busy, detached it and goes on for open files", drain_seconds=self.drain_s)

    async def _drain(self, asked: float) -> ExitCode:
        while not self.ended.is_set():
            now = trio.current_time()
            stuck = self.engine.stuck_calls(STUCK_S) if now - asked >= STUCK_S else ()
            for call in stuck:
                log.error(
                    "raw store does not answer, giving the request up", operation=call.operation, inode=call.inode
                )
            if stuck:
                self.engine.stop_serving()
                return ExitCode.STUCK
            if now - asked >= self.drain_s:
                log.warning("drain is over, files that are still open will fail")
                self.engine.stop_serving()
                return ExitCode.OK
            with trio.move_on_after(_TICK_S):
                await self.ended.wait()
        return ExitCode.OK
