"""What a mount shares with others through a pin store: the views that it finds and the pins that it puts there."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
import trio

from readyfs.catalog.build import CatalogShape
from readyfs.config.config import Config
from readyfs.config.own_files import is_below
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.pin_store_link import PinStoreLink
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.shared_pins import SharedPins
from readyfs.daemon.shared_views import MOST_IN_MEMORY, SharedViews
from readyfs.errors import HistoryError, PinStoreAwayError, PinStoreError
from readyfs.history.history import History
from readyfs.own_file import UnreadableFileError, name_mount, read_own_file, replace_own_file
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Identity
from readyfs.pins.registry import Registry
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.daemon")

TICK_S: Final = 1.0
ROUND_S: Final = 10.0
"""How often the store is told of leases that went on, and asked about what was found."""
COLLECT_S: Final = 60.0
"""How often to see whether it is time to remove what nobody needs; the store knows when somebody did."""
LEAST_GRACE_S: Final = 3600.0
"""How long what nobody needs stays at least, so that whoever is about to use it can."""
_HOLDER: Final = re.compile(rb"[0-9a-f]{32}")


@dataclass(slots=True)
class Sharing:
    """The pin store of one mount."""

    link: PinStoreLink
    views: SharedViews
    pins: SharedPins
    _limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))

    @property
    def shown(self) -> str:
        """Where the store is, for people."""
        return self.link.shown

    @property
    def problem(self) -> str | None:
        """Why the store cannot be asked or written, None if it can."""
        return self.link.problem

    @property
    def pin_count(self) -> int:
        """How many pins of this mount the store has."""
        return self.pins.count()

    @property
    def view_count(self) -> int:
        """How many views that were found there are held."""
        return len(self.views.held())

    async def run(self) -> None:
        """Keep this mount and the store of one mind until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect)
            last_s = -ROUND_S
            while True:
                if self.views.is_due() or trio.current_time() - last_s >= ROUND_S:
                    last_s = trio.current_time()
                    await trio.to_thread.run_sync(self._keep, limiter=self._limiter, abandon_on_cancel=True)
                await trio.sleep(TICK_S)

    def _keep(self) -> None:
        # Each for itself: a store that is full cannot be written, and tells all the same which views are over.
        for step in (self.link.try_again, self.views.look_again, self.views.tell_used, self.pins.keep):
            try:
                step()
            except PinStoreError as error:
                # Who reaches the store has told of it once, and tells again when it is over.
                log.debug("the pin store cannot be kept up to date", error=error.message)
            except Exception:  # a bug must not end the mount
                log.exception("keeping the pin store up to date failed unexpectedly")

    async def _collect(self) -> None:
        limiter = trio.CapacityLimiter(1)
        while True:
            await trio.sleep(COLLECT_S)
            try:
                await trio.to_thread.run_sync(self.link.collect, limiter=limiter, abandon_on_cancel=True)
            except PinStoreError as error:
                log.debug("the pin store cannot be cleared", error=error.message)
            except Exception:  # a bug must not end the mount
                log.exception("clearing the pin store failed unexpectedly")

    def shed(self, kept: KeptCatalogs, memory: PinnedMemory, limit: int) -> None:
        """Let go of the catalogs of found views that take too much memory; they are read again when they are used."""
        for fingerprint in memory.beyond(limit, MOST_IN_MEMORY):
            self.views.let_go(fingerprint)
            kept.let_go(fingerprint)


def make_sharing(config: Config, shape: CatalogShape, history: History, registry: Registry) -> Sharing | None:
    """Return what a mount shares, None if it has no pin store; raise `PinStoreError` for one that can never be used.

    What may be over later is a warning. Blocking, up to the deadline of the store.
    """
    if config.pin_store is None:
        return None
    identity = Identity(config.raw_id, _settings(config, shape))
    grace_s = max(config.pin_grace_s, LEAST_GRACE_S)
    store = PinStore(config.pin_store, identity, find_holder(config.state_dir, config.mountpoint), shape, grace_s)
    link = PinStoreLink(store, config.pin_store_timeout_s)

    def check() -> None:
        check_place(store.directory, Path(config.raw), "raw root")
        check_place(store.directory, config.mountpoint, "mount point")
        store.check()

    try:
        link.write(check, config.pin_store_timeout_s)
    except PinStoreAwayError:
        pass  # the link has told of it, and it is tried again
    views = SharedViews(link, config.filters, registry.clock, config.pin_grace_s)
    return Sharing(link, views, SharedPins(link, registry, history))


def check_place(store: Path, other: Path, what: str) -> None:
    """Raise `PinStoreError` if a pin store lies where it would be read as data, or hides or is hidden by the mount."""
    if is_below(store, other) or is_below(other, store):
        raise PinStoreError(
            f"the pin store {escape_text(str(store))} and the {what} {escape_text(str(other))} lie in one another",
            "choose another directory with --pin-store",
        )


def _settings(config: Config, shape: CatalogShape) -> dict[str, str]:
    """Return what goes into the fingerprint, by the names of the settings."""
    return {
        "layout": shape.layout.template,
        "raw-layout": shape.raw_layout.template,
        "raw-encoding": shape.raw_layout.encoding.value,
        "files": repr(sorted(shape.files)),
        "required-files": repr(sorted(shape.required_files)),
        "file-times": config.file_times.value,
    }


def find_holder(state_dir: Path, mountpoint: Path) -> str:
    """Return what tells a mount from every other one: made once, and kept; raise `HistoryError`. Blocking."""
    path = state_dir / "pin-store" / f"{name_mount(mountpoint)}.holder"
    try:
        content = read_own_file(path, 64)
        if content is not None and _HOLDER.fullmatch(content.strip()):
            return content.strip().decode("ascii")
        holder = secrets.token_hex(16)
        replace_own_file(path, holder.encode() + b"\n")
    except (OSError, UnreadableFileError) as error:
        raise HistoryError(
            f"what names this mount in the pin store cannot be kept in {escape_text(str(path))}: {error}",
            "mend that, or name another place with --state-dir",
        ) from error
    return holder
