"""Changes as JSON lines, and in pages of a bounded size; the fields are those that consumers read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from readyfs.consumer.changes import Change
from readyfs.layout import MountLayout, woven
from readyfs.partition import NOT_SET, PartitionKey, SeriesKey, render_date, render_time
from readyfs.text import decode_text

PAGE_BYTES: Final = 1024 * 1024
"""About so much is one page at most."""

_SURROGATE: Final = "\\ud"
"""What every line has in which a lone surrogate stands for a byte."""


class Page(NamedTuple):
    """Some changes as JSON lines, and behind which key the next page begins, None if there is none."""

    lines: str
    after: PartitionKey | None


def make_page(changes: Iterable[Change], layout: MountLayout) -> Page:
    """Return as many changes as are one page."""
    render = ChangeRenderer(layout).render
    lines: list[str] = []
    size = 0
    last: PartitionKey | None = None
    for change in changes:
        if size >= PAGE_BYTES:
            return Page("".join(lines), last)
        line = render(change)
        lines.append(line)
        size += len(line)
        last = change.key
    return Page("".join(lines), None)


class _SeriesTexts(NamedTuple):
    """What all changes of a series have in common."""

    key: SeriesKey
    texts: tuple[str, ...]
    names: tuple[bytes | None, ...]


class ChangeRenderer:
    """Renders changes of one layout; what neighbours have in common is made once. Used by one thread."""

    def __init__(self, layout: MountLayout) -> None:
        self._layout = layout
        self._dates: dict[int, tuple[str, tuple[bytes, ...]]] = {}
        self._series: _SeriesTexts | None = None

    def render(self, change: Change) -> str:
        """Return a change as a line of JSON; the path is below the mount point."""
        (key, date), was, now = change
        series = self._series
        if series is None or series.key != key:
            series = self._series = _SeriesTexts(key, tuple(map(decode_text, key)), self._layout.names_of(key))
        known = self._dates.get(date)
        if known is None:
            known = self._dates[date] = render_date(date).decode("ascii"), self._layout.dates_of(date)
        day, date_names = known
        source, customer_id, query_name = series.texts
        fields = {
            "type": change.kind.value,
            "source": source,
            "customer_id": customer_id,
            "query_name": query_name,
            "logical_date": day,
            "run_id": None if now is None else decode_text(now.run_id),
            "old_run_id": None if was is None else decode_text(was.run_id),
            "path": os.fsdecode(b"/".join(woven(series.names, date_names))),
            "updated_at": None if now is None or now.updated_at_ns == NOT_SET else _time_text(now.updated_at_ns),
            "record_count": None if now is None or now.record_count == NOT_SET else now.record_count,
            "schema_version": None if now is None or now.schema_version is None else decode_text(now.schema_version),
        }
        try:
            return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE).decode()
        except TypeError:
            # A path whose bytes are no UTF-8: a lone surrogate stands for each, for programs of ours that open it.
            return json.dumps(fields, separators=(",", ":")) + "\n"


def make_printable(line: str) -> str:
    """Return a line as JSON that every program reads: bytes of its path that are no UTF-8 as backslash escapes."""
    if _SURROGATE not in line:
        return line
    fields = json.loads(line)
    fields["path"] = decode_text(os.fsencode(fields["path"]))
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE).decode()


def render_place(key: PartitionKey) -> str:
    """Return where a page ends, for whoever asks for the next one."""
    return "/".join((*(part.hex() for part in key.series), str(key.date)))


def parse_place(text: str) -> PartitionKey:
    """Return what `render_place` rendered; raise `ValueError`."""
    *parts, date = text.split("/")
    if len(parts) != len(SeriesKey._fields):
        raise ValueError(text)
    return PartitionKey(SeriesKey(*map(bytes.fromhex, parts)), int(date))


@lru_cache(maxsize=4096)
def _time_text(time_ns: int) -> str:
    return render_time(time_ns).decode("ascii")
