"""Partitions for tests of replays."""

from __future__ import annotations

import datetime

from readyfs.consumer.replay.plan import Target
from readyfs.partition import PartitionKey, SeriesKey


def key(date: str = "2024-06-01", customer: bytes = b"c1", query: bytes = b"q1", source: bytes = b"s1") -> PartitionKey:
    """Return a partition's key."""
    return PartitionKey(SeriesKey(source, customer, query), datetime.date.fromisoformat(date).toordinal())


def target(
    date: str = "2024-06-01",
    run_id: bytes = b"r1",
    customer: bytes = b"c1",
    query: bytes = b"q1",
    source: bytes = b"s1",
) -> Target:
    """Return a ready partition."""
    return Target(key(date, customer, query, source), run_id)
