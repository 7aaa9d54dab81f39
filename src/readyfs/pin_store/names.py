"""The names of pins in a store: each is of one mount, and of one pin.

A name is made where there is none, in one step, so that of two mounts one gets it. It is free again once its lease has
been over for longer than the grace.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from readyfs.pin_store.files import Files, ForeignFileError, Where
from readyfs.pin_store.leases import find_lease, lease_file
from readyfs.pin_store.places import NAMES, TRASH, trash_name, untrashed
from readyfs.pin_store.records import MOST_BYTES, as_fingerprint, as_holder, as_text, parse_record, render_record
from readyfs.pin_store.words import DamagedStoreError

_KIND: Final = "name"
_TRIES: Final = 5


class NameTakenError(Exception):
    """The name is that of another mount's pin."""


class Named(NamedTuple):
    """What a name leads to, and whose it is."""

    name: str
    fingerprint: str
    holder: str


def read_name(files: Files, name: str) -> Named | None:
    """Return what a name leads to, None if there is nothing that can be trusted."""
    content = _read(files, (NAMES, name))
    return None if content is None else _parse(content, name)


def take_name(files: Files, name: str, fingerprint: str, grace_s: float) -> None:
    """Have a name lead to a catalog of which this mount has a lease; raise `NameTakenError`."""
    place = (NAMES, name)
    own = Named(name, fingerprint, files.holder)
    content = render_record(_KIND, own._asdict())
    for _ in range(_TRIES):
        there = _read_closed(files, place)
        if there is None:
            if files.put_new(place, content):
                return
            continue
        found = _parse(there, name)
        if found == own:
            return
        if found is not None and found.holder == files.holder:
            files.put(place, (content,))
            return
        if found is None or not is_over(files, found, files.now_s(), grace_s):
            raise NameTakenError(name)
        free_name(files, name, there)
    raise NameTakenError(name)


def check_name_free(files: Files, name: str, grace_s: float) -> None:
    """Raise `NameTakenError` if this mount could not take a name now."""
    there = _read_closed(files, (NAMES, name))
    if there is None:
        return
    found = _parse(there, name)
    if found is None or (found.holder != files.holder and not is_over(files, found, files.now_s(), grace_s)):
        raise NameTakenError(name)


def is_over(files: Files, named: Named, now_s: float, grace_s: float) -> bool:
    """Tell whether the lease of a name has been over for longer than the grace."""
    lease = find_lease(files, named.fingerprint, lease_file(named.holder, named.name))
    return lease is None or lease.ends_s + grace_s < now_s


def free_name(files: Files, name: str, content: bytes) -> bool:
    """Remove a name if it still is what it was when somebody found it over."""
    # It is moved first and looked at then: meanwhile another mount may have made it anew.
    place = (TRASH, NAMES, trash_name(name))
    if not files.move((NAMES, name), place):
        return False
    if _read(files, place) != content:
        files.move_new(place, (NAMES, name))
        return False
    return files.remove(place)


def free_names(files: Files, now_s: float, grace_s: float) -> int:
    """Remove all names whose leases are over; return how many could not be removed."""
    skipped = 0
    for name in files.names((NAMES,)):
        try:
            content = _read(files, (NAMES, name))
            named = None if content is None else _parse(content, name)
            if content is not None and named is not None and is_over(files, named, now_s, grace_s):
                skipped += not free_name(files, name, content)
        except PermissionError:
            skipped += 1
    for trashed in files.names((TRASH, NAMES)):
        try:
            skipped += not _clear_trashed(files, trashed, now_s, grace_s)
        except PermissionError:
            skipped += 1
    return skipped


def _clear_trashed(files: Files, trashed: str, now_s: float, grace_s: float) -> bool:
    """Put a name back that is not over, or remove it; return False if that cannot be."""
    # Whoever moved it there was killed before it was looked at.
    place, former = (TRASH, NAMES, trashed), untrashed(trashed)
    content = None if former is None else _read(files, place)
    named = None if content is None or former is None else _parse(content, former)
    if named is None:
        return True  # not ours
    if not is_over(files, named, now_s, grace_s) and files.move_new(place, (NAMES, named.name)):
        return True
    return files.remove(place)


def _read(files: Files, place: Where) -> bytes | None:
    """Return what is in the file of a name, nothing if it is no file of ours, None if there is none."""
    try:
        found = files.read(place, MOST_BYTES)
    except ForeignFileError:
        return b""
    return None if found is None else found.content


def _read_closed(files: Files, place: Where) -> bytes | None:
    """Do so, with nothing in a file that is closed to this user: it is somebody else's."""
    try:
        return _read(files, place)
    except PermissionError:
        if files.stat(place) is None:
            raise
        return b""


def _parse(content: bytes, name: str) -> Named | None:
    try:
        body = parse_record(_KIND, content)
        found = Named(as_text(body["name"]), as_fingerprint(body["fingerprint"]), as_holder(body["holder"]))
    except (DamagedStoreError, KeyError, ValueError):
        return None
    return found if found.name == name else None
