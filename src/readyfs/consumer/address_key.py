"""Addresses as keys: `customer/query/date`, or a beginning of that, whatever the layout of a mount.

The parts may be escaped as names in a mount are. They have to be where they hold a slash or a percent sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_to_bytes

from readyfs.consumer.address import LATEST, Address, ImpossibleAddressError
from readyfs.consumer.loose_date import explain_month, guess_date
from readyfs.errors import UsageError
from readyfs.layout import NAMED_LAYOUTS, MountLayout, hive_escape
from readyfs.partition import parse_date, render_date
from readyfs.text import escape_text

_STRAY_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def render_key(customer_id: bytes, query_name: bytes, date: int) -> bytes:
    """Return the key of a partition, as `parse_key` reads it."""
    return b"/".join((hive_escape(customer_id), hive_escape(query_name), render_date(date)))


def parse_key(raw: bytes, source: bytes | None) -> Address:
    """Return what a key names, of one source or of any.

    Raises `ImpossibleAddressError` if there can be no such partition, `UsageError` if it cannot be told.
    """
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
        near = guess_date(parts[2])
        nearest = _find_key(parts) if near is None else b"/".join((*parts[:2], render_date(near)))
        remedy = explain_month(parts[2]) or "a key is customer/query/date, and a date is YYYY-MM-DD"
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
        return ImpossibleAddressError(f"the key {escape_text(raw)} has four parts", nearest)
    return ImpossibleAddressError(
        f"the key {escape_text(raw)} has {len(parts)} parts",
        remedy="a key is customer/query/date; a slash within a name is written %2F",
    )


def _find_key(parts: Sequence[bytes]) -> bytes | None:
    """Return the key of a path in one of the layouts that have a name, None if it is none."""
    for name in NAMED_LAYOUTS:
        if (found := MountLayout.parse(name).read(parts)) is not None:
            series, date = found
            return render_key(series.customer_id, series.query_name, date)
    return None
