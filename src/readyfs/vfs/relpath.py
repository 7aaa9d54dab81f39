"""Places within a run."""

from __future__ import annotations

from typing import TypeAlias

from readyfs.text import escape_text

RelPath: TypeAlias = tuple[bytes, ...]
"""Names from the run directory down; empty for the run directory itself."""


def render_relpath(relpath: RelPath) -> str:
    """Return a place within a run for a message."""
    return escape_text(b"/".join(relpath)) or "run directory"
