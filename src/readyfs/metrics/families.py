"""The metrics: name, kind, unit, the status field that each comes from, and what it means. Nothing else is exposed.

Each metric has the label `mountpoint`, and the labels named here. `metrics/exposition.py` renders them from status
documents; docs/monitoring/README.md shows this table to people, and a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final


class Kind(StrEnum):
    """What Prometheus takes a metric for."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Unit(StrEnum):
    """What is counted; the base units of Prometheus stand in the name of the metric."""

    SECONDS = "seconds"
    BYTES = "bytes"
    COUNT = "count"
    TRUTH = "truth"
    """1 if it is so, else 0."""


class Stability(StrEnum):
    """How far one may rely on a metric."""

    STABLE = "stable"
    """Alerts may rest on it: name, labels and meaning change only with a note in the changelog."""
    EXPERIMENTAL = "experimental"
    """It shows how the program works inside, and may go or change with that."""


class Reading(Enum):
    """What the field of a status document holds, and so how samples are made of it."""

    NUMBER = auto()
    """A number or a truth. Null gives `absent`, or no sample where there is none."""
    TIME = auto()
    """A time as ISO 8601 text; null gives no sample."""
    CAUSE = auto()
    """Why something is wrong: 1. Null: 0."""
    PHASE = auto()
    """The phase of the mount: 1 for it, 0 for each other. The last label is the phase."""
    COUNTS = auto()
    """Counts by word; the last label is the word."""
    ERRORS = auto()
    """Counts by operation, then errno: the last two labels. An operation that was asked for has its EIO even at 0:
    the first one must be seen as a rise."""
    DURATIONS = auto()
    """Bounds, counts and a sum."""
    DURATIONS_BY_WORD = auto()
    """Bounds, and by word counts and a sum; the last label is the word."""
    FACTS = auto()
    """Nothing but labels: always 1."""
    ANSWER = auto()
    """Whether the daemon answered. Only this is known of a daemon that did not."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. Labels that the reading does not fill are fields of the status document themselves."""

    name: str
    kind: Kind
    unit: Unit
    field: str
    help: str
    labels: tuple[str, ...] = ()
    reading: Reading = Reading.NUMBER
    factor: float = 1.0
    """What a number is multiplied by to be in the unit."""
    absent: float | None = None
    """What stands for a null."""
    stability: Stability = Stability.STABLE


