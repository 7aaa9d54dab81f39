"""The plan of a replay: which partitions are left to do, and in which order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from readyfs.partition import PartitionKey


class Target(NamedTuple):
    """One ready partition with the run that a command is given."""

    key: PartitionKey
    run_id: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay will do: `todo` in order, and how many are left out for which reason.

    `done` succeeded before with the same run. `skipped` stand in the skip list. `beyond` are more than the limit.
    """

    todo: tuple[Target, ...]
    done: int
    skipped: int
    beyond: int


def make_plan(
    targets: Iterable[Target],
    *,
    newest_first: bool = False,
    limit: int | None = None,
    skip: Container[PartitionKey] = frozenset(),
    done: Mapping[PartitionKey, bytes] | None = None,
) -> Plan:
    """Return the plan for some partitions: by date, and within a date by source, customer and query.

    `done` names the run with which a partition succeeded before. With another run it is done again. A limit counts what
    is left to do, so that with a resume file each call does the next ones.
    """
    left: list[Target] = []
    was_done = was_skipped = 0
    for target in targets:
        if target.key in skip:
            was_skipped += 1
        elif done is not None and done.get(target.key) == target.run_id:
            was_done += 1
        else:
            left.append(target)
    sign = -1 if newest_first else 1
    left.sort(key=lambda target: (sign * target.key.date, target.key.series))
    kept = left if limit is None else left[:limit]
    return Plan(tuple(kept), was_done, was_skipped, len(left) - len(kept))
