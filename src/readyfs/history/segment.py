"""One segment of a history on disk: a whole catalog, and what differs in each one after it.

A file of a header and of records, written only at its end. A header names the version of the format, the settings
that give the catalogs their meaning, and the version of their fingerprints. A record has a length and checksums of its
own, which hold its place, too. Records of changes come first and the record of their moment last: without it they do
not count. So whatever a crash leaves is a segment with fewer moments. Of its last moment a record behind it may note
when another took the place.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.catalog.digests import FINGERPRINT_VERSION
from readyfs.history.changes import SeriesChange
from readyfs.history.moments import Moment, Replacement
from readyfs.history.packing import DamagedError, unpack_piece
from readyfs.own_file import sync_directory

VERSION: Final = 2
_MAGIC: Final = b"readyfs history\n"
_HEADER: Final = struct.Struct("<16sIII")
"""Magic, version, length of the settings, checksum of what follows the magic; the first two are so in every version."""
_RECORD: Final = struct.Struct("<4sIIII")
"""Magic, kind, length of the payload, its checksum, and that of the record's head and place."""
_RECORD_MAGIC: Final = b"\x93rec"
_CHANGES: Final = 1
_MOMENT: Final = 2
_MOMENT_PAYLOAD: Final = struct.Struct("<16sqqqqI")
"""Fingerprint, the other fields of a `Moment` but the last, and how many records of changes belong to it."""
_REPLACED: Final = 3
_REPLACED_PAYLOAD: Final = struct.Struct("<qqq")
"""The number of a moment, and the fields of its `Replacement`."""
_MAX_SETTINGS: Final = 1 << 20
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TornError(DamagedError):
    """It ends within a record, as whatever was being written does when its writer is killed."""


class OtherVersionError(Exception):
    """The segment is of another version; the text names it."""


class OtherSettingsError(Exception):
    """The segment is of other settings; `names` says which."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class Recorded(NamedTuple):
    """A moment in a segment, and where its records begin and end."""

    moment: Moment
    begin: int
    end: int


@dataclass(slots=True)
class Segment:
    """One segment. `size` is up to where it is known to be good, `whole_bytes` what its first catalog takes.

    `damage` says what is wrong behind that, None if nothing is. `replaced` is what it says of when moments were
    replaced, by their numbers. Written by one thread, read by any.
    """

    path: Path
    number: int
    recorded: list[Recorded] = field(default_factory=list)
    replaced: dict[int, Replacement] = field(default_factory=dict)
    size: int = 0
    damage: str | None = None

    @property
    def whole_bytes(self) -> int:
        """How many bytes the first catalog takes."""
        return self.recorded[0].end if self.recorded else 0

    # ---- reading --------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: Path, number: int, settings: Mapping[str, str]) -> Segment:
        """Return a segment with its moments, of which only the heads are read.

        Raises `OSError`, `DamagedError` if nothing of it can be used, `OtherVersionError`, `OtherSettingsError`.
        """
        segment = cls(path, number)
        with segment._open() as descriptor:
            segment.size = begin = place = _check_header(descriptor, settings)
            try:
                changes = 0
                for kind, length, checksum, end in _heads(descriptor, place):
                    if kind == _MOMENT:
                        moment = _read_moment(descriptor, end - length, length, checksum, changes)
                        segment._add(Recorded(moment, begin, end))
                        begin, changes = end, 0
                    elif kind == _REPLACED:
                        number, replaced = _read_replaced(descriptor, end - length, length, checksum)
                        segment.replaced[number] = replaced
                        segment.size = begin = end
                    else:
                        changes += 1
            except TornError:
                pass  # it is cut off by the next append
            except DamagedError as error:
                segment.damage = str(error)
        if not segment.recorded:
            raise DamagedError(segment.damage or "it holds no catalog")
        return segment

    def changes(self, upto: Recorded) -> Iterator[SeriesChange]:
        """Yield all changes from nothing to a moment of this segment; raise `OSError`, `DamagedError`."""
        with self._open() as descriptor:
            for kind, length, checksum, end in _heads(descriptor, self.recorded[0].begin, upto.end):
                if kind == _CHANGES:
                    yield from unpack_piece(_read_payload(descriptor, end - length, length, checksum))

    @contextmanager
    def _open(self, flags: int = os.O_RDONLY) -> Iterator[int]:
        descriptor = os.open(self.path, flags | _FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedError("it is no regular file")
            yield descriptor
        finally:
            os.close(descriptor)

    # ---- writing --------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        number: int,
        settings: Mapping[str, str],
        moment: Moment,
        pieces: Iterable[bytes],
    ) -> Segment:
        """Make a segment that begins with a catalog, on the disk and in one step; raise `OSError`."""
        temporary = path.with_suffix(".new")
        with suppress(FileNotFoundError):
            temporary.unlink()  # of a daemon that was killed
        segment = cls(temporary, number)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            try:
                header = _header(settings)
                _write(descriptor, header, 0)
                segment.size = len(header)
                segment._append(descriptor, moment, pieces)
            finally:
                os.close(descriptor)
            temporary.rename(path)
            segment.path = path
            sync_directory(path.parent)
        except BaseException:
            with suppress(OSError):
                segment.path.unlink()
            raise
        return segment

    def append(self, moment: Moment, pieces: Iterable[bytes]) -> None:
        """Write one more moment behind the last good one, onto the disk; raise `OSError`, and be as before then."""
        with self._extending() as descriptor:
            self._append(descriptor, moment, pieces)
        self.damage = None

    def note_replaced(self, number: int, replaced: Replacement) -> None:
        """Write when a moment was replaced, as `append` does."""
        with self._extending() as descriptor:
            payload = _REPLACED_PAYLOAD.pack(number, *replaced)
            place = _write(descriptor, _record(_REPLACED, payload, self.size), self.size)
            os.fsync(descriptor)
            self.replaced[number] = replaced
            self.size = place

    @contextmanager
    def _extending(self) -> Iterator[int]:
        with self._open(os.O_RDWR) as descriptor:
            if os.fstat(descriptor).st_size < self.size:
                raise DamagedError("it was cut short")
            try:
                os.ftruncate(descriptor, self.size)
                yield descriptor
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, self.size)
                raise

    def _append(self, descriptor: int, moment: Moment, pieces: Iterable[bytes]) -> None:
        place, count = self.size, 0
        for piece in pieces:
            place = _write(descriptor, _record(_CHANGES, piece, place), place)
            count += 1
        payload = _MOMENT_PAYLOAD.pack(bytes.fromhex(moment.fingerprint), *moment[1:-1], count)
        place = _write(descriptor, _record(_MOMENT, payload, place), place)
        os.fsync(descriptor)
        self._add(Recorded(moment, self.size, place))

    def _add(self, recorded: Recorded) -> None:
        moment = recorded.moment._replace(replaced=None)
        self.recorded.append(recorded._replace(moment=moment))
        self.replaced[moment.number - 1] = Replacement(moment.taken_at_ns, moment.run_ns)
        self.size = recorded.end


def _meaning(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what gives catalogs their meaning and their names: those of another version lead to no catalog of ours."""
    return {**settings, "fingerprint-version": str(FINGERPRINT_VERSION)}


