"""Entries and listings as bytes, beside Python's: what the filesystem makes, at its edges, and what it never makes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final, cast

from readyfs.fuse.direct.replies import entry_out, pack_listing
from readyfs.vfs.attributes import Attributes, Entry
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.listing import ListedEntry
from readyfs.vfs.nodes import Node
from tests.native.fuzz.target import Difference, Journal, strange_number

STEPS: Final = 100
ROOM: Final = 1 << 20
"""More than a kernel asks for at once."""


def pack(module: ModuleType, random: Random, base: Path, journal: Journal) -> Iterator[None]:
    """Run an episode; see `Target`."""
    for _ in range(STEPS):
        names = [random.randbytes(random.choice((1, 2, 3, 8, 24, 255, random.randrange(1, 256)))) for _ in range(9)]
        listed = [
            ListedEntry(name, _entry(random, counted), strange_number(random), counted)
            for name in random.choices(names, k=random.randrange(30))
            for counted in (random.random() < 0.8,)
        ]
        position, room = strange_number(random), random.choice((0, 1, 151, 160, 4096, random.randrange(8000), ROOM))
        journal.note(f"pack {listed} {position} {room}")
        _compare(module, listed, position, room)
        _strange_call(module, random, listed, journal)
        yield


def _entry(random: Random, counted: bool) -> Entry:
    time_ns = random.choice((0, 1, 10**9 - 1, 10**18, (1 << 63) - 1, 1 << 63, 1 << 70, random.getrandbits(62)))
    attributes = Attributes(
        InodeNumber(strange_number(random)),
        random.choice((0o100444, 0o40555, 0o120777)) if counted else 0o40555,
        strange_number(random),
        time_ns,
        random.getrandbits(32),
        random.getrandbits(32),
    )
    timeout_s = random.choice((0, 0.0, 0.5, 1, 59.999999999, 2.0**31, random.random() * 100))
    return Entry(cast(Node, object()), attributes, timeout_s, random.choice((timeout_s, 7)))


def _compare(module: ModuleType, listed: list[ListedEntry], position: int, room: int) -> None:
    for one in listed:
        try:
            expected = entry_out(one.entry)
        except struct.error:
            continue
        if module.pack_entry(one.entry) != expected:
            raise Difference(f"entry {one.entry}")
    expected_listing = tuple(pack_listing(iter(listed), position, room))
    found = module.pack_listing(iter(listed), position, room)
    if found != expected_listing:
        raise Difference(f"{found!r}, not {expected_listing!r}"[:2000])


def _strange_call(module: ModuleType, random: Random, listed: list[ListedEntry], journal: Journal) -> None:
    """Call with what the filesystem never makes: any exception will do."""
    junk: tuple[Any, ...] = (None, (), 1, -1, b"", "", 1 << 70, 1.5, [], object(), listed, (None,) * 4, listed[:1])
    entries: list[Any] = list(listed)
    for _ in range(random.randrange(1, 3)):
        if listed and random.random() < 0.5:
            parts: list[Any] = list(random.choice(listed))
            parts[random.randrange(4)] = random.choice(junk)
            entries[random.randrange(len(entries))] = tuple(parts)
        else:
            entries.append(random.choice(junk))
    journal.note(f"strange {entries}")
    for call, arguments in (
        (module.pack_listing, (random.choice((entries, random.choice(junk))), random.choice((0, -1, None)), ROOM)),
        (module.pack_listing, (entries, 0, random.choice((4096, -1, 1 << 40, None)))),
        (module.pack_entry, (random.choice((*junk, *entries)),)),
    ):
        try:
            call(*arguments)
        except (TypeError, ValueError, OverflowError, IndexError, SystemError, MemoryError):
            continue
