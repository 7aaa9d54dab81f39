"""The composition root: checks, builds the objects in order, and runs them in one nursery until told to stop."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs import __version__
from readyfs.catalog.build import CatalogShape
from readyfs.config import Config
from readyfs.control.protocol import socket_path
from readyfs.control.runtime_dir import prepare_runtime_dir
from readyfs.control.server import serve_control
from readyfs.errors import ExitCode, RefreshFailedError
from readyfs.fuse.kernel_cache import KernelCache
from readyfs.fuse.mount_options import render_mount_options
from readyfs.fuse.mount_point import Reserved, check_fuse, detach, prepare_mount_point
from readyfs.fuse.pyfuse3_engine import Pyfuse3Engine, Pyfuse3Notifier
from readyfs.mount_lock import hold_mount_lock
from readyfs.notify import Notifier
from readyfs.raw.open import open_raw
from readyfs.raw.store import RawStore
from readyfs.refresh import CatalogLoader, Refresher, Schedule
from readyfs.shutdown import Shutdown
from readyfs.state.open import open_state
from readyfs.state.store import StateStore
from readyfs.state.url import sqlite_path
from readyfs.status import StatusReporter
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.runs import FileFilter, Runs
from readyfs.watchdog import feed_watchdog

log = structlog.get_logger("readyfs.daemon")

SPARE_DESCRIPTORS: Final = 128
"""Kept back from clients: the state store, the log, sockets, and run directories while they are listed."""


def run(config: Config, on_ready: Callable[[], None]) -> ExitCode:
    """Mount and serve until asked to stop; `on_ready` is called once when mounted, loaded and served.

    Raises `UserError` if it cannot start; nothing is left mounted then.
    """
    prepare_runtime_dir(config.runtime_dir)
    with hold_mount_lock(config.state_dir, config.mountpoint):
        check_fuse(privileged=os.geteuid() == 0, allow_other=config.allow_other)
        raw = open_raw(config.raw, config.raw_layout)
        raw.check()
        prepare_mount_point(config.mountpoint, list(_reserved(config)))
        store = open_state(config.state, config.table, config.filters, config.state_timeout_s)
        try:
            return trio.run(partial(_serve, config, raw, store, on_ready))
        finally:
            store.close()


def _reserved(config: Config) -> Iterator[Reserved]:
    """Yield our own data: a mount over or inside any of it would have the daemon wait for itself."""
    yield Reserved(Path(config.raw), "raw root")
    state_file = sqlite_path(config.state)
    if state_file is not None:
        yield Reserved(state_file, "state file")
    yield Reserved(config.state_dir, "state directory")
    yield Reserved(config.runtime_dir, "runtime directory")
    if config.log_file is not None:
        yield Reserved(config.log_file, "log file")
    if config.config_file is not None:
        yield Reserved(config.config_file, "config file")
    yield Reserved(Path(__file__).parent, "program")


async def _serve(config: Config, raw: RawStore, store: StateStore, on_ready: Callable[[], None]) -> ExitCode:
    started_s = time.monotonic()
    freshness = Freshness(can_go_stale=config.max_staleness_s is not None)
    loader = CatalogLoader(store, CatalogShape(config.layout, config.raw_layout, config.files, config.required_files))
    began = freshness.start()
    first = await trio.to_thread.run_sync(loader.load_first, abandon_on_cancel=True)
    freshness.succeeded(began)
    gc.freeze()  # what is loaded stays: no collection need walk it again

    kernel_cache = KernelCache(Pyfuse3Notifier())
    filesystem = Filesystem(
        first.catalog,
        raw,
        Runs(raw, [os.fsencode(name) for name in config.required_files], FileFilter(config.files)),
        Presentation(config.uid, config.gid, config.file_mode, config.dir_mode, config.name_timeout_s, config.xattrs),
        freshness,
        max_open_files=_raise_descriptor_limit() - SPARE_DESCRIPTORS,
        on_damage=kernel_cache.forget_damaged,
    )
    engine = Pyfuse3Engine(filesystem, config.raw_threads)
    schedule = Schedule(config.interval_s, config.max_staleness_s)
    notifier = Notifier()
    refresher = Refresher(
        loader,
        first,
        filesystem,
        kernel_cache,
        freshness,
        schedule,
        on_outcome=lambda: notifier.status(status.line()),
    )
    status = StatusReporter(
        config.mountpoint, store.label, raw.label, schedule, filesystem, freshness, refresher, engine, started_s
    )
    filesystem.serve_status(status.render)
    mount = _Mount(config, engine, kernel_cache, refresher, status, notifier, on_ready)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        engine.mount(str(config.mountpoint), render_mount_options(store.label, allow_other=config.allow_other))
        return await mount.run(signals)


@dataclass(slots=True)
class _Mount:
    """One mount from the moment it stands to the moment it is gone."""

    config: Config
    engine: Pyfuse3Engine
    kernel_cache: KernelCache
    refresher: Refresher
    status_reporter: StatusReporter
    notifier: Notifier
    on_ready: Callable[[], None]
    stop_asked: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    async def run(self, signals: AsyncIterator[int]) -> ExitCode:
        """Serve until stopped or unmounted; return the exit code of the daemon."""
        exit_code = ExitCode.OK
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_requests)
                nursery.start_soon(self._obey_signals, signals)
                await self.engine.wait_served()
                socket = socket_path(self.config.runtime_dir, self.config.mountpoint)
                await nursery.start(serve_control, socket, self)
                nursery.start_soon(self.refresher.run)
                nursery.start_soon(feed_watchdog, self.notifier, self.config.mountpoint, self.kernel_cache)
                self._report_ready()
                await self.stop_asked.wait()
                self.notifier.stopping()
                shutdown = Shutdown(self.config.mountpoint, self.config.drain_s, self.engine, self.ended)
                exit_code = await shutdown.run()
                nursery.cancel_scope.cancel()
        finally:
            self._let_go()
        log.info("stopped", exit_code=int(exit_code))
        return exit_code

    def status(self) -> dict[str, object]:
        """Answer a client's status request."""
        return self.status_reporter.document()

    async def refresh(self, wait: bool) -> dict[str, object]:
        """Answer a client's refresh request; raise `RefreshFailedError` if it ended in an outage."""
        if not wait:
            self.refresher.trigger()
            return {"waited": False}
        outcome = await self.refresher.refresh()
        if outcome.error is not None:
            raise RefreshFailedError(
                f"the state cannot be read: {outcome.error}", "the last good catalog is still served"
            )
        return {
            "waited": True,
            "changed": outcome.changed,
            "revision": self.status_reporter.filesystem.in_force.revision,
            "appeared": outcome.delta.appeared,
            "switched": outcome.delta.switched,
            "touched": outcome.delta.touched,
            "retracted": outcome.delta.retracted,
            "duration_ms": round(outcome.duration_ms, 3),
        }

    def stop(self) -> None:
        """Begin to stop."""
        self.stop_asked.set()

    async def _serve_requests(self) -> None:
        await self.engine.serve()
        if not self.stop_asked.is_set():
            log.warning("the mount was taken away by someone else")
        self.ended.set()
        self.stop_asked.set()

    async def _obey_signals(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP:
                    nursery.start_soon(self._reload)
                else:
                    log.info("stopping", signal=signal.Signals(number).name)
                    self.stop_asked.set()

    async def _reload(self) -> None:
        self.notifier.reloading()
        await self.refresher.refresh()
        self.notifier.ready(self.status_reporter.line())

    def _report_ready(self) -> None:
        document = self.status_reporter.document()
        shown = ("mountpoint", "engine", "state", "raw", "partitions", "withheld", "fingerprint", "interval_seconds")
        log.info("serving", version=__version__, **{name: document[name] for name in shown})
        self.notifier.ready(self.status_reporter.line())
        self.on_ready()

    def _let_go(self) -> None:
        """Make sure that nothing is left mounted, whatever went wrong, and free the session."""
        if not self.ended.is_set() and not self.stop_asked.is_set():
            detach(self.config.mountpoint)
        if self.kernel_cache.close():
            self.engine.close()


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one (setrlimit(2)) and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
