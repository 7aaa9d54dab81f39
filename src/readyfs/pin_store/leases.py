"""Leases: one file for each pin of each mount, in the directory of its view; the latest of them counts.

A lease is a duration from when its file was written, by the clock of the store. So no clock of a machine matters, and
two mounts that renew at once do not meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from readyfs.pin_store.files import Files, ForeignFileError, Where
from readyfs.pin_store.places import LEASES, view_places
from readyfs.pin_store.records import (
    MOST_BYTES,
    as_fingerprint,
    as_holder,
    as_seconds,
    as_text,
    as_user,
    parse_record,
    render_record,
)
from readyfs.pin_store.words import DamagedStoreError, SharedPin

_KIND: Final = "lease"


@dataclass(frozen=True, slots=True)
class Lease:
    """What one mount has written of one pin; both times are by the clock of the store."""

    file: str
    ends_s: float
    latest_s: float
    is_ended: bool


def lease_file(holder: str, name: str) -> str:
    """Return the name of the file of a lease; a pin without a name has one, too."""
    return f"{holder}-{name}" if name else holder


def write_lease(files: Files, place: Where, pin: SharedPin, *, is_ended: bool = False) -> None:
    """Write the lease of a pin, from now on, in a directory of its view.

    Raises `FileNotFoundError` if that is gone.
    """
    content = render_record(
        _KIND,
        {
            "fingerprint": pin.fingerprint,
            "holder": files.holder,
            "name": pin.name,
            "owner": pin.owner,
            "note": pin.note,
            "lease_s": pin.lease_s,
            "latest_s": pin.latest_s,
            "is_ended": is_ended,
        },
    )
    files.put((*place, LEASES, lease_file(files.holder, pin.name)), (content,))


def read_lease(files: Files, place: Where, fingerprint: str, file: str) -> Lease | None:
    """Return a lease in a directory of its view, None if there is none that can be trusted."""
    try:
        found = files.read((*place, LEASES, file), MOST_BYTES)
        if found is None:
            return None
        body = parse_record(_KIND, found.content)
        if as_fingerprint(body["fingerprint"]) != fingerprint:
            return None
        if lease_file(as_holder(body["holder"]), as_text(body["name"])) != file:
            return None
        as_user(body["owner"])
        lease_s, latest_s = as_seconds(body["lease_s"]), as_seconds(body["latest_s"])
    except (ForeignFileError, DamagedStoreError, KeyError, ValueError):
        return None
    is_ended = body.get("is_ended") is not False
    return Lease(
        file,
        found.written_s + (0 if is_ended else min(lease_s, latest_s)),
        found.written_s + (0 if is_ended else latest_s),
        is_ended,
    )


def read_leases(files: Files, fingerprint: str, places: Iterable[Where]) -> list[Lease]:
    """Return all leases in directories of a view that can be trusted; raise `PermissionError` for one of others."""
    found: list[Lease] = []
    for place in places:
        leases = (read_lease(files, place, fingerprint, name) for name in files.names((*place, LEASES)))
        found.extend(lease for lease in leases if lease is not None)
    return found


def readable_leases(files: Files, fingerprint: str) -> list[Lease]:
    """Return all leases of a view that this user may read, and that can be trusted."""
    found: list[Lease] = []
    for place in view_places(files, fingerprint):
        for name in files.names((*place, LEASES)):
            with suppress(PermissionError):
                lease = read_lease(files, place, fingerprint, name)
                found += () if lease is None else (lease,)
    return found


def find_lease(files: Files, fingerprint: str, file: str) -> Lease | None:
    """Return one lease of a view, the latest if there are several."""
    found = (read_lease(files, place, fingerprint, file) for place in view_places(files, fingerprint))
    return max((lease for lease in found if lease is not None), key=lambda lease: lease.ends_s, default=None)