FAMILIES: Final = (
    # ---- the daemon ----
    Family(
        "readyfs_up",
        Kind.GAUGE,
        Unit.TRUTH,
        "error",
        "Whether the daemon of the mount answered.",
        reading=Reading.ANSWER,
    ),
    Family(
        "readyfs_build_info",
        Kind.GAUGE,
        Unit.TRUTH,
        "version",
        "Always 1: the version, what carries requests, and how file contents reach a reader.",
        labels=("version", "engine", "reads"),
        reading=Reading.FACTS,
    ),
    Family(
        "readyfs_phase",
        Kind.GAUGE,
        Unit.TRUTH,
        "phase",
        "1 for the phase that the mount is in, else 0.",
        labels=("phase",),
        reading=Reading.PHASE,
    ),
    Family(
        "readyfs_uptime_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "uptime_seconds",
        "Time since the daemon began to serve.",
    ),
    # ---- what is shown ----
    Family(
        "readyfs_revision",
        Kind.GAUGE,
        Unit.COUNT,
        "revision",
        "The number of catalogs since the start.",
    ),
    Family(
        "readyfs_partitions",
        Kind.GAUGE,
        Unit.COUNT,
        "partitions",
        "Ready partitions that are shown.",
    ),
    Family(
        "readyfs_withheld_rows",
        Kind.GAUGE,
        Unit.COUNT,
        "withheld",
        "Ready rows that are not shown, by reason.",
        labels=("reason",),
        reading=Reading.COUNTS,
    ),
    Family(
        "readyfs_nothing_shown",
        Kind.GAUGE,
        Unit.TRUTH,
        "nothing_shown",
        "Whether nothing is shown although the state table has rows.",
        reading=Reading.CAUSE,
    ),
    Family(
        "readyfs_ignored_by_spark_partitions",
        Kind.GAUGE,
        Unit.COUNT,
        "ignored_by_spark",
        "Partitions below a name with a leading dot or underscore, which Spark and pyarrow skip.",
    ),
    Family(
        "readyfs_read_as_null_partitions",
        Kind.GAUGE,
        Unit.COUNT,
        "read_as_null",
        "Partitions below a name KEY=__HIVE_DEFAULT_PARTITION__, whose value readers of the Hive layout take for NULL.",
    ),
    Family(
        "readyfs_broken_partitions",
        Kind.GAUGE,
        Unit.COUNT,
        "broken_by_kind",
        "Ready partitions that were looked at and found broken, by kind of damage.",
        labels=("kind",),
        reading=Reading.COUNTS,
    ),
    # ---- how fresh it is ----
    Family(
        "readyfs_age_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "age_seconds",
        "Time since the last successful look at the state.",
    ),
    Family(
        "readyfs_last_success_timestamp_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "refreshed_at",
        "When the last successful look at the state began, in seconds since 1970.",
        reading=Reading.TIME,
    ),
    Family(
        "readyfs_interval_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "interval_seconds",
        "The setting interval.",
    ),
    Family(
        "readyfs_max_staleness_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "max_staleness_seconds",
        "The setting max-staleness; absent without one.",
    ),
    Family(
        "readyfs_stale",
        Kind.GAUGE,
        Unit.TRUTH,
        "stale",
        "Whether walks fail because the catalog is too old.",
    ),
    Family(
        "readyfs_outage",
        Kind.GAUGE,
        Unit.TRUTH,
        "state_error",
        "Whether the state cannot be read, or is held back.",
        reading=Reading.CAUSE,
    ),
    Family(
        "readyfs_outage_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "outage_seconds",
        "For how long that has been so; 0 if it is not.",
        absent=0.0,
    ),
    Family(
        "readyfs_held_back",
        Kind.GAUGE,
        Unit.TRUTH,
        "held_back_fingerprint",
        "Whether a catalog is held back, because it would retract more than max-retract allows.",
        reading=Reading.CAUSE,
    ),
    Family(
        "readyfs_baseline_unwritten",
        Kind.GAUGE,
        Unit.TRUTH,
        "baseline_error",
        "Whether the baseline of max-retract cannot be written, so that a restart may pass it by.",
        reading=Reading.CAUSE,
    ),
    # ---- what was shown before ----
    Family(
        "readyfs_history_catalogs",
        Kind.GAUGE,
        Unit.COUNT,
        "history_catalogs",
        "Catalogs that are kept, the one in force included.",
    ),
    Family(
        "readyfs_history_bytes",
        Kind.GAUGE,
        Unit.BYTES,
        "history_bytes",
        "Room that kept catalogs take on disk.",
    ),
    Family(
        "readyfs_history_unwritten",
        Kind.GAUGE,
        Unit.TRUTH,
        "history_error",
        "Whether what is shown cannot be written to the history.",
        reading=Reading.CAUSE,
    ),
    # ---- what is shared with other mounts ----
    Family(
        "readyfs_pin_store_unusable",
        Kind.GAUGE,
        Unit.TRUTH,
        "pin_store_error",
        "Whether the pin store cannot be asked or written.",
        reading=Reading.CAUSE,
    ),
    Family(
        "readyfs_pin_store_pins",
        Kind.GAUGE,
        Unit.COUNT,
        "pin_store_pins",
        "Pins of this mount that the pin store has.",
    ),
    Family(
        "readyfs_pin_store_views",
        Kind.GAUGE,
        Unit.COUNT,
        "pin_store_views",
        "Views of other mounts that were found in the pin store and are held.",
    ),
    # ---- refreshes ----
    Family(
        "readyfs_refreshes_total",
        Kind.COUNTER,
        Unit.COUNT,
        "refreshes",
        "Refreshes that ended, by outcome.",
        labels=("outcome",),
        reading=Reading.COUNTS,
    ),
    Family(
        "readyfs_refreshing_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "refreshing_seconds",
        "How long the present refresh has been running; 0 between refreshes.",
        absent=0.0,
    ),
    Family(
        "readyfs_last_refresh_duration_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "refresh_ms",
        "How long the last successful refresh took, notifications included.",
        factor=1e-3,
    ),
    Family(
        "readyfs_refresh_duration_seconds",
        Kind.HISTOGRAM,
        Unit.SECONDS,
        "refresh_durations",
        "How long refreshes took, failed ones included.",
        reading=Reading.DURATIONS,
    ),
    Family(
        "readyfs_last_lock_duration_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "lock_ms",
        "How long the last load kept its transaction open.",
        factor=1e-3,
    ),
    Family(
        "readyfs_lock_duration_seconds",
        Kind.HISTOGRAM,
        Unit.SECONDS,
        "lock_durations",
        "How long loads kept their transactions open.",
        reading=Reading.DURATIONS,
    ),
    Family(
        "readyfs_left_logs_total",
        Kind.COUNTER,
        Unit.COUNT,
        "left_logs",
        "Loads during which the last producer closed a SQLite database in WAL mode, so that its log stayed.",
    ),
    Family(
        "readyfs_kernel_notifications_total",
        Kind.COUNTER,
        Unit.COUNT,
        "notifications_sent",
        "Notifications sent to the kernel about changed or damaged names, failed ones included.",
    ),
    Family(
        "readyfs_kernel_notifications_failed_total",
        Kind.COUNTER,
        Unit.COUNT,
        "notifications_failed",
        "Notifications that the kernel refused; name-timeout heals what they leave.",
    ),
    # ---- requests ----
    Family(
        "readyfs_requests_total",
        Kind.COUNTER,
        Unit.COUNT,
        "requests",
        "Requests of the kernel since the start, by operation.",
        labels=("engine", "operation"),
        reading=Reading.COUNTS,
    ),
    Family(
        "readyfs_request_errors_total",
        Kind.COUNTER,
        Unit.COUNT,
        "errors_by_operation",
        "Error answers since the start, by operation and errno name.",
        labels=("engine", "operation", "errno"),
        reading=Reading.ERRORS,
    ),
    Family(
        "readyfs_request_duration_seconds",
        Kind.HISTOGRAM,
        Unit.SECONDS,
        "request_durations",
        "How long requests took from being read to being answered, by operation.",
        labels=("engine", "operation"),
        reading=Reading.DURATIONS_BY_WORD,
    ),
    Family(
        "readyfs_passthrough_fallbacks_total",
        Kind.COUNTER,
        Unit.COUNT,
        "fallbacks",
        "Raw files that the kernel refused to read itself, by errno name.",
        labels=("errno",),
        reading=Reading.COUNTS,
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_pushed_files_total",
        Kind.COUNTER,
        Unit.COUNT,
        "pushed_files",
        "Small files that were put into the page cache with their first open.",
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_pushed_bytes_total",
        Kind.COUNTER,
        Unit.BYTES,
        "pushed_bytes",
        "Their bytes.",
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_pushes_refused_total",
        Kind.COUNTER,
        Unit.COUNT,
        "pushes_refused",
        "Files that the kernel did not take so, by errno name; it reads them when somebody does.",
        labels=("errno",),
        reading=Reading.COUNTS,
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_raw_waiting_requests",
        Kind.GAUGE,
        Unit.COUNT,
        "raw_waiting",
        "Requests that wait for the raw store now.",
    ),
    Family(
        "readyfs_raw_waiting_longest_seconds",
        Kind.GAUGE,
        Unit.SECONDS,
        "raw_waiting_longest_seconds",
        "How long the oldest of them has waited; 0 if none waits.",
        absent=0.0,
    ),
    # ---- what it takes ----
    Family(
        "readyfs_open_handles",
        Kind.GAUGE,
        Unit.COUNT,
        "open_handles",
        "Open files.",
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_inodes",
        Kind.GAUGE,
        Unit.COUNT,
        "inodes",
        "Nodes that the kernel holds.",
        stability=Stability.EXPERIMENTAL,
    ),
    Family(
        "readyfs_process_resident_memory_bytes",
        Kind.GAUGE,
        Unit.BYTES,
        "memory_bytes",
        "Resident memory of the daemon.",
    ),
    Family(
        "readyfs_process_cpu_seconds_total",
        Kind.COUNTER,
        Unit.SECONDS,
        "cpu_seconds",
        "Processor time of the daemon, user and system.",
    ),
)
