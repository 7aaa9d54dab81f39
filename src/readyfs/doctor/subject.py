"""What the doctor is asked about, and where on this machine it looks; tests have it look elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from readyfs.errors import UserError
from readyfs.fuse.engine_words import EngineWord, ReadsWord
from readyfs.fuse.fusermount import APPARMOR, APPARMOR_PROFILE
from readyfs.fuse.mount_point import Reserved
from readyfs.layout import RawLayout
from readyfs.privileges import Capability, has_capability
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable


@dataclass(frozen=True, slots=True)
class Places:
    """Files of the machine."""

    device: Path = Path("/dev/fuse")
    fusermount: str = "fusermount3"
    fuse_conf: Path = Path("/etc/fuse.conf")
    apparmor: Path = APPARMOR
    apparmor_profile: Path = APPARMOR_PROFILE
    updatedb_conf: Path = Path("/etc/updatedb.conf")
    search_path: str = f"{os.defpath}:/usr/sbin:/sbin:/usr/local/bin:{os.environ.get('PATH', '')}"
    mount_table: Path = Path("/proc/self/mountinfo")
    own_namespace: Path = Path("/proc/self/ns/mnt")
    first_namespace: Path = Path("/proc/1/ns/mnt")
    process_status: Path = Path("/proc/self/status")
    memory: Path = Path("/proc/meminfo")
    control_groups: Path = Path("/sys/fs/cgroup")
    container_marks: tuple[Path, ...] = (Path("/.dockerenv"), Path("/run/.containerenv"))

    @property
    def in_container(self) -> bool:
        """Whether this is the inside of a container of Docker or Podman."""
        return any(mark.exists() for mark in self.container_marks)


@dataclass(frozen=True, slots=True)
class Subject:
    """What the settings name, as far as they name anything.

    `mountpoint` is absolute and not resolved, since resolving it may hang; None stands for what was not named.
    `find_state` returns the state store's URL, secret included; it and `check_settings`, which returns warnings, raise
    `UsageError`. `reserved` are our own places, beside the stores, that a mount must not touch.
    """

    mountpoint: Path | None
    find_state: Callable[[], str] | None
    check_settings: Callable[[], tuple[str, ...]] | None
    raw: str | None
    table: StateTable
    filters: Filters
    raw_layout: RawLayout
    required_files: tuple[str, ...]
    state_timeout_s: float
    interval_s: float
    engine: EngineWord
    reads: ReadsWord
    allow_other: bool
    runtime_dir: Path
    reserved: tuple[Reserved, ...]
    pin_store: Path | None = None
    places: Places = Places()

    @property
    def privileged(self) -> bool:
        """Whether this process may mount by itself."""
        return has_capability(Capability.SYS_ADMIN)

    def state(self) -> str | None:
        """Return the state store's URL, None if none is named or the settings are at odds, which their check says."""
        if self.find_state is None:
            return None
        try:
            return self.find_state()
        except UserError:
            return None
