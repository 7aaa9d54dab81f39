"""Texts of manifests: values as JSON, and the columns of rows."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import eq
from typing import Final

from orjson import dumps

from readyfs.partition import NOT_SET
from readyfs.series_rows.time_column import render_times
from readyfs.text import decode_text

NULL: Final = b"null"
_ESCAPED: Final = bytes((*range(0x20), *b'"\\'))
_NOT_SET_BYTES: Final = NOT_SET.to_bytes(8, "little", signed=True)
_NOT_SET_TEXT: Final = b"%d" % NOT_SET


@lru_cache(maxsize=65536)
def json_text(value: bytes) -> bytes:
    """Return a text as JSON; bytes that are not UTF-8 become backslash escapes in it, as in all JSON of ours."""
    return dumps(decode_text(value))


def json_content(value: bytes) -> bytes:
    """Return a text as JSON without the quotes."""
    return json_text(value)[1:-1]


@lru_cache(maxsize=1024)
def json_version(value: bytes | None) -> bytes:
    """Return a schema version as JSON."""
    return NULL if value is None else json_text(value)


def _plain_width(values: Sequence[bytes]) -> int | None:
    """Return how long texts are together; None if one is empty, or otherwise not the same in JSON as it is."""
    joined = b"".join(values)
    if not joined.isascii() or len(joined.translate(None, _ESCAPED)) != len(joined) or b"" in values:
        return None
    return len(joined)


def run_ids_width(run_ids: Sequence[bytes]) -> int:
    """Return how many bytes `render_run_ids` makes."""
    width = _plain_width(run_ids)
    if width is not None:
        return width + 2 * len(run_ids)
    return sum(map(len, render_run_ids(run_ids)))


def render_run_ids(run_ids: Sequence[bytes]) -> list[bytes]:
    """Return run ids as JSON, null for one that is empty, which no run has."""
    if _plain_width(run_ids) is not None:
        return list(map(b'"%b"'.__mod__, run_ids))
    return [json_text(run_id) if run_id else NULL for run_id in run_ids]


def counts_width(counts: array[int]) -> int:
    """Return how many bytes `render_counts` makes."""
    width = len(dumps(counts.tolist())) - len(counts) - 1
    return width + _unset(counts) * (len(NULL) - len(_NOT_SET_TEXT))


def render_counts(counts: array[int]) -> list[bytes]:
    """Return record counts as JSON."""
    texts = dumps(counts.tolist())[1:-1].split(b",")
    return [NULL if text == _NOT_SET_TEXT else text for text in texts] if _NOT_SET_TEXT in texts else texts


def times_width(times_ns: array[int]) -> int:
    """Return how many bytes `render_moments` makes."""
    return _TIME_WIDTH * len(times_ns) - (_TIME_WIDTH - len(NULL)) * _unset(times_ns)


def render_moments(times_ns: array[int]) -> list[bytes]:
    """Return times as JSON."""
    texts = render_times(times_ns).split(b",")
    if _unset(times_ns):
        unset = map(eq, times_ns, repeat(NOT_SET))
        return [NULL if nothing else text for nothing, text in zip(unset, texts, strict=True)]
    return texts


def versions_width(versions: Sequence[bytes | None]) -> int:
    """Return how many bytes `render_versions` makes of one version or more."""
    first = versions[0]
    rows = versions.count(first)  # quicker than to count each, and most often that is all
    if rows == len(versions):
        return len(json_version(first)) * rows
    return sum(len(json_version(version)) * rows for version, rows in Counter(versions).items())


def render_versions(versions: Sequence[bytes | None]) -> list[bytes]:
    """Return schema versions as JSON."""
    return list(map(json_version, versions))


def _unset(values: array[int]) -> int:
    # The bytes are searched first: counting makes an object of each number.
    return values.count(NOT_SET) if _NOT_SET_BYTES in values.tobytes() else 0


_TIME_WIDTH: Final = len(render_times([0]))
