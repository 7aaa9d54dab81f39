"""The composition root: checks, builds the objects in order, and runs them in one nursery until told to stop."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import structlog
import trio

import readyfs
from readyfs.catalog.build import CatalogShape
from readyfs.config import Config
from readyfs.control.protocol import socket_path
from readyfs.control.runtime_dir import prepare_runtime_dir
from readyfs.control.server import serve_control
from readyfs.daemon.mount_lock import hold_mount_lock
from readyfs.daemon.service_manager import ServiceManager
from readyfs.daemon.shutdown import Shutdown
from readyfs.daemon.status import StatusReporter
from readyfs.daemon.watchdog import feed_watchdog
from readyfs.errors import ExitCode, NotRunningError, RefreshFailedError
from readyfs.fuse.choice import EngineWord, ReadsWord, engines_to_try
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.choose_reads import FileSample, sample_files
from readyfs.fuse.direct.engine import DirectEngine
from readyfs.fuse.direct.in_flight import InFlight
from readyfs.fuse.engine import Engine, KernelLacksError
from readyfs.fuse.kernel_read_ahead import raise_read_ahead
from readyfs.fuse.mount_options import render_mount_options
from readyfs.fuse.mount_point import Reserved, check_fuse, detach, prepare_mount_point
from readyfs.fuse.mount_table import mounts_at
from readyfs.fuse.notifications import Notifications
from readyfs.fuse.pyfuse3.engine import Pyfuse3Engine, Pyfuse3Notifier
from readyfs.fuse.pyfuse3.raw_calls import RawCalls
from readyfs.fuse.raw_volumes import volume_finder
from readyfs.life import Life, Phase
from readyfs.log import check_log_file
from readyfs.metrics.textfile import MetricsFile, check_metrics_file
from readyfs.privileges import Capability, drop_privileges, has_capability
from readyfs.raw.guard import GuardedRawStore
from readyfs.raw.open import open_raw
from readyfs.raw.store import RawStore
from readyfs.refresh.loader import CatalogLoader, Loaded
from readyfs.refresh.refresher import Refresher, Schedule
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.postgres.listen import Listener
from readyfs.state.store import StateStore
from readyfs.state.url import sqlite_path
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.look_ahead import ReadAhead
from readyfs.vfs.runs import Runs

log = structlog.get_logger("readyfs.daemon")

PATIENCE_BEYOND_TIMEOUTS_S: Final = 10.0
"""A state store that takes longer than two of its timeouts and this has not just been slow."""
SWITCH_INTERVAL_S: Final = 0.0007
"""How long a refresh may keep the interpreter from a request, which needs it two or three times. With the default of
5 ms open's p99 was 50 ms while 1,000,000 rows were read; less than this makes such a refresh much slower."""
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""What the kernel holds is many small objects without cycles, which full collections would walk again and again."""
SAMPLE_PATIENCE_S: Final = 5.0
"""How long a look at some files may hold up the mount."""
SPARE_DESCRIPTORS: Final = 128
"""Kept back from clients: the state store, the log, sockets, and run directories while they are listed."""


def run(config: Config, on_ready: Callable[[], None]) -> ExitCode:
    """Mount and serve until asked to stop; `on_ready` is called once when mounted, loaded and served.

    Raises `UserError`, or an exception group that holds one, if it cannot start; nothing is left mounted then.
    """
    # What can be refused is refused before anything is made; the mount point is looked at again under the lock.
    check_fuse(privileged=has_capability(Capability.SYS_ADMIN), allow_other=config.allow_other)
    unguarded = open_raw(config.raw, config.raw_layout)
    unguarded.check()
    volume_of = volume_finder(Path(config.raw), config.raw_layout)
    raw = GuardedRawStore(unguarded, volume_of, limit=(config.raw_threads + 1) // 2)
    reserved = list(_reserved(config))
    prepare_mount_point(config.mountpoint, reserved)
    listener = None
    if config.state_listen is not None:
        listener = Listener(config.state, config.state_listen, config.state_timeout_s)
    store = open_state(config.state, config.table, config.filters, config.state_timeout_s, config.full_interval_s)
    loader = CatalogLoader(store, CatalogShape(config.layout, config.raw_layout, config.files, config.required_files))
    try:
        prepare_runtime_dir(config.runtime_dir)
        with hold_mount_lock(config.state_dir, config.mountpoint):
            prepare_mount_point(config.mountpoint, reserved)
            drop_privileges()  # before the first thread
            if config.log_file is not None:
                check_log_file(config.log_file)  # what could be written a moment ago may belong to somebody else
            if config.metrics_file is not None:
                check_metrics_file(config.metrics_file)
            exit_code = trio.run(partial(_serve, config, raw, store, listener, loader, on_ready))
            if loader.is_busy:
                _leave_at_once(exit_code)
    finally:
        if not loader.is_busy:
            store.close()
    return exit_code


def _leave_at_once(exit_code: ExitCode) -> NoReturn:
    """End the process although a thread is inside a state store that does not answer: closing it would wait, too."""
    logging.shutdown()
    os._exit(exit_code)


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
    if config.metrics_file is not None:
        yield Reserved(config.metrics_file, "metrics file")
    if config.config_file is not None:
        yield Reserved(config.config_file, "config file")
    yield Reserved(Path(readyfs.__file__).parent, "program")


@dataclass(slots=True)
class _Wishes:
    """What signals and clients ask for, from the first moment on; `reload` is None until there is a mount."""

    stop: trio.Event = field(default_factory=trio.Event)
    reload: Callable[[], Awaitable[None]] | None = None

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Turn signals into wishes until cancelled."""
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping", reason=signal.Signals(number).name)
                    self.stop.set()
                elif self.reload is not None:
                    nursery.start_soon(self.reload)


