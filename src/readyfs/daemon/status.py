"""The status document: what `readyfs status` and the hidden status file show."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from readyfs import __version__
from readyfs.clock import boottime_s
from readyfs.fuse.engine import EngineCounters
from readyfs.history.moments import Moment
from readyfs.life import Life
from readyfs.metrics.durations import REQUEST_BOUNDS_NS, Durations, describe_all, describe_bounds
from readyfs.metrics.process import cpu_seconds, memory_bytes
from readyfs.metrics.refresh_tally import RefreshOutcome
from readyfs.partition import WithheldReason, render_time
from readyfs.refresh.refresher import Refresher
from readyfs.refresh.schedule import Schedule
from readyfs.text import escape_text
from readyfs.vfs.damage_cause import DamageKind
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness


class Listening(Protocol):
    """Whether the state says by itself that it changed."""

    @property
    def trouble(self) -> str | None:
        """Why it does not at this moment, None if it does."""
        ...


class NotificationCounters(Protocol):
    """How many notifications the kernel was sent, and how many of them it refused or met a bug."""

    @property
    def sent(self) -> int:
        """How many, failed ones included."""
        ...

    @property
    def failed(self) -> int:
        """How many of them were in vain."""
        ...


class HistoryFigures(Protocol):
    """What there is of the past."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be written to the disk, None if it can."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it takes on disk."""
        ...

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first."""
        ...


class SharingFigures(Protocol):
    """What is shared through a pin store."""

    @property
    def shown(self) -> str:
        """Where the store is."""
        ...

    @property
    def problem(self) -> str | None:
        """Why it cannot be asked or written, None if it can."""
        ...

    @property
    def pin_count(self) -> int:
        """How many pins of this mount it has."""
        ...

    @property
    def view_count(self) -> int:
        """How many views that were found there are held."""
        ...


