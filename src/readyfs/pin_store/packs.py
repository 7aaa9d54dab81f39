"""Packs: the rows of many series in a file whose name is the hash of its bytes.

A pack is whole or of no use: whoever reads it hashes it first. It is made of pieces, as a history packs them.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from readyfs.history.changes import SeriesChange
from readyfs.history.packing import DamagedError, inflate_piece, pack_pieces, parse_piece
from readyfs.pin_store.files import Files, ForeignFileError, Where
from readyfs.pin_store.places import ASIDE, PACKS, TRASH, trash_name
from readyfs.pin_store.records import as_number, as_text
from readyfs.pin_store.words import DamagedStoreError

PACK_BYTES: Final = 16 << 20
"""A pack ends with the piece by which it is as large as this."""
_MAGIC: Final = b"readyfs pack 1\n"
_LENGTH: Final = struct.Struct("<I")
_MOST_BYTES: Final = 1 << 30
MOST_INFLATED: Final = 4 << 30
"""Some 50 million partitions. Whoever may write the store could otherwise have a mount take any memory."""
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_SOUND: Final = 100_000


class PackRef(NamedTuple):
    """The name and the size of a pack."""

    name: str
    size: int


def as_pack(value: object) -> PackRef:
    """Return what a root says of a pack; raise `ValueError` for anything else."""
    name, size = value if isinstance(value, list) and len(value) == 2 else (None, None)
    if not is_pack(as_text(name)):
        raise ValueError("no pack")
    return PackRef(as_text(name), as_number(size, _MOST_BYTES))


def is_pack(name: str) -> bool:
    """Tell whether a name can be that of a pack."""
    return _NAME.fullmatch(name) is not None


def pack_place(name: str) -> Where:
    """Return where a pack lies."""
    return (PACKS, name[:2], name)


def trash_place(name: str) -> Where:
    """Return where it lies when nothing seems to need it."""
    return (TRASH, PACKS, name)


def pack_changes(changes: Iterable[SeriesChange]) -> Iterator[list[bytes]]:
    """Yield the contents of packs."""
    content, size = [_MAGIC], 0
    for piece in pack_pieces(changes):
        content += (_LENGTH.pack(len(piece)), piece)
        size += len(piece)
        if size >= PACK_BYTES:
            yield content
            content, size = [_MAGIC], 0
    if size:
        yield content


def unpack(contents: Iterable[bytes]) -> Iterator[SeriesChange]:
    """Yield the changes in packs; raise `DamagedStoreError`, also if they take more memory than any catalog."""
    room = MOST_INFLATED
    for content in contents:
        for piece in _pieces(content):
            try:
                text = inflate_piece(piece, room)
                room -= len(text)
                yield from parse_piece(text)
            except DamagedError as error:
                raise DamagedStoreError(f"a pack makes no sense: {error}") from error


def _pieces(content: bytes) -> Iterator[memoryview]:
    if not content.startswith(_MAGIC):
        raise DamagedStoreError("a pack does not begin as one does")
    rest = memoryview(content)[len(_MAGIC) :]
    while rest:
        if len(rest) < _LENGTH.size:
            raise DamagedStoreError("a pack ends within a piece")
        (length,) = _LENGTH.unpack_from(rest)
        piece, rest = rest[_LENGTH.size : _LENGTH.size + length], rest[_LENGTH.size + length :]
        if len(piece) != length:
            raise DamagedStoreError("a pack ends within a piece")
        yield piece


class PackShelf:
    """The packs, with those that this process wrote or has read and hashed; for any thread."""

    def __init__(self) -> None:
        self._sound: set[str] = set()

    def write(self, files: Files, content: list[bytes]) -> PackRef:
        """Have a pack there, on the disk, and return it."""
        digest = blake2b(digest_size=32)
        for piece in content:
            digest.update(piece)
        pack = PackRef(digest.hexdigest(), sum(map(len, content)))
        if not self.keep(files, pack):
            place = pack_place(pack.name)
            files.make_directory(place[:-1])
            files.put(place, content)
            self._note_sound(pack.name)
        return pack

    def keep(self, files: Files, pack: PackRef) -> bool:
        """Have a pack that is there stay, as if it had just been written; return False if it is not there whole.

        One that is in the trash is put back, and one that is damaged is set aside.
        """
        place = pack_place(pack.name)
        for _ in range(2):
            if self.is_there(files, pack):
                try:
                    files.touch(place)
                except FileNotFoundError:  # it has just gone to the trash
                    continue
                return pack.name in self._sound or self._is_sound(files, pack, place)
            if files.stat(place) is not None:
                self._set_aside(files, pack.name, place)
                return False
            if files.stat(trash_place(pack.name)) is None:
                return False
            files.make_directory(place[:-1])
            files.move(trash_place(pack.name), place)
        return False

    def is_there(self, files: Files, pack: PackRef) -> bool:
        """Tell whether a pack is in its place, with its size."""
        return _is_pack_of(files.stat(pack_place(pack.name)), pack)

    def is_anywhere(self, files: Files, pack: PackRef) -> bool:
        """Tell whether a pack can be read: it may be in the trash, too, or on its way."""
        places = (pack_place(pack.name), trash_place(pack.name), pack_place(pack.name))
        return any(_is_pack_of(files.stat(place), pack) for place in places)

    def read(self, files: Files, name: str) -> bytes:
        """Return what is in a pack; raise `DamagedStoreError`."""
        places = (pack_place(name), trash_place(name), pack_place(name))  # it may be on its way to either
        why = "is not there"
        for place in places:
            try:
                found = files.read(place, _MOST_BYTES)
            except ForeignFileError as error:
                why = f"cannot be used: {error}"
                continue
            if found is None:
                continue
            if blake2b(found.content, digest_size=32).hexdigest() == name:
                self._note_sound(name)
                return found.content
            why = "does not hold what was written there"
            self._sound.discard(name)
        raise DamagedStoreError(f"the pack {name} {why}")

    def _is_sound(self, files: Files, pack: PackRef, place: Where) -> bool:
        try:
            found = files.read(place, pack.size)
        except ForeignFileError:
            found = None
        if found is not None and blake2b(found.content, digest_size=32).hexdigest() == pack.name:
            self._note_sound(pack.name)
            return True
        self._set_aside(files, pack.name, place)
        return False

    def _set_aside(self, files: Files, name: str, place: Where) -> None:
        self._sound.discard(name)
        files.move(place, (ASIDE, trash_name(name)))

    def _note_sound(self, name: str) -> None:
        if len(self._sound) >= _MOST_SOUND:
            self._sound.clear()
        self._sound.add(name)


def _is_pack_of(found: os.stat_result | None, pack: PackRef) -> bool:
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_size == pack.size