async def _serve(
    config: Config,
    raw: RawStore,
    store: StateStore,
    listener: Listener | None,
    loader: CatalogLoader,
    on_ready: Callable[[], None],
) -> ExitCode:
    wishes = _Wishes()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wishes.obey, signals)
            freshness = Freshness(can_go_stale=config.max_staleness_s is not None)
            first = await _load_first(loader, freshness, wishes.stop)
            exit_code = ExitCode.OK
            if first is not None and not first.catalog.partitions and config.filters != Filters():
                log.warning("the filters leave nothing to serve")
            if first is not None:
                sample = await _sample(config, first, raw)
                try:
                    served = _mount(config, store.label, raw, first, freshness, sample)
                finally:
                    sample.close()
                labels = (store.label, raw.label)
                mount = _build(config, served, labels, loader, first, freshness, wishes, on_ready)
                if listener is not None:
                    nursery.start_soon(listener.run, mount.refresher.nudge)
                exit_code = await mount.run()
            nursery.cancel_scope.cancel()
    return exit_code


async def _sample(config: Config, first: Loaded, raw: RawStore) -> FileSample:
    """Look at some files if the way of reading depends on them; a raw store that hangs is not waited for."""
    if config.engine is EngineWord.PYFUSE3 or config.reads is not ReadsWord.AUTO:
        return FileSample()
    with trio.move_on_after(SAMPLE_PATIENCE_S):
        return await trio.to_thread.run_sync(sample_files, first.catalog, raw, abandon_on_cancel=True)
    return FileSample()


async def _load_first(loader: CatalogLoader, freshness: Freshness, stop: trio.Event) -> Loaded | None:
    """Load the catalog to start with; return None if a stop is asked before it is there."""
    first: Loaded | None = None
    async with trio.open_nursery() as nursery:

        async def cancel_when_asked() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel_when_asked)
        began = freshness.start()
        first = await trio.to_thread.run_sync(loader.load_first, abandon_on_cancel=True)
        freshness.succeeded(began)
        nursery.cancel_scope.cancel()
    gc.freeze()  # what is loaded stays: no collection need walk it again
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return first


