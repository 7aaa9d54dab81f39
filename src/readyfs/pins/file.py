"""The pins of one mount point on disk, with what is left of those that ended.

A file of two lines of JSON below the state directory: the version of the second line with its checksum, and what there
is. Times in it are times of day: the clock of leases begins anew with a boot.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.errors import HistoryError, UsageError
from readyfs.own_file import UnreadableFileError, name_mount, read_own_file, replace_own_file
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.names import check_fingerprint, check_name, check_note
from readyfs.pins.pin import BEGINNING, Pin, Reason, Tombstone
from readyfs.text import escape_text

ASIDE: Final = "set-aside"
"""Where files go that are damaged; nothing there is ever looked at or removed."""

_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024 * 1024
_MIN_TIME_NS: Final = -62_000_000_000 * 1_000_000_000
_MAX_TIME_NS: Final = 253_000_000_000 * 1_000_000_000
"""Times of day between these can be shown: from the year 6 to the year 9987."""
_MAX_USER: Final = 2**32 - 1


class DamagedPinsError(Exception):
    """Pins are there, and are not what was written; the text says why."""


class Recorded(NamedTuple):
    """What the file holds."""

    pins: Sequence[Pin] = ()
    tombstones: Sequence[Tombstone] = ()


class PinFile:
    """The file of one mount point. Blocking; called by one thread at a time."""

    def __init__(self, state_dir: Path, mountpoint: Path, clock: LeaseClock) -> None:
        self.path = state_dir / "pins" / f"{name_mount(mountpoint)}.json"
        self._clock = clock

    def read(self) -> Recorded:
        """Return what was written last, nothing if nothing ever was.

        Raises `DamagedPinsError`, and `HistoryError` if all may be well and cannot be read, or is of a later version.
        """
        try:
            content = read_own_file(self.path, _MAX_BYTES)
        except UnreadableFileError as error:
            if isinstance(error.__cause__, OSError):
                raise HistoryError(
                    f"the pins in {self.shown} cannot be read: {error}",
                    "mend that, or move the file away, which gives all pins up",
                ) from error
            raise DamagedPinsError(str(error)) from error
        return Recorded() if content is None else self._parse(content)

    def set_aside(self) -> Path:
        """Move the file out of the way, and return where it is; raise `HistoryError`."""
        aside = self.path.parent / ASIDE
        number = 1
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            while os.path.lexists(place := aside / f"{self.path.stem}-{number}.json"):
                number += 1
            self.path.rename(place)
        except OSError as error:
            raise HistoryError(
                f"the pins in {self.shown} are damaged, and cannot be set aside: {error.strerror}",
                "move the file away, which gives all pins up",
            ) from error
        return place

    @property
    def shown(self) -> str:
        """The file's path, for people."""
        return escape_text(os.fsencode(self.path))

    def write(self, pins: Iterable[Pin], tombstones: Iterable[Tombstone]) -> None:
        """Put pins and tombstones in the place of those before, on the disk and in one step; raise `OSError`."""
        body = _render(
            {
                "pins": [self._render_pin(pin) for pin in pins],
                "tombstones": [self._render_tombstone(one) for one in tombstones],
            }
        )
        content = _render({"version": _VERSION, "checksum": _checksum(body)}) + body
        if len(content) > _MAX_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # what is there can be read, and this could not
        replace_own_file(self.path, content)

    def _render_pin(self, pin: Pin) -> dict[str, object]:
        clock = self._clock
        return {
            "name": pin.name,
            "fingerprint": pin.fingerprint,
            "taken_at_ns": pin.taken_at_ns,
            "owner": pin.owner,
            "note": pin.note,
            "pinned_at_ns": pin.pinned_at_ns,
            "ends_ns": clock.wall_ns(pin.ends_s),
            "latest_ns": clock.wall_ns(pin.latest_s),
            "acknowledged": pin.acknowledged,
        }

    def _render_tombstone(self, one: Tombstone) -> dict[str, object]:
        return {
            "name": one.name,
            "fingerprint": one.fingerprint,
            "taken_at_ns": one.taken_at_ns,
            "owner": one.owner,
            "note": one.note,
            "pinned_at_ns": one.pinned_at_ns,
            "ended_at_ns": one.ended_at_ns,
            "reason": one.reason.value,
            "ended_by": one.ended_by,
            "grace_ns": self._clock.wall_ns(one.grace_s),
            "forget_ns": self._clock.wall_ns(one.forget_s),
        }

    def _parse(self, content: bytes) -> Recorded:
        head, _, body = content.partition(b"\n")
        try:
            found = json.loads(head)
            version = found["version"]
            if isinstance(version, int) and version > _VERSION:
                raise HistoryError(
                    f"the pins in {self.shown} are of a later version of readyfs",
                    "mount with that version, or move the file away, which gives all pins up",
                )
            if version != _VERSION or found["checksum"] != _checksum(body):
                raise ValueError
            found = json.loads(body)
            pins = [self._parse_pin(one) for one in found["pins"]]
            return Recorded(pins, [self._parse_tombstone(one) for one in found["tombstones"]])
        except (ValueError, KeyError, TypeError, RecursionError, UsageError) as error:
            raise DamagedPinsError("it does not hold what was written there") from error

    def _parse_pin(self, one: dict[str, object]) -> Pin:
        moment = self._clock.from_wall_ns
        return Pin(
            _name(one["name"]),
            _fingerprint(one["fingerprint"]),
            _time(one["taken_at_ns"]),
            _user(one["owner"]),
            _note(one["note"]),
            _time(one["pinned_at_ns"]),
            moment(_time(one["ends_ns"])),
            moment(_time(one["latest_ns"])),
            _cursor(one.get("acknowledged")),
        )

    def _parse_tombstone(self, one: dict[str, object]) -> Tombstone:
        return Tombstone(
            _name(one["name"]),
            _fingerprint(one["fingerprint"]),
            _time(one["taken_at_ns"]),
            _user(one["owner"]),
            _note(one["note"]),
            _time(one["pinned_at_ns"]),
            _time(one["ended_at_ns"]),
            Reason(_text(one["reason"])),
            None if one["ended_by"] is None else _user(one["ended_by"]),
            self._clock.from_wall_ns(_time(one["grace_ns"])),
            self._clock.from_wall_ns(_time(one["forget_ns"])),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value: object) -> str:
    check_name(_text(value))
    return _text(value)


def _fingerprint(value: object) -> str:
    check_fingerprint(_text(value))
    return _text(value)


def _cursor(value: object) -> str | None:
    if value is None:
        return None
    return BEGINNING if value == BEGINNING else _fingerprint(value)


def _note(value: object) -> str:
    check_note(_text(value))
    return _text(value)


def _time(value: object) -> int:
    return _number(value, _MIN_TIME_NS, _MAX_TIME_NS)


def _user(value: object) -> int:
    return _number(value, 0, _MAX_USER)


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    if not least <= value <= most:
        raise ValueError
    return value


def _render(content: object) -> bytes:
    # Plain `json`, as for every file of ours that holds foreign text.
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
