"""One mount from the moment it stands to the moment it is gone: the tasks that serve it, and the wait for a stop.

Signals (`daemon/signals.py`) and clients (`daemon/answers.py`) ask for the stop; `daemon/shutdown.py` takes it down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
import trio

from readyfs.control.protocol import socket_path
from readyfs.control.server import serve_control
from readyfs.daemon.answers import Answers
from readyfs.daemon.public_door import PublicDoor
from readyfs.daemon.service_manager import ServiceManager
from readyfs.daemon.shutdown import Shutdown
from readyfs.daemon.signals import Wishes
from readyfs.daemon.status import StatusReporter
from readyfs.daemon.watchdog import feed_watchdog
from readyfs.errors import ExitCode
from readyfs.fuse.engine import Engine
from readyfs.fuse.kernel_read_ahead import raise_read_ahead
from readyfs.fuse.mount_table import mounts_at
from readyfs.fuse.notifications import Notifications
from readyfs.fuse.unmount import detach
from readyfs.life import Life, Phase
from readyfs.metrics.textfile import MetricsFile
from readyfs.refresh.refresher import Refresher

log = structlog.get_logger("readyfs.daemon")


@dataclass(slots=True)
class RunningMount:
    """Runs all tasks of one mount; `on_ready` is called once when it is served."""

    mountpoint: Path
    runtime_dir: Path
    drain_s: float
    engine: Engine
    notifications: Notifications
    refresher: Refresher
    status_reporter: StatusReporter
    answers: Answers
    public: PublicDoor
    metrics: MetricsFile | None
    life: Life
    service_manager: ServiceManager
    wishes: Wishes
    on_ready: Callable[[], None]
    ended: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> ExitCode:
        """Serve until stopped or unmounted; return the exit code of the daemon."""
        exit_code = ExitCode.OK
        try:
            async with trio.open_nursery() as nursery:
                mounts = mounts_at(self.mountpoint)
                device = mounts[-1].device if mounts else None
                nursery.start_soon(self._serve_requests)
                await self.engine.wait_served(self.ended)
                if device is not None:
                    raise_read_ahead(device)
                await nursery.start(self.public.serve, device)
                serve = partial(serve_control, public=self.public.path)
                await nursery.start(serve, socket_path(self.runtime_dir, self.mountpoint), self.answers)
                nursery.start_soon(self.refresher.run)
                nursery.start_soon(feed_watchdog, self.service_manager, self.mountpoint, self.notifications)
                if self.metrics is not None:
                    nursery.start_soon(self.metrics.run)
                self.wishes.reload = self._reload
                self._report_ready()
                await self.wishes.stop.wait()
                self.service_manager.stopping()
                shutdown = Shutdown(self.mountpoint, device, self.drain_s, self.engine, self.ended, self.life)
                exit_code = await shutdown.run()
                nursery.cancel_scope.cancel()
        finally:
            self._let_go()
        if self.metrics is not None and exit_code is ExitCode.OK:
            await self.metrics.remove()
        log.info("stopped", exit_code=int(exit_code))
        return exit_code

    async def _serve_requests(self) -> None:
        await self.engine.serve()
        if not self.wishes.stop.is_set():
            log.warning("the mount was taken away by someone else")
        self.ended.set()
        self.wishes.stop.set()

    async def _reload(self) -> None:
        self.service_manager.reloading()
        await self.refresher.refresh()
        self.service_manager.ready(self.status_reporter.line())

    def _report_ready(self) -> None:
        status = self.status_reporter.document()
        log.info(
            "serving",
            version=status["version"],
            mountpoint=status["mountpoint"],
            engine=status["engine"],
            reads=status["reads"],
            state=status["state"],
            raw=status["raw"],
            partitions=status["partitions"],
            withheld=status["withheld"],
            fingerprint=status["fingerprint"],
            interval_seconds=status["interval_seconds"],
        )
        self.service_manager.ready(self.status_reporter.line())
        self.on_ready()

    def _let_go(self) -> None:
        """Make sure that nothing is left mounted, whatever went wrong, and free the session."""
        if not self.ended.is_set() and self.life.phase is Phase.SERVING:
            detach(self.mountpoint)
        if self.notifications.close():
            self.engine.close()
