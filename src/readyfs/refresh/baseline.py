"""The baseline on disk: how many partitions a mount showed last, so that a restart does not pass the guard by.

One small JSON file for each mount point, below the state directory. Only the process that holds the lock of the mount
point uses it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.own_file import UnreadableFileError, name_mount, read_own_file, replace_own_file

_VERSION: Final = 1
_MAX_BYTES: Final = 256 * 1024


class UnreadableBaselineError(Exception):
    """A baseline is there and cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Since when one catalog that was held back has been seen, in seconds of CLOCK_BOOTTIME.

    They mean nothing in another boot of the machine.
    """

    fingerprint: str
    boot_id: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """How many partitions were shown last, under which settings, and what has been held back since.

    `partitions` is None if that is not known, `settings` is what gives the number its meaning, and `taken_at` is for
    people.
    """

    partitions: int | None
    settings: Mapping[str, str]
    taken_at: str
    sighting: Sighting | None = None

    def says_the_same(self, other: Baseline | None) -> bool:
        """Tell whether another one differs in nothing but the time at which it was taken."""
        return (
            other is not None
            and (self.partitions, self.sighting) == (other.partitions, other.sighting)
            and dict(self.settings) == dict(other.settings)
        )


class BaselineFile:
    """The file that holds the baseline of one mount point. Blocking; called by one thread at a time."""

    def __init__(self, state_dir: Path, mountpoint: Path) -> None:
        self.path = state_dir / "baselines" / f"{name_mount(mountpoint)}.json"

    def read(self) -> Baseline | None:
        """Return the baseline, None if none was ever written; raise `UnreadableBaselineError`."""
        try:
            content = read_own_file(self.path, _MAX_BYTES)
        except UnreadableFileError as error:
            raise UnreadableBaselineError(str(error)) from error
        return None if content is None else _parse(content)

    def remove(self) -> None:
        """Have no baseline; raise `OSError`."""
        self.path.unlink(missing_ok=True)

    def write(self, baseline: Baseline) -> None:
        """Put a baseline in the place of the one before, on the disk and in one step; raise `OSError`."""
        replace_own_file(self.path, _render(baseline))


def _render(baseline: Baseline) -> bytes:
    sighting = baseline.sighting
    document = {
        "version": _VERSION,
        "partitions": baseline.partitions,
        "taken_at": baseline.taken_at,
        "settings": dict(baseline.settings),
        "held_back": None
        if sighting is None
        else {"fingerprint": sighting.fingerprint, "boot_id": sighting.boot_id, "since_seconds": sighting.since_s},
    }
    # Plain `json`: a path that is not UTF-8 must survive (as escaped surrogates).
    return json.dumps(document, indent=2).encode("ascii") + b"\n"


def _parse(content: bytes) -> Baseline:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableBaselineError("it is not whole, or not JSON") from error
    match document:
        case {
            "version": int(version),
            "partitions": int() | None as partitions,
            "taken_at": str(taken_at),
            "settings": dict(settings),
            "held_back": dict() | None as held_back,
        } if version == _VERSION and not isinstance(partitions, bool) and (partitions or 0) >= 0:
            if all(isinstance(value, str) for value in settings.values()):
                return Baseline(partitions, settings, taken_at, _parse_sighting(held_back))
    raise UnreadableBaselineError("it does not hold what a baseline of this version holds")


def _parse_sighting(document: object) -> Sighting | None:
    match document:
        case None:
            return None
        case {"fingerprint": str(fingerprint), "boot_id": str(boot_id), "since_seconds": int() | float() as since_s}:
            return Sighting(fingerprint, boot_id, float(since_s))
    raise UnreadableBaselineError("it does not hold what a baseline of this version holds")
