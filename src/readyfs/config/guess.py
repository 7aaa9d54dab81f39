"""Guessing which name was meant: a near one or none, because a far one sends the reader the wrong way."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_CUTOFF: Final = 0.75


def guess_name(name: str, known: Iterable[str], prefix: str = "") -> str | None:
    """Return the known name that is near to what was written, None if none is.

    A `prefix` that all names share is not counted: it would make everything look near.
    """
    shorts = {one.removeprefix(prefix): one for one in known}
    near = difflib.get_close_matches(name.removeprefix(prefix), list(shorts), n=1, cutoff=_CUTOFF)
    return shorts[near[0]] if near else None
