"""The settings of one mount, valid by construction; handed over at the composition root and no further."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from readyfs.fuse.engine_words import EngineLoopWord, EngineWord, ReadsWord
from readyfs.layout import MountLayout, RawLayout
from readyfs.log_words import LogFormat, LogLevel
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from readyfs.vfs.file_times import FileTimes


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `readyfs mount` was told; every path in it is absolute.

    `mountpoint` is resolved as `realpath(parent)/name`. `state` may hold a password and therefore stays out of `repr`.
    `raw_id` is what the raw root is called in the pin store. `state_file` is the file of --state-file, whether or not
    it is what `state` came from.
    """

    mountpoint: Path
    state: str = field(repr=False)
    raw: str
    table: StateTable
    filters: Filters
    layout: MountLayout
    raw_layout: RawLayout
    files: tuple[str, ...]
    required_files: tuple[str, ...]
    show_error_messages: bool
    interval_s: float
    full_interval_s: float
    state_listen: str | None
    name_timeout_s: float
    max_staleness_s: float | None
    max_retract: Fraction | None
    retract_floor: int
    retract_after_s: float | None
    accept: str | None
    history_count: int
    history_age_s: float
    history_bytes: int
    pin_default_s: float
    pin_max_s: float
    pin_grace_s: float
    pin_count: int
    pin_memory: int
    pin_store: Path | None
    raw_id: str
    pin_store_timeout_s: float
    state_timeout_s: float
    raw_timeout_s: float
    drain_s: float
    engine: EngineWord
    engine_loop: EngineLoopWord
    reads: ReadsWord
    push: bool
    xattrs: bool
    uid: int
    gid: int
    file_times: FileTimes
    file_mode: int
    dir_mode: int
    allow_other: bool
    raw_threads: int
    state_dir: Path
    runtime_dir: Path
    public_dir: Path
    metrics_file: Path | None
    log_file: Path | None
    log_format: LogFormat
    log_level: LogLevel
    config_file: Path | None
    state_file: Path | None
