"""Addresses: what a person names, as a path in a mount or as a key; and why one can never be there.

A key is `customer/query/date`, or a beginning of that: it is the same whatever the layout of a mount. Its parts may be
escaped as names in a mount are, and have to be where they hold a slash or a percent sign. A path is absolute. It is
compared as text, so that nothing is asked of a mount.
"""

from __future__ import annotations

import calendar
import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape as escape_glob
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from readyfs.errors import ImpossibleError, UsageError
from readyfs.layout import (
    CONTROL_NAME,
    MAX_NAME_BYTES,
    NAMED_LAYOUTS,
    MountLayout,
    UnusableNameError,
    hive_escape,
    mount_name,
    read_mount_name,
)
from readyfs.partition import PartitionKey, SeriesKey, parse_date, render_date
from readyfs.state.filters import Filters
from readyfs.template import DateComponent
from readyfs.text import escape_text

LATEST: Final = b"latest"
"""The name of the link to the newest date, in a directory of dates; it stands for that date in a key, too."""

_VIEW_DIRECTORIES: Final = (b"at", b"views")
_STRAY_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LOOSE_DATE: Final = re.compile(rb"(\d{4})(?:\D(\d{1,2})\D(\d{1,2})|(\d\d)(\d\d))(?!\d)")
_MONTH: Final = re.compile(rb"(\d{4})-?(\d\d)")
_FIELDS: Final = ("source", "customer_id", "query_name")


class ImpossibleAddressError(ImpossibleError):
    """An address that no partition can have; `reason` says why, `nearest` is what was probably meant, if anything."""

    def __init__(self, reason: str, nearest: bytes | None = None, remedy: str = "") -> None:
        self.reason = reason
        self.nearest = nearest
        meant = f"did you mean {escape_text(nearest)}?" if nearest is not None else remedy
        super().__init__(reason, meant)


class ViewName(NamedTuple):
    """A view in a path: the directory below `.readyfs` that it was found in, and its name there."""

    directory: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """What was named: every part that was not is None.

    `first` and `last` are the dates that it covers, inclusive; in some layouts a directory stands for a year. `file`
    is what follows the directory of the partition. A path does not tell the source unless the layout shows it.
    """

    source: bytes | None = None
    customer_id: bytes | None = None
    query_name: bytes | None = None
    first: int | None = None
    last: int | None = None
    is_latest: bool = False
    view: ViewName | None = None
    file: tuple[bytes, ...] = ()

    @property
    def date(self) -> int | None:
        """The one date that was named."""
        return self.first if self.first == self.last else None

    @property
    def names_partition(self) -> bool:
        """Whether one partition was named, of one source or of any."""
        return (
            self.customer_id is not None and self.query_name is not None and (self.date is not None or self.is_latest)
        )

    @property
    def key(self) -> PartitionKey | None:
        """The key that was named, if all of it was."""
        if self.source is None or self.customer_id is None or self.query_name is None or self.date is None:
            return None
        return PartitionKey(SeriesKey(self.source, self.customer_id, self.query_name), self.date)

    def admits(self, series: SeriesKey) -> bool:
        """Tell whether a series is among what was named."""
        return all(getattr(self, field) in (None, getattr(series, field)) for field in _FIELDS)

    def narrow(self, filters: Filters) -> Filters | None:
        """Return the filters that let pass what is named and passes the given ones; None if that can be nothing.

        A name that holds characters of globs lets pass no more than itself.
        """
        sources = _narrow(filters.sources, self.source)
        customers = _narrow(filters.customers, self.customer_id)
        queries = _narrow(filters.queries, self.query_name)
        if sources is None or customers is None or queries is None:
            return None
        starts = [date for date in (filters.since, self.first) if date is not None]
        ends = [date for date in (filters.until, self.last) if date is not None]
        since, until = max(starts, default=None), min(ends, default=None)
        if since is not None and until is not None and since > until:
            return None
        return Filters(sources, customers, queries, since, until)


def parse_address(text: str, layout: MountLayout, mountpoint: Path | None = None, source: str | None = None) -> Address:
    """Return what a path below the mount point, or a key, names in a mount with that layout.

    Raises `ImpossibleAddressError` if there can be no such partition, `UsageError` if it cannot be told.
    """
    raw = os.fsencode(text)
    if not raw.strip(b"/") and not raw.startswith(b"/"):
        raise UsageError("the path or key is empty", "name a path in a mount, or a key such as customer/query/date")
    wanted = None if source is None else os.fsencode(source)
    if not raw.startswith(b"/"):
        return _parse_key(raw, wanted)
    if mountpoint is None:
        raise UsageError(
            f"{escape_text(raw)} is a path, and no readyfs mount is there",
            "name a path in a mount, or a key such as customer/query/date",
        )
    return _parse_path(raw, layout, os.fsencode(mountpoint), wanted)