def _header(settings: Mapping[str, str]) -> bytes:
    # Plain `json`: a text that is not UTF-8 must survive (as escaped surrogates).
    text = json.dumps(_meaning(settings), sort_keys=True).encode("ascii")
    checksum = zlib.crc32(text, zlib.crc32(struct.pack("<II", VERSION, len(text))))
    return _HEADER.pack(_MAGIC, VERSION, len(text), checksum) + text


def _check_header(descriptor: int, settings: Mapping[str, str]) -> int:
    """Return where the records begin; raise `DamagedError`, `OtherVersionError`, `OtherSettingsError`."""
    head = os.pread(descriptor, _HEADER.size, 0)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise DamagedError("it does not begin as a history does")
    _, version, length, checksum = _HEADER.unpack(head)
    if version != VERSION:
        raise OtherVersionError(f"it is of version {version}, and this readyfs reads {VERSION}")
    text = os.pread(descriptor, length, _HEADER.size) if length <= _MAX_SETTINGS else b""
    if len(text) != length or zlib.crc32(text, zlib.crc32(struct.pack("<II", version, length))) != checksum:
        raise DamagedError("its header is damaged")
    theirs: dict[str, str] = json.loads(text)
    ours = _meaning(settings)
    differing = [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
    if differing:
        raise OtherSettingsError(differing)
    return _HEADER.size + len(text)


def _record(kind: int, payload: bytes, place: int) -> bytes:
    head = struct.pack("<4sIII", _RECORD_MAGIC, kind, len(payload), zlib.crc32(payload))
    return head + struct.pack("<I", zlib.crc32(place.to_bytes(8, "little"), zlib.crc32(head))) + payload


def _heads(descriptor: int, place: int, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Yield kind, length and checksum of the payload, and the end of each record; raise `DamagedError`, `OSError`."""
    size = os.fstat(descriptor).st_size
    while place < (size if end is None else end):
        head = os.pread(descriptor, _RECORD.size, place)
        if len(head) < _RECORD.size:
            raise TornError(f"it ends within a record, at byte {place}")
        magic, kind, length, checksum, own = _RECORD.unpack(head)
        if magic != _RECORD_MAGIC or zlib.crc32(place.to_bytes(8, "little"), zlib.crc32(head[:-4])) != own:
            raise DamagedError(f"the record at byte {place} is damaged")
        place += _RECORD.size + length
        if place > size:
            raise TornError(f"it ends within a record, at byte {place - length}")
        if kind not in (_CHANGES, _MOMENT, _REPLACED):
            raise DamagedError(f"the record before byte {place} is of an unknown kind")
        yield kind, length, checksum, place


def _read_payload(descriptor: int, place: int, length: int, checksum: int) -> bytes:
    payload = os.pread(descriptor, length, place)
    if len(payload) != length or zlib.crc32(payload) != checksum:
        raise DamagedError(f"the record at byte {place} is damaged")
    return payload


def _read_moment(descriptor: int, place: int, length: int, checksum: int, changes: int) -> Moment:
    payload = _read_payload(descriptor, place, length, checksum)
    if length != _MOMENT_PAYLOAD.size:
        raise DamagedError(f"the record at byte {place} is damaged")
    fingerprint, *fields, count = _MOMENT_PAYLOAD.unpack(payload)
    if count != changes:
        raise DamagedError(f"changes before byte {place} are missing")
    return Moment(fingerprint.hex(), *fields)


def _read_replaced(descriptor: int, place: int, length: int, checksum: int) -> tuple[int, Replacement]:
    payload = _read_payload(descriptor, place, length, checksum)
    if length != _REPLACED_PAYLOAD.size:
        raise DamagedError(f"the record at byte {place} is damaged")
    number, *fields = _REPLACED_PAYLOAD.unpack(payload)
    return number, Replacement(*fields)


def _write(descriptor: int, content: bytes, place: int) -> int:
    """Write all of the content and return the place behind it (write(2) may write less)."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, place)
        place, rest = place + written, rest[written:]
    return place