@dataclass(frozen=True, slots=True)
class _Served:
    """The filesystem and what joins it to the kernel."""

    filesystem: Filesystem
    notifications: Notifications
    engine: Engine
    engine_reason: str


def _mount(
    config: Config, state_label: str, raw: RawStore, first: Loaded, freshness: Freshness, sample: FileSample
) -> _Served:
    """Mount with the engine that was asked for, or with the first that the kernel offers enough for."""
    options = render_mount_options(state_label, allow_other=config.allow_other)
    reason = "as asked for" if config.engine is not EngineWord.AUTO else "the kernel offers what it needs"
    engines = engines_to_try(config.engine)
    for word in engines:
        served = _join(config, raw, first, freshness, sample, word, reason)
        try:
            served.engine.mount(str(config.mountpoint), options)
        except KernelLacksError as error:
            served.notifications.close()
            if word is engines[-1]:
                raise
            log.warning(
                "the kernel lacks what this engine needs, trying the next", engine=word.value, cause=error.message
            )
            reason = f"{word.value} cannot serve: {error.message}"
        except BaseException:
            served.notifications.close()
            raise
        else:
            return served
    raise AssertionError("unreachable: there is always an engine to try")


def _join(
    config: Config,
    raw: RawStore,
    first: Loaded,
    freshness: Freshness,
    sample: FileSample,
    word: EngineWord,
    reason: str,
) -> _Served:
    """Join a filesystem over a loaded catalog with an engine."""
    channel = Channel()
    notifications = Notifications(channel if word is EngineWord.DIRECT else Pyfuse3Notifier())
    filesystem = Filesystem(
        first.catalog,
        raw,
        Runs(raw, [os.fsencode(name) for name in config.required_files], FileFilter(config.files)),
        Presentation(config.uid, config.gid, config.file_mode, config.dir_mode, config.name_timeout_s, config.xattrs),
        freshness,
        max_open_files=_raise_descriptor_limit() - SPARE_DESCRIPTORS,
        on_damage=notifications.invalidate_damaged,
        # On the thread that read the request, a look that nobody asked for is no cheaper than a later one.
        read_ahead=None if word is EngineWord.DIRECT else ReadAhead(),
    )
    engine: Engine
    if word is EngineWord.DIRECT:
        in_flight = InFlight(config.raw_timeout_s)
        privileged = has_capability(Capability.SYS_ADMIN)
        engine = DirectEngine(
            channel, filesystem, in_flight, config.raw_threads, config.reads, sample, privileged=privileged
        )
    else:
        engine = Pyfuse3Engine(filesystem, RawCalls(config.raw_threads, config.raw_timeout_s))
    return _Served(filesystem, notifications, engine, reason)


def _build(
    config: Config,
    served: _Served,
    labels: tuple[str, str],
    loader: CatalogLoader,
    first: Loaded,
    freshness: Freshness,
    wishes: _Wishes,
    on_ready: Callable[[], None],
) -> _Mount:
    """Join what refreshes, reports and ends a mount; `labels` name the state store and the raw store."""
    schedule = Schedule(
        config.interval_s, config.max_staleness_s, patience_s=2 * config.state_timeout_s + PATIENCE_BEYOND_TIMEOUTS_S
    )
    service_manager, life = ServiceManager(), Life()

    def tell() -> None:
        service_manager.status(status.line())
        if metrics is not None:
            metrics.wake()

    refresher = Refresher(
        loader,
        first,
        served.filesystem,
        served.notifications,
        freshness,
        schedule,
        on_outcome=tell,
    )
    status = StatusReporter(
        config.mountpoint,
        *labels,
        schedule,
        served.filesystem,
        freshness,
        refresher,
        served.engine,
        served.notifications,
        served.engine_reason,
        life,
        time.monotonic(),
    )
    served.filesystem.serve_status(status.render)
    metrics = None if config.metrics_file is None else MetricsFile(config.metrics_file, status.document)
    return _Mount(
        config, served.engine, served.notifications, refresher, status, metrics, life, service_manager, wishes, on_ready
    )


