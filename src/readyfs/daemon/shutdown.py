"""Taking the mount down: unmount if nobody uses it, else detach, say who does, and drain (V5).

`daemon/mount.py` runs it when a stop was asked for: by a signal, by a client, or by somebody else's unmount.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from readyfs.errors import ExitCode, MountPointError
from readyfs.fuse.engine import StuckCall
from readyfs.fuse.holders import Holder, find_holders
from readyfs.fuse.mount_table import Mount, mounts_at
from readyfs.fuse.unmount import MountBusyError, detach, unmount
from readyfs.life import Life, Phase

log = structlog.get_logger("readyfs.shutdown")

STUCK_S: Final = 5.0
"""How long after a stop was asked the raw store may keep us waiting."""
ELSEWHERE_S: Final = 1.0
"""How long after an unmount the kernel may take to end the connection."""
HOLDERS_S: Final = 2.0
"""How long it may take to find out who uses the mount."""
LAST_REPLIES_S: Final = 1.0
"""How long the answers to requests that were given up may take to reach the kernel."""
_TICK_S: Final = 0.1


class ServingEngine(Protocol):
    """What the shutdown needs of an engine."""

    def stuck_calls(self, seconds: float) -> Sequence[StuckCall]:
        """Return raw calls under way for longer than that."""
        ...

    def stop_serving(self) -> None:
        """Answer what waits with an error, and end although the mount is in use."""
        ...


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ends one mount; `ended` is set when the engine has nothing left to serve.

    `device` is the mount's device number: what else may have been mounted at the place since is not ours to unmount.
    """

    mountpoint: Path
    device: tuple[int, int] | None
    drain_s: float
    engine: ServingEngine
    ended: trio.Event
    life: Life

    async def run(self) -> ExitCode:
        """Take the mount down; return `OK`, or `STUCK` if the raw store hangs and requests had to be given up."""
        self.life.phase = Phase.STOPPING
        asked = trio.current_time()
        if self._stands():
            try:
                await trio.to_thread.run_sync(unmount, self.mountpoint, abandon_on_cancel=True)
            except MountBusyError:
                await self._report_holders()
                await self._detach(asked)
            except MountPointError as error:
                log.warning("unmount failed, detaching", error=error.message)
                await self._detach(asked)
        return await self._drain(asked)

    def _stands(self) -> bool:
        mounts = mounts_at(self.mountpoint)
        return bool(mounts) and mounts[-1].device == self.device

    async def _detach(self, asked: float) -> None:
        self.life.drain_until_s = time.monotonic() + self.drain_s - (trio.current_time() - asked)
        self.life.phase = Phase.DRAINING
        try:
            await trio.to_thread.run_sync(detach, self.mountpoint, abandon_on_cancel=True)
        except MountPointError as error:
            log.error("detach failed", error=error.message)

    async def _report_holders(self) -> None:
        def find() -> list[Holder]:
            mounts: list[Mount] = mounts_at(self.mountpoint)
            return find_holders(mounts[-1]) if mounts else []

        holders: list[Holder] = []
        with trio.move_on_after(HOLDERS_S):  # /proc can make us wait for a process that is busy with its memory
            holders = await trio.to_thread.run_sync(find, abandon_on_cancel=True)
        for holder in holders:
            log.warning("mount is in use", pid=holder.pid, command=holder.command, how=holder.how)
        self.life.holders = tuple(f"pid {holder.pid} {holder.command} ({holder.how})" for holder in holders)
        log.warning("mount is busy, detached it and goes on for open files", drain_seconds=self.drain_s)

    async def _drain(self, asked: float) -> ExitCode:
        while not self.ended.is_set():
            waited_s = trio.current_time() - asked
            if self.life.phase is Phase.STOPPING and waited_s > ELSEWHERE_S and not self.engine.stuck_calls(0.0):
                # Unmounted, and yet not gone. Mounts are copied into each new mount namespace (mount_namespaces(7)).
                log.warning("another mount namespace holds the mount, going on for it", drain_seconds=self.drain_s)
                self.life.drain_until_s = time.monotonic() + self.drain_s - waited_s
                self.life.phase = Phase.DRAINING
            stuck = self.engine.stuck_calls(STUCK_S) if waited_s >= STUCK_S else ()
            for call in stuck:
                log.error(
                    "raw store does not answer, giving the request up", operation=call.operation, inode=call.inode
                )
            if stuck or waited_s >= self.drain_s:
                if not stuck:
                    log.warning("drain is over, files that are still open will fail")
                self.engine.stop_serving()
                with trio.move_on_after(LAST_REPLIES_S):
                    await self.ended.wait()
                return ExitCode.STUCK if stuck else ExitCode.OK
            with trio.move_on_after(_TICK_S):
                await self.ended.wait()
        return ExitCode.OK
