"""Addresses as paths: absolute, and compared as text, so that nothing is asked of a mount."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from readyfs.consumer.address import LATEST, Address, ImpossibleAddressError, ViewName
from readyfs.consumer.loose_date import explain_month, guess_date, last_of
from readyfs.layout import (
    CONTROL_NAME,
    MAX_NAME_BYTES,
    NAMED_LAYOUTS,
    MountLayout,
    UnusableNameError,
    mount_name,
    read_mount_name,
)
from readyfs.manifest.form import FORMS
from readyfs.partition import parse_date
from readyfs.template import DateComponent
from readyfs.text import escape_text

_VIEW_DIRECTORIES: Final = (b"at", b"views")

_Names: TypeAlias = tuple[bytes, ...]


def parse_path(raw: bytes, layout: MountLayout, mountpoint: bytes, source: bytes | None) -> Address:
    """Return what a path names in the mount at a mount point, with its layout.

    Raises `ImpossibleAddressError` if there can be no such partition.
    """
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
            if name in FORMS and index == len(below) - 1:
                raise ImpossibleAddressError(
                    f"{escape_text(self._raw)} is a list of what is ready, and no partition",
                    remedy="read it, or use `readyfs manifest`",
                )
            if isinstance(component, DateComponent):
                parts = component.parts_of(name)
                if parts is not None:
                    values.update(parts)
                elif name == LATEST and self._layout.has_date_last:
                    is_latest = True
                else:
                    near = guess_date(name)
                    mended = None if near is None else component.name_of(near)
                    reason = f"{escape_text(name)} is no date of this layout"
                    raise self._explain(below, index, reason, mended, explain_month(name))
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
        return first, last_of(first, has_month=month is not None, has_day=day is not None)

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
