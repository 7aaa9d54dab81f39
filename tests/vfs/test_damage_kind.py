"""Each cause of damage is of the kind that people on call read."""

from __future__ import annotations

import errno
import os

import pytest

from readyfs.raw.store import EntryKind, RawEntry, RawStat
from readyfs.vfs.damage import Damage, Sealed, size_fault
from readyfs.vfs.damage_kind import DamageKind, kind_of


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("payload.jsonl is missing or not a regular file", DamageKind.MISSING),
        (f"run directory: {os.strerror(errno.ENOENT)}", DamageKind.MISSING),
        (size_fault((b"payload.jsonl",), 1, 2), DamageKind.SIZE),
        ("payload.jsonl: a read ended early", DamageKind.SIZE),
        ("payload.jsonl was modified after it was sealed", DamageKind.MODIFIED),
        (f"payload.jsonl: {os.strerror(errno.EACCES)}", DamageKind.DENIED),
        (f"payload.jsonl: {os.strerror(errno.EIO)}", DamageKind.UNREADABLE),
        (f"payload.jsonl: {os.strerror(errno.ESTALE)}", DamageKind.UNREADABLE),
    ],
)
def test_a_cause_is_of_its_kind(cause: str, kind: DamageKind) -> None:
    assert kind_of(cause) is kind


@pytest.mark.parametrize(
    ("sealed", "size", "kind"),
    [
        (Sealed(EntryKind.FILE, 5), 6, DamageKind.SIZE),
        (Sealed(EntryKind.FILE, 5), None, DamageKind.MISSING),
        (Sealed(EntryKind.DIRECTORY, 0), None, DamageKind.MISSING),
    ],
)
def test_how_a_directory_differs_is_of_its_kind(sealed: Sealed, size: int | None, kind: DamageKind) -> None:
    damage = Damage()
    damage.remember((b"x",), sealed)
    found = {} if size is None else {b"x": RawEntry(b"x", EntryKind.FILE, RawStat(size, 0))}
    fault = damage.fault((), found)
    assert fault is not None
    assert kind_of(fault) is kind