@dataclass(frozen=True, slots=True)
class StatusReporter:
    """Gathers the status from those who know; never does I/O, so it answers whatever hangs."""

    mountpoint: Path
    state_label: str
    raw_label: str
    schedule: Schedule
    filesystem: Filesystem
    freshness: Freshness
    refresher: Refresher
    engine: EngineCounters
    notifications: NotificationCounters
    engine_reason: str
    life: Life
    started_s: float
    listening: Listening | None
    history: HistoryFigures
    sharing: SharingFigures | None = None

    def document(self) -> dict[str, object]:
        """Return the status as plain values; times as UTC ISO 8601 text, durations in the unit of their name."""
        in_force, latest = self.filesystem.in_force, self.refresher.latest
        interruption, held, tally = self.refresher.interruption, self.refresher.held_back, self.refresher.tally
        guard, moments = self.refresher.guard, self.history.moments()
        broken, raw_waits_s = self.filesystem.broken_by_kind(), self.engine.raw_waits_s()
        pushed = self.engine.pushed
        return {
            # ---- the daemon ----
            "mountpoint": str(self.mountpoint),
            "pid": os.getpid(),
            "version": __version__,
            "engine": self.engine.name,
            "engine_reason": self.engine_reason,
            "engine_loop": self.engine.engine_loop,
            "engine_loop_reason": self.engine.engine_loop_reason,
            "engine_loop_mismatches": dict(self.engine.loop_mismatches),
            "reads": self.engine.reads,
            "reads_reason": self.engine.reads_reason,
            "fallbacks": dict(self.engine.fallbacks),
            "pushed_files": pushed.files,
            "pushed_bytes": pushed.data_bytes,
            "pushes_refused": dict(pushed.refused),
            "phase": self.life.phase.value,
            "draining_seconds_left": _round(self.life.draining_seconds_left()),
            "holders": list(self.life.holders),
            # ---- what is shown ----
            "state": self.state_label,
            "raw": self.raw_label,
            "revision": in_force.revision,
            "fingerprint": in_force.catalog.fingerprint,
            "partitions": in_force.catalog.partitions,
            "withheld": {reason.value: latest.report.withheld.counts.get(reason, 0) for reason in WithheldReason},
            "nothing_shown": None if latest.emptiness is None else latest.emptiness.cause,
            "ignored_by_spark": latest.report.ignored_by_spark,
            "read_as_null": latest.report.read_as_null,
            "raw_waiting": len(raw_waits_s),
            "raw_waiting_longest_seconds": _round(max(raw_waits_s, default=None)),
            "broken": broken.total(),
            "broken_by_kind": {kind.value: broken[kind] for kind in DamageKind},
            # ---- how fresh it is ----
            "refreshed_at": _time_text(self.freshness.refreshed_at_ns),
            "age_seconds": _round(self.freshness.age_s()),
            "stale": self.freshness.stale,
            "max_staleness_seconds": self.schedule.max_staleness_s,
            "state_error": None if interruption is None else interruption.cause,
            "state_error_since": None if interruption is None else _time_text(interruption.since_ns),
            "outage_seconds": _round(self.refresher.interruption_s()),
            "held_back_fingerprint": None if held is None else held.fingerprint,
            "held_back_partitions": None if held is None else held.partitions,
            "baseline_error": None if guard is None else guard.keeper.problem,
            "listen_error": None if self.listening is None else self.listening.trouble,
            # ---- what was shown before ----
            "history_catalogs": len(moments),
            "history_oldest": _time_text(moments[0].taken_at_ns) if moments else None,
            "history_bytes": self.history.size,
            "history_error": self.history.problem,
            # ---- what is shared with other mounts ----
            "pin_store": None if self.sharing is None else self.sharing.shown,
            "pin_store_error": None if self.sharing is None else self.sharing.problem,
            "pin_store_pins": 0 if self.sharing is None else self.sharing.pin_count,
            "pin_store_views": 0 if self.sharing is None else self.sharing.view_count,
            # ---- refreshes ----
            "interval_seconds": self.schedule.interval_s,
            "refreshing_seconds": _round(self.refresher.running_s()),
            "refresh_ms": _round(self.refresher.last_duration_ms),
            "lock_ms": _round(latest.lock_ms),
            "refreshes": {outcome.value: tally.outcomes[outcome] for outcome in RefreshOutcome},
            "refresh_durations": _describe(tally.durations),
            "lock_durations": _describe(tally.locks),
            "left_logs": tally.left_logs,
            "notifications_sent": self.notifications.sent,
            "notifications_failed": self.notifications.failed,
            # ---- requests ----
            "open_handles": self.filesystem.open_files(),
            "inodes": len(self.filesystem.inodes),
            "requests": dict(self.engine.requests),
            "errors": dict(self.engine.errors),
            "errors_by_operation": _nest(self.engine.errors_by_operation),
            "request_durations": {
                "bounds_seconds": describe_bounds(REQUEST_BOUNDS_NS),
                "operations": describe_all(self.engine.durations),
            },
            # ---- what it takes ----
            "memory_bytes": memory_bytes(),
            "cpu_seconds": _round(cpu_seconds()),
            "uptime_seconds": _round(boottime_s() - self.started_s),
        }

    def line(self) -> str:
        """Return the state of things in a few words, for the service manager."""
        line = f"serving {self.filesystem.in_force.catalog.partitions} ready partitions"
        if (outage := self.refresher.outage) is not None:
            return f"{line}; state cannot be read: {outage.cause}"
        if (held := self.refresher.held_back) is not None:
            return f"{line}; held back: {held.cause}"
        emptiness = self.refresher.latest.emptiness
        return line if emptiness is None else f"{line}: {emptiness.cause}"

    def render(self) -> bytes:
        """Return the document as indented JSON with a final newline; the mount point escaped if it is not UTF-8."""
        document = {**self.document(), "mountpoint": escape_text(os.fsencode(self.mountpoint))}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _describe(durations: Durations) -> dict[str, object]:
    return {"bounds_seconds": describe_bounds(durations.bounds_ns), **durations.describe()}


def _nest(errors: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (operation, name), count in sorted(errors.items()):
        nested.setdefault(operation, {})[name] = count
    return nested


def _time_text(time_ns: int | None) -> str | None:
    return None if time_ns is None else render_time(time_ns).decode()
