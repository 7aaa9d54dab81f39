"""History and pins as a mount is configured: where they lie, their bounds, and what gives catalogs a meaning."""

from __future__ import annotations

from readyfs.catalog.build import CatalogShape
from readyfs.config.config import Config
from readyfs.daemon.guarding import counting_settings
from readyfs.history.directory import HistoryDirectory, history_dir
from readyfs.history.history import History
from readyfs.history.moments import Bounds
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.registry import Registry


def make_history(config: Config, state_label: str, raw_label: str, shape: CatalogShape) -> History:
    """Return the history of a mount, which is still to be opened."""
    settings = {
        **counting_settings(config, state_label),
        "raw": raw_label,
        "files": repr(config.files),
        "required-files": repr(config.required_files),
        "file-times": config.file_times.value,
    }
    bounds = Bounds(config.history_count, config.history_age_s, config.history_bytes)
    return History(HistoryDirectory(history_dir(config.state_dir, config.mountpoint), settings), shape, bounds)


def make_registry(config: Config) -> Registry:
    """Return the pins of a mount, those of before among them; raise `HistoryError`. Blocking."""
    limits = Limits(config.pin_default_s, config.pin_max_s, config.pin_grace_s, config.pin_count, config.pin_memory)
    clock = LeaseClock()
    return Registry(PinFile(config.state_dir, config.mountpoint, clock), limits, clock)
