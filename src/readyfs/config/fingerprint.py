"""Fingerprints of catalogs as people hand them back: whole, so that nothing else is ever accepted for one."""

from __future__ import annotations

import re
from typing import Final

from readyfs.errors import UsageError
from readyfs.text import escape_text

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint as catalogs have it; raise `UsageError` for anything else."""
    word = text.strip().lower()
    if _FINGERPRINT.fullmatch(word) is None:
        raise UsageError(
            f"{escape_text(text)!r} is no fingerprint",
            "give the 32 digits that the log, `readyfs status` or the refusal shows",
        )
    return word
