"""The fields of a request over the public socket, each checked as it is read.

Every reader raises `MalformedMessageError`, which names the field.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TypeAlias

from readyfs.control.messages import MalformedMessageError

Fields: TypeAlias = Mapping[str, object]


def read_text(fields: Fields, key: str, default: str | None = None) -> str:
    """Return a text."""
    value = fields.get(key, default)
    if not isinstance(value, str):
        raise MalformedMessageError(f"`{key}` is not a text")
    return _check_text(key, value)


def read_text_or_null(fields: Fields, key: str) -> str | None:
    """Return a text, or None where there is none."""
    return None if fields.get(key) is None else read_text(fields, key)


def read_texts(fields: Fields, key: str) -> tuple[str, ...]:
    """Return a list of texts."""
    value = fields.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise MalformedMessageError(f"`{key}` is not a list of texts")
    return tuple(_check_text(key, one) for one in value)


def read_flag(fields: Fields, key: str) -> bool:
    """Return a switch, off where it is not there."""
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise MalformedMessageError(f"`{key}` is not true or false")
    return value


def read_seconds_or_null(fields: Fields, key: str) -> float | None:
    """Return seconds, or None where there are none."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_bounded(value):
        raise MalformedMessageError(f"`{key}` is neither a number of seconds nor null")
    return float(value)


def _check_text(key: str, text: str) -> str:
    """Return a text that stands for bytes; JSON can hold halves of characters, which stand for none."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise MalformedMessageError(f"`{key}` holds half a character") from error
    return text


def _is_bounded(value: float) -> bool:
    # JSON as Python reads it knows NaN and infinity, and whole numbers that no float can hold.
    return -1e12 < value < 1e12 if isinstance(value, int) else math.isfinite(value) and abs(value) < 1e12
