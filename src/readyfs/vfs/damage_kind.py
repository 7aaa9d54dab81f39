"""The kinds of damage that are told apart in numbers, read from the causes that `runs` and `filesystem` give."""

from __future__ import annotations

import errno
import os
import re
from enum import StrEnum
from typing import Final


class DamageKind(StrEnum):
    """What is wrong with a broken run."""

    MISSING = "missing"
    """The run directory, a file or a directory in it is not there, or is something else."""
    SIZE = "size"
    """A file has another size than it was sealed with, or a read ended early."""
    MODIFIED = "modified"
    """A file was written to after its run was sealed."""
    DENIED = "denied"
    """We may not read it."""
    UNREADABLE = "unreadable"
    """The raw store answered with any other error."""


_MISSING: Final = (
    "is missing or not a regular file",
    "is missing or not a directory",
    *(f": {os.strerror(number)}" for number in (errno.ENOENT, errno.ENOTDIR)),
)
_DENIED: Final = tuple(f": {os.strerror(number)}" for number in (errno.EACCES, errno.EPERM))
_SIZE: Final = re.compile(r"has \d+ bytes and was sealed with \d+$|: a read ended early$")


def kind_of(cause: str) -> DamageKind:
    """Return the kind that a cause of damage is of."""
    if cause.endswith(_MISSING):
        return DamageKind.MISSING
    if cause.endswith(_DENIED):
        return DamageKind.DENIED
    if cause.endswith("was modified after it was sealed"):
        return DamageKind.MODIFIED
    return DamageKind.SIZE if _SIZE.search(cause) else DamageKind.UNREADABLE