def render_key(customer_id: bytes, query_name: bytes, date: int) -> bytes:
    """Return the key of a partition, as `parse_address` reads it."""
    return b"/".join((hive_escape(customer_id), hive_escape(query_name), render_date(date)))


def _narrow(patterns: tuple[str, ...], value: bytes | None) -> tuple[str, ...] | None:
    """Return a pattern of the value alone, if it was named; None if the patterns do not let it pass."""
    if value is None:
        return patterns
    if not Filters(sources=patterns).admits(SeriesKey(value, b"", b"")):
        return None
    return (escape_glob(os.fsdecode(value)),)


# ---- keys


def _parse_key(raw: bytes, source: bytes | None) -> Address:
    parts = raw.rstrip(b"/").split(b"/")
    if len(parts) < 3 and parse_date(parts[-1]) is not None:
        # Typed in a directory of a mount. Who has such a customer or query can still choose it by a filter.
        read_as = "customer" if len(parts) == 1 else "customer/query"
        raise UsageError(
            f"{escape_text(raw)} is read as {read_as}, and ends with a date",
            "a key is customer/query/date, and a path begins with ./ or /",
        )
    if b"" in parts:
        left = [part for part in parts if part]
        is_short = len(left) < 3 and parse_date(left[-1]) is not None  # one of the names was meant to be there
        raise ImpossibleAddressError(
            f"the key {escape_text(raw)} holds an empty name",
            None if is_short else b"/".join(left),
            "a key is customer/query/date; an unset variable perhaps?",
        )
    if len(parts) > 3:
        raise _explain_long_key(raw, parts)
    values = [_decode(part, parts, index) for index, part in enumerate(parts[:2])]
    address = Address(source, values[0], values[1] if len(values) > 1 else None)
    if len(parts) < 3:
        return address
    if parts[2] == LATEST:
        return replace(address, is_latest=True)
    date = parse_date(parts[2])
    if date is None:
        near = _guess_date(parts[2])
        nearest = _find_key(parts) if near is None else b"/".join((*parts[:2], render_date(near)))
        remedy = _explain_month(parts[2]) or "a key is customer/query/date, and a date is YYYY-MM-DD"
        raise ImpossibleAddressError(f"{escape_text(parts[2])} is no date", nearest, remedy)
    return replace(address, first=date, last=date)


def _decode(part: bytes, parts: Sequence[bytes], index: int) -> bytes:
    if _STRAY_PERCENT.search(part) is None:
        return unquote_to_bytes(part)
    mended = _STRAY_PERCENT.sub(b"%25", part)
    nearest = b"/".join((*parts[:index], mended, *parts[index + 1 :]))
    raise ImpossibleAddressError(f"{escape_text(part)} holds a percent sign that escapes nothing", nearest)


def _explain_long_key(raw: bytes, parts: Sequence[bytes]) -> ImpossibleAddressError:
    if (nearest := _find_key(parts[:3])) is not None:
        return ImpossibleAddressError(f"the key {escape_text(raw)} goes on behind its date", nearest)
    if len(parts) == 4 and parse_date(parts[3]) is not None:
        nearest = b"--source " + parts[0] + b" " + b"/".join(parts[1:])
        return ImpossibleAddressError(
            f"the key {escape_text(raw)} has four parts, and a path begins with ./ or /", nearest
        )
    return ImpossibleAddressError(
        f"the key {escape_text(raw)} has {len(parts)} parts, and a path begins with ./ or /",
        remedy="a key is customer/query/date; a slash within a name is written %2F",
    )


def _find_key(parts: Sequence[bytes]) -> bytes | None:
    """Return the key of a path in one of the layouts that have a name, None if it is none."""
    for name in NAMED_LAYOUTS:
        if (found := MountLayout.parse(name).read(parts)) is not None:
            series, date = found
            return render_key(series.customer_id, series.query_name, date)
    return None


def _guess_date(text: bytes) -> int | None:
    match = _LOOSE_DATE.match(text)
    if match is None:
        return None
    year, month, day = filter(None, match.groups())
    return parse_date(b"%s-%s-%s" % (year, month.zfill(2), day.zfill(2)))


def _explain_month(text: bytes) -> str:
    """Return how the dates of a month are chosen, if a text is one."""
    match = _MONTH.fullmatch(text)
    first = None if match is None else parse_date(b"%s-%s-01" % match.groups())
    if first is None:
        return ""
    last = _last_of(first, has_month=True, has_day=False)
    since, until = render_date(first).decode(), render_date(last).decode()
    return f"a date is YYYY-MM-DD; `readyfs ls` has the whole month with --since {since} --until {until}"


# ---- paths


def _last_of(first: int, *, has_month: bool, has_day: bool) -> int:
    """Return the last date of a day, a month or a year that begins with a date."""
    if has_day:
        return first
    day = datetime.date.fromordinal(first)
    if has_month:
        return first + calendar.monthrange(day.year, day.month)[1] - 1
    return datetime.date(day.year, 12, 31).toordinal()


