"""The pins of one mount point on disk, with what is left of those that ended.

One JSON file below the state directory. Times in it are times of day: the clock of leases begins anew with a boot.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.own_file import UnreadableFileError, read_own_file, replace_own_file
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.pin import Pin, Reason, Tombstone

_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024 * 1024


class UnreadablePinsError(Exception):
    """Pins are there and cannot be used; the text says why."""


class Recorded(NamedTuple):
    """What the file holds."""

    pins: Sequence[Pin] = ()
    tombstones: Sequence[Tombstone] = ()


class PinFile:
    """The file of one mount point. Blocking; called by one thread at a time."""

    def __init__(self, state_dir: Path, mountpoint: Path, clock: LeaseClock) -> None:
        name = hashlib.blake2b(os.fsencode(mountpoint), digest_size=16).hexdigest()
        self.path = state_dir / "pins" / f"{name}.json"
        self._clock = clock

    def read(self) -> Recorded:
        """Return what was written last, nothing if nothing ever was; raise `UnreadablePinsError`."""
        try:
            content = read_own_file(self.path, _MAX_BYTES)
        except UnreadableFileError as error:
            raise UnreadablePinsError(str(error)) from error
        return Recorded() if content is None else self._parse(content)

    def write(self, pins: Iterable[Pin], tombstones: Iterable[Tombstone]) -> None:
        """Put pins and tombstones in the place of those before, on the disk and in one step; raise `OSError`."""
        content = {
            "version": _VERSION,
            "pins": [self._render_pin(pin) for pin in pins],
            "tombstones": [self._render_tombstone(one) for one in tombstones],
        }
        # Plain `json`, as for every file of ours that holds foreign text.
        replace_own_file(self.path, json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n")

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
            "grace_ns": self._clock.wall_ns(one.grace_s),
            "forget_ns": self._clock.wall_ns(one.forget_s),
        }

    def _parse(self, content: bytes) -> Recorded:
        try:
            found = json.loads(content)
            if found["version"] != _VERSION:
                raise UnreadablePinsError(f"it is of version {found['version']!r}, which this version cannot read")
            pins = [self._parse_pin(one) for one in found["pins"]]
            return Recorded(pins, [self._parse_tombstone(one) for one in found["tombstones"]])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadablePinsError("it does not hold what pins of this version hold") from error

    def _parse_pin(self, one: dict[str, object]) -> Pin:
        moment = self._clock.from_wall_ns
        return Pin(
            _text(one["name"]),
            _text(one["fingerprint"]),
            _number(one["taken_at_ns"]),
            _number(one["owner"]),
            _text(one["note"]),
            _number(one["pinned_at_ns"]),
            moment(_number(one["ends_ns"])),
            moment(_number(one["latest_ns"])),
        )

    def _parse_tombstone(self, one: dict[str, object]) -> Tombstone:
        return Tombstone(
            _text(one["name"]),
            _text(one["fingerprint"]),
            _number(one["taken_at_ns"]),
            _number(one["owner"]),
            _text(one["note"]),
            _number(one["pinned_at_ns"]),
            _number(one["ended_at_ns"]),
            Reason(_text(one["reason"])),
            self._clock.from_wall_ns(_number(one["grace_ns"])),
            self._clock.from_wall_ns(_number(one["forget_ns"])),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value
