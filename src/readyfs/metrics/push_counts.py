"""What was pushed into the kernel's page cache with opens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class PushCounts:
    """How many files were pushed, their bytes, and how often the kernel refused one, by errno name."""

    files: int = 0
    data_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
