"""The guard against an emptied table as a mount is configured: its limit, its baseline, and what that belongs to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

from readyfs.clock import read_boot_id
from readyfs.config.config import Config
from readyfs.refresh.baseline import BaselineFile
from readyfs.refresh.baseline_keeper import BaselineKeeper
from readyfs.refresh.retraction_guard import MountIdentity, RetractionGuard, RetractionLimit
from readyfs.vfs.freshness import Freshness


def make_guard(config: Config, state_label: str, freshness: Freshness) -> RetractionGuard | None:
    """Return the guard of a mount, None if it has no `--max-retract`.

    Without one nobody keeps count of what is shown, so a baseline of former times does not count any more.
    """
    file = BaselineFile(config.state_dir, config.mountpoint)
    if config.max_retract is None:
        with suppress(OSError):  # then a later mount compares with what was shown before, which is safe
            file.remove()
        return None
    identity = MountIdentity(config.mountpoint, counting_settings(config, state_label), read_boot_id())
    keeper = BaselineKeeper(file)
    limit = RetractionLimit(config.max_retract, config.retract_floor, config.retract_after_s)
    return RetractionGuard(limit, keeper, identity, freshness.now_s)


def counting_settings(config: Config, state_label: str) -> dict[str, str]:
    """Return what decides how many partitions a state has, by the names of the settings."""
    names = asdict(config.table)
    for name in ("failed", "error_message", "attempt_count"):
        del names[name]  # of rows that are not ready
    filters = config.filters
    return {
        "state": state_label,
        "state-table": names.pop("table"),
        "ready-status": names.pop("ready"),
        **{f"column-{name.replace('_', '-')}": value for name, value in names.items()},
        "source": repr(filters.sources),
        "customer": repr(filters.customers),
        "query": repr(filters.queries),
        "since": repr(filters.since),
        "until": repr(filters.until),
        "layout": config.layout.template,
        "raw-layout": config.raw_layout.template,
        "raw-encoding": config.raw_layout.encoding.value,
    }
