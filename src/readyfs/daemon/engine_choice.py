"""The choice of the engine: which one serves a mount, what joins it to a filesystem, and the mounting itself.

The composition root calls it once, between the first load and the moment the mount stands. With `--engine auto` the
engines are tried in turn: the kernel says only at the mount whether it offers what one needs.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from readyfs.config.config import Config
from readyfs.fuse.availability import check_pyfuse3
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.choose_loop import LoopChoice
from readyfs.fuse.direct.engine import DirectEngine
from readyfs.fuse.direct.in_flight import InFlight
from readyfs.fuse.direct.stacking import stack_depth
from readyfs.fuse.engine import Engine, KernelLacksError
from readyfs.fuse.engine_words import EngineWord, engines_to_try
from readyfs.fuse.mount_options import render_mount_options
from readyfs.fuse.mount_table import read_mount_table
from readyfs.fuse.notifications import Notifications, Notifier
from readyfs.privileges import Capability, has_capability
from readyfs.raw.store import RawStore
from readyfs.refresh.loader import Loaded
from readyfs.vfs.attributes import Presentation
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.look_ahead import LookAhead
from readyfs.vfs.packed_rows import PackedRows
from readyfs.vfs.runs import Runs
from readyfs.vfs.views import ViewSource

log = structlog.get_logger("readyfs.daemon")

SPARE_DESCRIPTORS: Final = 256
"""Kept back from readers: the state store, the log, sockets, and run directories while they are listed.

Where there are not many more than that, three quarters are.
"""


@dataclass(frozen=True, slots=True)
class Served:
    """The filesystem and what joins it to the kernel."""

    filesystem: Filesystem
    notifications: Notifications
    engine: Engine
    engine_reason: str


def mount_with_engine(
    config: Config,
    loop: LoopChoice,
    state_label: str,
    raw: RawStore,
    first: Loaded,
    freshness: Freshness,
    views: ViewSource,
) -> Served:
    """Mount with the engine that was asked for, or with the first that the kernel offers enough for."""
    options = render_mount_options(state_label, allow_other=config.allow_other)
    reason = "as asked for" if config.engine is not EngineWord.AUTO else "the kernel offers what it needs"
    engines = engines_to_try(config.engine)
    for word in engines:
        if word is EngineWord.PYFUSE3:
            check_pyfuse3(reason)
        served = _join(config, loop, raw, first, freshness, views, word, reason)
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
    loop: LoopChoice,
    raw: RawStore,
    first: Loaded,
    freshness: Freshness,
    views: ViewSource,
    word: EngineWord,
    reason: str,
) -> Served:
    """Join a filesystem over a loaded catalog with an engine."""
    channel = Channel()
    notifications = Notifications(channel if word is EngineWord.DIRECT else _pyfuse3_notifier())
    filesystem = Filesystem(
        first.catalog,
        raw,
        Runs(raw, [os.fsencode(name) for name in config.required_files], FileFilter(config.files)),
        Presentation(
            config.uid,
            config.gid,
            config.file_mode,
            config.dir_mode,
            config.name_timeout_s,
            config.xattrs,
            config.file_times,
        ),
        freshness,
        max_open_files=_open_files_below(_raise_descriptor_limit()),
        on_damage=notifications.invalidate_damaged,
        # On the thread that read the request, a look that nobody asked for is no cheaper than a later one.
        look_ahead=None if word is EngineWord.DIRECT else LookAhead(),
        views=views,
        make_rows=PackedRows if loop.compiled is None else loop.compiled.Rows,
    )
    engine: Engine
    if word is EngineWord.DIRECT:
        in_flight = InFlight(config.raw_timeout_s)
        privileged = has_capability(Capability.SYS_ADMIN)
        depth = stack_depth(Path(config.raw), read_mount_table())
        engine = DirectEngine(
            channel,
            filesystem,
            in_flight,
            config.raw_threads,
            config.reads,
            depth,
            os.fsencode(Path(config.raw).absolute()),
            loop,
            pushes=config.push,
            privileged=privileged,
        )
    else:
        from readyfs.fuse.pyfuse3.engine import Pyfuse3Engine
        from readyfs.fuse.pyfuse3.raw_calls import RawCalls

        engine = Pyfuse3Engine(filesystem, RawCalls(config.raw_threads, config.raw_timeout_s))
    return Served(filesystem, notifications, engine, reason)


def _pyfuse3_notifier() -> Notifier:
    # Imported by those whom it serves: without libfuse it cannot be, and the direct engine needs neither.
    from readyfs.fuse.pyfuse3.notifier import Pyfuse3Notifier

    return Pyfuse3Notifier()


def _open_files_below(limit: int) -> int:
    """Return how many raw files may be open for readers: some always may."""
    return max(limit - SPARE_DESCRIPTORS, limit // 4)


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one (setrlimit(2)) and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
