"""The refresh: when it runs, what it does, and how long it took. Only this changes what a reader sees.

On a timer (`Schedule`) or when asked, it probes the state, loads it if it changed, and builds a catalog off the serving
thread. It publishes that in one step and has the kernel drop the names that changed. While the state cannot be read the
last good catalog stays (V11). One task does all of this, one refresh at a time; nothing here knows which engine serves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

import structlog
import trio

from readyfs.catalog.delta import Delta, compare
from readyfs.catalog.tree import Catalog
from readyfs.errors import StateError
from readyfs.metrics.refresh_tally import RefreshOutcome, RefreshTally
from readyfs.partition import ChangedDates
from readyfs.refresh.loader import CatalogLoader, Loaded
from readyfs.refresh.retraction_guard import HeldBack, RetractionGuard
from readyfs.refresh.schedule import Schedule
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.invalidation import Invalidation, plan_root_invalidation

log = structlog.get_logger("readyfs.refresh")

WATCH_TICK_S: Final = 0.1
SLEPT_S: Final = 1.0
"""From which difference on between the age's clock and the timer's the machine has slept."""
ANNOUNCE_S: Final = 5.0
"""For so long a catalog waits for a kernel that a reader holds up within a listing; then it is published anyhow."""


class NotificationsPort(Protocol):
    """What a refresh needs of the notifications to the kernel."""

    async def invalidate(self, plan: Iterable[Invalidation]) -> None:
        """Send all notifications in order; return when the last has returned."""
        ...


class HistoryPort(Protocol):
    """What a refresh needs of the history."""

    def record(self, catalog: Catalog, taken_at_ns: int, changed: ChangedDates | None = None) -> None:
        """Keep a catalog that was just put into force; never raises, and never waits for a disk."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one refresh ended.

    `error` is None unless the state could not be read, `held_back` None unless what was read is held back.
    `fingerprint` is that of the state as it was read, None if it could not be.
    """

    delta: Delta
    duration_ms: float
    fingerprint: str | None = None
    error: str | None = None
    held_back: HeldBack | None = None

    @property
    def changed(self) -> bool:
        """Whether a new catalog is in force."""
        return bool(self.delta)

    @property
    def word(self) -> RefreshOutcome:
        """The word under which it is counted."""
        if self.error is not None:
            return RefreshOutcome.FAILED
        if self.held_back is not None:
            return RefreshOutcome.HELD_BACK
        return RefreshOutcome.CHANGED if self.changed else RefreshOutcome.UNCHANGED


@dataclass(slots=True)
class Outage:
    """A time during which the state cannot be read: since when (seconds, and wall nanoseconds), and why."""

    since_s: float
    since_ns: int
    cause: str
    failures: int = 1


@dataclass(slots=True)
class _Waiter:
    accept: str | None = None
    done: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome | None = None


class Refresher:
    """Owns the refresh task and what it last found."""

    def __init__(
        self,
        loader: CatalogLoader,
        first: Loaded,
        filesystem: Filesystem,
        notifications: NotificationsPort,
        freshness: Freshness,
        schedule: Schedule,
        jitter: Callable[[], float] = random.random,
        on_outcome: Callable[[], None] = lambda: None,
        guard: RetractionGuard | None = None,
        history: HistoryPort | None = None,
    ) -> None:
        self.latest = first
        self.guard = guard
        self.outage: Outage | None = None
        self.last_duration_ms = 0.0
        self.tally = RefreshTally()
        self.tally.loaded(first.lock_ms, left_log=first.left_log)
        self._history = history
        self._loader = loader
        self._fs = filesystem
        self._notifications = notifications
        self._freshness = freshness
        self._schedule = schedule
        self._jitter = jitter
        self._on_outcome = on_outcome
        self._running_since: float | None = None
        self._asking_since: float | None = None
        self._asked = trio.Event()
        self._waiters: list[_Waiter] = []
        self._forced = False
        self._reported: frozenset[tuple[str, str]] = frozenset()
        self._said_empty: str | None = None
        self._warned_spark = self._warned_null = False
        self._staleness_lock = trio.Lock()
        self._report(first)

    def trigger(self) -> None:
        """Ask for a refresh that loads the state whether or not it seems changed; return at once."""
        self._forced = True
        self._asked.set()

    def nudge(self) -> None:
        """Ask for a refresh as the timer does: the state is loaded only if it seems changed; return at once."""
        self._asked.set()

    async def refresh(self, accept: str | None = None) -> Outcome:
        """Ask for a refresh and wait until one that began after the call has told the kernel everything.

        A catalog with the fingerprint `accept` is put into force however much it retracts.
        """
        waiter = _Waiter(accept)
        self._waiters.append(waiter)
        self.trigger()
        await waiter.done.wait()
        assert waiter.outcome is not None
        return waiter.outcome

    async def run(self) -> None:
        """Refresh until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            last_began = trio.current_time()
            while True:
                with trio.move_on_at(
                    self._schedule.next_at(last_began, trio.current_time(), self._failures(), self._jitter())
                ):
                    await self._asked.wait()
                self._asked = trio.Event()
                waiters, self._waiters = self._waiters, []
                force, self._forced = self._forced, False
                last_began, self._running_since = trio.current_time(), self._freshness.now_s()
                accepted = {waiter.accept for waiter in waiters if waiter.accept is not None}
                outcome = await self._refresh_once(force=force, accepted=accepted)
                self.tally.ended(outcome.duration_ms, outcome.word)
                self._running_since = None
                for waiter in waiters:
                    waiter.outcome = outcome
                    waiter.done.set()
                self._on_outcome()

    def running_s(self) -> float | None:
        """Return for how many seconds the present refresh has been running, or None between refreshes."""
        since = self._running_since  # read once: any thread may ask
        return None if since is None else self._freshness.now_s() - since

    @property
    def held_back(self) -> HeldBack | None:
        """The catalog that is held back now, None if none is."""
        return None if self.guard is None else self.guard.held

    @property
    def interruption(self) -> Outage | None:
        """Why what is served is not the state as it is now: it cannot be read, or is held back; None if it is.

        With both, the state that cannot be read is the cause, and the first of them says since when.
        """
        outage, held = self.outage, self.held_back  # read once: any thread may ask
        if held is None:
            return outage
        if outage is None or outage.since_s > held.since_s:
            return Outage(held.since_s, held.since_ns, held.cause if outage is None else outage.cause)
        return outage

    def interruption_s(self) -> float | None:
        """Return for how many seconds that has been so, or None if it is not."""
        interruption = self.interruption
        return None if interruption is None else self._freshness.now_s() - interruption.since_s

    def _failures(self) -> int:
        return 0 if self.outage is None else self.outage.failures

    async def _refresh_once(self, *, force: bool, accepted: Collection[str]) -> Outcome:
        began = trio.current_time()
        started = self._freshness.start()
        previous, guard = self._fs.in_force.catalog, self.guard
        try:
            # What has been held back for long enough is loaded once more, so that its directories get the present time.
            force = force or (guard is not None and guard.is_due)
            self._asking_since = time.monotonic()
            try:
                loaded = await trio.to_thread.run_sync(
                    lambda: self._loader.load_if_changed(previous, force=force), abandon_on_cancel=True
                )
            finally:
                self._asking_since = None
            if loaded is not None:
                self.tally.loaded(loaded.lock_ms, left_log=loaded.left_log)
            if loaded is None:
                if guard is not None and guard.held is not None:
                    return await self._hold_back(guard, began)  # the state is as it was when it was held back
                delta = Delta()
            else:
                release = None if guard is None else guard.judge(previous, loaded, accepted)
                if guard is not None and release is None:
                    return await self._hold_back(guard, began)
                delta = await self._put_into_force(previous, loaded)
                if guard is not None and release is not None:
                    guard.release(release)
        except StateError as error:
            return self._enter_outage(str(error), began)
        except Exception as error:  # a bug must not end the mount: it is an outage, and the next attempt loads anew
            log.exception("refresh failed unexpectedly")
            self._loader.expect_change()
            return self._enter_outage(f"{type(error).__name__}: {error}", began)
        self._leave_outage()
        self._freshness.succeeded(started)
        await self._update_staleness()
        self.last_duration_ms = (trio.current_time() - began) * 1000.0
        if delta:
            log.info(
                "refreshed",
                revision=self._fs.in_force.revision,
                partitions=self._fs.in_force.catalog.partitions,
                appeared=delta.appeared,
                switched=delta.switched,
                touched=delta.touched,
                retracted=delta.retracted,
                milliseconds=round(self.last_duration_ms, 1),
            )
        if guard is not None:
            await guard.save(self._fs.in_force.catalog.partitions)
        return Outcome(delta, self.last_duration_ms, self._fs.in_force.catalog.fingerprint)

    async def _hold_back(self, guard: RetractionGuard, began: float) -> Outcome:
        """Leave everything as it is: the age goes on, and the next look comes after the interval."""
        self._leave_outage()
        await guard.save(self._fs.in_force.catalog.partitions)
        held = guard.held
        assert held is not None
        return Outcome(Delta(), (trio.current_time() - began) * 1000.0, held.fingerprint, held_back=held)

    async def _put_into_force(self, previous: Catalog, loaded: Loaded) -> Delta:
        delta = Delta()
        if loaded.catalog.fingerprint != previous.fingerprint:
            changed, fs = loaded.report.changed, self._fs
            delta = await trio.to_thread.run_sync(
                lambda: compare(previous, loaded.catalog, fs.is_known, changed, fs.known_series())
            )
            announcement = fs.announce(delta)
            with trio.move_on_after(ANNOUNCE_S):
                await self._notifications.invalidate(announcement)
            fs.publish(loaded.catalog)
            if self._history is not None:
                self._history.record(loaded.catalog, time.time_ns(), changed)
            # If the kernel was held up, some of the announcement may not even have been begun.
            await self._notifications.invalidate(chain(announcement, fs.plan_invalidations(delta)))
        # Only now: the status must not say of what is shown what is true of the next catalog.
        self.latest = loaded
        self._report(loaded)
        return delta

    # ---- outages and age (V11) ------------------------------------------------------------------------------

    def _enter_outage(self, cause: str, began: float) -> Outcome:
        if self.outage is None:
            self.outage = Outage(self._freshness.now_s(), time.time_ns(), cause)
            log.warning("state cannot be read, serving the last good catalog", cause=cause)
        else:
            if _without_numbers(cause) != _without_numbers(self.outage.cause):
                log.warning("state still cannot be read, for another reason", cause=cause)
            self.outage.cause = cause
            self.outage.failures += 1
        return Outcome(Delta(), (trio.current_time() - began) * 1000.0, error=cause)

    def _leave_outage(self) -> None:
        outage, self.outage = self.outage, None
        if outage is not None:
            lasted_s = self._freshness.now_s() - outage.since_s
            log.info("state can be read again", outage_seconds=round(lasted_s, 1))

    async def _watch(self) -> None:
        """Notice what no outcome tells: a refresh that hangs, a catalog too old, a machine that slept."""
        ahead_s = self._freshness.now_s() - trio.current_time()
        while True:
            # The timer stood still meanwhile, the age did not.
            before_s, ahead_s = ahead_s, self._freshness.now_s() - trio.current_time()
            if ahead_s - before_s > SLEPT_S:
                log.info("the machine slept, looking at the state", slept_seconds=round(ahead_s - before_s, 1))
                self.nudge()
            since = self._asking_since
            waited_s = 0.0 if since is None else time.monotonic() - since
            if self.outage is None and waited_s > self._schedule.patience_s:
                self._enter_outage(f"the state store has not answered for {waited_s:.0f} s", trio.current_time())
                self._on_outcome()
            await self._update_staleness()
            await trio.sleep(WATCH_TICK_S)

    async def _update_staleness(self) -> None:
        limit_s = self._schedule.max_staleness_s
        if limit_s is None:
            return
        async with self._staleness_lock:
            age_s = self._freshness.age_s()
            stale = age_s is not None and age_s > limit_s
            if stale == self._freshness.stale:
                return
            self._freshness.stale = stale
            if stale:
                log.error(
                    "catalog is too old, walks from the mount root fail", age_seconds=age_s, limit_seconds=limit_s
                )
            else:
                log.info("catalog is fresh again")
            root = self._fs.in_force.catalog.root
            await self._notifications.invalidate([plan_root_invalidation(root.names)])

    # ---- what cannot be served ------------------------------------------------------------------------------

    def _report(self, loaded: Loaded) -> None:
        """Log each withheld row once for as long as it stays withheld."""
        examples = loaded.report.withheld.examples
        for example in examples:
            if (example.reason, example.subject) not in self._reported:
                log.warning("row is withheld", reason=example.reason.value, row=example.subject, detail=example.detail)
        self._reported = frozenset((example.reason, example.subject) for example in examples)
        cause = None if loaded.emptiness is None else loaded.emptiness.cause
        if cause is not None and (
            self._said_empty is None or _without_numbers(cause) != _without_numbers(self._said_empty)
        ):
            log.warning("nothing is shown, although the state table has rows", cause=cause)
        self._said_empty = cause
        if loaded.report.ignored_by_spark and not self._warned_spark:
            self._warned_spark = True
            log.warning(
                "names that begin with . or _ are served, but Spark and pyarrow skip them when they list",
                partitions=loaded.report.ignored_by_spark,
            )
        if loaded.report.read_as_null and not self._warned_null:
            self._warned_null = True
            log.warning(
                "names KEY=__HIVE_DEFAULT_PARTITION__ are served, but readers of the Hive layout read NULL",
                partitions=loaded.report.read_as_null,
            )


def _without_numbers(cause: str) -> str:
    """Return what two causes have in common that differ by a port, a process or a duration alone."""
    return "".join(character for character in cause if not character.isdigit())
