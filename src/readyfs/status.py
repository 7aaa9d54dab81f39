"""The status document: what `readyfs status` and the hidden status file show."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from readyfs import __version__
from readyfs.fuse.engine import EngineCounters
from readyfs.life import Life
from readyfs.partition import WithheldReason, escape_text
from readyfs.refresh import Refresher, Schedule
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.freshness import Freshness
from readyfs.vfs.xattrs import render_time


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
    engine_reason: str
    life: Life
    started_s: float

    def document(self) -> dict[str, object]:
        """Return the status as plain values; times as UTC ISO 8601 text, durations in the unit of their name."""
        in_force = self.filesystem.in_force
        latest, outage = self.refresher.latest, self.refresher.outage
        age_s, running_s = self.freshness.age_s(), self.refresher.running_s()
        draining_s, raw_waits_s = self.life.draining_seconds_left(), self.engine.raw_waits_s()
        return {
            "mountpoint": str(self.mountpoint),
            "pid": os.getpid(),
            "version": __version__,
            "engine": self.engine.name,
            "engine_reason": self.engine_reason,
            "reads": self.engine.reads,
            "reads_reason": self.engine.reads_reason,
            "fallbacks": dict(self.engine.fallbacks),
            "phase": self.life.phase.value,
            "draining_seconds_left": None if draining_s is None else round(draining_s, 3),
            "holders": list(self.life.holders),
            "state": self.state_label,
            "raw": self.raw_label,
            "revision": in_force.revision,
            "fingerprint": in_force.catalog.fingerprint,
            "partitions": in_force.catalog.partitions,
            "withheld": {reason.value: latest.report.withheld.counts.get(reason, 0) for reason in WithheldReason},
            "ignored_by_spark": latest.report.ignored_by_spark,
            "raw_waiting": len(raw_waits_s),
            "raw_waiting_longest_seconds": round(max(raw_waits_s), 3) if raw_waits_s else None,
            "broken": self.filesystem.broken_partitions(),
            "refreshed_at": _time_text(self.freshness.refreshed_at_ns),
            "age_seconds": None if age_s is None else round(age_s, 3),
            "stale": self.freshness.stale,
            "max_staleness_seconds": self.schedule.max_staleness_s,
            "state_error": None if outage is None else outage.cause,
            "state_error_since": None if outage is None else _time_text(outage.since_ns),
            "interval_seconds": self.schedule.interval_s,
            "refreshing_seconds": None if running_s is None else round(running_s, 3),
            "refresh_ms": round(self.refresher.last_duration_ms, 3),
            "lock_ms": round(latest.lock_ms, 3),
            "open_handles": len(self.filesystem.handles),
            "inodes": len(self.filesystem.inodes),
            "requests": dict(self.engine.requests),
            "errors": dict(self.engine.errors),
            "uptime_seconds": round(time.monotonic() - self.started_s, 3),
        }

    def line(self) -> str:
        """Return the state of things in a few words, for the service manager."""
        line = f"serving {self.filesystem.in_force.catalog.partitions} ready partitions"
        outage = self.refresher.outage
        return line if outage is None else f"{line}; state cannot be read: {outage.cause}"

    def render(self) -> bytes:
        """Return the document as indented JSON with a final newline; the mount point escaped if it is not UTF-8."""
        document = {**self.document(), "mountpoint": escape_text(os.fsencode(self.mountpoint))}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _time_text(time_ns: int | None) -> str | None:
    return None if time_ns is None else render_time(time_ns).decode()