_Names: TypeAlias = tuple[bytes, ...]


def _parse_path(raw: bytes, layout: MountLayout, mountpoint: bytes, source: bytes | None) -> Address:
    base, names = _split(mountpoint), _split(raw)
    if names[: len(base)] != base:
        raise ImpossibleAddressError(f"{escape_text(raw)} lies outside of the mount at {escape_text(mountpoint)}")
    below, view = names[len(base) :], None
    if below[:1] == (CONTROL_NAME,):
        if len(below) < 3 or below[1] not in _VIEW_DIRECTORIES:
            raise ImpossibleAddressError(
                f"{escape_text(raw)}: {CONTROL_NAME.decode()} is a reserved name, and no partition",
                remedy="views are in .readyfs/at and .readyfs/views",
            )
        view, base, below = ViewName(below[1], below[2]), names[: len(base) + 3], below[3:]
    address = _PathReader(raw, layout, base).read(below)
    if source is not None:
        if address.source not in (None, source):
            raise ImpossibleAddressError(f"{escape_text(raw)} is not of the source {escape_text(source)}")
        address = replace(address, source=source)
    return replace(address, view=view)


def _split(path: bytes) -> _Names:
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return tuple(names)


class _PathReader:
    """Reads the names of one path, component by component; `base` is the path of the root that they stand below."""

    def __init__(self, raw: bytes, layout: MountLayout, base: _Names) -> None:
        self._raw = raw
        self._layout = layout
        self._base = base

    def read(self, below: _Names) -> Address:
        values: dict[str, bytes] = {}
        is_latest = False
        for index, (name, component) in enumerate(zip(below, self._layout.components, strict=False)):
            if len(name) > MAX_NAME_BYTES:
                raise ImpossibleAddressError(f"a name of {len(name)} bytes is longer than {MAX_NAME_BYTES}")
            if isinstance(component, DateComponent):
                parts = component.parts_of(name)
                if parts is not None:
                    values.update(parts)
                elif name == LATEST and self._layout.has_date_last:
                    is_latest = True
                else:
                    near = _guess_date(name)
                    mended = None if near is None else component.name_of(near)
                    reason = f"{escape_text(name)} is no date of this layout"
                    raise self._explain(below, index, reason, mended, _explain_month(name))
            elif component.field is None:
                if name != component.prefix:
                    raise self._explain(below, index, f"{escape_text(name)} cannot stand there", component.prefix)
            else:
                value = read_mount_name(component, name)
                if value is None:
                    within = component.within(name)
                    mended = None if within == b"" else mount_name(component, unquote_to_bytes(within or name))
                    what = "is written otherwise" if within else "cannot stand there"
                    raise self._explain(below, index, f"{escape_text(name)} {what}", mended)
                values[component.field] = value
        first, last = self._read_dates(values, below)
        return Address(
            values.get("source"),
            values.get("customer_id"),
            values.get("query_name"),
            first=first,
            last=last,
            is_latest=is_latest,
            file=below[len(self._layout.components) :],
        )

    def _read_dates(self, values: dict[str, bytes], below: _Names) -> tuple[int | None, int | None]:
        """Return the first and last date of what is told of one: all of it, a month, or a year."""
        year, month, day = (values.get(part) for part in ("year", "month", "day"))
        if year is None or (month is None and day is not None):
            return None, None
        first = parse_date(b"%s-%s-%s" % (year, month or b"01", day or b"01"))
        if first is None:
            told = b"-".join(part for part in (year, month, day) if part is not None)
            raise self._explain(below, len(below), f"{escape_text(told)} is not in the calendar", None)
        return first, _last_of(first, has_month=month is not None, has_day=day is not None)

    def _explain(
        self, below: _Names, index: int, reason: str, mended: bytes | None, remedy: str = ""
    ) -> ImpossibleAddressError:
        """Return why a path cannot be, with the nearest that can: of another layout, or with one name mended."""
        count = len(self._layout.components)
        for name, template in NAMED_LAYOUTS.items():
            if template == self._layout.template:
                continue
            other = MountLayout.parse(name)
            found = other.read(below[: len(other.components)])
            if found is None:
                continue
            try:
                path = self._layout.path_of(*found)
            except UnusableNameError:
                break
            reason = f"{escape_text(self._raw)} is a path of the layout {name}, which this mount does not have"
            return ImpossibleAddressError(reason, self._join((*path, *below[len(other.components) :])))
        if mended is not None:
            below = (*below[:index], mended, *below[index + 1 :])
            whole = self._layout.read(below[:count]) if len(below) >= count else None
            if whole is not None or len(below) < count:
                return ImpossibleAddressError(reason, self._join(below))
        return ImpossibleAddressError(reason, remedy=remedy or f"paths of this mount are {self._layout.template}")

    def _join(self, below: _Names) -> bytes:
        return b"/" + b"/".join((*self._base, *below))
