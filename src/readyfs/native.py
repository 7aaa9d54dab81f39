"""The compiled module, or why there is none: everything that it does is there in Python, too."""

from __future__ import annotations

from types import ModuleType
from typing import Final

INTERFACE: Final = 1
"""What is expected of the compiled module, and what it says of itself (src/native/module.c)."""


def _load() -> tuple[ModuleType | None, str]:
    try:
        from readyfs import _native
    except ImportError as error:
        if error.name == "readyfs._native":
            return None, "it was not compiled when readyfs was installed"
        return None, f"it cannot be loaded: {error}"
    if _native.INTERFACE != INTERFACE:
        return None, "it is of another version of readyfs, install that again"
    return _native, ""


module, obstacle = _load()
"""The module, or None and why."""
