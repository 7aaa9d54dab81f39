"""Addresses as text: a path is absolute, all else is a key.

`address_path` and `address_key` read the one and the other.
"""

from __future__ import annotations

import os
from pathlib import Path

from readyfs.consumer.address import Address
from readyfs.consumer.address_key import parse_key
from readyfs.consumer.address_path import parse_path
from readyfs.errors import UsageError
from readyfs.layout import MountLayout
from readyfs.text import escape_text


def parse_address(text: str, layout: MountLayout, mountpoint: Path | None = None, source: str | None = None) -> Address:
    """Return what a path below the mount point, or a key, names in a mount with that layout.

    Raises `ImpossibleAddressError` if there can be no such partition, `UsageError` if it cannot be told.
    """
    raw = os.fsencode(text)
    if not raw.strip(b"/") and not raw.startswith(b"/"):
        raise UsageError("the path or key is empty", "name a path in a mount, or a key such as customer/query/date")
    wanted = None if source is None else os.fsencode(source)
    if not raw.startswith(b"/"):
        return parse_key(raw, wanted)
    if mountpoint is None:
        raise UsageError(
            f"{escape_text(raw)} is a path, and no readyfs mount is there",
            "name a path in a mount, or a key such as customer/query/date",
        )
    return parse_path(raw, layout, os.fsencode(mountpoint), wanted)
