"""The table of settings: the one place where a setting gets its name, kind, default and explanation."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from readyfs.config.kinds import (
    account,
    choice,
    date,
    duration,
    file_names,
    mode,
    number,
    optional_duration,
    optional_fingerprint,
    optional_path,
    optional_percentage,
    optional_text,
    path,
    patterns,
    size,
    switch,
    text,
)
from readyfs.config.setting import Group, Setting
from readyfs.errors import UsageError
from readyfs.fuse.engine_words import EngineLoopWord, EngineWord, ReadsWord
from readyfs.layout import DEFAULT_MOUNT_LAYOUT, DEFAULT_RAW_LAYOUT, RawEncoding
from readyfs.log_words import LogFormat, LogLevel
from readyfs.state.store import StateTable
from readyfs.vfs.file_times import FileTimes


def _runtime_dir(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/run/readyfs")
    if (base := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return Path(base, "readyfs")
    return Path(f"/tmp/readyfs-{os.geteuid()}")


def _public_dir(_environ: Mapping[str, str]) -> Path:
    # Not $XDG_RUNTIME_DIR, which nobody else may enter.
    return Path("/run/readyfs-public" if os.geteuid() == 0 else f"/tmp/readyfs-public-{os.geteuid()}")


def _state_dir(environ: Mapping[str, str]) -> Path:
    if (given := environ.get("STATE_DIRECTORY", "").split(":")[0]).startswith("/"):
        return Path(given)
    # The base directory specification has relative values ignored.
    if (base := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(base, "readyfs")
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises without a home
    if not home.startswith("/"):
        raise UsageError("there is no home directory to keep locks in", "name a directory with --state-dir")
    return Path(home, ".local/state/readyfs")


def _can_mount() -> bool:
    # It comes with the C library and the log, which only a mount needs.
    from readyfs.privileges import Capability, has_capability

    return has_capability(Capability.SYS_ADMIN)


_NAMES = StateTable()

STATE = optional_text(
    "state",
    Group.STORES,
    "URL",
    "The state store: a SQLite file, or any URL that SQLAlchemy knows. Put a URL with a password into --state-file or "
    "READYFS_STATE, so that it does not appear in the process list.",
    is_path=True,
)
STATE_FILE = optional_path(
    "state-file", Group.STORES, "A file whose first line is the state store's URL, instead of --state."
)
RAW = optional_text("raw", Group.STORES, "DIR", "The raw root, below which the runs lie.", is_path=True)

SOURCE = patterns("source", Group.SELECTION, "GLOB", "Show only these sources: exact or a glob, repeatable.", "all")
CUSTOMER = patterns(
    "customer", Group.SELECTION, "GLOB", "Show only these customers: exact or a glob, repeatable.", "all"
)
QUERY = patterns("query", Group.SELECTION, "GLOB", "Show only these queries: exact or a glob, repeatable.", "all")
SINCE = date("since", Group.SELECTION, "Show only logical dates from this day on.")
UNTIL = date("until", Group.SELECTION, "Show only logical dates up to this day, itself included.")
FILES = patterns(
    "files", Group.SELECTION, "GLOB", "Show only these files of a run: exact or a glob, repeatable.", "all"
)
REQUIRED_FILES = file_names(
    "required-files",
    Group.SELECTION,
    "NAMES",
    "Files that seal a run, separated by commas. A ready partition whose run lacks one fails at open.",
    ("payload.jsonl", "metadata.json"),
)
SHOW_ERROR_MESSAGES = switch(
    "show-error-messages",
    Group.SELECTION,
    "Tell everybody who may enter the mount and asks why a partition failed the message of its row.",
    lambda _: False,
    "false",
)

STATE_TABLE = text("state-table", Group.TABLE, "NAME", "The table, which may be schema.table.", _NAMES.table)
READY_STATUS = text("ready-status", Group.TABLE, "WORD", "The status of a ready partition.", _NAMES.ready)
FAILED_STATUS = text(
    "failed-status", Group.TABLE, "WORD", "The status of a partition whose last attempt failed.", _NAMES.failed
)


def _column(name: str, default: str) -> Setting[str]:
    return text(f"column-{name.replace('_', '-')}", Group.TABLE, "NAME", f"The column that holds {name}.", default)


COLUMN_SOURCE = _column("source", _NAMES.source)
COLUMN_CUSTOMER_ID = _column("customer_id", _NAMES.customer_id)
COLUMN_QUERY_NAME = _column("query_name", _NAMES.query_name)
COLUMN_LOGICAL_DATE = _column("logical_date", _NAMES.logical_date)
COLUMN_STATUS = _column("status", _NAMES.status)
COLUMN_CURRENT_RUN_ID = _column("current_run_id", _NAMES.current_run_id)
COLUMN_UPDATED_AT = _column("updated_at", _NAMES.updated_at)
COLUMN_RECORD_COUNT = _column("record_count", _NAMES.record_count)
COLUMN_SCHEMA_VERSION = _column("schema_version", _NAMES.schema_version)
COLUMN_ERROR_MESSAGE = _column("error_message", _NAMES.error_message)
COLUMN_ATTEMPT_COUNT = _column("attempt_count", _NAMES.attempt_count)

LAYOUT = text(
    "layout",
    Group.LAYOUT,
    "LAYOUT",
    "Paths below the mount point: plain, hive, by-date, or a template of {source}, {customer_id}, {query_name} and "
    "{logical_date} (or {year}, {month}, {day}). Add {source} where two sources share customers and queries.",
    DEFAULT_MOUNT_LAYOUT,
)
RAW_LAYOUT = text("raw-layout", Group.LAYOUT, "TEMPLATE", "Run directories below the raw root.", DEFAULT_RAW_LAYOUT)
RAW_ENCODING = choice(
    "raw-encoding", Group.LAYOUT, "How the producer writes values into raw directory names.", RawEncoding.VERBATIM
)

INTERVAL = duration("interval", Group.TIMING, "How often to look at the state store.", 10.0, minimum_s=0.05)
FULL_INTERVAL = duration(
    "full-interval",
    Group.TIMING,
    "How often a state store without row versions (any but SQLite and PostgreSQL) is compared as a whole.",
    600.0,
    minimum_s=0.05,
)
STATE_LISTEN = optional_text(
    "state-listen",
    Group.TIMING,
    "CHANNEL",
    "Refresh at once when the state store notifies this channel as well (PostgreSQL's NOTIFY).",
)
NAME_TIMEOUT = duration(
    "name-timeout",
    Group.TIMING,
    "How long the kernel may trust a name above a run if a notification to it was lost, or the daemon was killed.",
    60.0,
    minimum_s=0.001,
)
MAX_STALENESS = optional_duration(
    "max-staleness",
    Group.TIMING,
    "How old the catalog may become while the state store cannot be read; beyond it, walks from the mount root fail.",
    minimum_s=1.0,
)
STATE_TIMEOUT = duration(
    "state-timeout",
    Group.TIMING,
    "How long a connection to the state store, or a lock in it, is waited for.",
    10.0,
    minimum_s=0.1,
    maximum_s=3600.0,
)
RAW_TIMEOUT = duration(
    "raw-timeout",
    Group.TIMING,
    "How long a request may wait for the raw store before it fails with EIO.",
    60.0,
    minimum_s=0.1,
    maximum_s=3600.0,
)
DRAIN = duration(
    "drain",
    Group.TIMING,
    "If the mount is in use when it is stopped: how long its open files are still served.",
    30.0,
    minimum_s=0.0,
)

MAX_RETRACT = optional_percentage(
    "max-retract",
    Group.GUARD,
    "Hold back a state that would retract more than this part of the partitions that are shown, such as 50%.",
)
RETRACT_FLOOR = number(
    "retract-floor",
    Group.GUARD,
    "With max-retract: hold back nothing that retracts fewer partitions than this.",
    10,
    minimum=1,
    maximum=1_000_000_000,
)
RETRACT_AFTER = optional_duration(
    "retract-after",
    Group.GUARD,
    "With max-retract: accept what is held back once it was seen unchanged for this long.",
    minimum_s=1.0,
)
ACCEPT = optional_fingerprint(
    "accept",
    Group.GUARD,
    "With max-retract: the state with this fingerprint may be mounted, however much it retracts.",
)

HISTORY_COUNT = number(
    "history-count",
    Group.HISTORY,
    "How many catalogs are kept beside the one in force; 0 keeps none.",
    64,
    minimum=0,
    maximum=100_000,
)
HISTORY_AGE = duration(
    "history-age",
    Group.HISTORY,
    "How long a catalog is kept once another took its place, measured from the newest catalog.",
    7 * 86400.0,
    minimum_s=1.0,
    maximum_s=3650 * 86400.0,
)
HISTORY_BYTES = size(
    "history-bytes",
    Group.HISTORY,
    "How much room kept catalogs take below state-dir; the oldest go first, whatever the other bounds say.",
    256 << 20,
    minimum=1 << 20,
)

PIN_DEFAULT = duration(
    "pin-default",
    Group.PINS,
    "How long the lease of a pin lasts if nothing else is asked for.",
    86400.0,
    minimum_s=1.0,
    maximum_s=3650 * 86400.0,
)
PIN_MAX = duration(
    "pin-max",
    Group.PINS,
    "How long a pin can be held in all, however often it is renewed.",
    30 * 86400.0,
    minimum_s=1.0,
    maximum_s=3650 * 86400.0,
)
PIN_GRACE = duration(
    "pin-grace",
    Group.PINS,
    "How long the names of a view are still there when it has expired; opening a file fails with EIO then.",
    3600.0,
    minimum_s=0.0,
)
PIN_COUNT = number("pin-count", Group.PINS, "How many pins one user may have.", 100, minimum=0, maximum=10_000)
PIN_MEMORY = size(
    "pin-memory",
    Group.PINS,
    "How much memory pinned catalogs may add; beyond it nothing more is pinned.",
    512 << 20,
    minimum=1 << 20,
)
PIN_STORE = optional_path(
    "pin-store",
    Group.PINS,
    "A directory that several mounts share, on one machine or on many: a view that is pinned on one is found by all.",
    "DIR",
)
RAW_ID = optional_text(
    "raw-id",
    Group.PINS,
    "NAME",
    "What the raw root is called in the pin store: the same for mounts of one raw store, wherever each has it.",
    default_text="the raw root as it is named",
)
PIN_STORE_TIMEOUT = duration(
    "pin-store-timeout",
    Group.PINS,
    "How long the lookup of a view that this mount does not know waits for the pin store before it fails with EIO.",
    5.0,
    minimum_s=0.1,
    maximum_s=3600.0,
)

ENGINE = choice(
    "engine",
    Group.MOUNT,
    "What speaks to the kernel: direct is fast, pyfuse3 goes through libfuse; auto is direct where the kernel offers "
    "what it needs.",
    EngineWord.AUTO,
)
ENGINE_LOOP = choice(
    "engine-loop",
    Group.MOUNT,
    "Which loop of the direct engine answers requests: native, compiled code and Python for the rest, or python alone; "
    "auto takes native where it was compiled. With shadow Python answers, and the other's answers are compared.",
    EngineLoopWord.AUTO,
)
READS = choice(
    "reads",
    Group.MOUNT,
    "How the direct engine has files read: passthrough by the kernel from the raw file, opened by the daemon; auto by "
    "each file's size. With cached the kernel opens alone, and a broken run fails at the first read, not at open.",
    ReadsWord.AUTO,
)
PUSH = switch(
    "push",
    Group.MOUNT,
    "Put the bytes of a small file into the kernel's page cache when it is first opened, so that no read is asked for.",
    lambda _: True,
    "on",
)
XATTRS = switch(
    "xattrs", Group.MOUNT, "Offer the lineage of files and directories as extended attributes.", lambda _: True, "on"
)
UID = account(
    "uid",
    Group.MOUNT,
    "Owner of everything shown, by number or name.",
    lambda _: os.geteuid(),
    lambda name: pwd.getpwnam(name).pw_uid,
)
GID = account(
    "gid",
    Group.MOUNT,
    "Group of everything shown, by number or name.",
    lambda _: os.getegid(),
    lambda name: grp.getgrnam(name).gr_gid,
)
FILE_TIMES = choice(
    "file-times",
    Group.MOUNT,
    "What the times of files say: raw is when the raw file was written, published is updated_at of the partition's "
    "row, which moves when it switches to another run.",
    FileTimes.RAW,
)
FILE_MODE = mode(
    "file-mode", Group.MOUNT, "Mode of files, in octal; of write bits the owner's alone may be shown.", 0o444
)
DIR_MODE = mode(
    "dir-mode", Group.MOUNT, "Mode of directories, in octal; of write bits the owner's alone may be shown.", 0o555
)
ALLOW_OTHER = switch(
    "allow-other",
    Group.MOUNT,
    "Let other users read the mount; without CAP_SYS_ADMIN this needs user_allow_other in /etc/fuse.conf.",
    lambda _: _can_mount(),
    "on with CAP_SYS_ADMIN (root), else off",
)
RAW_THREADS = number(
    "raw-threads",
    Group.MOUNT,
    "How many reads of the raw store may be in progress at once.",
    16,
    minimum=1,
    maximum=256,
)

STATE_DIR = path(
    "state-dir",
    Group.PLACES,
    "The lock of each mount point, which keeps a second daemon from it, what max-retract compares a start with, what "
    "was shown before, and the pins.",
    _state_dir,
    "$STATE_DIRECTORY, else $XDG_STATE_HOME/readyfs, else ~/.local/state/readyfs",
)
RUNTIME_DIR = path(
    "runtime-dir",
    Group.PLACES,
    "The control sockets, over which the other commands reach the daemon.",
    _runtime_dir,
    "/run/readyfs for root, else $XDG_RUNTIME_DIR/readyfs, else /tmp/readyfs-UID",
)

PUBLIC_DIR = path(
    "public-dir",
    Group.PLACES,
    "The public sockets, over which everybody who may enter the mount reaches the daemon; all may enter it.",
    _public_dir,
    "/run/readyfs-public for root, else /tmp/readyfs-public-UID",
)

METRICS_FILE = optional_path(
    "metrics-file",
    Group.PLACES,
    "Keep the numbers of the mount in this file for Prometheus, through the node exporter's textfile collector.",
)

LOG_FILE = optional_path("log-file", Group.LOG, "Append the log to this file instead of writing it to stderr.")
LOG_FORMAT = choice(
    "log-format", Group.LOG, "Form of the log; auto is human on a terminal and JSON lines elsewhere.", LogFormat.AUTO
)
LOG_LEVEL = choice("log-level", Group.LOG, "The least severe level that is logged.", LogLevel.INFO)

SETTINGS: tuple[Setting[object], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Setting))
