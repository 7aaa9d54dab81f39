"""The daemon's composition root: it checks, builds the objects in order, and runs them in one nursery.

`engine_choice.py` mounts, `mount.py` serves until a stop is asked for (`signals.py`), `shutdown.py` takes it down.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import structlog
import trio

import readyfs
from readyfs.catalog.build import CatalogShape
from readyfs.clock import boottime_s
from readyfs.config.config import Config
from readyfs.control.public_dir import prepare_public_dir
from readyfs.control.runtime_dir import prepare_runtime_dir
from readyfs.daemon.answers import Answers
from readyfs.daemon.engine_choice import Served, mount_with_engine
from readyfs.daemon.guarding import make_guard
from readyfs.daemon.keeping import make_history, make_registry
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.mount import RunningMount
from readyfs.daemon.mount_lock import hold_mount_lock
from readyfs.daemon.public_door import make_public_door
from readyfs.daemon.service_manager import ServiceManager
from readyfs.daemon.sharing import Sharing, make_sharing
from readyfs.daemon.signals import Wishes
from readyfs.daemon.status import StatusReporter
from readyfs.errors import ExitCode
from readyfs.fuse.availability import check_fuse
from readyfs.fuse.direct.choose_loop import LoopChoice, choose_loop
from readyfs.fuse.mount_point import Reserved, prepare_mount_point
from readyfs.fuse.raw_volumes import volume_finder
from readyfs.history.history import History
from readyfs.life import Life
from readyfs.log import check_log_file
from readyfs.metrics.textfile import MetricsFile, check_metrics_file
from readyfs.privileges import Capability, drop_privileges, has_capability
from readyfs.raw.guard import GuardedRawStore
from readyfs.raw.open import open_raw
from readyfs.raw.store import RawStore
from readyfs.refresh.emptiness import watch_emptiness
from readyfs.refresh.loader import CatalogLoader, Loaded
from readyfs.refresh.refresher import Refresher
from readyfs.refresh.retraction_guard import RetractionGuard
from readyfs.refresh.schedule import Schedule
from readyfs.state.open import open_state
from readyfs.state.postgres.listen import Listener
from readyfs.state.store import StateStore
from readyfs.state.url import sqlite_path
from readyfs.vfs.file_times import FileTimes
from readyfs.vfs.freshness import Freshness

log = structlog.get_logger("readyfs.daemon")

SOCKET_LINK: Final = b"socket"
"""In the control directory, the link to the public socket."""
PATIENCE_BEYOND_TIMEOUTS_S: Final = 10.0
"""A state store that takes longer than two of its timeouts and this has not just been slow."""
SWITCH_INTERVAL_S: Final = 0.0007
"""How long a refresh may keep the interpreter from a request, which needs it two or three times. With the default of
5 ms open's p99 was 50 ms while 1,000,000 rows were read; less than this makes such a refresh much slower."""
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""What the kernel holds is many small objects without cycles, which full collections would walk again and again."""


def run(config: Config, on_ready: Callable[[], None]) -> ExitCode:
    """Mount and serve until asked to stop; `on_ready` is called once when mounted, loaded and served.

    Raises `UserError`, or an exception group that holds one, if it cannot start; nothing is left mounted then.
    """
    # What can be refused is refused before anything is made; the mount point is looked at again under the lock.
    check_fuse(privileged=has_capability(Capability.SYS_ADMIN), allow_other=config.allow_other)
    loop = choose_loop(config.engine_loop)
    unguarded = open_raw(config.raw, config.raw_layout, loop.compiled)
    unguarded.check()
    volume_of = volume_finder(Path(config.raw), config.raw_layout)
    raw = GuardedRawStore(unguarded, volume_of, limit=(config.raw_threads + 1) // 2)
    reserved = list(_reserved(config))
    prepare_mount_point(config.mountpoint, reserved)
    listener = None
    if config.state_listen is not None:
        listener = Listener(config.state, config.state_listen, config.state_timeout_s)
    store = open_state(config.state, config.table, config.filters, config.state_timeout_s, config.full_interval_s)
    emptiness = watch_emptiness(config.state, config.table, config.state_timeout_s)
    shape = _catalog_shape(config)
    loader = CatalogLoader(store, shape, emptiness=emptiness)
    try:
        prepare_runtime_dir(config.runtime_dir)
        prepare_public_dir(config.public_dir)
        with hold_mount_lock(config.state_dir, config.mountpoint):
            prepare_mount_point(config.mountpoint, reserved)
            drop_privileges()  # before the first thread
            if config.log_file is not None:
                check_log_file(config.log_file)  # what could be written a moment ago may belong to somebody else
            if config.metrics_file is not None:
                check_metrics_file(config.metrics_file)
            registry = make_registry(config)  # it may refuse, and the history lets go of what no pin holds
            history = make_history(config, store.label, raw.label, shape)
            sharing = make_sharing(config, shape, history, registry)
            history.open()
            kept = KeptCatalogs(history, registry, None if sharing is None else sharing.views)
            try:
                exit_code = trio.run(
                    partial(_serve, config, loop, raw, store, listener, loader, history, kept, sharing, on_ready)
                )
            finally:
                history.close()
            if loader.is_busy or registry.is_saving:
                _leave_at_once(exit_code)
    finally:
        if not loader.is_busy:
            store.close()
    return exit_code


def _leave_at_once(exit_code: ExitCode) -> NoReturn:
    """End the process although a thread waits for a state store or a disk that does not answer; so would its end."""
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
    yield Reserved(config.public_dir, "directory of the public sockets")
    if config.log_file is not None:
        yield Reserved(config.log_file, "log file")
    if config.metrics_file is not None:
        yield Reserved(config.metrics_file, "metrics file")
    if config.config_file is not None:
        yield Reserved(config.config_file, "config file")
    yield Reserved(Path(readyfs.__file__).parent, "program")


async def _serve(
    config: Config,
    loop: LoopChoice,
    raw: RawStore,
    store: StateStore,
    listener: Listener | None,
    loader: CatalogLoader,
    history: History,
    kept: KeptCatalogs,
    sharing: Sharing | None,
    on_ready: Callable[[], None],
) -> ExitCode:
    wishes = Wishes()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wishes.obey, signals)
            freshness = Freshness(can_go_stale=config.max_staleness_s is not None)
            first = await _load_first(loader, freshness, wishes.stop)
            exit_code = ExitCode.OK
            guard = make_guard(config, store.label, freshness)
            if first is not None and guard is not None:
                await guard.admit_first(first, config.accept)
            if first is not None and first.emptiness is not None and config.log_file is not None:
                # The log says it in the file alone, and whoever gave the command is still there.
                sys.stderr.write(f"readyfs: warning: {first.emptiness.cause}; {first.emptiness.remedy}\n")
            if first is not None:
                served = mount_with_engine(config, loop, store.label, raw, first, freshness, kept)
                history.record(first.catalog, time.time_ns())
                kept.bury_lost_pins()
                labels = (store.label, raw.label)
                mount = _build(
                    config,
                    served,
                    labels,
                    listener,
                    loader,
                    first,
                    freshness,
                    guard,
                    history,
                    kept,
                    sharing,
                    wishes,
                    on_ready,
                )
                if listener is not None:
                    nursery.start_soon(listener.run, mount.refresher.nudge)
                exit_code = await mount.run()
            nursery.cancel_scope.cancel()
    return exit_code


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


def _build(
    config: Config,
    served: Served,
    labels: tuple[str, str],
    listener: Listener | None,
    loader: CatalogLoader,
    first: Loaded,
    freshness: Freshness,
    guard: RetractionGuard | None,
    history: History,
    kept: KeptCatalogs,
    sharing: Sharing | None,
    wishes: Wishes,
    on_ready: Callable[[], None],
) -> RunningMount:
    """Join what refreshes, reports and ends a mount; `labels` name the state store and the raw store."""
    schedule = Schedule(
        config.interval_s, config.max_staleness_s, patience_s=2 * config.state_timeout_s + PATIENCE_BEYOND_TIMEOUTS_S
    )
    service_manager, life = ServiceManager(), Life()

    def tell() -> None:
        service_manager.status(status.line())
        if metrics is not None:
            metrics.wake()
        public.watch.announce()

    refresher = Refresher(
        loader,
        first,
        served.filesystem,
        served.notifications,
        freshness,
        schedule,
        on_outcome=tell,
        guard=guard,
        history=history,
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
        boottime_s(),
        listener,
        history,
        sharing,
    )
    if sharing is not None:
        sharing.views.like = lambda: served.filesystem.in_force.catalog
    served.filesystem.serve_status(status.render)
    metrics = None if config.metrics_file is None else MetricsFile(config.metrics_file, status.document)
    answers = Answers(status, refresher, life, wishes.stop)
    public = make_public_door(config, served, answers, history, kept, sharing)
    served.filesystem.serve_links({SOCKET_LINK: os.fsencode(public.path)})
    return RunningMount(
        config.mountpoint,
        config.runtime_dir,
        config.drain_s,
        served.engine,
        served.notifications,
        refresher,
        status,
        answers,
        public,
        metrics,
        life,
        service_manager,
        wishes,
        on_ready,
    )


def _catalog_shape(config: Config) -> CatalogShape:
    published_times = config.file_times is FileTimes.PUBLISHED
    return CatalogShape(config.layout, config.raw_layout, config.files, config.required_files, published_times)