@dataclass(slots=True)
class _Mount:
    """One mount from the moment it stands to the moment it is gone."""

    config: Config
    engine: Engine
    notifications: Notifications
    refresher: Refresher
    status_reporter: StatusReporter
    metrics: MetricsFile | None
    life: Life
    service_manager: ServiceManager
    wishes: _Wishes
    on_ready: Callable[[], None]
    ended: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> ExitCode:
        """Serve until stopped or unmounted; return the exit code of the daemon."""
        exit_code = ExitCode.OK
        try:
            async with trio.open_nursery() as nursery:
                mounts = mounts_at(self.config.mountpoint)
                nursery.start_soon(self._serve_requests)
                await self.engine.wait_served(self.ended)
                if mounts:
                    raise_read_ahead(mounts[-1].device)
                socket = socket_path(self.config.runtime_dir, self.config.mountpoint)
                await nursery.start(serve_control, socket, self)
                nursery.start_soon(self.refresher.run)
                nursery.start_soon(feed_watchdog, self.service_manager, self.config.mountpoint, self.notifications)
                if self.metrics is not None:
                    nursery.start_soon(self.metrics.run)
                self.wishes.reload = self._reload
                self._report_ready()
                await self.wishes.stop.wait()
                self.service_manager.stopping()
                device = mounts[-1].device if mounts else None
                shutdown = Shutdown(
                    self.config.mountpoint, device, self.config.drain_s, self.engine, self.ended, self.life
                )
                exit_code = await shutdown.run()
                nursery.cancel_scope.cancel()
        finally:
            self._let_go()
        if self.metrics is not None and exit_code is ExitCode.OK:
            await self.metrics.remove()
        log.info("stopped", exit_code=int(exit_code))
        return exit_code

    def status(self) -> dict[str, object]:
        """Answer a client's status request."""
        return self.status_reporter.document()

    async def refresh(self, wait: bool) -> dict[str, object]:
        """Answer a client's refresh request.

        Raises `RefreshFailedError` if it ended in an outage, `NotRunningError` if the mount is on its way out.
        """
        if self.life.phase is not Phase.SERVING:
            raise NotRunningError(
                f"the mount is {self.life.phase.value}: no path follows the state any more",
                "wait for its end with `readyfs umount`, then mount again",
            )
        if not wait:
            self.refresher.trigger()
            return {"waited": False}
        outcome = await self.refresher.refresh()
        if outcome.error is not None:
            stale = self.status_reporter.freshness.stale
            raise RefreshFailedError(
                f"the state cannot be read: {outcome.error}",
                "paths fail with EIO, because the last good catalog is older than --max-staleness allows"
                if stale
                else "the last good catalog is still served",
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
        """Begin to stop, as a client asked."""
        log.info("stopping", reason="readyfs umount")
        self.wishes.stop.set()

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
        document = self.status_reporter.document()
        shown = (
            "mountpoint",
            "engine",
            "reads",
            "state",
            "raw",
            "partitions",
            "withheld",
            "fingerprint",
            "interval_seconds",
        )
        log.info("serving", version=readyfs.__version__, **{name: document[name] for name in shown})
        self.service_manager.ready(self.status_reporter.line())
        self.on_ready()

    def _let_go(self) -> None:
        """Make sure that nothing is left mounted, whatever went wrong, and free the session."""
        if not self.ended.is_set() and self.life.phase is Phase.SERVING:
            detach(self.config.mountpoint)
        if self.notifications.close():
            self.engine.close()


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one (setrlimit(2)) and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
