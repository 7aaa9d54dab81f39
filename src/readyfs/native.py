"""The compiled module, or why there is none: everything that it does is there in Python, too."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Final

INTERFACE: Final = 2
"""What is expected of the compiled module, and what it says of itself (src/native/module.c)."""
NAME: Final = "readyfs._native"
OBSTACLE_FILE: Final = Path(__file__).with_name("_native_obstacle.txt")
"""Written by the build where the module could not be compiled."""


def load(name: str, obstacle_file: Path) -> tuple[ModuleType | None, str]:
    """Import the compiled module; return it, or None and in a few words why it cannot be used."""
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None, _why_not_compiled(obstacle_file)
        return None, f"it cannot be loaded: {error}"
    except ImportError as error:
        return None, f"it cannot be loaded: {error}"
    if getattr(found, "INTERFACE", None) != INTERFACE:
        return None, "it is of another version of readyfs, install that again"
    return found, ""


def _why_not_compiled(obstacle_file: Path) -> str:
    try:
        reason = obstacle_file.read_text(encoding="utf-8").strip()
    except OSError:
        reason = ""
    return f"it was not compiled when readyfs was installed{': ' if reason else ''}{reason}"


module, obstacle = load(NAME, OBSTACLE_FILE)
"""The module, or None and why."""
