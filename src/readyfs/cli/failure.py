"""How an exception becomes the one line that a user sees."""

from __future__ import annotations

import traceback
from pathlib import Path

from readyfs.errors import UserError


def find_user_error(error: BaseException) -> UserError | None:
    """Return the `UserError` that an exception is, or that a group holds and nothing else with it."""
    if isinstance(error, UserError):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [find_user_error(one) for one in error.exceptions]
    return found[0] if None not in found else None


def describe_bug(error: BaseException) -> str:
    """Return the type and the place but not the text, which may hold anything, a password included."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
