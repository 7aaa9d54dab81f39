"""The public side of a mount, put together: its socket, who may ask there, what is answered, and the end of leases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from readyfs.config.config import Config
from readyfs.consumer.facts import Rules
from readyfs.consumer.placing import PlacedReader
from readyfs.control.peer import Entrance
from readyfs.control.protocol import socket_path
from readyfs.control.public_server import serve_public
from readyfs.daemon.answers import Answers
from readyfs.daemon.broken_answers import BrokenAnswers
from readyfs.daemon.catalog_watch import CatalogWatch
from readyfs.daemon.engine_choice import Served
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.latest_answers import LatestAnswers
from readyfs.daemon.leases import Leases
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.public_answers import PublicAnswers
from readyfs.daemon.public_changes import PublicChanges
from readyfs.daemon.public_desk import PublicDesk
from readyfs.daemon.public_questions import PublicQuestions
from readyfs.daemon.reader_pool import ReaderPool
from readyfs.daemon.reasons import DEADLINE_S, Reasons
from readyfs.daemon.sharing import Sharing
from readyfs.history.history import History
from readyfs.state.open import open_reader
from readyfs.state.reader import StateReader
from readyfs.vfs.file_filter import FileFilter

MOST_S: Final = 8.0
"""How long a question may wait for the pin store."""


@dataclass(frozen=True, slots=True)
class PublicDoor:
    """Serves everybody who may enter the mount."""

    path: Path
    mountpoint: Path
    entrance: Entrance
    desk: PublicDesk
    watch: CatalogWatch
    leases: Leases
    sharing: Sharing | None

    async def serve(
        self, device: tuple[int, int] | None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer, and end leases, until cancelled; started once clients can connect.

        `device` is the mount's, as the kernel's table of mounts has it.
        """
        number = None if device is None else os.makedev(*device)
        async with trio.open_nursery() as nursery:
            serve = partial(serve_public, device=number)
            await nursery.start(serve, self.path, self.mountpoint, self.entrance, self.desk)
            nursery.start_soon(self.leases.run)
            if self.sharing is not None:
                nursery.start_soon(self.sharing.run)
            nursery.start_soon(self.desk.changes.transfers.run)
            task_status.started()


def make_public_door(
    config: Config,
    served: Served,
    answers: Answers,
    history: History,
    kept: KeptCatalogs,
    sharing: Sharing | None,
) -> PublicDoor:
    """Return the public side of a mount; `answers` are those of its control socket."""
    filesystem, registry = served.filesystem, kept.registry
    memory = PinnedMemory(history) if sharing is None else PinnedMemory(history, sharing.views.in_memory)
    entrance = Entrance(config.uid, config.gid, config.dir_mode, config.allow_other, os.geteuid())
    public = PublicAnswers(
        lambda: filesystem.in_force.catalog,
        lambda: answers.refresh(wait=True, accept=None),
        answers.status_reporter.freshness,
        history,
        registry,
        memory,
        entrance,
        answers.life,
        None if sharing is None else sharing.pins,
    )
    shed = _keep_all if sharing is None else partial(sharing.shed, kept, memory, config.pin_memory)
    leases = Leases(registry, kept, memory, history.trim, filesystem.plan_expiry, served.notifications, shed)
    path = socket_path(config.public_dir, config.mountpoint, "--public-dir")
    watch = CatalogWatch(lambda: filesystem.in_force.catalog.fingerprint)
    reasons = _make_reasons(config, served, answers, kept, sharing)
    latest = LatestAnswers(lambda: filesystem.in_force.catalog, answers.status_reporter.freshness, answers.refresher)
    questions = PublicQuestions(watch, reasons, latest, BrokenAnswers(filesystem), answers.life)
    desk = PublicDesk(public, questions, PublicChanges(public, history, watch))
    return PublicDoor(path, config.mountpoint, entrance, desk, watch, leases, sharing)


def _make_reasons(
    config: Config, served: Served, answers: Answers, kept: KeptCatalogs, sharing: Sharing | None
) -> Reasons:
    def open_placed() -> StateReader:
        reader = open_reader(config.state, config.table, config.filters, min(config.state_timeout_s, DEADLINE_S))
        return PlacedReader(reader, config.layout, config.raw_layout, config.table.ready)

    # A client waits for ten seconds, which have to do for all that is asked.
    store_s = 0.0 if sharing is None else min(config.pin_store_timeout_s + 1.0, MOST_S)
    return Reasons(
        Rules(config.filters, config.layout, config.show_error_messages),
        FileFilter(config.files),
        served.filesystem,
        answers.status_reporter.freshness,
        answers.refresher,
        kept,
        ReaderPool(open_placed),
        max(DEADLINE_S, store_s),
        _nothing if sharing is None else sharing.views.why_not,
    )


def _keep_all() -> None:
    """Let go of nothing, where no view was found."""


def _nothing(fingerprint: str) -> None:
    """Return that no store refuses a view, where there is none."""
