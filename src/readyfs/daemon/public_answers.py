"""A mount's answers to everybody who may enter it: pins are made, renewed, removed and listed."""

from __future__ import annotations

import pwd
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
import trio

from readyfs.catalog.tree import Catalog
from readyfs.control.peer import Entrance, Peer
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.shared_pins import SharedPins
from readyfs.duration import render_duration
from readyfs.errors import HistoryError, LimitError, NotRunningError, RefreshFailedError, UserError
from readyfs.history.moments import Moment
from readyfs.life import Life, Phase
from readyfs.partition import render_time
from readyfs.pins.asker import Asker
from readyfs.pins.pin import Pin, Tombstone
from readyfs.pins.registry import Registry
from readyfs.size import render_size
from readyfs.vfs.freshness import Freshness

log = structlog.get_logger("readyfs.daemon")


DISK_THREADS: Final = 8
"""How many requests may wait for the disk at once; the shutdown has threads of its own."""
LIST_THREADS: Final = 2


class HistoryPort(Protocol):
    """What a pin needs of the history."""

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        ...

    def newest_moments(self) -> Mapping[str, Moment]:
        """Return the newest moment of each catalog that is kept, by its fingerprint."""
        ...

    def flush(self, fingerprint: str) -> None:
        """Return when a kept catalog is on the disk; raise `HistoryError`. Blocking."""
        ...

    def trim(self) -> None:
        """Let go of what nobody keeps any more."""
        ...


