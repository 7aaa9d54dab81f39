"""What a check can find, and the tally of what it found.

The values of `Kind` and `Group` are words of the report, which schedulers read: they stay as they are.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple


class Group(StrEnum):
    """What a reader of a mount gets."""

    WITHHELD = "withheld"
    BROKEN = "broken"
    MISMATCHED = "mismatched"


class Kind(StrEnum):
    """What can be wrong with the run of a ready partition."""

    RUN_MISSING = "run_missing"
    RUN_UNREADABLE = "run_unreadable"
    FILE_MISSING = "file_missing"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_UNREADABLE = "file_unreadable"
    RAW_TIMEOUT = "raw_timeout"
    METADATA_INVALID = "metadata_invalid"
    METADATA_MISMATCH = "metadata_mismatch"
    COUNT_MISMATCH = "count_mismatch"

    @property
    def group(self) -> Group:
        """What a reader gets of a run with this fault."""
        return Group.MISMATCHED if self in _SERVED else Group.BROKEN


_SERVED: Final = frozenset({Kind.METADATA_INVALID, Kind.METADATA_MISMATCH, Kind.COUNT_MISMATCH})


class Finding(NamedTuple):
    """One thing that is wrong with one run; the detail is escaped."""

    kind: Kind
    detail: str


class Example(NamedTuple):
    """One finding with what it was found in, all texts escaped; `order` is that of the partitions in a check."""

    order: int
    partition: str
    run: str | None
    path: str | None
    detail: str


@dataclass(slots=True)
class Found:
    """How often one kind was found, and the first of them in the order of the partitions."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Tally:
    """Counts findings by kind and keeps the first `limit` examples of each, so that its size does not grow.

    Several threads add to it; it is read once it was closed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._is_closed = False
        self.by_kind: dict[Kind, Found] = {}
        self.broken = 0
        """Runs that a mount answers EIO for."""
        self.mismatched = 0
        """Runs that a mount serves although they are not what their row says."""

    def add(self, findings: list[Finding], order: int, describe: Callable[[str], Example]) -> None:
        """Count what is wrong with one run; `describe` makes an example of a detail, if it is kept."""
        with self._lock:
            if self._is_closed:
                return
            if any(finding.kind.group is Group.BROKEN for finding in findings):
                self.broken += 1
            else:
                self.mismatched += 1
            for kind, detail in findings:
                found = self.by_kind.setdefault(kind, Found())
                found.count += 1
                if len(found.examples) < self._limit:
                    insort(found.examples, describe(detail))
                elif self._limit and order < found.examples[-1].order:
                    found.examples.pop()
                    insort(found.examples, describe(detail))

    def close(self) -> None:
        """Count no more: a thread that was given up may still come back."""
        with self._lock:
            self._is_closed = True
