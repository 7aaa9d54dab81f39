"""The facts behind a reason: what a mount shows, what the state says, and what was seen of a run's files.

Whoever asks gathers them, all of one moment; `why` weighs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readyfs.catalog.tree import Meaning
from readyfs.layout import MountLayout
from readyfs.partition import Partition
from readyfs.state.filters import Filters
from readyfs.state.reader import StateRow


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides which partitions a mount shows, and of a row what is told of it."""

    filters: Filters
    layout: MountLayout
    with_messages: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What a mount shows at an address at one moment.

    `meaning` is None where nothing is ready, and `claims` are the rows of an ambiguous path, as far as the catalog
    holds them. `is_directory` says of an address that is no partition whether there is a directory. `stale_s` is the
    age of a catalog that is too old to be shown. `trouble` says why the state cannot be read, `held_back` why it is not
    followed. `refused` says why a view of the pin store is not shown, and `trouble` of one that has `expired` that the
    pin store cannot be asked. `taken_at_ns` is that of a view, None for the live tree; `refreshed_at_ns` is when the
    mount looked last.
    """

    meaning: Meaning | None = None
    claims: tuple[Partition, ...] = ()
    is_directory: bool = False
    refreshed_at_ns: int | None = None
    stale_s: float | None = None
    trouble: str | None = None
    held_back: str | None = None
    taken_at_ns: int | None = None
    expired: bool = False
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The rows of the state for one key, withheld where a mount would withhold them, or why it could not be asked."""

    rows: tuple[StateRow, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a run's files: why it cannot be served, whether the file is not there, or why nobody looked."""

    fault: str | None = None
    lacks_file: bool = False
    problem: str | None = None


NOT_ASKED: Final = Recorded(problem="the state was not asked")
