"""Roots: what a catalog is made of, for whom it means anything, and when it was put into force.

The packs come in steps: those of a whole catalog, and those of each difference that leads on from there.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from readyfs.pin_store.files import Files, ForeignFileError, Where
from readyfs.pin_store.packs import PackRef, as_pack
from readyfs.pin_store.places import view_place, view_places
from readyfs.pin_store.records import (
    MOST_BYTES,
    as_fingerprint,
    as_text,
    as_time_ns,
    parse_record,
    render_record,
)
from readyfs.pin_store.words import DamagedStoreError, Identity, MismatchError
from readyfs.text import escape_text

_KIND: Final = "root"
_PREFIX: Final = "root."
_MOST_PACKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Root:
    """One catalog in the store; it stands in a file only behind everything that it names."""

    fingerprint: str
    identity: Identity
    taken_at_ns: int
    steps: tuple[tuple[PackRef, ...], ...]

    @property
    def packs(self) -> tuple[PackRef, ...]:
        """The packs in order."""
        return tuple(pack for step in self.steps for pack in step)


def root_file(raw_id: str) -> str:
    """Return the name of the file of roots of a raw store."""
    return _PREFIX + hashlib.blake2b(os.fsencode(raw_id), digest_size=16).hexdigest()


def write_root(files: Files, root: Root) -> None:
    """Write a root; raise `FileNotFoundError` if its view is gone."""
    content = render_record(
        _KIND,
        {
            "fingerprint": root.fingerprint,
            "raw_id": root.identity.raw_id,
            "settings": dict(root.identity.settings),
            "taken_at_ns": root.taken_at_ns,
            "steps": [[[pack.name, pack.size] for pack in step] for step in root.steps],
        },
    )
    files.put((*view_place(root.fingerprint), root_file(root.identity.raw_id)), (content,))


def read_root(files: Files, place: Where, fingerprint: str, file: str) -> Root | None:
    """Return a root in a directory of its view, None if there is none; raise `DamagedStoreError`."""
    try:
        found = files.read((*place, file), MOST_BYTES)
        if found is None:
            return None
        body = parse_record(_KIND, found.content)
        settings, steps = body["settings"], body["steps"]
        if not isinstance(settings, dict) or not isinstance(steps, list) or not steps:
            raise ValueError("no settings, or no steps")
        root = Root(
            as_fingerprint(body["fingerprint"]),
            Identity(as_text(body["raw_id"]), {as_text(name): as_text(text) for name, text in settings.items()}),
            as_time_ns(body["taken_at_ns"]),
            tuple(tuple(as_pack(pack) for pack in step) for step in steps),
        )
    except ForeignFileError as error:
        raise DamagedStoreError(f"the root cannot be used: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedStoreError("the root makes no sense") from error
    if root.fingerprint != fingerprint or root_file(root.identity.raw_id) != file or len(root.packs) > _MOST_PACKS:
        raise DamagedStoreError("the root is not that of its place")
    return root


def find_root(files: Files, fingerprint: str, identity: Identity) -> Root | None:
    """Return the root of a catalog, None if there is none.

    Raises `MismatchError` if it is of others, and `DamagedStoreError`.
    """
    damage: DamagedStoreError | None = None
    others: dict[Where, str] = {}
    mine = root_file(identity.raw_id)
    for place in view_places(files, fingerprint):
        try:
            root = read_root(files, place, fingerprint, mine)
        except DamagedStoreError as error:
            damage = error
            continue
        if root is None:
            others.update((place, name) for name in files.names(place) if name.startswith(_PREFIX))
            continue
        _check_identity(root.identity, identity)
        return root
    if damage is not None:
        raise damage
    for place, name in others.items():
        try:
            root = read_root(files, place, fingerprint, name)
        except DamagedStoreError:
            continue
        if root is not None:
            _check_identity(root.identity, identity)
    return None


def named_packs(files: Files, fingerprint: str, place: Where) -> set[str]:
    """Return the packs that all roots in a directory of a view name; one that is damaged names none."""
    found: set[str] = set()
    for name in files.names(place):
        if name.startswith(_PREFIX):
            try:
                root = read_root(files, place, fingerprint, name)
            except DamagedStoreError:
                continue
            if root is not None:
                found.update(pack.name for pack in root.packs)
    return found


def is_root(files: Files, place: Where, fingerprint: str, name: str) -> bool:
    """Tell whether a name in a directory of a view is that of a sound root."""
    try:
        return name.startswith(_PREFIX) and read_root(files, place, fingerprint, name) is not None
    except DamagedStoreError:
        return False


def own_root(files: Files, fingerprint: str, identity: Identity) -> Root | None:
    """Return the sound root of a catalog of this raw store, None if there is none."""
    for place in view_places(files, fingerprint):
        with suppress(DamagedStoreError):
            root = read_root(files, place, fingerprint, root_file(identity.raw_id))
            if root is not None:
                return root
    return None


def _check_identity(theirs: Identity, mine: Identity) -> None:
    if theirs.raw_id != mine.raw_id:
        shown = [f"'{escape_text(os.fsencode(one))}'" for one in (theirs.raw_id, mine.raw_id)]
        raise MismatchError(f"it is of the raw store {shown[0]}, and this mount is of {shown[1]} (--raw-id)")
    names = theirs.settings.keys() | mine.settings.keys()
    differing = [name for name in sorted(names) if theirs.settings.get(name) != mine.settings.get(name)]
    if differing:
        raise MismatchError(f"it is of other settings ({escape_text(', '.join(differing))})")
