"""The words of --file-times; apart from `attributes`, which only a mount needs."""

from __future__ import annotations

from enum import StrEnum


class FileTimes(StrEnum):
    """What the times of a file say."""

    RAW = "raw"
    PUBLISHED = "published"