@dataclass(frozen=True, slots=True)
class PublicAnswers:
    """Handles the requests of `readyfs pin`, `renew`, `unpin` and `pins`; called on the trio loop.

    `in_force` returns the catalog in force. `refresh` returns when what it found is that, and raises `UserError` if it
    failed or what it found is held back.
    """

    in_force: Callable[[], Catalog]
    refresh: Callable[[], Awaitable[object]]
    freshness: Freshness
    history: HistoryPort
    registry: Registry
    memory: PinnedMemory
    entrance: Entrance
    life: Life
    shared: SharedPins | None = None

    disk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(DISK_THREADS))
    lists: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LIST_THREADS))

    async def pin(self, request: PinRequest, peer: Peer) -> dict[str, object]:
        """Pin the catalog in force; it and the pin are on the disk when this returns.

        Raises `UsageError`, `LimitError`, `HistoryError`, `PinStoreError`, and `RefreshFailedError` if a refresh that
        was asked for failed or the catalog is too old.
        """
        self.refuse_unless_serving()
        if request.refresh:
            await self.refresh()
        self.refuse_stale()
        # Without a pause from here on, so that what is in force now is what is held before another can take its place.
        moment = self.moment_in_force()
        pin = self.registry.pin(
            request.name, request.lease_s, request.note, self.asker(peer), moment.fingerprint, moment.taken_at_ns
        )
        try:
            answer = await self.make_durable(pin)
        except UserError:
            self.registry.withdraw(pin)
            await trio.to_thread.run_sync(self._save_withdrawn, abandon_on_cancel=True, limiter=self.disk)
            raise
        except BaseException:
            self.registry.withdraw(pin)
            raise
        log.info("pinned", name=pin.name, fingerprint=pin.fingerprint, user=pin.owner, note=pin.note)
        return answer

    def moment_in_force(self) -> Moment:
        """Return the moment of the catalog in force, which may be pinned.

        Raises `LimitError` if pinned catalogs take too much memory, and `HistoryError`.
        """
        fingerprint, moment = self.in_force().fingerprint, self.history.moments()[-1]
        if moment.fingerprint != fingerprint:
            raise HistoryError("the catalog in force is not kept", "try again")
        self._refuse_beyond_memory(fingerprint)
        return moment

    async def make_durable(self, pin: Pin) -> dict[str, object]:
        """Have the catalogs of a pin on the disk, the pin, and both in the pin store; return what is told of it.

        Raises `HistoryError`, `PinStoreError`.
        """
        return await self._on_disk(self._make_durable, pin)

    async def renew(self, request: RenewRequest, peer: Peer) -> dict[str, object]:
        """Have a lease last longer; raise `UsageError`, `NoPinError`, `NotPermittedError`, `HistoryError`."""
        before, pin = self.registry.renew(request.name, request.lease_s, self.asker(peer))
        try:
            return await self._on_disk(self._save_renewed, pin)
        except BaseException:
            self.registry.restore(before)
            raise

    async def unpin(self, request: UnpinRequest, peer: Peer) -> dict[str, object]:
        """Remove a pin, or leave it if that cannot be written.

        Raises `NoPinError`, `NotPermittedError`, `HistoryError`.
        """
        pin = self.registry.unpin(request.name, self.asker(peer))
        try:
            answer = await self._on_disk(self._save, pin)
        except BaseException:
            self.registry.put_back(pin)
            raise
        self.registry.confirm(pin)
        if self.shared is not None:
            await trio.to_thread.run_sync(self.shared.ended, pin, abandon_on_cancel=True, limiter=self.disk)
        log.info("unpinned", name=pin.name, fingerprint=pin.fingerprint, user=pin.owner, by=peer.uid)
        self.history.trim()
        return answer

    def entries(self, request: PinsRequest) -> int:
        """Return how many entries `pins` would list."""
        return self.registry.count_ended() if request.expired else self.registry.count()

    async def pins(self, request: PinsRequest) -> dict[str, object]:
        """List pins with what they hold and how far that is behind, or what is left of those that ended."""
        make = self._list_ended if request.expired else self._list
        return {"pins": await trio.to_thread.run_sync(make, abandon_on_cancel=True, limiter=self.lists)}

    def expires_in_s(self, pin: Pin) -> float:
        """Return the seconds until a lease ends."""
        return round(pin.ends_s - self.registry.clock.now_s(), 3)

    # ---- refusals -------------------------------------------------------------------------------------------

    def refuse_unless_serving(self) -> None:
        """Raise `NotRunningError` while the mount is coming or going."""
        if self.life.phase is not Phase.SERVING:
            raise NotRunningError(f"the mount is {self.life.phase.value}", "mount it again")

    def refuse_stale(self) -> None:
        """Raise `RefreshFailedError` if the catalog is older than the mount allows (V11)."""
        age_s = self.freshness.age_s()
        if self.freshness.stale and age_s is not None:
            raise RefreshFailedError(
                f"the catalog is {render_duration(round(age_s))} old, more than --max-staleness allows",
                "pin again when the state can be read; `readyfs status` says why it cannot",
            )

    def _refuse_beyond_memory(self, fingerprint: str) -> None:
        limit = self.registry.limits.memory
        if self.registry.ends_s(fingerprint) is None and self.memory.total >= limit:
            raise LimitError(
                f"pinned catalogs take {render_size(limit)} of memory, which is the limit (--pin-memory)",
                "remove some with `readyfs unpin`",
            )

    # ---- the disk, on a thread, which is left alone there if the disk still hangs when the daemon ends ------------

    async def _on_disk(self, do: Callable[[Pin], dict[str, object]], pin: Pin) -> dict[str, object]:
        return await trio.to_thread.run_sync(do, pin, abandon_on_cancel=True, limiter=self.disk)

    def _make_durable(self, pin: Pin) -> dict[str, object]:
        for fingerprint in pin.holds:
            self.history.flush(fingerprint)
        answer = self._save(pin)
        if self.shared is None:
            return answer
        self.shared.publish(pin)
        return self._describe(pin, _Users())

    def _save_renewed(self, pin: Pin) -> dict[str, object]:
        answer = self._save(pin)
        if self.shared is None:
            return answer
        self.shared.renewed(pin)
        return self._describe(pin, _Users())

    def _save(self, pin: Pin) -> dict[str, object]:
        try:
            self.registry.save()
        except OSError as error:
            raise HistoryError(
                f"the pins cannot be written: {error.strerror}", "have the operator make room in the state directory"
            ) from error
        return self._describe(pin, _Users())

    def _save_withdrawn(self) -> None:
        """Have the disk forget a pin that it had before the pin store refused it: a restart must not bring it back."""
        with suppress(OSError):  # `Leases` writes it later, and warns until then
            self.registry.save()

    # ---- lists, on a thread: what looks up users may have to ask the network -------------------------------------

    def _list(self) -> list[dict[str, object]]:
        users, newest, last = _Users(), self.history.newest_moments(), self.history.moments()[-1]
        return [
            self._describe(pin, users) | self._describe_distance(pin, newest.get(pin.fingerprint), last)
            for pin in self.registry.pins()
        ]

    def _describe_distance(self, pin: Pin, newest: Moment | None, last: Moment) -> dict[str, object]:
        taken_at_ns = pin.taken_at_ns if newest is None else newest.taken_at_ns
        return {
            "behind_catalogs": None if newest is None else newest.steps_to(last),
            "behind_seconds": round(max(last.taken_at_ns - taken_at_ns, 0) / 1e9, 3),
            "memory_bytes": self.memory.of(pin.fingerprint),
        }

    def _list_ended(self) -> list[dict[str, object]]:
        users = _Users()
        return [_describe_tombstone(one, users) for one in self.registry.tombstones()]

    # ---- words ------------------------------------------------------------------------------------------------

    def asker(self, peer: Peer) -> Asker:
        """Return who asks, as the pins know users."""
        return Asker(peer.uid, self.entrance.is_operator(peer))

    def _describe(self, pin: Pin, users: _Users) -> dict[str, object]:
        clock = self.registry.clock
        now_s = clock.now_s()
        return {
            "name": pin.name,
            "fingerprint": pin.fingerprint,
            "taken_at": _time_text(pin.taken_at_ns),
            "pinned_at": _time_text(pin.pinned_at_ns),
            "expires_at": _time_text(clock.wall_ns(pin.ends_s)),
            "expires_in_seconds": self.expires_in_s(pin),
            "latest_in_seconds": round(pin.latest_s - now_s, 3),
            "acknowledged": pin.acknowledged,
            "in_store": None if self.shared is None or pin.acknowledged is not None else self.shared.has(pin),
            "uid": pin.owner,
            "user": users.name(pin.owner),
            "note": pin.note,
        }


class _Users:
    """The names of users, each looked up once. Blocking."""

    def __init__(self) -> None:
        self._names: dict[int, str | None] = {}

    def name(self, uid: int) -> str | None:
        """Return the name, None if the user has none here."""
        if uid not in self._names:
            self._names[uid] = _look_up(uid)
        return self._names[uid]


def _look_up(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _describe_tombstone(one: Tombstone, users: _Users) -> dict[str, object]:
    return {
        "name": one.name,
        "fingerprint": one.fingerprint,
        "taken_at": _time_text(one.taken_at_ns),
        "pinned_at": _time_text(one.pinned_at_ns),
        "ended_at": _time_text(one.ended_at_ns),
        "reason": one.reason.value,
        "ended_by_uid": one.ended_by,
        "ended_by_user": None if one.ended_by is None else users.name(one.ended_by),
        "uid": one.owner,
        "user": users.name(one.owner),
        "note": one.note,
    }


def _time_text(time_ns: int) -> str:
    return render_time(time_ns).decode("ascii")
