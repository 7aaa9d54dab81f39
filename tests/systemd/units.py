"""The units as they stand in the repository, and what their settings are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

UNITS: Final = Path(__file__).parents[2] / "systemd"
PRIVILEGED: Final = UNITS / "readyfs@.service"
UNPRIVILEGED: Final = UNITS / "readyfs-unprivileged@.service"


def settings(unit: Path) -> list[tuple[str, str]]:
    """Return a unit's settings in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [
        (name, value) for name, found, value in (line.partition("=") for line in lines if line[:1].isalpha()) if found
    ]


def values_of(unit: Path, name: str) -> list[str]:
    """Return every value that a unit gives a setting; systemd joins those of a list."""
    return [value for found, value in settings(unit) if found == name]


def value_of(unit: Path, name: str) -> str:
    """Return the one value of a setting."""
    (value,) = values_of(unit, name)
    return value


def shell_script(unit: Path, name: str) -> str:
    """Return the script of a setting that runs /bin/sh, as the shell gets it."""
    _, _, rest = value_of(unit, name).partition("/bin/sh -c '")
    script, _, arguments = rest.partition("' ")
    assert script and arguments == "%f", value_of(unit, name)
    return script.replace("$$", "$")
