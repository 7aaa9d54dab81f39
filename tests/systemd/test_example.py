"""The example configuration: every key in it exists, and what it says of defaults is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from readyfs.config.build import build_config
from readyfs.config.resolve import resolve_settings
from readyfs.config.table import SETTINGS

EXAMPLE = Path(__file__).parents[2] / "systemd" / "readyfs.example.toml"
ENVIRONMENT = {"HOME": "/root"}


def keys_behind(mark: str) -> str:
    """Return the lines that stand behind a mark, as TOML."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix(mark) for line in lines if re.match(re.escape(mark) + r"[a-z-]+ = ", line))


def test_example_as_it_stands_is_a_complete_configuration() -> None:
    config = build_config(resolve_settings({}, environ=ENVIRONMENT, config_file=EXAMPLE), Path("/srv/ready"))
    assert (config.state, config.raw) == ("/var/lib/pipeline/state.db", "/var/lib/pipeline/raw")


def test_every_announced_example_is_accepted(tmp_path: Path) -> None:
    text = keys_behind("# Example: ")
    (tmp_path / "all.toml").write_text(text, encoding="utf-8")
    resolution = resolve_settings({}, environ=ENVIRONMENT, config_file=tmp_path / "all.toml")
    assert len(tomllib.loads(text)) == sum(origin.label != "default" for origin in resolution.origins.values()) == 9


def test_every_key_behind_a_hash_shows_its_default(tmp_path: Path) -> None:
    text = keys_behind("# ")
    (tmp_path / "defaults.toml").write_text(text, encoding="utf-8")
    given = resolve_settings({}, environ=ENVIRONMENT, config_file=tmp_path / "defaults.toml")
    default = resolve_settings({}, environ=ENVIRONMENT)
    shown = tomllib.loads(text)
    assert len(shown) >= 10
    for setting in SETTINGS:
        if setting.name in shown and setting.name != "allow-other":
            assert given.values[setting.name] == default.values[setting.name], setting.name
