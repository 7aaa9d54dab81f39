"""Words on the command line, in the environment and in a TOML file, turned into one frozen `Config`."""

from readyfs.config.build import build_config, find_state, find_warnings
from readyfs.config.resolve import Resolution, SettingInfo, iter_settings, resolve_settings

__all__ = [
    "Resolution",
    "SettingInfo",
    "build_config",
    "find_state",
    "find_warnings",
    "iter_settings",
    "resolve_settings",
]
